package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

var replayTool = &tool{
	name:     "replay",
	synopsis: []string{"replay [-P FILE] [--boolean NAME=on]... AUDITLOG... [--explain] [--json]"},
	summary:  "which denials of a log the policy would now grant",
	about: `Reads denials out of logs (of a server, audit.log, ausearch --raw, dmesg; - is
standard input) and asks a policy each of them once. Other lines are passed over.
`,
	exit: "0 all of them would be granted, 1 some are still denied, 2 error",
	examples: []example{
		{"sememcached policy replay -P site.policy audit.log", 1, ""},
		{"sememcached policy replay -P site.policy --explain audit.log", 1, "and why the others are still denied"},
		{"sememcached policy replay -P site.policy --json - < audit.log", 1, "from standard input, for programs"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		pf := addPolicyFlags(f)
		explain := f.Bool("explain", false, "say why, for each that is still denied")
		asJSON := f.Bool("json", false, "for programs")
		return func(t *terminal, args []string) error {
			if len(args) == 0 {
				return errors.New("expected an audit log, or - for standard input")
			}
			p, _, err := pf.load()
			if err != nil {
				return err
			}
			denials, err := readDenials(args...)
			if err != nil {
				return err
			}
			p.Replay(denials)
			return writeReplay(t, p, denials, *explain, *asJSON)
		}
	},
}

func writeReplay(t *terminal, p *policy.Policy, denials []policy.Replayed, explain, asJSON bool) error {
	var b strings.Builder
	granted, lines := 0, 0
	for _, d := range denials {
		word := "still denied"
		switch {
		case d.Granted:
			word = "now allowed"
			granted++
		case d.Outcome.Error != "":
			word = "cannot tell"
		}
		lines += d.Count
		fmt.Fprintf(&b, "%-12s %4dx %s\n", word, d.Count, d.Query)
		if !d.Granted && (explain || d.Outcome.Error != "") {
			_, reasons, _ := strings.Cut(p.ExplainQuery(d.Query).String(), "\n")
			for line := range strings.Lines(reasons) {
				b.WriteString("    " + line)
			}
		}
	}
	fmt.Fprintf(&b, "%d of %d questions (%d denials) would be granted\n", granted, len(denials), lines)
	var err error
	if asJSON {
		err = t.writeJSON(struct {
			Granted int               `json:"granted"`
			Denials []policy.Replayed `json:"denials"`
		}{granted, denials})
	} else {
		err = t.write(b.String())
	}
	if err == nil && granted < len(denials) {
		err = no()
	}
	return err
}
