package policy

// Limits of the format.
const (
	magic      = 0xf97cff8c
	target     = "SE Linux"
	minVersion = 24
	maxVersion = 35

	// Values of all symbols fit 16 bits, as those of types and classes must
	// for the access vector table. Real policies stay far below.
	maxValue = 0xffff

	maxPerms = 32
)

// Versions that changed the layout.
const (
	versionNameTrans       = 25
	versionRoleTransClass  = 26
	versionDefaults        = 27
	versionDefaultType     = 28
	versionConstraintNames = 29
	versionXperms          = 30
	versionInfiniband      = 31
	versionGLBLUB          = 32
	versionNameGroups      = 33
	versionCondXperms      = 34
	versionNeverAudit      = 35
)

type decoder struct {
	reader
	t *tables
}

// decode reads all sections in file order, and checks every number against
// the sections before it.
func decode(b []byte) (*tables, error) {
	d := &decoder{reader: reader{b: b}, t: new(tables)}
	d.header()
	d.symbols()
	if d.err != nil {
		return nil, d.err
	}
	if err := d.t.indexSymbols(); err != nil {
		return nil, err
	}
	if err := d.t.checkSymbols(); err != nil {
		return nil, err
	}
	d.avtab()
	d.conditionals()
	d.roleRules()
	if d.t.version >= versionNameTrans {
		d.nameTransitions()
	}
	d.objectContexts()
	d.genfsContexts()
	d.rangeTransitions()
	d.t.typeAttrMap = make([]bitmap, d.fits(d.t.nprim[symTypes], 12, "type attribute maps"))
	for i := range d.t.typeAttrMap {
		off := d.off
		d.t.typeAttrMap[i] = d.bitmap("a type attribute map")
		d.wantTypes(off, d.t.typeAttrMap[i], "a type attribute map")
	}
	if d.err == nil && d.off != len(b) {
		d.fail(d.off, "expected the end, found %d more bytes", len(b)-d.off)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.t, nil
}

// fits is count for a number that was read before.
func (d *decoder) fits(n uint32, size int, what string) int {
	if most := (len(d.b) - d.off) / size; d.err == nil && uint64(n) > uint64(most) {
		d.fail(d.off, "expected number of %s of at most %d (the bytes left), found %d", what, most, n)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *decoder) header() {
	if m := d.u32("magic number"); d.err == nil && m != magic {
		d.fail(0, "expected magic number %#x, found %#x", uint32(magic), m)
	}
	if n := d.u32("length of target"); d.err == nil && n != uint32(len(target)) {
		d.fail(4, "expected a target of %d bytes, found %d", len(target), n)
	}
	if s := d.take(len(target), "target"); d.err == nil && string(s) != target {
		d.fail(8, "expected target %q, found %q", target, s)
	}
	off := d.off
	v := d.u32("version")
	if d.err == nil && (v < minVersion || v > maxVersion) {
		d.fail(off, "expected version %d to %d, found %d", minVersion, maxVersion, v)
	}
	d.t.version = v
	d.t.config = d.u32("config")
	off = d.off
	if n := d.u32("number of symbol tables"); d.err == nil && n != symbolTables {
		d.fail(off, "expected %d symbol tables, found %d", symbolTables, n)
	}
	kinds := uint32(oconIBPKey)
	if v >= versionInfiniband {
		kinds = maxOcontextKinds
	}
	off = d.off
	if n := d.u32("number of object context kinds"); d.err == nil && n != kinds {
		d.fail(off, "expected %d kinds of object contexts in version %d, found %d", kinds, v, n)
	}
	d.t.ocontextKinds = kinds
	d.t.policycaps = d.bitmap("policy capabilities")
	d.t.permissive = d.bitmap("permissive types")
	if v >= versionNeverAudit {
		d.t.neveraudit = d.bitmap("neveraudit types")
	}
}

// table reads the head of a symbol table: the highest value, kept in nprim,
// and the number of entries, which is returned.
func (d *decoder) table(sym, size int, what string) int {
	d.t.nprim[sym] = d.max(maxValue, "highest value of "+what)
	return d.count(size, what)
}

func (d *decoder) symbols() {
	d.t.commons = make([]common, d.table(symCommons, 17, "commons"))
	for i := range d.t.commons {
		c := &d.t.commons[i]
		n := d.u32("length of a common's name")
		c.value = d.u32("value of a common")
		c.nprim = d.max(maxPerms, "highest permission of a common")
		nperm := d.permCount()
		c.name = d.text(n, "a common")
		c.perms = d.perms(nperm)
	}
	d.t.classes = make([]class, d.table(symClasses, 29, "classes"))
	for i := range d.t.classes {
		d.class(&d.t.classes[i])
	}
	d.t.roles = make([]role, d.table(symRoles, 37, "roles"))
	for i := range d.t.roles {
		r := &d.t.roles[i]
		n := d.u32("length of a role's name")
		r.value, r.bounds = d.u32("value of a role"), d.u32("bounds of a role")
		r.name = d.text(n, "a role")
		r.dominates, r.types = d.bitmap("roles dominated"), d.bitmap("types of a role")
	}
	d.t.types = make([]typ, d.table(symTypes, 17, "types"))
	for i := range d.t.types {
		t := &d.t.types[i]
		n := d.u32("length of a type's name")
		t.value, t.properties, t.bounds = d.u32("value of a type"), d.u32("properties of a type"), d.u32("bounds of a type")
		t.name = d.text(n, "a type")
	}
	d.t.users = make([]user, d.table(symUsers, 61, "users"))
	for i := range d.t.users {
		u := &d.t.users[i]
		n := d.u32("length of a user's name")
		u.value, u.bounds = d.u32("value of a user"), d.u32("bounds of a user")
		u.name = d.text(n, "a user")
		u.roles = d.bitmap("roles of a user")
		u.span = d.span()
		u.deflt = level{d.u32("default sensitivity of a user"), d.bitmap("default categories of a user")}
	}
	d.t.bools = make([]boolean, d.table(symBools, 13, "booleans"))
	for i := range d.t.bools {
		b := &d.t.bools[i]
		b.value, b.state = d.u32("value of a boolean"), d.max(1, "state of a boolean")
		b.name = d.text(d.u32("length of a boolean's name"), "a boolean")
	}
	d.t.levels = make([]sensitivity, d.table(symLevels, 25, "sensitivities"))
	for i := range d.t.levels {
		s := &d.t.levels[i]
		n := d.u32("length of a sensitivity's name")
		s.alias = d.u32("alias mark of a sensitivity")
		s.name = d.text(n, "a sensitivity")
		s.level = level{d.u32("value of a sensitivity"), d.bitmap("categories of a sensitivity")}
	}
	d.t.cats = make([]category, d.table(symCats, 13, "categories"))
	for i := range d.t.cats {
		c := &d.t.cats[i]
		n := d.u32("length of a category's name")
		c.value, c.alias = d.u32("value of a category"), d.u32("alias mark of a category")
		c.name = d.text(n, "a category")
	}
}

func (d *decoder) permCount() int {
	off := d.off
	n := d.count(9, "permissions")
	if n > maxPerms {
		d.fail(off, "expected at most %d permissions, found %d", maxPerms, n)
		return 0
	}
	return n
}

func (d *decoder) perms(n int) []perm {
	if d.err != nil {
		return nil
	}
	ps := make([]perm, n)
	for i := range ps {
		n := d.u32("length of a permission's name")
		ps[i].value = d.u32("value of a permission")
		ps[i].name = d.text(n, "a permission")
	}
	return ps
}

func (d *decoder) class(c *class) {
	n := d.u32("length of a class's name")
	ncommon := d.u32("length of a common's name")
	c.value = d.u32("value of a class")
	c.nprim = d.max(maxPerms, "highest permission of a class")
	nperm := d.permCount()
	ncons := d.count(8, "constraints")
	c.name = d.text(n, "a class")
	if ncommon != 0 {
		c.common = d.text(ncommon, "a common")
	}
	c.perms = d.perms(nperm)
	c.constraints = d.constraints(ncons, false)
	c.validatetrans = d.constraints(d.count(8, "validatetrans rules"), true)
	if d.t.version >= versionDefaults {
		c.defaultUser = d.max(defaultTarget, "default_user")
		c.defaultRole = d.max(defaultTarget, "default_role")
		most := uint32(defaultTargetLowHigh)
		if d.t.version >= versionGLBLUB {
			most = defaultGLBLUB
		}
		c.defaultRange = d.max(most, "default_range")
	}
	if d.t.version >= versionDefaultType {
		c.defaultType = d.max(defaultTarget, "default_type")
	}
}

func (d *decoder) span() mlsRange {
	off := d.off
	s := mlsRange{items: d.u32("number of levels")}
	if d.err == nil && s.items != 1 && s.items != 2 {
		d.fail(off, "expected 1 or 2 levels in a range, found %d", s.items)
		return s
	}
	s.low.sens = d.u32("sensitivity of a low level")
	s.high.sens = s.low.sens
	if s.items == 2 {
		s.high.sens = d.u32("sensitivity of a high level")
	}
	s.low.cats = d.bitmap("categories of a low level")
	s.high.cats = s.low.cats
	if s.items == 2 {
		s.high.cats = d.bitmap("categories of a high level")
	}
	return s
}

func (d *decoder) context() context {
	return context{
		user: d.u32("user of a context"),
		role: d.u32("role of a context"),
		typ:  d.u32("type of a context"),
		span: d.span(),
	}
}
