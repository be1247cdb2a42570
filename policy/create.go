package policy

import (
	"errors"
	"fmt"
	"slices"
)

// Values of a class's defaults.
const (
	defaultSource = 1
	defaultTarget = 2

	defaultSourceLow     = 1
	defaultSourceHigh    = 2
	defaultSourceLowHigh = 3
	defaultTargetLow     = 4
	defaultTargetHigh    = 5
	defaultTargetLowHigh = 6
	defaultGLBLUB        = 7
)

// Errors of ComputeCreate, ComputeMember and ComputeRelabel, besides
// ErrForeignContext and ErrContextInvalid.
var (
	// ErrUnknownClass: the policy has no such class, so it cannot label an
	// object of it. HandleUnknown is about access and does not matter here.
	ErrUnknownClass = errors.New("policy: unknown class")
	// ErrNoCommonRange: the class asks for the intersection of two ranges
	// that have no sensitivity in common.
	ErrNoCommonRange = errors.New("policy: ranges without a common sensitivity")
)

// ComputeCreate is the context of a new object of class c that s makes in or
// beside t. A named transition applies if objname is its name; "" is no name.
// An outcome that is not valid is an error, as under an enforcing kernel.
func (p *Policy) ComputeCreate(s, t Context, c Class, objname string) (Context, error) {
	return p.computeSID(s, t, c, ruleTransition, objname)
}

// ComputeMember is the context of s's own instance of t, a polyinstantiated
// object of class c.
func (p *Policy) ComputeMember(s, t Context, c Class) (Context, error) {
	return p.computeSID(s, t, c, ruleMember, "")
}

// ComputeRelabel is the context that t, an object of class c, should get when
// s takes it over.
func (p *Policy) ComputeRelabel(s, t Context, c Class) (Context, error) {
	return p.computeSID(s, t, c, ruleChange, "")
}

// computeSID is analogous to security_compute_sid of the kernel. User, role,
// type and range are found one after the other, each by the class's default,
// else by what the class is, and then by rules.
func (p *Policy) computeSID(s, t Context, c Class, spec uint16, objname string) (Context, error) {
	if !p.knows(s) || !p.knows(t) {
		return Context{}, ErrForeignContext
	}
	d := p.class(c)
	if d == nil {
		return Context{}, ErrUnknownClass
	}
	out := &context{
		user: p.newUser(d, s.c, t.c, spec),
		role: p.newRole(d, s.c, t.c, spec),
		typ:  p.newType(d, s.c, t.c, spec, objname),
	}
	if p.mls() {
		span, ok := p.newRange(d, s.c, t.c, spec)
		if !ok {
			return Context{}, ErrNoCommonRange
		}
		out.span = span
	}
	if why := p.invalid(out); why != "" {
		return Context{}, fmt.Errorf("policy: context %q for a new object of class %s: %w: %s", p.contextString(out), d.name, ErrContextInvalid, why)
	}
	return Context{p.tables, out}, nil
}

// inherits reports whether objects of a class take role, type and range from
// their creator, as processes and sockets do.
func (t *tables) inherits(d *class) bool {
	return Class(d.value) == t.processClass || d.socket
}

func (t *tables) newUser(d *class, s, o *context, spec uint16) uint32 {
	if spec == ruleMember || d.defaultUser == defaultTarget {
		return o.user
	}
	return s.user
}

func (t *tables) newRole(d *class, s, o *context, spec uint16) uint32 {
	if spec == ruleTransition {
		if r, ok := t.roleTransTo[roleTransKey{s.role, o.typ, d.value}]; ok {
			return r
		}
	}
	switch {
	case d.defaultRole == defaultSource:
		return s.role
	case d.defaultRole == defaultTarget:
		return o.role
	case t.inherits(d):
		return s.role
	}
	return objectR
}

func (p *Policy) newType(d *class, s, o *context, spec uint16, objname string) uint32 {
	if objname != "" {
		if v, ok := p.namedType(s.typ, o.typ, d.value, objname); ok {
			return v
		}
	}
	// Type rules name types: attributes were expanded by the compiler.
	if n, ok := p.typeRules.find(avKey(uint16(s.typ), uint16(o.typ), uint16(d.value), spec)); ok {
		e := &p.typeEntries[n]
		if e.newType != 0 {
			return e.newType
		}
		for k := e.cond; k != 0; k = p.condNext[k-1] {
			if p.inForce(k - 1) {
				return p.condRules[k-1].data
			}
		}
	}
	switch {
	case d.defaultType == defaultSource:
		return s.typ
	case d.defaultType == defaultTarget:
		return o.typ
	case p.inherits(d):
		return s.typ
	}
	return o.typ
}

// namedType finds the named transition for an object name.
func (t *tables) namedType(styp, ttyp, class uint32, name string) (uint32, bool) {
	for i := t.namesBy[nameKey{ttyp, class, name}]; i != 0; i = t.nameNext[i-1] {
		n := &t.names[i-1]
		if t.version < versionNameGroups && n.source == styp || t.version >= versionNameGroups && n.sources.has(styp-1) {
			return n.newType, true
		}
	}
	return 0, false
}

// newRange fails only where the class asks for glblub and there is none.
func (t *tables) newRange(d *class, s, o *context, spec uint16) (mlsRange, bool) {
	if spec == ruleTransition {
		if i, ok := t.rangeTo[typePairClass{s.typ, o.typ, d.value}]; ok {
			return t.rangeTrans[i].span, true
		}
		switch d.defaultRange {
		case defaultSourceLow:
			return makeRange(s.span.low, s.span.low), true
		case defaultSourceHigh:
			return makeRange(s.span.high, s.span.high), true
		case defaultSourceLowHigh:
			return s.span, true
		case defaultTargetLow:
			return makeRange(o.span.low, o.span.low), true
		case defaultTargetHigh:
			return makeRange(o.span.high, o.span.high), true
		case defaultTargetLowHigh:
			return o.span, true
		case defaultGLBLUB:
			return glblub(&s.span, &o.span)
		}
	}
	if spec != ruleMember && t.inherits(d) {
		return s.span, true
	}
	return makeRange(s.span.low, s.span.low), true
}

// TransitionNames lists the object names that named transitions on class c
// look at, sorted, each once. Any other name is the same as none to
// ComputeCreate. The slice is the caller's.
func (p *Policy) TransitionNames(c Class) []string {
	var names []string
	for i := range p.names {
		if p.names[i].class == uint32(c) {
			names = append(names, p.names[i].name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
