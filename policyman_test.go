package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// roff writes text so that nothing in it is a request or an escape.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func manHeader(b *strings.Builder, name, section, summary string) {
	fmt.Fprintf(b, ".\\\" Made from the program's own help.\n.TH %s %s \"\" \"sememcached %s\" \"sememcached\"\n", strings.ToUpper(roff(name)), section, version())
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", roff(name), roff(summary))
}

func manFlags(b *strings.Builder, f *pflag.FlagSet) {
	if !f.HasFlags() {
		return
	}
	b.WriteString(".SH OPTIONS\n")
	f.VisitAll(func(fl *pflag.Flag) {
		word, usage := pflag.UnquoteUsage(fl)
		usage = placeholder.ReplaceAllString(usage, "$1")
		if fl.NoOptDefVal == "" && word != "" {
			word = " \\fI" + roff(word) + "\\fR"
		} else {
			word = ""
		}
		short := ""
		if fl.Shorthand != "" {
			short = "\\fB\\-" + fl.Shorthand + "\\fR, "
		}
		fmt.Fprintf(b, ".TP\n%s\\fB\\-\\-%s\\fR%s\n%s\n", short, roff(fl.Name), word, roff(usage))
		if fl.DefValue != "" && fl.DefValue != "false" && fl.DefValue != "[]" && fl.DefValue != "0" {
			fmt.Fprintf(b, "(default %s)\n", roff(fl.DefValue))
		}
	})
}

func manVerbatim(b *strings.Builder, text string) {
	fmt.Fprintf(b, ".nf\n%s\n.fi\n", roff(strings.TrimRight(text, "\n")))
}

// manPage is the page of a tool.
func manPage(t *tool) string {
	var b strings.Builder
	room := strings.ReplaceAll(t.command(), " ", "-")
	manHeader(&b, room+"-"+t.name, "1", t.summary)
	b.WriteString(".SH SYNOPSIS\n.nf\n")
	for _, s := range t.synopsis {
		fmt.Fprintf(&b, "\\fB%s\\fR %s\n", t.command(), roff(s))
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	manVerbatim(&b, t.about)
	f, _ := t.flags()
	manFlags(&b, f)
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n.SH EXAMPLES\n", roff(t.exit))
	for _, e := range t.examples {
		fmt.Fprintf(&b, ".PP\n%s\n.PP\n.RS\n.nf\n%s\n.fi\n.RE\n", roff(e.note), roff(e.command))
	}
	var also []string
	for _, o := range append(tools(), dataTools()...) {
		if o != t && (o.group == t.group || o.group == "" && t.group != "data") {
			also = append(also, ".BR "+roff(strings.ReplaceAll(o.command(), " ", "-")+"-"+o.name)+" (1)")
		}
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR sememcached (1),\n%s\n", strings.Join(also, ",\n"))
	return b.String()
}

// manPages are all pages by file name.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, tool := range tools() {
		pages["sememcached-policy-"+tool.name+".1"] = manPage(tool)
	}
	pages["sememcached-rules-check.1"] = manPage(rulesTool)
	for _, tool := range dataTools() {
		pages["sememcached-data-"+tool.name+".1"] = manPage(tool)
	}
	var b strings.Builder
	manHeader(&b, "sememcached-data", "1", "look into a data file, back it up, restore it")
	b.WriteString(".SH DESCRIPTION\n")
	manVerbatim(&b, dataHelp())
	pages["sememcached-data.1"] = b.String()

	b.Reset()
	manHeader(&b, "sememcached-policy", "1", "ask an SELinux policy, without a server or an SELinux kernel")
	b.WriteString(".SH DESCRIPTION\n")
	manVerbatim(&b, policyHelp())
	pages["sememcached-policy.1"] = b.String()

	b.Reset()
	manHeader(&b, "sememcached", "1", "a memcached with mandatory access control on every item")
	b.WriteString(".SH SYNOPSIS\n\\fBsememcached\\fR [\\fIoption\\fR]...\n.br\n\\fBsememcached policy\\fR | \\fBdata\\fR | \\fBrules\\fR \\fItool\\fR ...\n.br\n\\fBsememcached demo\\fR [\\fIact\\fR]...\n.SH DESCRIPTION\n")
	b.WriteString("A drop\\-in memcached server that enforces mandatory access control on every item.\nIt takes memcached's options; those that are not memcached's are about access\ncontrol.\n")
	manFlags(&b, newFlagSet(&options{}, &rawFlags{}))
	b.WriteString(serverManSections())
	b.WriteString(serverManEnd())
	pages["sememcached.1"] = b.String()
	return pages
}

// TestManPages compares docs/man with what the program says of itself; go test
// -run TestManPages -update . writes it.
func TestManPages(t *testing.T) {
	pages := manPages(t)
	if *update {
		if err := os.MkdirAll("docs/man", 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join("docs/man", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	have, err := filepath.Glob("docs/man/*")
	if err != nil || len(have) != len(pages) {
		t.Errorf("expected %d pages in docs/man, found %d, %v", len(pages), len(have), err)
	}
	for name, text := range pages {
		b, err := os.ReadFile(filepath.Join("docs/man", name))
		if err != nil || string(b) != text {
			t.Errorf("docs/man/%s is not what the program says (%v); write it by go test -run TestManPages -update .", name, err)
		}
	}
	if _, err := exec.LookPath("man"); err != nil {
		t.Log("man is not installed: the pages were not rendered")
		return
	}
	slices.Sort(have)
	for _, page := range have {
		cmd := exec.Command("man", "--warnings=all", "-E", "UTF-8", "-l", "-Tutf8", page)
		cmd.Env = append(os.Environ(), "MANWIDTH=200", "MANPAGER=cat")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning:") {
			t.Errorf("%s: %v\n%.500s", page, err, out)
		}
	}
}

// TestOwnPolicy runs the suite of the built-in policy with the command itself.
func TestOwnPolicy(t *testing.T) {
	var out, errs strings.Builder
	code := run([]string{"policy", "test", "-P", "policy/default.bin", "policy/default.tests"}, &out, &errs)
	if code != 0 || strings.Count(out.String(), "\nok ") < 60 {
		t.Errorf("exit %d\n%s%s", code, &out, &errs)
	}
}

// TestExamplePolicies: the compiled policies of docs/examples are what secilc
// makes of their sources.
func TestExamplePolicies(t *testing.T) {
	if _, err := exec.LookPath("secilc"); err != nil {
		missingTool(t, "secilc is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"site", "old", "other"} {
		out := filepath.Join(dir, name)
		if b, err := exec.Command("secilc", "-M", "true", "-c", "33", "-o", out, "-f", os.DevNull, "docs/examples/"+name+".cil").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		want, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile("docs/examples/" + name + ".policy"); err != nil || string(have) != string(want) {
			t.Errorf("docs/examples/%s.policy is not what secilc makes of its source (%v): make policies", name, err)
		}
	}
}
