package unit

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Report is the results of a run, of one file after the other.
type Report struct {
	Policy  string   `json:"policy"` // where it came from, for people
	Tests   int      `json:"tests"`
	Failed  int      `json:"failed"`
	Results []Result `json:"results"`
}

// NewReport counts.
func NewReport(from string, results []Result) *Report {
	r := &Report{Policy: from, Tests: len(results), Results: results}
	for i := range results {
		if !results[i].OK {
			r.Failed++
		}
	}
	return r
}

// WriteTAP writes TAP version 14. A failure has a YAML block with what was
// expected and found, where, and the explanation.
func (r *Report) WriteTAP(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 14\n# %s\n1..%d\n", r.Policy, r.Tests)
	for i := range r.Results {
		t := &r.Results[i]
		word := "ok"
		if !t.OK {
			word = "not ok"
		}
		// A # would begin a directive.
		fmt.Fprintf(&b, "%s %d - %s:%d %s\n", word, i+1, t.File, t.Line, strings.ReplaceAll(t.Name, "#", `\#`))
		if t.OK {
			continue
		}
		fmt.Fprintf(&b, "  ---\n  at: %s\n  expected: %s\n  found: %s\n", quote(fmt.Sprintf("%s:%d", t.File, t.Line)), quote(t.Expected), quote(t.Found))
		if t.Explanation != "" {
			b.WriteString("  explanation: |\n")
			for line := range strings.Lines(t.Explanation) {
				b.WriteString("    " + line)
			}
		}
		b.WriteString("  ...\n")
	}
	fmt.Fprintf(&b, "# %d tests, %d failed\n", r.Tests, r.Failed)
	_, err := io.WriteString(w, b.String())
	return err
}

// quote writes a YAML string: JSON's are.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// WriteJSON writes the report itself, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes JUnit XML: a test suite for each file.
func (r *Report) WriteJUnit(w io.Writer) error {
	doc := junitSuites{Name: r.Policy, Tests: r.Tests, Failures: r.Failed}
	for i := range r.Results {
		t := &r.Results[i]
		if n := len(doc.Suites); n == 0 || doc.Suites[n-1].Name != t.File {
			doc.Suites = append(doc.Suites, junitSuite{Name: t.File})
		}
		s := &doc.Suites[len(doc.Suites)-1]
		c := junitCase{Class: t.File, Name: fmt.Sprintf("%d: %s", t.Line, t.Name), File: t.File, Line: t.Line}
		s.Tests++
		if !t.OK {
			s.Failures++
			c.Failure = &junitFailure{
				Message: fmt.Sprintf("expected %s, found %s", t.Expected, t.Found),
				Text:    fmt.Sprintf("%s:%d\n%s", t.File, t.Line, t.Explanation),
			}
		}
		s.Cases = append(s.Cases, c)
	}
	b, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}
