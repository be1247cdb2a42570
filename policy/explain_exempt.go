package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// Constraints exempt types by attributes: (h1 dom h2 or t1 == mlsfileread). What
// follows finds the attributes that would do.

// member is a type that is given one more attribute, on trial.
type member struct{ typ, attr uint32 }

// withMembers is an expression as it would be compiled if types had more
// attributes. Only policies of version 29 and later remember attributes in
// constraints; in others nothing changes. expr itself is not changed.
func withMembers(expr []consOp, more []member) []consOp {
	out := expr
	for i := range expr {
		e := &expr[i]
		if !namesAttributes(e) {
			continue
		}
		for _, m := range more {
			if !e.source.types.has(m.attr-1) || e.names.has(m.typ-1) {
				continue
			}
			if &out[0] == &expr[0] {
				out = slices.Clone(expr)
			}
			out[i].names = out[i].names.with(m.typ - 1)
		}
	}
	return out
}

// namesAttributes reports whether a step compares a type with a list that its
// author wrote, and that the policy remembers as it was written.
func namesAttributes(e *consOp) bool {
	return e.kind == consNames && e.attr&attrType != 0 && e.source != nil && len(e.source.negset) == 0 && e.source.flags == 0
}

// exemptions lists the attributes, any one of which lets a constraint hold that
// does not, the rarest first, since it gives away least.
func (x *explainer) exemptions(k *constraint) []Near {
	var found []member
	size := map[uint16]int{}
	for i := range k.expr {
		e := &k.expr[i]
		if !namesAttributes(e) || e.attr&attrXTarget != 0 {
			continue
		}
		typ := x.s.typ
		if e.attr&attrTarget != 0 {
			typ = x.o.typ
		}
		for v := range e.source.types.all {
			m := member{typ, v + 1}
			if t := x.p.typ(m.attr); t == nil || !t.attribute() || slices.Contains(found, m) || x.p.hasAttribute(typ, m.attr) {
				continue
			}
			if x.p.holds(withMembers(k.expr, []member{m}), x.s, x.o, subject{}) {
				found = append(found, m)
				size[uint16(m.attr)] = 0
			}
		}
	}
	x.p.countTypes(size)
	slices.SortStableFunc(found, func(a, b member) int { return cmp.Compare(size[uint16(a.attr)], size[uint16(b.attr)]) })
	var out []Near
	for _, m := range found[:min(len(found), maxNear)] {
		out = append(out, Near{
			Attribute: x.p.typeByValue[m.attr].name, Type: x.p.typeByValue[m.typ].name, Types: size[uint16(m.attr)],
			Perms: x.names(k.perms & x.want), CIL: x.p.memberCIL(m),
		})
	}
	return out
}

func (t *tables) memberCIL(m member) string {
	return fmt.Sprintf("(typeattributeset %s (%s))", t.typeByValue[m.attr].name, t.typeByValue[m.typ].name)
}

func (p *Policy) hasAttribute(typ, attr uint32) bool {
	_, ok := slices.BinarySearch(p.attrs[typ], uint16(attr))
	return ok
}

// countTypes counts the types that have the attributes of size.
func (p *Policy) countTypes(size map[uint16]int) {
	for v := range p.attrs {
		if p.typeByValue[v] == nil || p.typeByValue[v].attribute() {
			continue
		}
		for _, a := range p.attrs[v] {
			if n, ok := size[a]; ok {
				size[a] = n + 1
			}
		}
	}
}

// exempted reports whether the first exemption of each constraint that fails,
// bounds included, would let the whole question pass all of them. Each may be
// right for its own constraint and break another.
func (x *explainer) exempted() bool {
	var more []member
	for y := x; y != nil; y = y.parent() {
		for k := range y.failing(y.want) {
			near := y.exemptions(k)
			if len(near) == 0 {
				return false
			}
			more = append(more, member{y.p.typeNames[near[0].Type], y.p.typeNames[near[0].Attribute]})
		}
	}
	return x.passes(x.s, x.o, passing{members: more, roles: true})
}

// parent is the same question about the bounds, or nil.
func (x *explainer) parent() *explainer {
	up := x.p.typeByValue[x.s.typ].bounds
	if up == 0 {
		return nil
	}
	return &explainer{x.p, subject{x.s.context, up}, x.p.bound(x.o), x.c, x.want}
}

// failing yields the constraints on av that do not hold.
func (x *explainer) failing(av AV) func(yield func(*constraint) bool) {
	return func(yield func(*constraint) bool) {
		list := x.p.classByValue[x.c].constraints
		for i := range list {
			k := &list[i]
			if k.perms&av != 0 && !x.p.holds(k.expr, x.s, x.o, subject{}) && !yield(k) {
				return
			}
		}
	}
}
