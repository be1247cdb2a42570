package policy

import "fmt"

// maxBoundsDepth is the kernel's POLICYDB_BOUNDS_MAXDEPTH.
const maxBoundsDepth = 4

// checkSymbols checks what symbols say about each other. Later sections are
// checked while they are read.
func (t *tables) checkSymbols() error {
	for _, m := range []struct {
		what  string
		types bitmap
	}{{"permissive types", t.permissive}, {"neveraudit types", t.neveraudit}} {
		if m.types.end() > uint64(t.nprim[symTypes])+1 {
			return fmt.Errorf("policy: %s: expected values up to %d, found %d", m.what, t.nprim[symTypes], m.types.end()-1)
		}
	}
	for i := range t.roles {
		r := &t.roles[i]
		if err := t.checkBits("role "+r.name+": dominates", r.dominates, symRoles); err != nil {
			return err
		}
		if err := t.checkBits("role "+r.name+": types", r.types, symTypes); err != nil {
			return err
		}
	}
	for i := range t.users {
		u := &t.users[i]
		if err := t.checkBits("user "+u.name+": roles", u.roles, symRoles); err != nil {
			return err
		}
		if t.mls() {
			for _, l := range []*level{&u.span.low, &u.span.high, &u.deflt} {
				if t.sensitivity(l.sens) == nil {
					return fmt.Errorf("policy: user %q: expected a defined sensitivity, found %d", u.name, l.sens)
				}
				if err := t.checkBits("user "+u.name+": categories", l.cats, symCats); err != nil {
					return err
				}
			}
		}
	}
	for i := range t.levels {
		if err := t.checkBits("sensitivity "+t.levels[i].name+": categories", t.levels[i].level.cats, symCats); err != nil {
			return err
		}
	}
	for i := range t.classes {
		if err := t.checkConstraints(&t.classes[i]); err != nil {
			return err
		}
	}
	return t.checkBounds()
}

// checkBits checks that a bitmap by value - 1 has bits only for values that
// a symbol table defines.
func (t *tables) checkBits(what string, b bitmap, sym int) error {
	for i := range b.all {
		if !t.defined(sym, i+1) {
			return fmt.Errorf("policy: %s: expected defined values, found %d", what, i+1)
		}
	}
	return nil
}

func (t *tables) defined(sym int, v uint32) bool {
	switch sym {
	case symRoles:
		return t.role(v) != nil
	case symTypes:
		return t.typ(v) != nil
	case symUsers:
		return t.user(v) != nil
	case symCats:
		return t.category(v) != nil
	}
	return false
}

func (t *tables) checkConstraints(c *class) error {
	for _, list := range [][]constraint{c.constraints, c.validatetrans} {
		for i := range list {
			for j := range list[i].expr {
				o := &list[i].expr[j]
				if o.kind != consNames {
					continue
				}
				sym := symTypes
				if o.attr&attrUser != 0 {
					sym = symUsers
				} else if o.attr&attrRole != 0 {
					sym = symRoles
				}
				if err := t.checkBits("class "+c.name+": names of a constraint", o.names, sym); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkBounds follows every bound to its end. Users and roles must stay
// within what their bounds may have, as the kernel's
// policydb_bounds_sanity_check demands; for types that is a matter of each
// decision.
func (t *tables) checkBounds() error {
	for i := range t.users {
		u := &t.users[i]
		up := u
		for depth := 1; up.bounds != 0; depth++ {
			if up = t.user(up.bounds); up == nil {
				return fmt.Errorf("policy: user %q: expected bounds that are defined, found none", u.name)
			}
			if depth == maxBoundsDepth {
				return fmt.Errorf("policy: user %q: expected bounds of depth %d at most, found a deeper or circular one", u.name, maxBoundsDepth-1)
			}
			if !up.roles.contains(u.roles) {
				return fmt.Errorf("policy: user %q: expected only roles of its bounds %q, found more", u.name, up.name)
			}
		}
	}
	for i := range t.roles {
		r := &t.roles[i]
		up := r
		for depth := 1; up.bounds != 0 && r.value != objectR; depth++ {
			if up = t.role(up.bounds); up == nil {
				return fmt.Errorf("policy: role %q: expected bounds that are defined, found none", r.name)
			}
			if depth == maxBoundsDepth {
				return fmt.Errorf("policy: role %q: expected bounds of depth %d at most, found a deeper or circular one", r.name, maxBoundsDepth-1)
			}
			if !up.types.contains(r.types) {
				return fmt.Errorf("policy: role %q: expected only types of its bounds %q, found more", r.name, up.name)
			}
		}
	}
	for i := range t.types {
		e := &t.types[i]
		up := e
		for depth := 1; up.bounds != 0; depth++ {
			if up = t.typ(up.bounds); up == nil {
				return fmt.Errorf("policy: type %q: expected bounds that are defined, found none", e.name)
			}
			if depth == maxBoundsDepth {
				return fmt.Errorf("policy: type %q: expected bounds of depth %d at most, found a deeper or circular one", e.name, maxBoundsDepth-1)
			}
			if up.attribute() {
				return fmt.Errorf("policy: type %q: expected bounds that are a type, found attribute %q", e.name, up.name)
			}
		}
	}
	return nil
}

// The methods below read a number that names a symbol of an earlier section.

func (d *decoder) typeValue(what string) uint32 {
	off := d.off
	v := d.u32(what)
	d.wantType(off, v, what)
	return v
}

// wantType checks that v is a type, not an attribute.
func (d *decoder) wantType(off int, v uint32, what string) {
	if d.err == nil {
		if e := d.t.typ(v); e == nil || e.attribute() {
			d.fail(off, "expected the value of a type for %s, found %d", what, v)
		}
	}
}

// typeOrAttribute is typeValue for places where an attribute may stand too.
func (d *decoder) typeOrAttribute(what string) uint32 {
	off := d.off
	v := d.u32(what)
	if d.err == nil && d.t.typ(v) == nil {
		d.fail(off, "expected the value of a type or attribute for %s, found %d", what, v)
	}
	return v
}

// wantTypes checks a bitmap of types and attributes by value - 1.
func (d *decoder) wantTypes(off int, b bitmap, what string) {
	for i := range b.all {
		if d.err == nil && d.t.typ(i+1) == nil {
			d.fail(off, "expected values of types or attributes in %s, found %d", what, i+1)
		}
	}
}

func (d *decoder) classValue(what string) uint32 {
	off := d.off
	v := d.u32(what)
	if d.err == nil && (v > maxValue || d.t.class(Class(v)) == nil) {
		d.fail(off, "expected the value of a class for %s, found %d", what, v)
	}
	return v
}

func (d *decoder) roleValue(what string) uint32 {
	off := d.off
	v := d.u32(what)
	if d.err == nil && d.t.role(v) == nil {
		d.fail(off, "expected the value of a role for %s, found %d", what, v)
	}
	return v
}

// validContext reads a context that holds under the policy itself.
func (d *decoder) validContext() context {
	off := d.off
	c := d.context()
	if d.err == nil {
		if why := d.t.invalid(&c); why != "" {
			d.fail(off, "expected a valid context, found one where %s", why)
		}
	}
	return c
}

// condExpr checks that an expression names booleans and leaves one value.
func (d *decoder) condExpr(off int, expr []condOp) {
	depth := 0
	for _, e := range expr {
		need := 2
		switch e.op {
		case condBool:
			need = 0
			if e.boolean == 0 || uint64(e.boolean) > uint64(len(d.t.boolByValue)) {
				d.fail(off, "expected the value of a boolean in a conditional, found %d", e.boolean)
			}
		case condNot:
			need = 1
		case condOr, condAnd, condXor, condEq, condNeq:
		default:
			d.fail(off, "expected operator %d to %d in a conditional, found %d", condBool, condNeq, e.op)
		}
		switch {
		case depth < need:
			d.fail(off, "expected %d values for operator %d of a conditional, found %d", need, e.op, depth)
		case need == 0 && depth == maxCondDepth:
			d.fail(off, "expected a conditional of depth %d at most, found a deeper one", maxCondDepth)
		case need == 0:
			depth++
		case need == 2:
			depth--
		}
	}
	if d.err == nil && depth != 1 {
		d.fail(off, "expected the conditional to leave one value, found %d", depth)
	}
}
