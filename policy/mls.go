package policy

// Levels are ordered by sensitivity and by sets of categories: a dominates b
// if it is at least as sensitive and has all categories of b. Two levels that
// do not dominate each other are incomparable.

func (a *level) equal(b *level) bool { return a.sens == b.sens && a.cats.equal(b.cats) }

func (a *level) dominates(b *level) bool { return a.sens >= b.sens && a.cats.contains(b.cats) }

// contains reports whether r lies inside s.
func (s *mlsRange) contains(r *mlsRange) bool {
	return r.low.dominates(&s.low) && s.high.dominates(&r.high)
}

func compareLevels(op uint32, a, b *level) bool {
	switch op {
	case opEq:
		return a.equal(b)
	case opNeq:
		return !a.equal(b)
	case opDom:
		return a.dominates(b)
	case opDomBy:
		return b.dominates(a)
	default: // opIncomp
		return !a.dominates(b) && !b.dominates(a)
	}
}

// validLevel reports whether the sensitivity exists and may have all these
// categories.
func (t *tables) validLevel(l *level) bool {
	s := t.sensitivity(l.sens)
	return s != nil && s.level.cats.contains(l.cats) && l.cats.end() <= uint64(t.nprim[symCats])
}

func (t *tables) validRange(r *mlsRange) bool {
	return t.validLevel(&r.low) && t.validLevel(&r.high) && r.high.dominates(&r.low)
}

func makeRange(low, high level) mlsRange {
	r := mlsRange{items: 2, low: low, high: high}
	if low.equal(&high) {
		r.items = 1
	}
	return r
}

// glblub is the greatest lower and least upper bound of two ranges, as the
// kernel computes it: the categories of both ends are intersected. It fails if
// no sensitivity is in both.
func glblub(a, b *mlsRange) (mlsRange, bool) {
	if a.high.sens < b.low.sens || b.high.sens < a.low.sens {
		return mlsRange{}, false
	}
	return makeRange(
		level{max(a.low.sens, b.low.sens), a.low.cats.and(b.low.cats)},
		level{min(a.high.sens, b.high.sens), a.high.cats.and(b.high.cats)},
	), true
}
