package unit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Suite is a test file that was read.
type Suite struct {
	File  string // as errors and results name it
	Tests []Test
	// Contexts are the contexts files that it names, each once, as written.
	Contexts []string
}

// Test is one expectation with its variables put in.
type Test struct {
	Line     int
	Kind     string // the first word
	Source   string // SOURCE, CLIENT, or the CONTEXT of valid and invalid
	Target   string
	Class    string
	Perms    []string
	Key      string // KEY of label, NAME of transition
	Want     string // the CONTEXT or TEXT that is expected
	Server   string // of label; "" the default
	Contexts string // of label; "" none
	Booleans map[string]bool
}

// String is the test as it would be written without variables.
func (t *Test) String() string {
	switch t.Kind {
	case "transition":
		name := ""
		if t.Key != "" {
			name = " name " + t.Key
		}
		return fmt.Sprintf("transition %s %s %s%s = %s", t.Source, t.Target, t.Class, name, t.Want)
	case "label":
		return fmt.Sprintf("label %s %s = %s", t.Source, t.Key, t.Want)
	case "valid", "invalid":
		return t.Kind + " " + t.Source
	case "explain-contains":
		return fmt.Sprintf("%s %s %s %s %s : %s", t.Kind, t.Source, t.Target, t.Class, permSet(t.Perms), t.Want)
	}
	return fmt.Sprintf("%s %s %s %s %s", t.Kind, t.Source, t.Target, t.Class, permSet(t.Perms))
}

func permSet(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return "{ " + strings.Join(names, " ") + " }"
}

// MaxTests bounds the tests of one line.
const MaxTests = 1_000_000

// Parse reads a test file. Errors begin with FILE:LINE.
func Parse(file, text string) (*Suite, error) {
	p := &parser{suite: &Suite{File: file}, vars: map[string]*variable{}}
	for line := range strings.Lines(text) {
		p.line++
		if err := p.parseLine(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	if p.table != nil {
		return nil, fmt.Errorf("%s:%d: expected end of the table that begins in line %d, found the end of the file", file, p.line, p.tableLine)
	}
	if len(p.suite.Tests) == 0 {
		return nil, fmt.Errorf("%s: expected at least one expectation, found none", file)
	}
	return p.suite, nil
}

type parser struct {
	suite     *Suite
	line      int
	vars      map[string]*variable
	table     *variable // open
	tableLine int
	booleans  map[string]bool
	contexts  string
	server    string
}

// words splits a line at blanks, with braces as words of their own.
func words(line string) []string {
	var out []string
	for w := range strings.FieldsSeq(line) {
		if w[0] == '#' {
			break
		}
		if strings.HasPrefix(w, "{") && len(w) > 1 {
			out, w = append(out, "{"), w[1:]
		}
		if strings.HasSuffix(w, "}") && len(w) > 1 && !strings.Contains(w, "${") {
			out = append(out, w[:len(w)-1], "}")
			continue
		}
		out = append(out, w)
	}
	return out
}

var kinds = []string{"allow", "deny", "dontaudit", "transition", "label", "explain-contains", "valid", "invalid"}

func (p *parser) parseLine(line string) error {
	w := words(line)
	if len(w) == 0 {
		return nil
	}
	if p.table != nil {
		return p.row(w)
	}
	switch w[0] {
	case "let":
		return p.let(w)
	case "table":
		return p.openTable(w)
	case "end":
		return errors.New("expected a table before end")
	case "boolean":
		return p.boolean(w[1:])
	case "contexts", "server":
		return p.setting(w)
	}
	if !slices.Contains(kinds, w[0]) {
		return fmt.Errorf("expected one of %s, or let, table, boolean, contexts, server; found %q", strings.Join(kinds, ", "), w[0])
	}
	// TEXT of explain-contains keeps its blanks.
	text := ""
	if w[0] == "explain-contains" {
		head, tail, ok := strings.Cut(line, " : ")
		if !ok {
			return errors.New(`expected explain-contains SOURCE TARGET CLASS PERMS : TEXT, found no " : "`)
		}
		w, text = words(head), strings.TrimSpace(tail)
	}
	return p.expand(append(w, text))
}

func (p *parser) boolean(pairs []string) error {
	if len(pairs) == 0 {
		return errors.New("expected boolean NAME=on|off")
	}
	// Tests before this line keep the map that they have.
	set := map[string]bool{}
	maps.Copy(set, p.booleans)
	for _, pair := range pairs {
		name, state, _ := strings.Cut(pair, "=")
		if name == "" || state != "on" && state != "off" {
			return fmt.Errorf("expected NAME=on or NAME=off, found %q", pair)
		}
		set[name] = state == "on"
	}
	p.booleans = set
	return nil
}

func (p *parser) setting(w []string) error {
	if len(w) != 2 {
		return fmt.Errorf("expected %s and one word, found %d", w[0], len(w)-1)
	}
	values, err := p.substitute(w[1:])
	if err != nil {
		return err
	}
	if len(values) != 1 {
		return fmt.Errorf("expected one value for %s, found %d", w[0], len(values))
	}
	value := values[0][0]
	if value == "-" {
		value = ""
	}
	if w[0] == "server" {
		p.server = value
		return nil
	}
	p.contexts = value
	if value != "" && !slices.Contains(p.suite.Contexts, value) {
		p.suite.Contexts = append(p.suite.Contexts, value)
	}
	return nil
}

// expand adds the tests of a line: words, and the text of explain-contains.
func (p *parser) expand(w []string) error {
	all, err := p.substitute(w)
	if err != nil {
		return err
	}
	for _, values := range all {
		t, err := parseTest(values[:len(values)-1], values[len(values)-1])
		if err != nil {
			return err
		}
		t.Line, t.Booleans, t.Contexts, t.Server = p.line, p.booleans, p.contexts, p.server
		p.suite.Tests = append(p.suite.Tests, t)
	}
	return nil
}

func parseTest(w []string, text string) (Test, error) {
	t := Test{Kind: w[0], Want: text}
	bad := func(form string) (Test, error) {
		return t, fmt.Errorf("expected %s %s, found %q", t.Kind, form, strings.Join(w, " "))
	}
	switch t.Kind {
	case "valid", "invalid":
		if len(w) != 2 {
			return bad("CONTEXT")
		}
		t.Source = w[1]
		return t, nil
	case "label":
		if len(w) != 5 || w[3] != "=" {
			return bad("CLIENT KEY = CONTEXT")
		}
		t.Source, t.Key, t.Want = w[1], w[2], w[4]
		return t, nil
	case "transition":
		if len(w) == 8 && w[4] == "name" {
			t.Key = w[5]
			w = slices.Delete(slices.Clone(w), 4, 6)
		}
		if len(w) != 6 || w[4] != "=" {
			return bad("SOURCE TARGET CLASS [name NAME] = CONTEXT")
		}
		t.Source, t.Target, t.Class, t.Want = w[1], w[2], w[3], w[5]
		return t, nil
	}
	if len(w) < 5 {
		return bad("SOURCE TARGET CLASS PERMS")
	}
	t.Source, t.Target, t.Class = w[1], w[2], w[3]
	perms := w[4:]
	if perms[0] == "{" {
		if perms[len(perms)-1] != "}" {
			return bad("SOURCE TARGET CLASS { PERM... }")
		}
		perms = perms[1 : len(perms)-1]
	} else if len(perms) > 1 {
		return bad("SOURCE TARGET CLASS { PERM... }")
	}
	for _, word := range perms {
		t.Perms = append(t.Perms, strings.FieldsFunc(word, func(r rune) bool { return r == ',' })...)
	}
	if len(t.Perms) == 0 || slices.Contains(t.Perms, "{") || slices.Contains(t.Perms, "}") {
		return bad("SOURCE TARGET CLASS { PERM... }")
	}
	return t, nil
}
