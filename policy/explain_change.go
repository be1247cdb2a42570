package policy

import (
	"fmt"
)

// changes looks for another source and another target that constraints and
// role rules would let pass with the whole question: the same type, with as few as
// possible of range, user and role taken from the other side. Where there is
// neither, and no attribute would exempt a type, nothing of one side alone can be
// changed: the reason says so.
func (x *explainer) changes(denied bool) []Reason {
	if !denied || x.passes(x.s, x.o, passing{}) {
		return nil
	}
	var rs []Reason
	source, all1 := x.change(x.s, x.o, func(c *context) bool { return x.passes(subject{c, x.s.typ}, x.o, passing{}) })
	if source != nil {
		rs = append(rs, x.changeReason("source", source))
	}
	target, all2 := x.change(x.o, x.s, func(c *context) bool { return x.passes(x.s, subject{c, x.o.typ}, passing{}) })
	if target != nil {
		rs = append(rs, x.changeReason("target", target))
	}
	if len(rs) == 0 && !x.passes(x.s, x.o, passing{anyRole: true}) && !x.exempted() {
		is := "there is"
		if !all1 || !all2 {
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
	anyRole bool     // changes of roles are allowed
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
	if x.c == p.processClass && x.want&p.processTrans != 0 && !with.anyRole && !p.roleChange(s.role, o.role) {
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

// change finds a valid context like own that does, or nil. all reports that there
// is no other than those that were tried, up to categories that no constraint can
// tell apart.
func (x *explainer) change(own, other subject, does func(*context) bool) (found *context, all bool) {
	try := func(c context) bool {
		if x.p.invalid(&c) != "" || !does(&c) {
			return false
		}
		found = &c
		return true
	}
	// What the two sides have already, nearest to own first.
	ranges := x.ranges(own.context, other.context)
	for _, c := range []context{
		{user: own.user, role: own.role},
		{user: other.user, role: own.role},
		{user: own.user, role: other.role},
		{user: other.user, role: other.role},
	} {
		c.typ = own.context.typ
		for _, r := range ranges {
			if c.span = r; try(c) {
				return found, true
			}
		}
	}
	// Then whatever there is.
	n := 0
	for c := range x.contexts(own.context, other.context) {
		if try(c) {
			return found, true
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
