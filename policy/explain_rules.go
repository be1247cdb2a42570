package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ruleRef is an access vector rule that matches a question.
type ruleRef struct {
	source, target uint16
	spec           uint16
	perms          AV  // what the rule names; of a dontaudit rule what it hides
	cond           int // index into condRules, or -1
}

// matching lists the access vector rules between the types of a question, in
// force or not.
func (x *explainer) matching() []ruleRef {
	p := x.p
	var out []ruleRef
	add := func(i, j, spec uint16, perms AV, cond int) {
		if spec == ruleAuditDeny {
			perms = ^perms
		}
		if perms != 0 {
			out = append(out, ruleRef{i, j, spec, perms, cond})
		}
	}
	for _, i := range p.attrs[x.s.typ] {
		for _, j := range p.attrs[x.o.typ] {
			n, ok := p.av.find(avKey(i, j, uint16(x.c), 0))
			if !ok {
				continue
			}
			e := &p.avRules[n]
			add(i, j, ruleAllow, e.allow, -1)
			add(i, j, ruleAuditAllow, e.auditAllow, -1)
			add(i, j, ruleAuditDeny, e.auditDeny, -1)
			for k := e.cond; k != 0; k = p.condNext[k-1] {
				r := &p.condRules[k-1]
				add(i, j, r.spec&ruleAV, AV(r.data), int(k-1))
			}
		}
	}
	return out
}

// cil writes a rule for some of its permissions.
func (x *explainer) cil(spec uint16, source, target uint16, perms AV) string {
	word := map[uint16]string{ruleAllow: "allow", ruleAuditAllow: "auditallow", ruleAuditDeny: "dontaudit"}[spec]
	t := x.p.typeByValue
	return fmt.Sprintf("(%s %s %s (%s (%s)))", word, t[source].name, t[target].name, x.p.ClassName(x.c), strings.Join(x.names(perms), " "))
}

// grants lists the rules in force that allow some of granted.
func (x *explainer) grants(granted AV) []Reason {
	return x.inForce(granted, ruleAllow, KindAllow, "granted by a rule")
}

// audits lists what the rules say about logging.
func (x *explainer) audits(granted, denied AV) []Reason {
	return append(x.inForce(granted, ruleAuditAllow, KindAuditAllow, "the grant is logged by a rule"),
		x.inForce(denied, ruleAuditDeny, KindDontAudit, "the denial is hidden by a rule")...)
}

// inForce lists the rules of one kind that are in force and name some of av.
func (x *explainer) inForce(av AV, spec uint16, kind Kind, text string) []Reason {
	if av == 0 {
		return nil
	}
	var rs []Reason
	for _, r := range x.matching() {
		if r.spec != spec || r.perms&av == 0 || r.cond >= 0 && !x.p.inForce(uint32(r.cond)) {
			continue
		}
		reason := Reason{Kind: kind, Perms: x.names(r.perms & av), CIL: x.cil(spec, r.source, r.target, r.perms), Text: text}
		for _, v := range []struct {
			typ  uint32
			attr uint16
		}{{x.s.typ, r.source}, {x.o.typ, r.target}} {
			if v.typ != uint32(v.attr) {
				reason.Text += fmt.Sprintf(", as %s is %s", x.p.typeByValue[v.typ].name, x.p.typeByValue[v.attr].name)
			}
		}
		if r.cond >= 0 {
			c := &x.p.conds[x.p.condBranch[r.cond]>>1]
			reason.Expression, reason.Values = x.p.condInfix(c.expr)
			reason.Text += ", under a condition"
		}
		rs = appendNew(rs, reason)
	}
	return rs
}

// missing is the rule that is not there.
func (x *explainer) missing(av AV) Reason {
	source, target := uint16(x.s.typ), uint16(x.o.typ)
	return Reason{
		Kind: KindMissingRule, Perms: x.names(av), Add: true,
		Text: fmt.Sprintf("no rule in force allows %s %s:%s %s", x.p.typeByValue[source].name, x.p.typeByValue[target].name, x.p.ClassName(x.c), permSet(x.names(av))),
		CIL:  x.cil(ruleAllow, source, target, av),
		Near: x.near(av),
	}
}

// maxNear bounds how many attributes a missing rule proposes.
const maxNear = 3

// near finds unconditional rules that miss by one attribute of the source or
// of the target: those that would grant most first, and of these the rarest
// attribute, since it gives away least.
func (x *explainer) near(av AV) []Near {
	p := x.p
	type candidate struct {
		rule   *avRule
		attr   uint16
		typ    uint32
		grants int
		types  int
	}
	var found []candidate
	size := map[uint16]int{}
	for i := range p.rules {
		r := &p.rules[i]
		if r.class != uint16(x.c) || r.spec != ruleAllow || AV(r.data)&av == 0 {
			continue
		}
		s, o := p.hasAttribute(x.s.typ, uint32(r.source)), p.hasAttribute(x.o.typ, uint32(r.target))
		c := candidate{rule: r, attr: r.source, typ: x.s.typ, grants: len(x.names(AV(r.data) & av))}
		if s && !o {
			c.attr, c.typ = r.target, x.o.typ
		} else if s || !o {
			continue
		}
		if p.typeByValue[c.attr].attribute() {
			size[c.attr] = 0
			found = append(found, c)
		}
	}
	p.countTypes(size)
	for i := range found {
		found[i].types = size[found[i].attr]
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.grants, a.grants), cmp.Compare(a.types, b.types))
	})
	var out []Near
	for _, c := range found[:min(len(found), maxNear)] {
		attr, typ := p.typeByValue[c.attr].name, p.typeByValue[c.typ].name
		out = append(out, Near{
			Attribute: attr, Type: typ, Perms: x.names(AV(c.rule.data) & av), Types: c.types,
			Rule: x.cil(ruleAllow, c.rule.source, c.rule.target, AV(c.rule.data)),
			CIL:  fmt.Sprintf("(typeattributeset %s (%s))", attr, typ),
		})
	}
	return out
}

// switchedOff lists the conditional rules that would allow some of missing,
// and which booleans would put them in force: without taking any of have, if
// that can be.
func (x *explainer) switchedOff(missing, have AV) []Reason {
	p := x.p
	var rs []Reason
	for _, r := range x.matching() {
		if r.spec != ruleAllow || r.cond < 0 || r.perms&missing == 0 || p.inForce(uint32(r.cond)) {
			continue
		}
		branch := p.condBranch[r.cond]
		c := &p.conds[branch>>1]
		reason := Reason{Kind: KindConditional, Perms: x.names(r.perms & missing), CIL: x.cil(ruleAllow, r.source, r.target, r.perms)}
		reason.Expression, reason.Values = p.condInfix(c.expr)
		state := "false"
		if branch&1 == branchFalse {
			state = "true"
		}
		reason.Text = fmt.Sprintf("a rule would allow %s, but its condition is %s", permSet(reason.Perms), state)
		want := branch&1 == branchTrue
		if reason.Booleans = x.settings(c, want, r.perms&missing|have); reason.Booleans == nil {
			if reason.Booleans = x.settings(c, want, r.perms&missing); reason.Booleans != nil {
				reason.Text += "; changing it takes away others of the permissions"
			}
		}
		rs = appendNew(rs, reason)
	}
	return rs
}

// appendNew appends a reason that is not there yet: policies have the same rule
// under the same condition more than once.
func appendNew(rs []Reason, r Reason) []Reason {
	if slices.ContainsFunc(rs, func(o Reason) bool {
		return o.CIL == r.CIL && o.Text == r.Text && o.Expression == r.Expression
	}) {
		return rs
	}
	return append(rs, r)
}

// Limits of settings: expressions over many booleans have many settings.
const (
	maxFlips    = 3
	maxSettings = 8
)

// settings finds the smallest sets of booleans to flip so that the expression
// gets the wanted value and type enforcement allows all of keep.
func (x *explainer) settings(c *cond, want bool, keep AV) []map[string]bool {
	var vars []uint32
	for _, e := range c.expr {
		if e.op == condBool && !slices.Contains(vars, e.boolean) {
			vars = append(vars, e.boolean)
		}
	}
	var out []map[string]bool
	q := &Policy{tables: x.p.tables, bools: slices.Clone(x.p.bools)}
	var flip func(from, left int, chosen []uint32)
	flip = func(from, left int, chosen []uint32) {
		if len(out) == maxSettings {
			return
		}
		if left == 0 {
			if evalCond(c.expr, q.bools) != want {
				return
			}
			q.evaluate()
			if keep&^q.typeEnforcement(x.s.typ, x.o.typ, x.c).allow != 0 {
				return
			}
			set := map[string]bool{}
			for _, v := range chosen {
				set[x.p.boolByValue[v-1].name] = q.bools[v-1]
			}
			out = append(out, set)
			return
		}
		for i := from; i < len(vars); i++ {
			q.bools[vars[i]-1] = !q.bools[vars[i]-1]
			flip(i+1, left-1, append(chosen, vars[i]))
			q.bools[vars[i]-1] = !q.bools[vars[i]-1]
		}
	}
	for n := 1; n <= min(maxFlips, len(vars)) && len(out) == 0; n++ {
		flip(0, n, nil)
	}
	return out
}
