package policy

import "encoding/binary"

// AppendBinary appends the policy in the format of Read, in its own version.
// The bytes are those that Read was given: everything is kept, and in order.
// That includes the state that booleans had in the file; WithBooleans changes
// what p decides, not what it writes.
func (p *Policy) AppendBinary(dst []byte) []byte { return p.appendBinary(dst) }

// writer is the mirror of decoder.
type writer struct {
	b []byte
	t *tables
}

func (t *tables) appendBinary(dst []byte) []byte {
	w := &writer{dst, t}
	w.u32(magic, uint32(len(target)))
	w.b = append(w.b, target...)
	w.u32(t.version, t.config, symbolTables, t.ocontextKinds)
	w.bitmap(t.policycaps)
	w.bitmap(t.permissive)
	if t.version >= versionNeverAudit {
		w.bitmap(t.neveraudit)
	}
	w.commons()
	w.classes()
	w.users()
	w.levels()
	w.u32(uint32(len(t.rules)))
	w.avRules(t.rules)
	w.conditionals()
	w.roleRules()
	w.nameTransitions()
	w.objectContexts()
	w.u32(uint32(len(t.rangeTrans)))
	for i := range t.rangeTrans {
		r := &t.rangeTrans[i]
		w.u32(r.source, r.target, r.class)
		w.span(&r.span)
	}
	for _, m := range t.typeAttrMap {
		w.bitmap(m)
	}
	return w.b
}

func (w *writer) u32(vs ...uint32) {
	for _, v := range vs {
		w.b = binary.LittleEndian.AppendUint32(w.b, v)
	}
}

func (w *writer) text(s string) { w.b = append(w.b, s...) }

// name is a length and the name.
func (w *writer) name(s string) {
	w.u32(uint32(len(s)))
	w.text(s)
}

func (w *writer) bitmap(b bitmap) { w.b = appendBitmap(w.b, b) }

func (w *writer) span(s *mlsRange) {
	w.u32(s.items, s.low.sens)
	if s.items == 2 {
		w.u32(s.high.sens)
	}
	w.bitmap(s.low.cats)
	if s.items == 2 {
		w.bitmap(s.high.cats)
	}
}

func (w *writer) context(c *context) {
	w.u32(c.user, c.role, c.typ)
	w.span(&c.span)
}

func (w *writer) perms(ps []perm) {
	for i := range ps {
		w.u32(uint32(len(ps[i].name)), ps[i].value)
		w.text(ps[i].name)
	}
}

func (w *writer) commons() {
	w.u32(w.t.nprim[symCommons], uint32(len(w.t.commons)))
	for i := range w.t.commons {
		c := &w.t.commons[i]
		w.u32(uint32(len(c.name)), c.value, c.nprim, uint32(len(c.perms)))
		w.text(c.name)
		w.perms(c.perms)
	}
}

func (w *writer) classes() {
	w.u32(w.t.nprim[symClasses], uint32(len(w.t.classes)))
	for i := range w.t.classes {
		c := &w.t.classes[i]
		w.u32(uint32(len(c.name)), uint32(len(c.common)), c.value, c.nprim, uint32(len(c.perms)), uint32(len(c.constraints)))
		w.text(c.name)
		w.text(c.common)
		w.perms(c.perms)
		w.constraints(c.constraints)
		w.u32(uint32(len(c.validatetrans)))
		w.constraints(c.validatetrans)
		if w.t.version >= versionDefaults {
			w.u32(c.defaultUser, c.defaultRole, c.defaultRange)
		}
		if w.t.version >= versionDefaultType {
			w.u32(c.defaultType)
		}
	}
}

func (w *writer) constraints(cs []constraint) {
	for i := range cs {
		w.u32(uint32(cs[i].perms), uint32(len(cs[i].expr)))
		for j := range cs[i].expr {
			o := &cs[i].expr[j]
			w.u32(o.kind, o.attr, o.op)
			if o.kind != consNames {
				continue
			}
			w.bitmap(o.names)
			if w.t.version >= versionConstraintNames {
				w.bitmap(o.source.types)
				w.bitmap(o.source.negset)
				w.u32(o.source.flags)
			}
		}
	}
}

// users writes the tables from roles to users.
func (w *writer) users() {
	w.u32(w.t.nprim[symRoles], uint32(len(w.t.roles)))
	for i := range w.t.roles {
		r := &w.t.roles[i]
		w.u32(uint32(len(r.name)), r.value, r.bounds)
		w.text(r.name)
		w.bitmap(r.dominates)
		w.bitmap(r.types)
	}
	w.u32(w.t.nprim[symTypes], uint32(len(w.t.types)))
	for i := range w.t.types {
		t := &w.t.types[i]
		w.u32(uint32(len(t.name)), t.value, t.properties, t.bounds)
		w.text(t.name)
	}
	w.u32(w.t.nprim[symUsers], uint32(len(w.t.users)))
	for i := range w.t.users {
		u := &w.t.users[i]
		w.u32(uint32(len(u.name)), u.value, u.bounds)
		w.text(u.name)
		w.bitmap(u.roles)
		w.span(&u.span)
		w.u32(u.deflt.sens)
		w.bitmap(u.deflt.cats)
	}
}

// levels writes the tables from booleans to categories.
func (w *writer) levels() {
	w.u32(w.t.nprim[symBools], uint32(len(w.t.bools)))
	for i := range w.t.bools {
		b := &w.t.bools[i]
		w.u32(b.value, b.state)
		w.name(b.name)
	}
	w.u32(w.t.nprim[symLevels], uint32(len(w.t.levels)))
	for i := range w.t.levels {
		s := &w.t.levels[i]
		w.u32(uint32(len(s.name)), s.alias)
		w.text(s.name)
		w.u32(s.level.sens)
		w.bitmap(s.level.cats)
	}
	w.u32(w.t.nprim[symCats], uint32(len(w.t.cats)))
	for i := range w.t.cats {
		c := &w.t.cats[i]
		w.u32(uint32(len(c.name)), c.value, c.alias)
		w.text(c.name)
	}
}

func (w *writer) avRules(rules []avRule) {
	for i := range rules {
		r := &rules[i]
		for _, v := range [...]uint16{r.source, r.target, r.class, r.spec} {
			w.b = binary.LittleEndian.AppendUint16(w.b, v)
		}
		if r.spec&ruleX == 0 {
			w.u32(r.data)
			continue
		}
		x := &w.t.xperms[r.data]
		w.b = append(w.b, x.kind, x.driver)
		w.u32(x.perms[:]...)
	}
}

func (w *writer) conditionals() {
	w.u32(uint32(len(w.t.conds)))
	for i := range w.t.conds {
		c := &w.t.conds[i]
		w.u32(c.state, uint32(len(c.expr)))
		for _, e := range c.expr {
			w.u32(e.op, e.boolean)
		}
		w.u32(c.mid - c.first)
		w.avRules(w.t.condRules[c.first:c.mid])
		w.u32(c.end - c.mid)
		w.avRules(w.t.condRules[c.mid:c.end])
	}
}

func (w *writer) roleRules() {
	w.u32(uint32(len(w.t.roleTrans)))
	for _, r := range w.t.roleTrans {
		w.u32(r.role, r.typ, r.newRole)
		if w.t.version >= versionRoleTransClass {
			w.u32(r.class)
		}
	}
	w.u32(uint32(len(w.t.roleAllow)))
	for _, r := range w.t.roleAllow {
		w.u32(r.role, r.newRole)
	}
}

func (w *writer) nameTransitions() {
	switch {
	case w.t.version < versionNameTrans:
	case w.t.version < versionNameGroups:
		w.u32(uint32(len(w.t.names)))
		for i := range w.t.names {
			n := &w.t.names[i]
			w.name(n.name)
			w.u32(n.source, n.target, n.class, n.newType)
		}
	default:
		w.u32(uint32(len(w.t.nameGroups)))
		for _, g := range w.t.nameGroups {
			n := &w.t.names[g.first]
			w.name(n.name)
			w.u32(n.target, n.class, g.end-g.first)
			for i := g.first; i < g.end; i++ {
				w.bitmap(w.t.names[i].sources)
				w.u32(w.t.names[i].newType)
			}
		}
	}
}

// objectContexts writes object contexts and genfs.
func (w *writer) objectContexts() {
	for kind := range w.t.ocontextKinds {
		w.u32(uint32(len(w.t.ocontexts[kind])))
		for i := range w.t.ocontexts[kind] {
			o := &w.t.ocontexts[kind][i]
			switch kind {
			case oconISID:
				w.u32(o.n[0])
			case oconFS, oconNetif:
				w.name(o.name)
			case oconPort:
				w.u32(o.n[:]...)
			case oconNode, oconNode6:
				w.b = append(w.b, o.addr...)
			case oconFSUse:
				w.u32(o.n[0])
				w.name(o.name)
			case oconIBPKey:
				w.b = append(w.b, o.addr...)
				w.u32(o.n[0], o.n[1])
			case oconIBEndPort:
				w.u32(uint32(len(o.name)), o.n[0])
				w.text(o.name)
			}
			for j := range o.contexts {
				w.context(&o.contexts[j])
			}
		}
	}
	w.u32(uint32(len(w.t.genfs)))
	for i := range w.t.genfs {
		g := &w.t.genfs[i]
		w.name(g.fstype)
		w.u32(uint32(len(g.paths)))
		for j := range g.paths {
			w.name(g.paths[j].path)
			w.u32(g.paths[j].class)
			w.context(&g.paths[j].context)
		}
	}
}
