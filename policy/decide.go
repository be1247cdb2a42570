package policy

// ComputeAV decides what s may do to t, an object of class c. It allocates
// nothing. A class that the policy does not define, 0 among them, is allowed
// everything or nothing, as HandleUnknown says. A context of another policy is
// allowed nothing. Permissive and enforcing are the caller's to apply: Allowed
// is what the rules say.
//
// Analogous to security_compute_av of the kernel: type enforcement over all
// attributes of both types, then constraints, then role changes, then bounds.
func (p *Policy) ComputeAV(s, t Context, c Class) Decision {
	d := Decision{AuditDeny: ^AV(0)}
	if !p.knows(s) || !p.knows(t) {
		return d
	}
	d.Permissive = p.permissive.has(s.c.typ)
	d.NeverAudit = p.neveraudit.has(s.c.typ)
	if p.class(c) == nil {
		if p.HandleUnknown() == HandleAllow {
			d.Allowed = ^AV(0)
		}
		return d
	}
	v := p.compute(subject{s.c, s.c.typ}, subject{t.c, t.c.typ}, c)
	d.Allowed, d.AuditAllow, d.AuditDeny = v.allow, v.auditAllow, v.auditDeny
	return d
}

// vector is what rules add up to.
type vector struct{ allow, auditAllow, auditDeny AV }

// compute is ComputeAV for known contexts and a known class.
func (p *Policy) compute(s, o subject, c Class) vector {
	v := p.typeEnforcement(s.typ, o.typ, c)
	d := p.classByValue[c]
	for i := range d.constraints {
		k := &d.constraints[i]
		if k.perms&v.allow != 0 && !p.holds(k.expr, s, o, subject{}) {
			v.allow &^= k.perms
		}
	}
	if c == p.processClass && v.allow&p.processTrans != 0 && s.role != o.role {
		if _, ok := p.roleAllowed[roleAllow{s.role, o.role}]; !ok {
			v.allow &^= p.processTrans
		}
	}
	// A bounded type never has more than its bounds, constraints and their
	// bounds included. Validation limits the depth.
	if up := p.typeByValue[s.typ].bounds; up != 0 && v.allow != 0 {
		v.allow &= p.compute(subject{s.context, up}, p.bound(o), c).allow
	}
	return v
}

// bound is a target as its bounds see it: under the bound of its own type, if
// there is one.
func (p *Policy) bound(o subject) subject {
	if up := p.typeByValue[o.typ].bounds; up != 0 {
		o.typ = up
	}
	return o
}

// typeEnforcement adds up the rules of every pair of attributes.
func (p *Policy) typeEnforcement(styp, ttyp uint32, c Class) vector {
	v := vector{auditDeny: ^AV(0)}
	class := uint16(c)
	for _, i := range p.attrs[styp] {
		if !p.sources.may(i, class) {
			continue
		}
		for _, j := range p.attrs[ttyp] {
			if !p.targets.may(j, class) {
				continue
			}
			n, ok := p.av.find(avKey(i, j, class, 0))
			if !ok {
				continue
			}
			e := &p.avRules[n]
			v.allow |= e.allow
			v.auditAllow |= e.auditAllow
			v.auditDeny &= e.auditDeny
			for k := e.cond; k != 0; k = p.condNext[k-1] {
				p.addCond(&v, k-1)
			}
		}
	}
	return v
}

// addCond adds a conditional rule if its branch is in force.
func (p *Policy) addCond(v *vector, k uint32) {
	if !p.inForce(k) {
		return
	}
	r := &p.condRules[k]
	switch r.spec & ruleAV {
	case ruleAllow:
		v.allow |= AV(r.data)
	case ruleAuditAllow:
		v.auditAllow |= AV(r.data)
	case ruleAuditDeny:
		v.auditDeny &= AV(r.data)
	}
}

// inForce reports whether the branch of conditional rule k is in force.
func (p *Policy) inForce(k uint32) bool {
	b := p.condBranch[k]
	return p.branch[b>>1] == b&1
}

// ValidateTrans reports whether task may change the context of an object of
// class c from old to new: whether all validatetrans rules of the class hold.
// Contexts of another policy and unknown classes may not.
func (p *Policy) ValidateTrans(old, new, task Context, c Class) bool {
	d := p.class(c)
	if d == nil || !p.knows(old) || !p.knows(new) || !p.knows(task) {
		return false
	}
	o, n, t := subject{old.c, old.c.typ}, subject{new.c, new.c.typ}, subject{task.c, task.c.typ}
	for i := range d.validatetrans {
		if !p.holds(d.validatetrans[i].expr, o, n, t) {
			return false
		}
	}
	return true
}
