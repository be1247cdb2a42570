package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

var diffTool = &tool{
	name:     "diff",
	synopsis: []string{"diff [-P A] [-Q B] [--boolean NAME=on]... [--queries FILE | --replay AUDITLOG | -c CLASS...] [--json]"},
	summary:  "which decisions change from one policy to another, or with other booleans",
	about: `Asks two policies the same questions and prints those with different answers. The
second policy is that of -Q, or the first one with the booleans of --boolean; with
-Q the booleans are switched in both.

The questions are the lines of --queries (SOURCE TARGET CLASS [PERM...] each), or
the denials of an audit log (--replay; - is standard input), or all of interest:
each domain that any rule on a class lets do something, with each type that any
rule lets it do that to, at their low and high levels. -s and -t choose other
contexts.
`,
	exit: "0 no decision changes, 1 some do, 2 error",
	examples: []example{
		{"sememcached policy diff -P site.policy --boolean kv_client_stats=off", 1, "what a boolean changes"},
		{"sememcached policy diff -P old.policy -Q site.policy", 1, "what a new policy changes for items and servers"},
		{"sememcached policy diff -P old.policy -Q site.policy --replay audit.log", 1, "the same for the denials of a log"},
		{"sememcached policy diff -P site.policy -Q site.policy --queries queries.txt --json", 0, "nothing, for programs"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		var d diffFlags
		d.before = f.StringP("policy", "P", "", "the policy before (`file`)")
		d.after = f.StringP("and", "Q", "", "the policy after (`file`)")
		d.booleans = f.StringArray("boolean", nil, "switch a boolean, NAME=on|off; repeatable (`name=state`)")
		d.queries = f.String("queries", "", "questions, one a line (`file`)")
		d.replay = f.String("replay", "", "audit log whose denials are asked again (`file`)")
		d.classes = f.StringSliceP("class", "c", []string{"kv_item", "kv_server"}, "classes to compare (`names`)")
		d.sources = f.StringArrayP("source", "s", nil, "source context instead of all; repeatable (`context`)")
		d.targets = f.StringArrayP("target", "t", nil, "target context instead of all; repeatable (`context`)")
		d.json = f.Bool("json", false, "for programs")
		return func(t *terminal, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			return d.run(t)
		}
	},
}

type diffFlags struct {
	before, after, queries, replay      *string
	booleans, classes, sources, targets *[]string
	json                                *bool
}

// policies loads both.
func (d *diffFlags) policies() (a, b *policy.Policy, err error) {
	if *d.after == "" && len(*d.booleans) == 0 {
		return nil, nil, errors.New("expected a second policy (-Q) or other booleans (--boolean)")
	}
	if a, _, err = loadPolicy(*d.before); err != nil {
		return nil, nil, err
	}
	if *d.after == "" {
		b, err = switchBooleans(a, *d.booleans)
		return a, b, err
	}
	if a, err = switchBooleans(a, *d.booleans); err != nil {
		return nil, nil, fmt.Errorf("-P: %w", err)
	}
	if b, _, err = loadPolicy(*d.after); err != nil {
		return nil, nil, err
	}
	if b, err = switchBooleans(b, *d.booleans); err != nil {
		return nil, nil, fmt.Errorf("-Q: %w", err)
	}
	return a, b, nil
}

// questions are what is asked, and how many.
func (d *diffFlags) questions(a, b *policy.Policy) ([]iter.Seq[policy.Query], int, error) {
	switch {
	case *d.queries != "" && *d.replay != "":
		return nil, 0, errors.New("expected --queries or --replay, not both")
	case *d.queries != "":
		qs, err := readQueries(*d.queries)
		return []iter.Seq[policy.Query]{slices.Values(qs)}, len(qs), err
	case *d.replay != "":
		denials, err := readDenials(*d.replay)
		qs := make([]policy.Query, len(denials))
		for i := range denials {
			qs[i] = denials[i].Query
		}
		return []iter.Seq[policy.Query]{slices.Values(qs)}, len(qs), err
	}
	var out []iter.Seq[policy.Query]
	total := 0
	for _, class := range *d.classes {
		_, inA := a.Class(class)
		_, inB := b.Class(class)
		if !inA && !inB {
			return nil, 0, fmt.Errorf("neither policy has a class %s; -c chooses another", class)
		}
		sources, targets := policy.Interesting(a, b, class)
		if len(*d.sources) > 0 {
			sources = *d.sources
		}
		if len(*d.targets) > 0 {
			targets = *d.targets
		}
		total += len(sources) * len(targets)
		out = append(out, policy.AllPairs(sources, targets, []string{class}))
	}
	return out, total, nil
}

func (d *diffFlags) run(t *terminal) error {
	a, b, err := d.policies()
	if err != nil {
		return err
	}
	parts, total, err := d.questions(a, b)
	if err != nil {
		return err
	}
	bar := t.progress("questions")
	asked := 0
	chosen := *d.queries != "" || *d.replay != "" // by people; the others are all sound
	senseless := []string{}
	counted := func(yield func(policy.Query) bool) {
		for _, part := range parts {
			for q := range part {
				bar.step(asked, total)
				asked++
				if chosen {
					if why := makesNoSense(a, b, q); why != "" {
						senseless = append(senseless, q.String()+": "+why)
					}
				}
				if !yield(q) {
					return
				}
			}
		}
	}
	differences := []policy.Difference{}
	for diff := range policy.Compare(a, b, counted) {
		differences = append(differences, diff)
	}
	bar.end()
	if *d.json {
		err = t.writeJSON(struct {
			Questions   int                 `json:"questions"`
			Differences []policy.Difference `json:"differences"`
			Senseless   []string            `json:"senseless"` // questions that neither policy understands, and why
		}{asked, differences, senseless})
	} else {
		for _, q := range senseless {
			fmt.Fprintln(t.err, "makes no sense to either policy:", q)
		}
		err = t.write(diffText(differences, asked))
	}
	if err == nil && len(differences) > 0 {
		err = no()
	}
	return err
}

// makesNoSense says why neither policy understands a question: both would answer
// the same, and nobody would notice a misspelt name.
func makesNoSense(a, b *policy.Policy, q policy.Query) string {
	for _, context := range []string{q.Source, q.Target} {
		_, errA := a.ParseContext(context)
		if _, errB := b.ParseContext(context); errA != nil && errB != nil {
			return strings.TrimPrefix(errB.Error(), "policy: ")
		}
	}
	classA, inA := a.Class(q.Class)
	classB, inB := b.Class(q.Class)
	if !inA && !inB {
		return "neither has a class " + q.Class
	}
	for _, name := range q.Perms {
		_, inA := a.Perm(classA, name)
		if _, inB := b.Perm(classB, name); !inA && !inB {
			return fmt.Sprintf("class %s has no permission %s", q.Class, name)
		}
	}
	return ""
}

func diffText(differences []policy.Difference, asked int) string {
	var b strings.Builder
	for _, d := range differences {
		fmt.Fprintf(&b, "%s -> %s : %s\n", d.Query.Source, d.Query.Target, d.Query.Class)
		if len(d.Gained) > 0 {
			fmt.Fprintf(&b, "  gained { %s }\n", strings.Join(d.Gained, " "))
		}
		if len(d.Lost) > 0 {
			fmt.Fprintf(&b, "  lost   { %s }\n", strings.Join(d.Lost, " "))
		}
		if len(d.Gained)+len(d.Lost) == 0 {
			fmt.Fprintf(&b, "  before %s\n  after  %s\n", d.Before, d.After)
		}
	}
	fmt.Fprintf(&b, "%d of %d answers differ\n", len(differences), asked)
	return b.String()
}

// readLines hands over the lines of a file, or of standard input for -. An
// error of line gets file and line.
func readLines(file string, line func(text string) error) error {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	n := 0
	for s.Scan() {
		n++
		if err := line(s.Text()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", file, n+1, err)
	}
	return nil
}

// readQueries reads SOURCE TARGET CLASS [PERM...] lines; # begins a comment.
func readQueries(file string) ([]policy.Query, error) {
	var out []policy.Query
	err := readLines(file, func(text string) error {
		text, _, _ = strings.Cut(text, "#")
		switch w := strings.Fields(text); len(w) {
		case 0:
		case 1, 2:
			return fmt.Errorf("expected SOURCE TARGET CLASS [PERM...], found %q", text)
		default:
			out = append(out, policy.Query{Source: w[0], Target: w[1], Class: w[2], Perms: w[3:]})
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: expected questions, found none", file)
	}
	return out, err
}

// readDenials collects the denials of logs.
func readDenials(files ...string) ([]policy.Replayed, error) {
	var err error
	lines := func(yield func(string) bool) {
		for _, file := range files {
			more := true
			if err = readLines(file, func(text string) error {
				more = more && yield(text)
				return nil
			}); err != nil || !more {
				return
			}
		}
	}
	out, n := policy.Denials(lines)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: expected denials (avc:  denied ...), found none in %d lines", strings.Join(files, " "), n)
	}
	return out, err
}
