package policy

import (
	"iter"
	"slices"
)

// contexts yields every context of the type of own that a constraint could tell
// from the others when it compares it with other: each user and role that may have
// the type (object_r stays with objects), and each range up to the choice of
// categories. Not all are valid.
//
// Levels are compared by sensitivity and by inclusion of categories, with the two
// levels of other and with each other. So it does not matter which categories of a
// region (those of other's low level, of its high level, of neither) a level has, but
// only whether it has none, one, all but one, or all of them.
func (x *explainer) contexts(own, other *context) iter.Seq[context] {
	return func(yield func(context) bool) {
		p := x.p
		for _, role := range first(own.role, len(p.roleByValue)) {
			if (role == objectR) != (own.role == objectR) {
				continue
			}
			for _, user := range first(own.user, len(p.userByValue)) {
				c := context{user: user, role: role, typ: own.typ, span: own.span}
				if !p.mayHave(&c) {
					continue
				}
				if !p.mls() {
					if !yield(c) {
						return
					}
					continue
				}
				for r := range p.everyRange(&c, &other.span) {
					if c.span = r; !yield(c) {
						return
					}
				}
			}
		}
	}
}

// first lists the values 1 to n-1, one of them first.
func first(v uint32, n int) []uint32 {
	out := []uint32{v}
	for i := uint32(1); i < uint32(n); i++ {
		if i != v {
			out = append(out, i)
		}
	}
	return out
}

// mayHave reports whether user, role and type of c belong together.
func (t *tables) mayHave(c *context) bool {
	u, r := t.user(c.user), t.role(c.role)
	if u == nil || r == nil {
		return false
	}
	return c.role == objectR || r.types.has(c.typ-1) && u.roles.has(c.role-1)
}

// everyRange yields the ranges that the user and role of c may have, up to
// categories that other does not tell apart.
func (p *Policy) everyRange(c *context, other *mlsRange) iter.Seq[mlsRange] {
	return func(yield func(mlsRange) bool) {
		var within *mlsRange // objects are not bound by the user's range
		if c.role != objectR {
			within = &p.user(c.user).span
		}
		sens := p.sensitivitiesToTry(other, within)
		for i, low := range sens {
			for _, high := range sens[i:] {
				if !p.rangesBetween(low, high, other, within, yield) {
					return
				}
			}
		}
	}
}

// sensitivitiesToTry are those of other and of the user's range, and one between
// each two of them: in ascending order.
func (p *Policy) sensitivitiesToTry(other, within *mlsRange) []uint32 {
	marks := []uint32{other.low.sens, other.high.sens}
	lowest, highest := uint32(1), uint32(len(p.sensByValue)-1)
	if within != nil {
		lowest, highest = within.low.sens, within.high.sens
	}
	marks = append(marks, lowest, highest)
	slices.Sort(marks)
	var out []uint32
	for i, m := range slices.Compact(marks) {
		// Two between the marks, for a range that has both ends there.
		if i > 0 {
			for between := out[len(out)-1] + 1; between < m && between <= out[len(out)-1]+2; between++ {
				out = append(out, between)
			}
		}
		out = append(out, m)
	}
	return slices.DeleteFunc(out, func(s uint32) bool { return s < lowest || s > highest || p.sensitivity(s) == nil })
}

// parts are what a low and a high level have of a region.
type parts struct{ low, high bitmap }

// rangesBetween yields the ranges from one sensitivity to another.
func (p *Policy) rangesBetween(lowSens, highSens uint32, other, within *mlsRange, yield func(mlsRange) bool) bool {
	allowed := p.sensitivity(highSens).level.cats
	low := allowed.and(p.sensitivity(lowSens).level.cats)
	var must bitmap
	if within != nil {
		must = within.low.cats
		allowed = allowed.and(within.high.cats)
		low = low.and(allowed)
	}
	if !low.contains(must) {
		return true
	}
	var choices [][]parts
	for _, region := range split([]bitmap{allowed}, must, low, other.low.cats, other.high.cats) {
		choices = append(choices, partsOf(region, must.contains(region), low.contains(region)))
	}
	var choose func(n int, l, h bitmap) bool
	choose = func(n int, l, h bitmap) bool {
		if n == len(choices) {
			return yield(makeRange(level{lowSens, l}, level{highSens, h}))
		}
		for _, c := range choices[n] {
			if !choose(n+1, l.or(c.low), h.or(c.high)) {
				return false
			}
		}
		return true
	}
	return choose(0, nil, nil)
}

// split parts regions by what is in each of sets, and leaves empty ones out.
func split(regions []bitmap, sets ...bitmap) []bitmap {
	for _, set := range sets {
		var out []bitmap
		for _, r := range regions {
			for _, part := range []bitmap{r.and(set), r.without(set)} {
				if len(part) > 0 {
					out = append(out, part)
				}
			}
		}
		regions = out
	}
	return regions
}

// partsOf lists what the two levels may have of a region: all of it, if they must;
// else nothing, one category, all but one, or all, the low level no more than the
// high one, and nothing if it may have none.
func partsOf(region bitmap, must, low bool) (out []parts) {
	if must {
		return []parts{{region, region}}
	}
	var one bitmap
	for cat := range region.all {
		one = one.with(cat)
		break
	}
	butOne := region.without(bitmap(nil).with(uint32(region.end() - 1)))
	sets := []bitmap{nil}
	for _, s := range []bitmap{one, butOne, region} {
		if !s.equal(sets[len(sets)-1]) {
			sets = append(sets, s)
		}
	}
	for i, h := range sets {
		for _, l := range sets[:i+1] {
			if low || l == nil {
				out = append(out, parts{l, h})
			}
		}
	}
	return out
}
