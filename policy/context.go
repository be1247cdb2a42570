package policy

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of ParseContext, by what is wrong. The message of an error names the
// context and the part of it.
var (
	// ErrContextSyntax: not of the form user:role:type[:range], or a range
	// where the policy has none, or none where it needs one.
	ErrContextSyntax = errors.New("malformed context")
	// ErrContextName: a name that the policy does not define.
	ErrContextName = errors.New("undefined name in context")
	// ErrContextInvalid: names that do not go together.
	ErrContextInvalid = errors.New("invalid context")
	// ErrForeignContext: a context of another policy.
	ErrForeignContext = errors.New("policy: context of another policy")
)

// Context is a valid security context of one policy. It is immutable, may be
// shared, and means something only to the Policy that made it and to those
// that WithBooleans derives from that one; every other denies it. The zero
// Context is no context and is denied everything.
type Context struct {
	t *tables
	c *context
}

// String is the canonical form, as ContextString.
func (c Context) String() string {
	if c.t == nil {
		return ""
	}
	return c.t.contextString(c.c)
}

// knows reports whether a context is of this policy.
func (t *tables) knows(c Context) bool { return c.t == t && c.c != nil }

// ParseContext reads user:role:type, and in an MLS policy :range, as the
// kernel does: aliases are taken, attributes are not, c1.c3 is a run of
// categories in the order of their values, and the context must hold: the
// role may have the type, the user the role and the range. Errors wrap
// ErrContextSyntax, ErrContextName or ErrContextInvalid.
func (p *Policy) ParseContext(s string) (Context, error) {
	c, err := p.parseContext(s)
	if err != nil {
		return Context{}, fmt.Errorf("policy: context %q: %w", s, err)
	}
	if why := p.invalid(c); why != "" {
		return Context{}, fmt.Errorf("policy: context %q: %w: %s", s, ErrContextInvalid, why)
	}
	return Context{p.tables, c}, nil
}

func (t *tables) parseContext(s string) (*context, error) {
	userName, rest, ok1 := strings.Cut(s, ":")
	roleName, rest, ok2 := strings.Cut(rest, ":")
	typeName, rangeText, ranged := strings.Cut(rest, ":")
	switch {
	case !ok1 || !ok2:
		return nil, fmt.Errorf("%w: expected user:role:type, found %d part(s)", ErrContextSyntax, strings.Count(s, ":")+1)
	case t.mls() && !ranged:
		return nil, fmt.Errorf("%w: expected a range after the type, found none", ErrContextSyntax)
	case !t.mls() && ranged:
		return nil, fmt.Errorf("%w: expected no range, as the policy is not an MLS policy, found %q", ErrContextSyntax, rangeText)
	}
	c := new(context)
	var ok bool
	if c.user, ok = t.userNames[userName]; !ok {
		return nil, fmt.Errorf("%w: expected a user, found %q", ErrContextName, userName)
	}
	if c.role, ok = t.roleNames[roleName]; !ok {
		return nil, fmt.Errorf("%w: expected a role, found %q", ErrContextName, roleName)
	}
	if c.typ, ok = t.typeNames[typeName]; !ok {
		return nil, fmt.Errorf("%w: expected a type, found %q", ErrContextName, typeName)
	}
	if t.typeByValue[c.typ].attribute() {
		return nil, fmt.Errorf("%w: expected a type, found the attribute %q", ErrContextName, typeName)
	}
	if !t.mls() {
		return c, nil
	}
	lowText, highText, two := strings.Cut(rangeText, "-")
	low, err := t.parseLevel(lowText)
	if err != nil {
		return nil, err
	}
	high := low
	if two {
		if high, err = t.parseLevel(highText); err != nil {
			return nil, err
		}
	}
	c.span = makeRange(low, high)
	return c, nil
}

func (t *tables) parseLevel(s string) (level, error) {
	sensName, catText, hasCats := strings.Cut(s, ":")
	sens, ok := t.sensNames[sensName]
	if !ok {
		return level{}, fmt.Errorf("%w: expected a sensitivity, found %q", ErrContextName, sensName)
	}
	l := level{sens: sens}
	if !hasCats {
		return l, nil
	}
	words := make([]uint64, (t.nprim[symCats]+63)/64)
	for item := range strings.SplitSeq(catText, ",") {
		fromName, toName, run := strings.Cut(item, ".")
		from, ok := t.catNames[fromName]
		if !ok {
			return level{}, fmt.Errorf("%w: expected a category, found %q", ErrContextName, fromName)
		}
		to := from
		if run {
			if to, ok = t.catNames[toName]; !ok {
				return level{}, fmt.Errorf("%w: expected a category, found %q", ErrContextName, toName)
			}
			if from >= to {
				return level{}, fmt.Errorf("%w: expected a run of categories to ascend, found %q", ErrContextSyntax, item)
			}
		}
		for v := from - 1; v < to; v++ {
			words[v/64] |= 1 << (v % 64)
		}
	}
	for i, w := range words {
		if w != 0 {
			l.cats = append(l.cats, word{uint32(i) * 64, w})
		}
	}
	return l, nil
}

// invalid says why a context does not hold, or "" if it does. It takes any
// numbers, also those of a file. Analogous to policydb_context_isvalid and
// mls_context_isvalid of the kernel.
func (t *tables) invalid(c *context) string {
	u, r, ty := t.user(c.user), t.role(c.role), t.typ(c.typ)
	switch {
	case u == nil:
		return fmt.Sprintf("user %d is not defined", c.user)
	case r == nil:
		return fmt.Sprintf("role %d is not defined", c.role)
	case ty == nil:
		return fmt.Sprintf("type %d is not defined", c.typ)
	case ty.attribute():
		return fmt.Sprintf("%s is an attribute, not a type", ty.name)
	case c.role != objectR && !r.types.has(c.typ-1):
		return fmt.Sprintf("role %s may not have type %s", r.name, ty.name)
	case c.role != objectR && !u.roles.has(c.role-1):
		return fmt.Sprintf("user %s may not have role %s", u.name, r.name)
	case !t.mls():
		return ""
	}
	for _, l := range []*level{&c.span.low, &c.span.high} {
		s := t.sensitivity(l.sens)
		if s == nil {
			return fmt.Sprintf("sensitivity %d is not defined", l.sens)
		}
		if !t.validLevel(l) {
			return fmt.Sprintf("sensitivity %s may not have all of its categories", s.name)
		}
	}
	if !c.span.high.dominates(&c.span.low) {
		return "the high level does not dominate the low level"
	}
	if c.role != objectR && !u.span.contains(&c.span) {
		return fmt.Sprintf("the range is outside the range %s of user %s", t.rangeString(&u.span), u.name)
	}
	return ""
}

// ContextString is the canonical form of c as the kernel prints it, or "" if
// c is not a context of p.
func (p *Policy) ContextString(c Context) string {
	if !p.knows(c) {
		return ""
	}
	return p.contextString(c.c)
}

// CanonicalContext parses s and prints it: aliases replaced, categories in
// order and in runs.
func (p *Policy) CanonicalContext(s string) (string, error) {
	c, err := p.ParseContext(s)
	if err != nil {
		return "", err
	}
	return p.ContextString(c), nil
}

func (t *tables) contextString(c *context) string {
	s := t.userByValue[c.user].name + ":" + t.roleByValue[c.role].name + ":" + t.typeByValue[c.typ].name
	if t.mls() {
		s += ":" + t.rangeString(&c.span)
	}
	return s
}

// rangeString prints a range whose numbers are defined.
func (t *tables) rangeString(r *mlsRange) string {
	s := t.levelString(&r.low)
	if !r.low.equal(&r.high) {
		s += "-" + t.levelString(&r.high)
	}
	return s
}

// levelString prints runs of three categories and more as first.last.
func (t *tables) levelString(l *level) string {
	var b strings.Builder
	b.WriteString(t.sensByValue[l.sens].name)
	sep := byte(':')
	var first, last uint32 // of the run being collected, by value; 0 is none
	flush := func() {
		if first == 0 {
			return
		}
		b.WriteByte(sep)
		sep = ','
		b.WriteString(t.catByValue[first].name)
		if last > first {
			if last == first+1 {
				b.WriteByte(',')
			} else {
				b.WriteByte('.')
			}
			b.WriteString(t.catByValue[last].name)
		}
	}
	for bit := range l.cats.all {
		if v := bit + 1; first != 0 && v == last+1 {
			last = v
		} else {
			flush()
			first, last = v, v
		}
	}
	flush()
	return b.String()
}

// initialSIDs are the names of the kernel's initial SIDs, 1 to 27. Newer
// kernels use fewer of them; the numbers stay.
var initialSIDs = [...]string{
	"kernel", "security", "unlabeled", "fs", "file", "file_labels", "init", "any_socket", "port", "netif", "netmsg",
	"node", "igmp_packet", "icmp_socket", "tcp_socket", "sysctl_modprobe", "sysctl", "sysctl_fs", "sysctl_kernel",
	"sysctl_net", "sysctl_net_unix", "sysctl_vm", "sysctl_dev", "kmod", "policy", "scmp_packet", "devnull",
}

// InitialContext is the context of one of the kernel's initial SIDs, such as
// "kernel" or "unlabeled", if the policy gives it one.
func (p *Policy) InitialContext(name string) (Context, bool) {
	for i, n := range initialSIDs {
		if n != name {
			continue
		}
		for j := range p.ocontexts[oconISID] {
			if o := &p.ocontexts[oconISID][j]; o.n[0] == uint32(i+1) {
				return Context{p.tables, &o.contexts[0]}, true
			}
		}
	}
	return Context{}, false
}
