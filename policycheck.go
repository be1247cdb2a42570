package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

// Contexts of the built-in policy, for examples.
const (
	client1 = "system_u:system_r:kv_client_t:s0:c1"
	item1   = "system_u:object_r:kv_item_t:s0:c1"
	item2   = "system_u:object_r:kv_item_t:s0:c2"
	reader  = "system_u:system_r:kv_reader_t:s0"
	server0 = "system_u:system_r:kv_server_t:s0"
)

var checkTool = &tool{
	name:     "check",
	synopsis: []string{"check [-P FILE] -s CONTEXT -t CONTEXT -c CLASS -p PERM[,PERM...] [--boolean NAME=on]..."},
	summary:  "may the source do that to the target? exit status 0 allowed, 1 denied, 2 error",
	about: `Asks whether a source context holds all of the permissions on a target context.
Says no more than yes or no: explain has the reasons.
`,
	exit: "0 allowed, 1 denied, 2 error",
	examples: []example{
		{"sememcached policy check -s " + client1 + " -t " + item1 + " -c kv_item -p read,write", 0, ""},
		{"sememcached policy check -s " + client1 + " -t " + item2 + " -c kv_item -p read", 1, "another tenant's: exit status 1"},
		{"sememcached policy check --boolean kv_client_stats=off -s " + client1 + " -t " + server0 + " -c kv_server -p stats", 1, "with a boolean off: exit status 1"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		pf, q := addPolicyFlags(f), addQueryFlags(f)
		return func(t *terminal, args []string) error {
			if err := q.check(args); err != nil {
				return err
			}
			p, _, err := pf.load()
			if err != nil {
				return err
			}
			return policyCheck(t, p, q.query())
		}
	},
}

// queryFlags are the flags of an access question.
type queryFlags struct {
	source, target, class *string
	perms                 *[]string
}

func addQueryFlags(f *pflag.FlagSet) queryFlags {
	return queryFlags{
		f.StringP("source", "s", "", "source context (`context`)"),
		f.StringP("target", "t", "", "target context (`context`)"),
		f.StringP("class", "c", "", "object class (`name`)"),
		f.StringSliceP("perm", "p", nil, "permissions, all of which are asked for (`names`)"),
	}
}

func (q queryFlags) check(args []string) error {
	for _, need := range []struct{ flag, value string }{{"-s", *q.source}, {"-t", *q.target}, {"-c", *q.class}, {"-p", strings.Join(*q.perms, "")}} {
		if need.value == "" {
			return fmt.Errorf("%s is missing; see --help", need.flag)
		}
	}
	return noArguments(args)
}

func (q queryFlags) query() policy.Query {
	return policy.Query{Source: *q.source, Target: *q.target, Class: *q.class, Perms: *q.perms}
}

// policyCheck prints one line; a denial is exit status 1.
func policyCheck(t *terminal, p *policy.Policy, q policy.Query) error {
	for _, c := range []struct{ flag, context string }{{"-s", q.Source}, {"-t", q.Target}} {
		if _, err := p.ParseContext(c.context); err != nil {
			return fmt.Errorf("%s: %w", c.flag, err)
		}
	}
	e := p.ExplainQuery(q)
	note := ""
	for _, r := range e.Reasons {
		if r.Kind == policy.KindUnknownClass || r.Kind == policy.KindUnknownPermission {
			note = ": " + r.Text
		}
	}
	switch {
	case e.Failed:
		return errors.New(e.Reasons[0].Text)
	case e.Allowed:
		return t.write(fmt.Sprintf("allowed { %s }%s\n", strings.Join(e.Perms, " "), note))
	case e.Permissive:
		note += " (the source's domain is permissive: a server logs this and allows it)"
	}
	if err := t.write(fmt.Sprintf("denied { %s }%s\n", strings.Join(e.Denied, " "), note)); err != nil {
		return err
	}
	return no()
}
