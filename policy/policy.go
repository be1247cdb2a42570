package policy

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Class is the number of an object class in one policy. 0 is no class.
type Class uint16

// AV is a set of permissions of one class, a bit for each.
type AV uint32

// Decision is the answer to an access question. The zero value denies.
type Decision struct {
	Allowed    AV   // granted
	AuditAllow AV   // to be logged when granted
	AuditDeny  AV   // to be logged when denied: all but dontaudit
	Permissive bool // the source type is permissive: log, do not deny
	NeverAudit bool // the source type is marked neveraudit: log nothing (version 35)
}

// HandleUnknown says what becomes of classes and permissions that the policy
// does not know. The zero value denies.
type HandleUnknown uint8

// The kernel's three ways. A kernel does not load a policy that rejects
// unknown classes if it knows more classes; a decision under it is as under
// HandleDeny.
const (
	HandleDeny HandleUnknown = iota
	HandleReject
	HandleAllow
)

// String is the word of policy sources: deny, reject or allow.
func (h HandleUnknown) String() string {
	switch h {
	case HandleDeny:
		return "deny"
	case HandleReject:
		return "reject"
	case HandleAllow:
		return "allow"
	}
	return fmt.Sprintf("HandleUnknown(%d)", uint8(h))
}

// MarshalText is String, for JSON.
func (h HandleUnknown) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Policy is a validated policy with one state of its booleans. It never
// changes: any number of goroutines may ask it without locks, and a reload or
// a changed boolean is another Policy.
type Policy struct {
	*tables

	bools  []bool   // by value - 1
	branch []uint32 // by conditional: which branch is in force
}

// Read decodes and validates a binary policy of version 24 to 35. It never
// keeps b. An error says where in b something was expected and what was found
// instead, or, for a number that leads nowhere, which section holds it. The
// memory it uses is a small multiple of len(b), and at most a few megabytes
// more where values have large gaps.
func Read(b []byte) (*Policy, error) {
	t, err := decode(b)
	if err != nil {
		return nil, err
	}
	if err := t.indexRules(); err != nil {
		return nil, err
	}
	p := &Policy{tables: t, bools: make([]bool, len(t.boolByValue))}
	for i, b := range t.boolByValue {
		p.bools[i] = b.state != 0
	}
	p.evaluate()
	return p, nil
}

// Version is the format version of the file, 24 to 35.
func (p *Policy) Version() int { return int(p.version) }

// MLS reports whether contexts have a range.
func (p *Policy) MLS() bool { return p.mls() }

func (t *tables) mls() bool { return t.config&configMLS != 0 }

// HandleUnknown says what becomes of unknown classes and permissions.
func (p *Policy) HandleUnknown() HandleUnknown {
	switch {
	case p.config&configRejectUnknown != 0:
		return HandleReject
	case p.config&configAllowUnknown != 0:
		return HandleAllow
	}
	return HandleDeny
}

// Class looks up an object class.
func (p *Policy) Class(name string) (Class, bool) {
	c, ok := p.classNames[name]
	return c, ok
}

// ClassName is the name of c, or "" if the policy has no such class.
func (p *Policy) ClassName(c Class) string {
	if d := p.class(c); d != nil {
		return d.name
	}
	return ""
}

// Perm looks up a permission of c, inherited ones included. AV has one bit.
func (p *Policy) Perm(c Class, name string) (AV, bool) {
	if d := p.class(c); d != nil && name != "" {
		for i, n := range d.byBit {
			if n == name {
				return 1 << i, true
			}
		}
	}
	return 0, false
}

// PermNames names the permissions in av in the order of their bits. Bits that
// c does not define are left out. The slice is the caller's.
func (p *Policy) PermNames(c Class, av AV) []string {
	d := p.class(c)
	if d == nil {
		return nil
	}
	var names []string
	for m := uint32(av); m != 0; m &= m - 1 {
		if n := d.byBit[bits.TrailingZeros32(m)]; n != "" {
			names = append(names, n)
		}
	}
	return names
}

// Perms is the set of all permissions that c defines.
func (p *Policy) Perms(c Class) AV {
	var av AV
	if d := p.class(c); d != nil {
		for i, n := range d.byBit {
			if n != "" {
				av |= 1 << i
			}
		}
	}
	return av
}

// Boolean is a switch of conditional rules.
type Boolean struct {
	Name   string
	Active bool
}

// Booleans lists all booleans with the values they have in p, sorted by name.
func (p *Policy) Booleans() []Boolean {
	bs := make([]Boolean, 0, len(p.boolByValue))
	for i, b := range p.boolByValue {
		bs = append(bs, Boolean{b.name, p.bools[i]})
	}
	slices.SortFunc(bs, func(a, b Boolean) int { return cmp.Compare(a.Name, b.Name) })
	return bs
}
