package policy

func (d *decoder) avtab() {
	off := d.off
	n := d.count(12, "access vector rules")
	if d.err == nil && n == 0 {
		d.fail(off, "expected at least one access vector rule, found none")
	}
	d.t.rules = d.avRules(make([]avRule, 0, n), n, false)
}

// avRules appends n rules to dst. Whether a rule may stand in a conditional
// decides about two bits: extended permissions may from version 34 on, and
// only there a rule may be marked as enabled.
func (d *decoder) avRules(dst []avRule, n int, conditional bool) []avRule {
	for ; n > 0 && d.err == nil; n-- {
		off := d.off
		r := avRule{source: d.u16("source of a rule"), target: d.u16("target of a rule"), class: d.u16("class of a rule"), spec: d.u16("kind of a rule")}
		spec := r.spec
		if conditional {
			spec &^= ruleEnabled
		}
		switch spec {
		case ruleAllow, ruleAuditAllow, ruleAuditDeny, ruleTransition, ruleMember, ruleChange:
			r.data = d.u32("data of a rule")
		case ruleXAllow, ruleXAuditAllow, ruleXDontAudit:
			if d.t.version < versionXperms || conditional && d.t.version < versionCondXperms {
				d.fail(off+6, "expected no extended permissions here in version %d, found kind %#x", d.t.version, r.spec)
			}
			r.data = uint32(len(d.t.xperms))
			d.t.xperms = append(d.t.xperms, d.xperm())
		default:
			d.fail(off+6, "expected one known kind of rule, found %#x", r.spec)
		}
		d.checkRule(off, &r)
		dst = append(dst, r)
	}
	return dst
}

func (d *decoder) checkRule(off int, r *avRule) {
	if d.err != nil {
		return
	}
	switch {
	case d.t.typ(uint32(r.source)) == nil:
		d.fail(off, "expected the value of a type or attribute for the source of a rule, found %d", r.source)
	case d.t.typ(uint32(r.target)) == nil:
		d.fail(off+2, "expected the value of a type or attribute for the target of a rule, found %d", r.target)
	case d.t.class(Class(r.class)) == nil:
		d.fail(off+4, "expected the value of a class for a rule, found %d", r.class)
	case r.spec&ruleType != 0:
		d.wantType(off+8, r.data, "the result of a type rule")
	}
}

func (d *decoder) xperm() xperm {
	off := d.off
	x := xperm{kind: d.u8("kind of extended permissions"), driver: d.u8("driver of extended permissions")}
	if d.err == nil && (x.kind < xpermIoctlFunction || x.kind > xpermNetlink) {
		d.fail(off, "expected kind of extended permissions %d to %d, found %d", xpermIoctlFunction, xpermNetlink, x.kind)
	}
	for i := range x.perms {
		x.perms[i] = d.u32("extended permissions")
	}
	return x
}

func (d *decoder) conditionals() {
	d.t.conds = make([]cond, d.count(24, "conditionals"))
	for i := range d.t.conds {
		c := &d.t.conds[i]
		// A kernel keeps the outcome of an expression it cannot evaluate as
		// -1; no compiler writes that.
		c.state = d.max(1, "state of a conditional")
		off := d.off
		c.expr = make([]condOp, d.count(8, "operators of a conditional"))
		for j := range c.expr {
			c.expr[j] = condOp{d.u32("operator of a conditional"), d.u32("boolean of a conditional")}
		}
		d.condExpr(off, c.expr)
		c.first = uint32(len(d.t.condRules))
		d.t.condRules = d.avRules(d.t.condRules, d.count(12, "rules of a conditional"), true)
		c.mid = uint32(len(d.t.condRules))
		d.t.condRules = d.avRules(d.t.condRules, d.count(12, "rules of a conditional"), true)
		c.end = uint32(len(d.t.condRules))
		if d.err != nil {
			return
		}
	}
}

func (d *decoder) roleRules() {
	size := 12
	if d.t.version >= versionRoleTransClass {
		size = 16
	}
	d.t.roleTrans = make([]roleTrans, d.count(size, "role transitions"))
	for i := range d.t.roleTrans {
		r := &d.t.roleTrans[i]
		r.role, r.typ, r.newRole = d.roleValue("role of a role transition"), d.typeOrAttribute("type of a role transition"), d.roleValue("new role of a role transition")
		if d.t.version >= versionRoleTransClass {
			r.class = d.classValue("class of a role transition")
		}
	}
	d.t.roleAllow = make([]roleAllow, d.count(8, "role allow rules"))
	for i := range d.t.roleAllow {
		d.t.roleAllow[i] = roleAllow{d.roleValue("role of a role allow rule"), d.roleValue("new role of a role allow rule")}
	}
}

func (d *decoder) nameTransitions() {
	if d.t.version < versionNameGroups {
		d.t.names = make([]nameTrans, d.count(21, "named transitions"))
		for i := range d.t.names {
			n := &d.t.names[i]
			n.name = d.text(d.u32("length of an object name"), "an object")
			n.source, n.target = d.typeOrAttribute("source of a named transition"), d.typeOrAttribute("target of a named transition")
			n.class, n.newType = d.classValue("class of a named transition"), d.typeValue("type of a named transition")
		}
		return
	}
	d.t.nameGroups = make([]nameGroup, d.count(33, "named transitions"))
	for i := range d.t.nameGroups {
		g := &d.t.nameGroups[i]
		g.first = uint32(len(d.t.names))
		n := nameTrans{name: d.text(d.u32("length of an object name"), "an object")}
		n.target, n.class = d.typeOrAttribute("target of a named transition"), d.classValue("class of a named transition")
		off := d.off
		m := d.count(16, "types of a named transition")
		if d.err == nil && m == 0 {
			d.fail(off, "expected at least one type of a named transition, found none")
		}
		for ; m > 0 && d.err == nil; m-- {
			off = d.off
			n.sources = d.bitmap("sources of a named transition")
			d.wantTypes(off, n.sources, "sources of a named transition")
			n.newType = d.typeValue("type of a named transition")
			d.t.names = append(d.t.names, n)
		}
		g.end = uint32(len(d.t.names))
	}
}

func (d *decoder) rangeTransitions() {
	d.t.rangeTrans = make([]rangeTrans, d.count(32, "range transitions"))
	for i := range d.t.rangeTrans {
		off := d.off
		d.t.rangeTrans[i] = rangeTrans{
			source: d.typeOrAttribute("source of a range transition"),
			target: d.typeOrAttribute("target of a range transition"),
			class:  d.classValue("class of a range transition"),
			span:   d.span(),
		}
		if d.err == nil && d.t.mls() && !d.t.validRange(&d.t.rangeTrans[i].span) {
			d.fail(off+12, "expected a valid range in a range transition, found one that is not")
		}
	}
}
