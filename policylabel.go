package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/policy"
)

var labelTool = &tool{
	name:     "label",
	synopsis: []string{"label [-P FILE] -s CONTEXT [-S SERVER] [-C CONTEXTS] -k KEY [--create CONTEXT] [--over CONTEXT] [--relabel CONTEXT] [--json]"},
	summary:  "the label that a new item gets, each step that decided it, and whether creating it is allowed",
	about: `Says which label an item gets that a client stores under a key, what decided each
part of it, and whether the client may create it. The answer is that of a server
with the same policy, contexts file and server context.

--create CONTEXT  the connection has said "mac create CONTEXT" before.
--over CONTEXT    the key is there already with this label, which it keeps: may the
                  client overwrite it?
--relabel CONTEXT may the client give the item (the new one, or that of --over) this
                  label? Each permission, and the validatetrans rules.
`,
	exit: "0 allowed, 1 denied, 2 error",
	examples: []example{
		{"sememcached policy label -s " + client1 + " -k user:1", 0, ""},
		{"sememcached policy label -P site.policy -C tenants.contexts -s " + client1 + " -k session:42", 0, "a line of the contexts file decides"},
		{"sememcached policy label -s " + client1 + " -k user:1 --over " + item2, 1, "another tenant's item is there already"},
		{"sememcached policy label -s system_u:system_r:kv_admin_t:s0-s0:c0.c1023 -k user:1 --over " + item1 + " --relabel " + item2 + " --json", 0, "an administrator moves an item, for programs"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		pf := addPolicyFlags(f)
		var q labelQuestion
		f.StringVarP(&q.client, "source", "s", "", "client context (`context`)")
		f.StringVarP(&q.server, "server-context", "S", "", "server context (`context`)")
		f.StringVarP(&q.contexts, "contexts", "C", "", "contexts file (`file`)")
		f.StringVarP(&q.key, "key", "k", "", "key of the item (`key`)")
		f.StringVar(&q.create, "create", "", "the connection's creation context (`context`)")
		f.StringVar(&q.over, "over", "", "label of the item that is there already (`context`)")
		f.StringVar(&q.relabel, "relabel", "", "label to give to the item (`context`)")
		asJSON := f.Bool("json", false, "for programs")
		return func(t *terminal, args []string) error {
			if q.client == "" || q.key == "" {
				return errors.New("-s and -k are needed; see --help")
			}
			if err := noArguments(args); err != nil {
				return err
			}
			p, from, err := pf.load()
			if err != nil {
				return err
			}
			l, err := openLabeller(p, from, *pf.booleans, q.contexts, q.server)
			if err != nil {
				return err
			}
			defer l.mon.Close()
			a, err := l.answer(&q)
			if err != nil {
				return err
			}
			return a.write(t, *asJSON)
		}
	},
}

// labelQuestion is what a client with a context does to a key.
type labelQuestion struct {
	client, server, key             string
	contexts, create, over, relabel string
}

// labelAnswer is for encoding/json and for people.
type labelAnswer struct {
	Client  string `json:"client"`
	Server  string `json:"server"`
	Key     string `json:"key"`
	Label   string `json:"label"`
	Decided string `json:"decided"` // what decided the label
	// Steps are the parts of the label; none, if it was given as a whole.
	Steps   []policy.Step    `json:"steps,omitempty"`
	Allowed bool             `json:"allowed"` // all of what was asked
	Checks  []labelCheck     `json:"checks"`
	Trans   *transitionCheck `json:"validatetrans,omitempty"`
}

// labelCheck is one permission question on the way.
type labelCheck struct {
	What string `json:"what"` // create, write, relabel
	policy.Explanation
}

type transitionCheck struct {
	Old     string          `json:"old"`
	New     string          `json:"new"`
	Allowed bool            `json:"allowed"`
	Reasons []policy.Reason `json:"reasons,omitempty"`
}

// labeller answers with the monitor itself, opened on the policy as a server
// would open it: what it prints is what a server does.
type labeller struct {
	p   *policy.Policy
	mon *mac.Monitor
}

// openLabeller opens a monitor on a policy that loadPolicy has found, from.
func openLabeller(p *policy.Policy, from string, booleans []string, contexts, server string) (*labeller, error) {
	set, err := parseBooleans(booleans)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	switch from {
	case "the built-in policy":
		from = ""
	case "the running kernel's policy":
		from = kernelPolicy
	}
	mon, err := mac.Open(mac.Config{
		Mode: mac.PolicyFile, PolicyFile: from, Booleans: set, ContextsFile: contexts, ServerContext: server,
		AuditWriter: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return &labeller{p, mon}, nil
}

// label is what a server gives to a new item: the canonical client context, the
// label, and which rule chose it.
func (l *labeller) label(client, key string) (canonical, label string, sel mac.Selector, err error) {
	g := l.mon.Generation()
	c := l.mon.Decide(g, mac.Question{Kind: mac.AskContext, Class: avc.ClassItem, Text: client})
	if c.Err != nil {
		return "", "", 0, fmt.Errorf("client context %q: %w", client, c.Err)
	}
	sids := l.mon.SIDs()
	defer sids.Release(c.SID)
	sel = g.Selector([]byte(key))
	a := l.mon.Decide(g, mac.Question{Kind: mac.AskCreate, Class: avc.ClassItem, Source: c.SID, Selector: sel})
	if a.Err != nil {
		return "", "", 0, fmt.Errorf("no label for key %q: %w", key, a.Err)
	}
	return sids.String(c.SID), sids.String(a.SID), sel, nil
}

func (l *labeller) answer(q *labelQuestion) (*labelAnswer, error) {
	g := l.mon.Generation()
	client, label, sel, err := l.label(q.client, q.key)
	if err != nil {
		return nil, err
	}
	a := &labelAnswer{Client: client, Server: l.mon.SIDs().String(g.Server), Key: q.key, Label: label, Allowed: true}
	switch {
	case q.over != "":
		if a.Label, err = l.p.CanonicalContext(q.over); err != nil {
			return nil, fmt.Errorf("--over: %w", err)
		}
		a.Decided = "the item is there already, and overwriting keeps the label"
		if q.relabel == "" {
			a.ask(l.p, "write", a.Label, "write")
		}
	case q.create != "":
		if a.Label, err = l.p.CanonicalContext(q.create); err != nil {
			return nil, fmt.Errorf("--create: %w", err)
		}
		a.Decided = "the connection's own choice, mac create"
		a.ask(l.p, "create", a.Label, "create")
	default:
		a.Decided = g.DescribeSelector(sel)
		if a.Steps, err = l.steps(a, sel); err != nil {
			return nil, err
		}
		a.ask(l.p, "create", a.Label, "create")
	}
	if q.relabel != "" {
		return a, a.askRelabel(l.p, q.relabel)
	}
	return a, nil
}

// steps explains the parts of a label that the policy computes: all of it, or,
// where a line of the contexts file has none, its level.
func (l *labeller) steps(a *labelAnswer, sel mac.Selector) ([]policy.Step, error) {
	s, err := l.p.ParseContext(a.Client)
	if err != nil {
		return nil, err
	}
	o, err := l.p.ParseContext(a.Server)
	if err != nil {
		return nil, err
	}
	c, _ := l.p.Class(avc.ClassItem.String())
	name := ""
	if sel < 0 {
		name = a.Key
	}
	steps := l.p.ExplainCreate(s, o, c, name).Steps
	if sel > 0 {
		line := a.Decided
		steps = slices.DeleteFunc(steps, func(s policy.Step) bool { return s.Part != "range" || !strings.Contains(line, "at the level") })
	}
	return steps, nil
}

func (a *labelAnswer) ask(p *policy.Policy, what, target string, perms ...string) {
	e := p.ExplainQuery(policy.Query{Source: a.Client, Target: target, Class: avc.ClassItem.String(), Perms: perms})
	a.Checks = append(a.Checks, labelCheck{what, e})
	a.Allowed = a.Allowed && e.Allowed
}

// askRelabel adds what mac relabel asks, in its order.
func (a *labelAnswer) askRelabel(p *policy.Policy, to string) error {
	label, err := p.CanonicalContext(to)
	if err != nil {
		return fmt.Errorf("--relabel: %w", err)
	}
	a.ask(p, "relabel", a.Label, "getattr", "setattr", "relabelfrom")
	a.ask(p, "relabel", label, "relabelto")
	var cs [3]policy.Context
	for i, s := range []string{a.Label, label, a.Client} {
		if cs[i], err = p.ParseContext(s); err != nil {
			return err
		}
	}
	c, _ := p.Class(avc.ClassItem.String())
	a.Trans = &transitionCheck{Old: a.Label, New: label, Reasons: p.ExplainValidateTrans(cs[0], cs[1], cs[2], c)}
	a.Trans.Allowed = len(a.Trans.Reasons) == 0
	a.Allowed = a.Allowed && a.Trans.Allowed
	return nil
}

func (a *labelAnswer) write(t *terminal, asJSON bool) error {
	var err error
	if asJSON {
		err = t.writeJSON(a)
	} else {
		err = t.write(a.text())
	}
	if err == nil && !a.Allowed {
		err = no()
	}
	return err
}

func verdict(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

func (a *labelAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client  %s\nserver  %s\nkey     %s\nlabel   %s\nbecause %s\n", a.Client, a.Server, a.Key, a.Label, a.Decided)
	for _, s := range a.Steps {
		fmt.Fprintf(&b, "  %-5s %s: %s\n", s.Part, s.Value, s.Why)
		if s.CIL != "" {
			fmt.Fprintf(&b, "        rule: %s\n", s.CIL)
		}
		if s.Expression != "" {
			fmt.Fprintf(&b, "        expression: %s\n        here: %s\n", s.Expression, s.Values)
		}
	}
	for _, c := range a.Checks {
		fmt.Fprintf(&b, "%-7s %s: { %s } on %s\n", c.What, verdict(c.Allowed), strings.Join(c.Perms, " "), c.Target)
		// Its first line has just been said.
		_, reasons, _ := strings.Cut(c.Explanation.String(), "\n")
		for line := range strings.Lines(reasons) {
			b.WriteString("  " + line)
		}
	}
	if a.Trans != nil {
		fmt.Fprintf(&b, "relabel %s: from %s to %s (validatetrans)\n", verdict(a.Trans.Allowed), a.Trans.Old, a.Trans.New)
		for i, r := range a.Trans.Reasons {
			fmt.Fprintf(&b, "  %d. %s\n     expression: %s\n     here: %s\n", i+1, r.Text, r.Expression, r.Values)
		}
	}
	return b.String()
}
