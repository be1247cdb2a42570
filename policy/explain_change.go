package policy

import (
	"fmt"
)

// changes looks for another source and another target that constraints and
// role rules would let pass with the whole question: the same type, with as few as
// possible of range, user and role taken from the other side. Where there is
// neither, it looks further; where there is none at all, and no attributes would
// exempt the types, it says that.
func (x *explainer) changes(denied bool) []Reason {
	if !denied || x.passes(x.s, x.o, passing{}) {
		return nil
	}
	// Beside a constraint that fails, a missing rule for these two roles is one to
	// add, as another reason says; by itself it is what another context avoids.
	with := passing{roles: !x.passes(x.s, x.o, passing{roles: true})}
	type side struct {
		name       string
		own, other subject
		does       func(*context) bool
	}
	sides := []side{
		{"source", x.s, x.o, func(c *context) bool { return x.passes(subject{c, x.s.typ}, x.o, with) }},
		{"target", x.o, x.s, func(c *context) bool { return x.passes(x.s, subject{c, x.o.typ}, with) }},
	}
	var rs []Reason
	for _, s := range sides {
		if c := x.nearChange(s.own, s.other, s.does); c != nil {
			rs = append(rs, x.changeReason(s.name, c))
		}
	}
	all := true
	for i := 0; i < len(sides) && len(rs) == 0; i++ {
		c, complete := x.anyChange(sides[i].own, sides[i].other, sides[i].does)
		if all = all && complete; c != nil {
			rs = append(rs, x.changeReason(sides[i].name, c))
		}
	}
	if len(rs) == 0 && with.roles && !x.exempted() {
		is := "there is"
		if !all {
			is = "among those that were tried there is"
		}
		rs = append(rs, Reason{
			Kind: KindContrary, Perms: x.names(x.want),
			Text: is + " no other user, role or range, of the source alone or of the target alone, for which the constraints would hold together",
		})
	}
	return rs
}

func (x *explainer) changeReason(side string, c *context) Reason {
	text := x.p.contextString(c)
	return Reason{
		Kind: KindChange, Perms: x.names(x.want), Side: side, Context: text,
		Text: fmt.Sprintf("the constraints would hold for a %s of %s", side, text),
	}
}

// passing says what a question must not pass by itself.
type passing struct {
	members []member // attributes that types are given
	roles   bool     // the change from the one role asked about to the other is allowed
}

// passes reports whether no constraint and no role rule, nor one of the
// bounds, takes any of what is asked for away.
func (x *explainer) passes(s, o subject, with passing) bool {
	p := x.p
	for i := range p.classByValue[x.c].constraints {
		k := &p.classByValue[x.c].constraints[i]
		if k.perms&x.want == 0 {
			continue
		}
		expr := k.expr
		if len(with.members) > 0 {
			expr = withMembers(expr, with.members)
		}
		if !p.holds(expr, s, o, subject{}) {
			return false
		}
	}
	if x.c == p.processClass && x.want&p.processTrans != 0 && !p.roleChange(s.role, o.role) &&
		!(with.roles && s.role == x.s.role && o.role == x.o.role) {
		return false
	}
	if up := p.typeByValue[s.typ].bounds; up != 0 {
		return x.passes(subject{s.context, up}, p.bound(o), with)
	}
	return true
}

// maxContexts bounds how many contexts one search tries: some tenths of a
// second. Only policies with very many roles and sensitivities reach it.
const maxContexts = 1 << 18

// nearChange finds a valid context like own that does, made of what the two sides
// have already, or nil. object_r stays with objects.
func (x *explainer) nearChange(own, other subject, does func(*context) bool) *context {
	ranges := x.ranges(own.context, other.context)
	for _, c := range []context{
		{user: own.user, role: own.role},
		{user: other.user, role: own.role},
		{user: own.user, role: other.role},
		{user: other.user, role: other.role},
	} {
		if c.typ = own.context.typ; (c.role == objectR) != (own.role == objectR) {
			continue
		}
		for _, r := range ranges {
			c.span = r
			if x.p.invalid(&c) == "" && does(&c) {
				found := c
				return &found
			}
		}
	}
	return nil
}

// anyChange finds any valid context like own that does, or nil. complete reports
// that nothing was left out, up to categories that no constraint can tell apart.
func (x *explainer) anyChange(own, other subject, does func(*context) bool) (found *context, complete bool) {
	n := 0
	for c := range x.contexts(own.context, other.context) {
		if x.p.invalid(&c) == "" && does(&c) {
			return &c, true
		}
		if n++; n == maxContexts {
			return nil, false
		}
	}
	return nil, true
}

// ranges are the ranges that the levels of two contexts and their joins make,
// nearest to own first.
func (x *explainer) ranges(own, other *context) []mlsRange {
	if !x.p.mls() {
		return []mlsRange{own.span}
	}
	s, o := &own.span, &other.span
	levels := []level{s.low, s.high, o.low, o.high, join(&s.low, &o.low), join(&s.high, &o.high), {sens: s.low.sens}, {sens: o.low.sens}}
	out := []mlsRange{own.span}
	// One end changed, then both.
	for _, l := range levels {
		out = append(out, makeRange(s.low, l), makeRange(l, s.high))
	}
	for _, l := range levels {
		for _, h := range levels {
			out = append(out, makeRange(l, h))
		}
	}
	return out
}

// join is the least level that dominates both.
func join(a, b *level) level { return level{max(a.sens, b.sens), a.cats.or(b.cats)} }
