package policy

import (
	"fmt"
	"strings"
)

// Step says how one part of a new context was found.
type Step struct {
	Part       string `json:"part"` // user, role, type or range
	Value      string `json:"value"`
	Why        string `json:"why"`
	CIL        string `json:"cil,omitempty"`        // the rule, where one decided
	Expression string `json:"expression,omitempty"` // of a conditional rule
	Values     string `json:"values,omitempty"`
}

// CreateExplanation is the answer of ComputeCreate with the steps to it.
type CreateExplanation struct {
	Source  string `json:"source"`
	Target  string `json:"target"`
	Class   string `json:"class"`
	Name    string `json:"name,omitempty"`
	Context string `json:"context,omitempty"` // the new context, if there is one
	Error   string `json:"error,omitempty"`   // why there is none
	Steps   []Step `json:"steps,omitempty"`
}

// String is the explanation for people.
func (e CreateExplanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s : %s", e.Source, e.Target, e.Class)
	if e.Name != "" {
		fmt.Fprintf(&b, " %q", e.Name)
	}
	if e.Error != "" {
		fmt.Fprintf(&b, " -> error: %s\n", e.Error)
	} else {
		fmt.Fprintf(&b, " -> %s\n", e.Context)
	}
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "%-6s%s: %s\n", s.Part, s.Value, s.Why)
		if s.CIL != "" {
			fmt.Fprintf(&b, "      rule: %s\n", s.CIL)
		}
		if s.Expression != "" {
			fmt.Fprintf(&b, "      expression: %s\n      here: %s\n", s.Expression, s.Values)
		}
	}
	return b.String()
}

// ExplainCreate says what ComputeCreate answers and what decided each part of
// it.
func (p *Policy) ExplainCreate(s, t Context, c Class, objname string) CreateExplanation {
	e := CreateExplanation{Source: p.ContextString(s), Target: p.ContextString(t), Class: p.ClassName(c), Name: objname}
	made, err := p.ComputeCreate(s, t, c, objname)
	if err != nil {
		e.Error = strings.TrimPrefix(err.Error(), "policy: ")
	} else {
		e.Context = made.String()
	}
	d := p.class(c)
	if !p.knows(s) || !p.knows(t) || d == nil {
		return e
	}
	x := &createExplainer{p, d, s.c, t.c}
	e.Steps = []Step{x.user(), x.role(), x.typ(objname)}
	if p.mls() {
		e.Steps = append(e.Steps, x.span())
	}
	return e
}

type createExplainer struct {
	p    *Policy
	d    *class
	s, o *context
}

// byDefault says what a class's default is for, in the words of policies.
func (x *createExplainer) byDefault(part, side string) string {
	return fmt.Sprintf("class %s has default_%s %s", x.d.name, part, side)
}

// kind says what the class is where that decides.
func (x *createExplainer) kind() string {
	if Class(x.d.value) == x.p.processClass {
		return "a process inherits it from the source"
	}
	return "a socket inherits it from the source"
}

func (x *createExplainer) user() Step {
	s := Step{Part: "user", Value: x.p.userByValue[x.p.newUser(x.d, x.s, x.o, ruleTransition)].name, Why: "that of the source"}
	switch x.d.defaultUser {
	case defaultSource:
		s.Why = x.byDefault("user", "source")
	case defaultTarget:
		s.Why = x.byDefault("user", "target")
	}
	return s
}

func (x *createExplainer) role() Step {
	p := x.p
	v := p.newRole(x.d, x.s, x.o, ruleTransition)
	s := Step{Part: "role", Value: p.roleByValue[v].name}
	_, ruled := p.roleTransTo[roleTransKey{x.s.role, x.o.typ, x.d.value}]
	switch {
	case ruled:
		s.Why = "a role transition"
		s.CIL = fmt.Sprintf("(roletransition %s %s %s %s)", p.roleByValue[x.s.role].name, p.typeByValue[x.o.typ].name, x.d.name, s.Value)
	case x.d.defaultRole == defaultSource:
		s.Why = x.byDefault("role", "source")
	case x.d.defaultRole == defaultTarget:
		s.Why = x.byDefault("role", "target")
	case p.inherits(x.d):
		s.Why = x.kind()
	default:
		s.Why = "objects have it"
	}
	return s
}

func (x *createExplainer) typ(objname string) Step {
	p := x.p
	v := p.newType(x.d, x.s, x.o, ruleTransition, objname)
	s := Step{Part: "type", Value: p.typeByValue[v].name}
	from, to := p.typeByValue[x.s.typ].name, p.typeByValue[x.o.typ].name
	if objname != "" {
		if _, ok := p.namedType(x.s.typ, x.o.typ, x.d.value, objname); ok {
			s.Why = fmt.Sprintf("a type transition for objects named %q", objname)
			s.CIL = fmt.Sprintf("(typetransition %s %s %s %q %s)", from, to, x.d.name, objname, s.Value)
			return s
		}
	}
	if n, ok := p.typeRules.find(avKey(uint16(x.s.typ), uint16(x.o.typ), uint16(x.d.value), ruleTransition)); ok {
		e := &p.typeEntries[n]
		cil := fmt.Sprintf("(typetransition %s %s %s %s)", from, to, x.d.name, s.Value)
		if e.newType != 0 {
			s.Why, s.CIL = "a type transition", cil
			return s
		}
		for k := e.cond; k != 0; k = p.condNext[k-1] {
			if p.inForce(k - 1) {
				s.Why, s.CIL = "a type transition under a condition", cil
				s.Expression, s.Values = p.condInfix(p.conds[p.condBranch[k-1]>>1].expr)
				return s
			}
		}
	}
	switch {
	case x.d.defaultType == defaultSource:
		s.Why = x.byDefault("type", "source")
	case x.d.defaultType == defaultTarget:
		s.Why = x.byDefault("type", "target")
	case p.inherits(x.d):
		s.Why = x.kind()
	default:
		s.Why = "no rule names it, so that of the target"
	}
	return s
}

var rangeDefaults = map[uint32]string{
	defaultSourceLow: "source low", defaultSourceHigh: "source high", defaultSourceLowHigh: "source low-high",
	defaultTargetLow: "target low", defaultTargetHigh: "target high", defaultTargetLowHigh: "target low-high", defaultGLBLUB: "glblub",
}

func (x *createExplainer) span() Step {
	p := x.p
	s := Step{Part: "range", Value: "none"}
	if r, ok := p.newRange(x.d, x.s, x.o, ruleTransition); ok {
		s.Value = p.rangeString(&r)
	}
	_, ruled := p.rangeTo[typePairClass{x.s.typ, x.o.typ, x.d.value}]
	switch {
	case ruled:
		s.Why = fmt.Sprintf("a range transition from %s and %s", p.typeByValue[x.s.typ].name, p.typeByValue[x.o.typ].name)
	case x.d.defaultRange != 0:
		s.Why = x.byDefault("range", rangeDefaults[x.d.defaultRange])
	case p.inherits(x.d):
		s.Why = x.kind()
	default:
		s.Why = "the low level of the source"
	}
	return s
}

// ExplainValidateTrans lists the validatetrans rules that keep task from
// changing an object of class c from old to new: none, if ValidateTrans allows
// it, with the values of the three contexts.
func (p *Policy) ExplainValidateTrans(old, new, task Context, c Class) []Reason {
	d := p.class(c)
	switch {
	case d == nil:
		return []Reason{{Kind: KindUnknownClass, Text: "the policy has no such class"}}
	case !p.knows(old) || !p.knows(new) || !p.knows(task):
		return []Reason{{Kind: KindInvalidContext, Text: "a context is not of this policy"}}
	}
	o, n, x := subject{old.c, old.c.typ}, subject{new.c, new.c.typ}, subject{task.c, task.c.typ}
	var rs []Reason
	for i := range d.validatetrans {
		if k := &d.validatetrans[i]; !p.holds(k.expr, o, n, x) {
			r := Reason{Kind: KindConstraint, Text: fmt.Sprintf("a validatetrans rule on %s does not hold", d.name)}
			r.Expression, r.Values = p.infix(k.expr, o, n, x)
			rs = append(rs, r)
		}
	}
	return rs
}
