package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

var explainTool = &tool{
	name: "explain",
	synopsis: []string{
		"explain [-P FILE] -s CONTEXT -t CONTEXT -c CLASS -p PERM[,PERM...] [--boolean NAME=on]... [--json]",
		"explain [-P FILE] --line AUDITLINE [--json]",
		"explain --server ADDR -k KEY -p PERM[,PERM...] [--json]",
	},
	summary: "every reason for the answer, and what would change it",
	about: `Answers as check does, with every reason in order. For what is denied: an invalid
context; an unknown class or permission and handle_unknown; the allow rule that is
missing, and the attributes that nearly fit; the booleans that would open it; each
constraint that fails, with the values of this question; the role; the bounds and
the parent; what hides the denial from the log; a permissive domain. For what is
granted: the rules that grant it, by attribute.

All reasons that are listed must go before the answer is yes. "add:" is a
statement in CIL that is not in the policy, "set:" a boolean for --boolean or
setsebool, which does instead of a rule that is missing. "nearly:" is an attribute
that would do instead, and gives the type whatever else the attribute is given.

--line takes a denial as it stands in the log of a server, of the kernel or of
ausearch --raw, in quotes.

--server asks a running server (host:port, or the path of a UNIX socket) about its
own state, policy and booleans: why this very connection may or may not use the
permissions on an item. The connection needs kv_server config. Where the kernel
decides, the server reads the kernel's policy and explains it with the engine of
this tool; if it may not, it says what to do.
`,
	exit: "0 allowed, 1 denied, 2 error",
	examples: []example{
		{"sememcached policy explain -s " + client1 + " -t " + item2 + " -c kv_item -p read", 1, "a constraint, with the values of this question"},
		{"sememcached policy explain -s " + reader + " -t system_u:object_r:kv_item_t:s0 -c kv_item -p read,write", 1, "a rule is missing"},
		{"sememcached policy explain -s " + client1 + " -t " + item1 + " -c kv_item -p read --json", 0, "the rules that grant it, for programs"},
		{`sememcached policy explain --line 'avc:  denied  { read } for  key="user:1" scontext=` + client1 + " tcontext=" + item2 + " tclass=kv_item permissive=0'", 1, "a line of the audit log"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		pf, qf := addPolicyFlags(f), addQueryFlags(f)
		server := f.String("server", "", "ask a running server (`address`)")
		key := f.StringP("key", "k", "", "key of an item of the server (`key`)")
		line := f.String("line", "", "a denial out of an audit log, instead of -s -t -c -p (`text`)")
		asJSON := f.Bool("json", false, "for programs")
		return func(t *terminal, args []string) error {
			if *server != "" {
				more := f.NFlag() - 3
				if *asJSON {
					more--
				}
				if *key == "" || len(*qf.perms) == 0 || more > 0 || len(args) > 0 {
					return errors.New("--server takes -k and -p, --json, and nothing else")
				}
				return explainByServer(t, *server, *key, *qf.perms, *asJSON)
			}
			q, err := explainQuery(f, qf, *line, args)
			if err != nil {
				return err
			}
			p, _, err := pf.load()
			if err != nil {
				return err
			}
			return writeExplanation(t, p.ExplainQuery(q), *asJSON)
		}
	},
}

// explainQuery is the question of the flags, or of the line of a log.
func explainQuery(f *pflag.FlagSet, qf queryFlags, line string, args []string) (policy.Query, error) {
	if !f.Changed("line") {
		return qf.query(), qf.check(args)
	}
	for _, name := range []string{"source", "target", "class", "perm"} {
		if f.Changed(name) {
			return policy.Query{}, fmt.Errorf("--line has the whole question: expected no --%s", name)
		}
	}
	e, ok := policy.ParseAudit(line)
	if !ok {
		return policy.Query{}, errors.New("--line: expected avc:  denied  { PERM } with scontext=, tcontext= and tclass= behind it")
	}
	return e.Query, noArguments(args)
}

// writeExplanation answers, and ends as the explanation does.
func writeExplanation(t *terminal, e policy.Explanation, asJSON bool) error {
	var err error
	if asJSON {
		err = t.writeJSON(e)
	} else {
		err = t.write(e.String())
	}
	if err != nil {
		return err
	}
	return explained(e.Allowed, e.Failed)
}
