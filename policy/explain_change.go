package policy

import (
	"fmt"
	"slices"
)

// changes looks for another source and another target that constraints and
// role rules would let pass with the whole question: the same type, with as few as
// possible of range, user and role taken from the other side. There is none
// where a constraint asks for a type, or two ask for contrary things.
func (x *explainer) changes(denied bool) []Reason {
	if !denied || x.passes(x.s, x.o, x.want) {
		return nil
	}
	var rs []Reason
	if c := x.change(x.s, x.o, func(c *context) bool { return x.passes(subject{c, x.s.typ}, x.o, x.want) }); c != nil {
		rs = append(rs, x.changeReason("source", c))
	}
	if c := x.change(x.o, x.s, func(c *context) bool { return x.passes(x.s, subject{c, x.o.typ}, x.want) }); c != nil {
		rs = append(rs, x.changeReason("target", c))
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

// passes reports whether no constraint and no role rule, nor one of the
// bounds, takes any of want away.
func (x *explainer) passes(s, o subject, want AV) bool {
	p := x.p
	for i := range p.classByValue[x.c].constraints {
		k := &p.classByValue[x.c].constraints[i]
		if k.perms&want != 0 && !p.holds(k.expr, s, o, subject{}) {
			return false
		}
	}
	if x.c == p.processClass && want&p.processTrans != 0 && !p.roleChange(s.role, o.role) {
		return false
	}
	if up := p.typeByValue[s.typ].bounds; up != 0 {
		return x.passes(subject{s.context, up}, p.bound(o), want)
	}
	return true
}

// change finds a valid context like own that does, or nil.
func (x *explainer) change(own, other subject, does func(*context) bool) *context {
	ranges := x.ranges(own.context, other.context)
	for _, c := range []context{
		{user: own.user, role: own.role},
		{user: other.user, role: own.role},
		{user: own.user, role: other.role},
		{user: other.user, role: other.role},
	} {
		c.typ = own.context.typ
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
func join(a, b *level) level {
	l := level{sens: max(a.sens, b.sens), cats: slices.Clone(a.cats)}
	for bit := range b.cats.all {
		l.cats = l.cats.with(bit)
	}
	return l
}
