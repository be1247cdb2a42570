package policy

// XpermKind says what the numbers of extended permissions are.
type XpermKind uint8

// The kinds of questions about extended permissions.
const (
	XpermIoctl   XpermKind = 1 // an ioctl command; permission ioctl
	XpermNetlink XpermKind = 3 // a netlink message type; permission nlmsg
)

// Kinds of extended permissions in a policy. A rule about whole drivers is
// about the high bytes of ioctl commands.
const (
	xpermIoctlFunction = 1 // driver is the high byte, perms the low byte of a command
	xpermIoctlDriver   = 2 // perms is the high byte of a command
	xpermNetlink       = 3 // driver is the high byte, perms the low byte of a message type
)

// XpermDecision is the answer about one number. The zero value denies.
type XpermDecision struct {
	// Limited says that the policy names numbers at all for these types.
	// Where it does not, the permission itself decides for all numbers.
	Limited    bool
	Allowed    bool // true where not Limited
	AuditAllow bool // log a grant; the rules of the permission count, too
	DontAudit  bool // do not log a denial that the numbers cause
}

// ComputeXperm says whether s may do what number stands for to t, an object of
// class c, given that ComputeAV allows the permission itself. Contexts of
// another policy may not; neither constraints nor bounds look at numbers. It
// allocates nothing.
//
// Analogous to services_compute_xperms_decision of the kernel: only an allow
// rule limits the numbers, so that auditallow and dontaudit rules alone change
// nothing.
func (p *Policy) ComputeXperm(s, t Context, c Class, kind XpermKind, number uint16) XpermDecision {
	var d XpermDecision
	if !p.knows(s) || !p.knows(t) || kind != XpermIoctl && kind != XpermNetlink {
		return d
	}
	if len(p.xpermRules) != 0 && p.class(c) != nil {
		for _, i := range p.attrs[s.c.typ] {
			for _, j := range p.attrs[t.c.typ] {
				for _, n := range p.xpermRules[avKey(i, j, uint16(c), 0)] {
					p.addXperm(&d, n, kind, number)
				}
			}
		}
	}
	if !d.Limited {
		d.Allowed, d.AuditAllow, d.DontAudit = true, false, false
	}
	return d
}

// addXperm adds rule n: of rules, or from len(rules) on of condRules.
func (p *Policy) addXperm(d *XpermDecision, n uint32, kind XpermKind, number uint16) {
	var r *avRule
	if int(n) < len(p.rules) {
		r = &p.rules[n]
	} else {
		n -= uint32(len(p.rules))
		if !p.inForce(n) {
			return
		}
		r = &p.condRules[n]
	}
	x := &p.xperms[r.data]
	if (x.kind == xpermNetlink) != (kind == XpermNetlink) {
		return
	}
	spec := r.spec & ruleX
	d.Limited = d.Limited || spec == ruleXAllow
	if !x.has(number) {
		return
	}
	switch spec {
	case ruleXAllow:
		d.Allowed = true
	case ruleXAuditAllow:
		d.AuditAllow = true
	case ruleXDontAudit:
		d.DontAudit = true
	}
}

// has reports whether a set of extended permissions holds a number.
func (x *xperm) has(number uint16) bool {
	high, low := uint8(number>>8), uint8(number)
	bit := low
	if x.kind == xpermIoctlDriver {
		bit = high
	} else if x.driver != high {
		return false
	}
	return x.perms[bit/32]>>(bit%32)&1 != 0
}

// indexXperms lists the rules with extended permissions of each key. Policies
// have few of them.
func (t *tables) indexXperms() {
	if len(t.xperms) == 0 {
		return
	}
	t.xpermRules = make(map[uint64][]uint32)
	n := uint32(0)
	for _, list := range [][]avRule{t.rules, t.condRules} {
		for i := range list {
			if r := &list[i]; r.spec&ruleX != 0 {
				k := avKey(r.source, r.target, r.class, 0)
				t.xpermRules[k] = append(t.xpermRules[k], n)
			}
			n++
		}
	}
}
