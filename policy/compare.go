package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Outcome is what one policy answers to a Query, in words.
type Outcome struct {
	Error      string   `json:"error,omitempty"` // the question makes no sense to this policy
	Allowed    []string `json:"allowed"`
	Logged     []string `json:"logged,omitempty"` // of those allowed
	Silent     []string `json:"silent,omitempty"` // of those denied
	Permissive bool     `json:"permissive,omitempty"`
}

// String is the outcome on one line.
func (o Outcome) String() string {
	if o.Error != "" {
		return "error: " + o.Error
	}
	s := permSet(o.Allowed)
	if len(o.Logged) > 0 {
		s += " logged " + permSet(o.Logged)
	}
	if len(o.Silent) > 0 {
		s += " silent " + permSet(o.Silent)
	}
	if o.Permissive {
		s += " permissive"
	}
	return s
}

func (o Outcome) equal(other Outcome) bool {
	return o.Error == other.Error && o.Permissive == other.Permissive &&
		slices.Equal(o.Allowed, other.Allowed) && slices.Equal(o.Logged, other.Logged) && slices.Equal(o.Silent, other.Silent)
}

// Difference is a question that two policies answer differently.
type Difference struct {
	Query  Query   `json:"query"` // of the permissions of both, only those asked for
	Before Outcome `json:"before"`
	After  Outcome `json:"after"`
	// Gained and Lost are the permissions that only After and only Before
	// allows. Both are empty where just logging, an error or a permissive
	// domain differs.
	Gained []string `json:"gained,omitempty"`
	Lost   []string `json:"lost,omitempty"`
}

// String is the difference on a few lines.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -> %s : %s\n- %s\n+ %s\n", d.Query.Source, d.Query.Target, d.Query.Class, d.Before, d.After)
	return b.String()
}

// Compare asks two policies the same questions, by name, and yields those with
// different answers in the order of the questions. The policies may be one
// with different booleans, or of different versions with other class numbers.
// A Query without Perms asks for all that either policy defines. Nothing is
// held back: a caller may stop, or count questions as it yields them.
func Compare(before, after *Policy, queries iter.Seq[Query]) iter.Seq[Difference] {
	return func(yield func(Difference) bool) {
		for q := range queries {
			if len(q.Perms) == 0 {
				q.Perms = bothPerms(before, after, q.Class)
			}
			d := Difference{Query: q, Before: before.Outcome(q), After: after.Outcome(q)}
			if d.Before.equal(d.After) {
				continue
			}
			d.Gained = without(d.After.Allowed, d.Before.Allowed)
			d.Lost = without(d.Before.Allowed, d.After.Allowed)
			if !yield(d) {
				return
			}
		}
	}
}

func bothPerms(a, b *Policy, class string) []string {
	var out []string
	for _, p := range []*Policy{a, b} {
		if c, ok := p.Class(class); ok {
			for _, n := range p.PermNames(c, ^AV(0)) {
				if !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

func without(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// Outcome answers q. Unknown classes and permissions are allowed or not as
// HandleUnknown says; an invalid context is an error. The lists keep the order
// of q.Perms.
func (p *Policy) Outcome(q Query) Outcome {
	s, err := p.ParseContext(q.Source)
	if err == nil {
		var t Context
		if t, err = p.ParseContext(q.Target); err == nil {
			return p.outcome(s, t, q)
		}
	}
	return Outcome{Error: strings.TrimPrefix(err.Error(), "policy: ")}
}

func (p *Policy) outcome(s, t Context, q Query) Outcome {
	c, _ := p.Class(q.Class)
	d := p.ComputeAV(s, t, c)
	o := Outcome{Permissive: d.Permissive}
	for _, name := range q.Perms {
		av, ok := p.Perm(c, name)
		switch {
		case !ok && p.HandleUnknown() == HandleAllow:
			o.Allowed = append(o.Allowed, name)
		case !ok:
		case d.Allowed&av != 0:
			o.Allowed = append(o.Allowed, name)
			if d.AuditAllow&av != 0 {
				o.Logged = append(o.Logged, name)
			}
		case d.AuditDeny&av == 0:
			o.Silent = append(o.Silent, name)
		}
	}
	return o
}

// AllPairs yields a Query without Perms for each pair of contexts and class.
func AllPairs(sources, targets, classes []string) iter.Seq[Query] {
	return func(yield func(Query) bool) {
		for _, s := range sources {
			for _, t := range targets {
				for _, c := range classes {
					if !yield(Query{Source: s, Target: t, Class: c}) {
						return
					}
				}
			}
		}
	}
}

// RuleTypes lists the types that any rule on class c, conditional ones
// included, allows something (sources), and those that it allows something to
// (targets): the ones worth comparing. Both lists are sorted and the caller's.
func (p *Policy) RuleTypes(c Class) (sources, targets []string) {
	src, tgt := map[uint16]bool{}, map[uint16]bool{}
	for _, list := range [][]avRule{p.rules, p.condRules} {
		for i := range list {
			if r := &list[i]; r.class == uint16(c) && r.spec&ruleAllow != 0 {
				src[r.source], tgt[r.target] = true, true
			}
		}
	}
	for v, t := range p.typeByValue {
		if t == nil || t.attribute() {
			continue
		}
		named := func(set map[uint16]bool) bool {
			return slices.ContainsFunc(p.attrs[v], func(a uint16) bool { return set[a] })
		}
		if named(src) {
			sources = append(sources, t.name)
		}
		if named(tgt) {
			targets = append(targets, t.name)
		}
	}
	slices.Sort(sources)
	slices.Sort(targets)
	return sources, targets
}

// ContextOfType is a context that a type may have: with a role other than
// object_r if any has the type, with the first user by name that has the role,
// and with the whole range of that user; else with object_r and the low level
// of the first user.
func (p *Policy) ContextOfType(name string) (Context, error) {
	v, ok := p.typeNames[name]
	if !ok || p.typeByValue[v].attribute() {
		return Context{}, fmt.Errorf("policy: expected the name of a type, found %q", name)
	}
	roles := slices.DeleteFunc(p.Roles(), func(r string) bool { return r == objectRName })
	for _, roleName := range append(roles, objectRName) {
		role := p.roleNames[roleName]
		for _, userName := range p.Users() {
			u := p.userByValue[p.userNames[userName]]
			c := &context{user: u.value, role: role, typ: v, span: makeRange(u.span.low, u.span.high)}
			if role == objectR {
				c.span = makeRange(u.span.low, u.span.low)
			}
			if p.invalid(c) == "" {
				return Context{p.tables, c}, nil
			}
		}
	}
	return Context{}, fmt.Errorf("policy: no user and role may have type %q", name)
}
