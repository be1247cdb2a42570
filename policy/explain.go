package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Query is an access question in words.
type Query struct {
	Source string   `json:"source"`
	Target string   `json:"target"`
	Class  string   `json:"class"`
	Perms  []string `json:"perms"`
}

// String is the question as audit messages put it.
func (q Query) String() string {
	return fmt.Sprintf("%s -> %s : %s %s", q.Source, q.Target, q.Class, permSet(q.Perms))
}

// Kind says what a Reason is about.
type Kind string

// The kinds, in the order in which an Explanation lists them.
const (
	KindInvalidContext    Kind = "invalid-context"    // the question makes no sense
	KindUnknownClass      Kind = "unknown-class"      // handle_unknown decides
	KindUnknownPermission Kind = "unknown-permission" // handle_unknown decides
	KindAllow             Kind = "allow"              // a rule that grants
	KindMissingRule       Kind = "missing-rule"       // no rule grants
	KindConditional       Kind = "conditional"        // a rule would grant, but is switched off
	KindConstraint        Kind = "constraint"         // a constraint that does not hold
	KindRole              Kind = "role"               // no role allow rule for a change of roles
	KindBounds            Kind = "bounds"             // the parent of the type may not either
	KindChange            Kind = "change"             // a context that would pass the constraints
	KindContrary          Kind = "contrary"           // there is no such context
	KindAuditAllow        Kind = "auditallow"         // the grant is logged
	KindDontAudit         Kind = "dontaudit"          // the denial is not logged
	KindPermissive        Kind = "permissive"         // the denial is not enforced
	KindNeverAudit        Kind = "neveraudit"         // nothing is logged
	KindDecider           Kind = "decider"            // who decided, in the explanation of a running server
)

// Reason is one thing that bears on an answer. Which fields are set depends on
// the kind.
type Reason struct {
	Kind  Kind     `json:"kind"`
	Perms []string `json:"perms,omitempty"` // what it is about; empty is the whole question
	Text  string   `json:"text"`            // a sentence for people

	// CIL is the rule that grants, hides or logs. Where Add is set it is
	// not there, and adding it takes this reason away.
	CIL string `json:"cil,omitempty"`
	Add bool   `json:"add,omitempty"`

	Near       []Near            `json:"near,omitempty"`       // missing-rule, constraint: any one of them would do
	Booleans   []map[string]bool `json:"booleans,omitempty"`   // conditional: settings, each of which takes this reason away
	Expression string            `json:"expression,omitempty"` // conditional, constraint: in infix
	Values     string            `json:"values,omitempty"`     // the expression with the values of this question
	Parent     []Reason          `json:"parent,omitempty"`     // bounds: why the parent may not
	Side       string            `json:"side,omitempty"`       // change: source or target
	Context    string            `json:"context,omitempty"`    // change: the other context
}

// Near is a rule that would grant, or a constraint that would hold, if a type had
// one more attribute.
type Near struct {
	Attribute string   `json:"attribute"`
	Type      string   `json:"type"`
	Perms     []string `json:"perms"`
	Rule      string   `json:"rule,omitempty"` // the rule that is there, in CIL
	CIL       string   `json:"cil"`            // the statement to add
	Types     int      `json:"types"`          // that have the attribute already
}

// Explanation is the answer to a Query with all reasons for it. It is made of
// plain values: encoding/json renders it for programs, String for people.
type Explanation struct {
	Query
	Allowed    bool     `json:"allowed"`    // all of it, by the rules
	Denied     []string `json:"denied"`     // the permissions that are not
	Permissive bool     `json:"permissive"` // a denial would be logged and let pass
	Failed     bool     `json:"failed"`     // the question makes no sense; nothing was decided
	Reasons    []Reason `json:"reasons"`
}

// ExplainQuery answers a question in words. Invalid contexts, unknown classes
// and unknown permissions are reasons, not errors.
func (p *Policy) ExplainQuery(q Query) Explanation {
	e := Explanation{Query: q}
	s, err1 := p.ParseContext(q.Source)
	t, err2 := p.ParseContext(q.Target)
	for _, err := range []error{err1, err2} {
		if err != nil {
			e.fail(KindInvalidContext, strings.TrimPrefix(err.Error(), "policy: "))
		}
	}
	if len(q.Perms) == 0 {
		e.fail(KindUnknownPermission, "no permission was asked for")
	}
	if e.Failed {
		return e
	}
	c, ok := p.Class(q.Class)
	if !ok {
		return p.unknownClass(e)
	}
	var want AV
	var unknown []string
	for _, name := range q.Perms {
		if av, ok := p.Perm(c, name); ok {
			want |= av
		} else {
			unknown = append(unknown, name)
		}
	}
	if want != 0 {
		e = p.Explain(s, t, c, want)
	}
	e.Query = q
	if len(unknown) > 0 {
		e.Reasons = slices.Insert(e.Reasons, 0, Reason{
			Kind: KindUnknownPermission, Perms: unknown,
			Text: fmt.Sprintf("class %s has no permission %s; handle_unknown is %s", q.Class, strings.Join(unknown, ", "), p.HandleUnknown()),
		})
		if p.HandleUnknown() != HandleAllow {
			e.Denied = append(e.Denied, unknown...)
		}
		e.Allowed = len(e.Denied) == 0
	}
	return e
}

func (e *Explanation) fail(k Kind, text string) {
	e.Failed = true
	e.Denied = e.Perms
	e.Reasons = append(e.Reasons, Reason{Kind: k, Text: text})
}

func (p *Policy) unknownClass(e Explanation) Explanation {
	e.Reasons = []Reason{{Kind: KindUnknownClass, Text: fmt.Sprintf("the policy has no class %s; handle_unknown is %s", e.Class, p.HandleUnknown())}}
	if e.Allowed = p.HandleUnknown() == HandleAllow; !e.Allowed {
		e.Denied = e.Perms
	}
	return e
}

// Explain says why s may or may not do want to t, an object of class c: what
// ComputeAV says, and each reason for it. Reasons do not hide each other: a
// permission that lacks a rule and also fails a constraint has both, since
// both must go.
func (p *Policy) Explain(s, t Context, c Class, want AV) Explanation {
	e := Explanation{Query: Query{p.ContextString(s), p.ContextString(t), p.ClassName(c), p.PermNames(c, want)}}
	if !p.knows(s) || !p.knows(t) {
		e.fail(KindInvalidContext, "a context is not of this policy")
		return e
	}
	if p.class(c) == nil {
		return p.unknownClass(e)
	}
	if want&p.Perms(c) == 0 {
		e.fail(KindUnknownPermission, "no permission was asked for that the class has")
		return e
	}
	want &= p.Perms(c)
	x := &explainer{p, subject{s.c, s.c.typ}, subject{t.c, t.c.typ}, c, want}
	d := p.ComputeAV(s, t, c)
	denied := want &^ d.Allowed
	e.Allowed = denied == 0
	e.Denied = p.PermNames(c, denied)
	e.Permissive = d.Permissive
	e.Reasons = append(x.grants(want&d.Allowed), x.denials(denied)...)
	e.Reasons = append(e.Reasons, x.changes(denied != 0)...)
	e.Reasons = append(e.Reasons, x.audits(want&d.Allowed, denied)...)
	if denied != 0 && d.Permissive {
		e.Reasons = append(e.Reasons, Reason{Kind: KindPermissive, Text: fmt.Sprintf("%s is permissive: the denial is logged and not enforced", p.typeByValue[s.c.typ].name)})
	}
	if d.NeverAudit {
		e.Reasons = append(e.Reasons, Reason{Kind: KindNeverAudit, Text: fmt.Sprintf("%s is marked neveraudit: nothing is logged", p.typeByValue[s.c.typ].name)})
	}
	return e
}

// explainer is one question.
type explainer struct {
	p    *Policy
	s, o subject
	c    Class
	want AV
}

func (x *explainer) names(av AV) []string { return x.p.PermNames(x.c, av) }

// denials are the reasons why denied is not allowed, those of the parent
// included.
func (x *explainer) denials(denied AV) []Reason {
	if denied == 0 {
		return nil
	}
	p := x.p
	te := p.typeEnforcement(x.s.typ, x.o.typ, x.c)
	var rs []Reason
	if missing := denied &^ te.allow; missing != 0 {
		rs = append(rs, x.missing(missing))
		rs = append(rs, x.switchedOff(missing, te.allow&x.want)...)
	}
	rs = append(rs, x.constraints(denied)...)
	if lost := denied & p.processTrans; x.c == p.processClass && lost != 0 && !p.roleChange(x.s.role, x.o.role) {
		from, to := p.roleByValue[x.s.role].name, p.roleByValue[x.o.role].name
		rs = append(rs, Reason{
			Kind: KindRole, Perms: x.names(lost), Add: true,
			Text: fmt.Sprintf("no rule allows role %s to change to role %s", from, to),
			CIL:  fmt.Sprintf("(roleallow %s %s)", from, to),
		})
	}
	if up := x.parent(); up != nil {
		if lost := denied &^ p.compute(up.s, up.o, x.c).allow; lost != 0 {
			rs = append(rs, Reason{
				Kind: KindBounds, Perms: x.names(lost),
				Text:   fmt.Sprintf("%s is bounded by %s, which may not do it to %s", p.typeByValue[x.s.typ].name, p.typeByValue[up.s.typ].name, p.typeByValue[up.o.typ].name),
				Parent: up.denials(lost),
			})
		}
	}
	return rs
}

// roleChange reports whether a process may go from one role to another.
func (t *tables) roleChange(from, to uint32) bool {
	_, ok := t.roleAllowed[roleAllow{from, to}]
	return ok || from == to
}

// constraints lists those that take one of denied away.
func (x *explainer) constraints(denied AV) []Reason {
	var rs []Reason
	for k := range x.failing(denied) {
		expr, values := x.p.infix(k.expr, x.s, x.o, subject{})
		rs = append(rs, Reason{
			Kind: KindConstraint, Perms: x.names(k.perms & denied), Expression: expr, Values: values,
			Text: fmt.Sprintf("a constraint on %s does not hold", permSet(x.names(k.perms&denied))),
			Near: x.exemptions(k),
		})
	}
	return rs
}

// permSet writes permissions as policies do.
func permSet(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	return "{ " + strings.Join(names, " ") + " }"
}
