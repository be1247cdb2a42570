package policy

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
)

// index finds rules by what a decision knows. It is derived from the rule
// tables, and holds no pointers but slice headers and the keys of a few maps.
type index struct {
	attrs [][]uint16 // by type value: its attributes and itself

	// Access vector rules by (source, target, class). sources and targets
	// tell for most types that no rule of a class names them, which spares
	// most of the attributes × attributes look-ups.
	av               keyTable
	avRules          []avEntry
	sources, targets filter

	// Type rules by (source, target, class, kind).
	typeRules   keyTable
	typeEntries []typeEntry

	// Of each conditional rule: its conditional and branch, and the next
	// rule with the same key, + 1.
	condBranch []uint32
	condNext   []uint32

	xpermRules map[uint64][]uint32 // by (source, target, class)

	roleAllowed map[roleAllow]struct{}
	roleTransTo map[roleTransKey]uint32
	rangeTo     map[typePairClass]uint32 // into rangeTrans
	namesBy     map[nameKey]uint32       // into names, + 1
	nameNext    []uint32                 // of each name, the next one with the same key, + 1
}

// avEntry sums up the unconditional rules of one key; cond heads the chain of
// its conditional ones, + 1.
type avEntry struct {
	allow, auditAllow, auditDeny AV
	cond                         uint32
	have                         uint32 // kinds of rules, to refuse duplicates
}

// typeEntry is the unconditional type rule of a key, 0 if there is none, and
// the chain of its conditional ones.
type typeEntry struct{ newType, cond uint32 }

type roleTransKey struct{ role, typ, class uint32 }

type typePairClass struct{ source, target, class uint32 }

type nameKey struct {
	target, class uint32
	name          string
}

// avKey packs the key of an access vector rule; spec is 0 where the kinds of
// rules share an entry.
func avKey(source, target, class, spec uint16) uint64 {
	return uint64(source) | uint64(target)<<16 | uint64(class)<<32 | uint64(spec)<<48
}

// keyTable numbers distinct keys: an open-addressing table of 4-byte slots
// over a dense list. The garbage collector does not look into either.
type keyTable struct {
	slots []uint32 // index into keys, + 1; a power of two of them
	keys  []uint64
	mul   uint64
	shift uint
}

func (k *keyTable) init(n int) {
	width := max(bits.Len(uint(n)*2), 4)
	k.slots = make([]uint32, 1<<width)
	k.keys = make([]uint64, 0, n)
	k.shift = uint(64 - width)
	// An odd multiplier that no policy author knows: otherwise a file could
	// be made in which all keys collide, and loading it would take minutes.
	k.mul = maphash.String(maphash.MakeSeed(), "key") | 1
}

func (k *keyTable) find(key uint64) (int, bool) {
	mask := uint64(len(k.slots) - 1)
	for i := k.hash(key); ; i = (i + 1) & mask {
		n := k.slots[i]
		if n == 0 {
			return int(i), false
		}
		if k.keys[n-1] == key {
			return int(n - 1), true
		}
	}
}

func (k *keyTable) hash(key uint64) uint64 {
	hi, lo := bits.Mul64(key^k.mul, k.mul)
	return ((hi ^ lo) * 0x9e3779b97f4a7c15) >> k.shift
}

// add returns the number of a key and whether it is new.
func (k *keyTable) add(key uint64) (int, bool) {
	i, ok := k.find(key)
	if ok {
		return i, false
	}
	k.keys = append(k.keys, key)
	k.slots[i] = uint32(len(k.keys))
	return len(k.keys) - 1, true
}

// filter answers "perhaps" or "no" to: does a rule of this class name this
// type? It has one hash, as a Bloom filter of one.
type filter struct {
	bits  []uint64
	shift uint
}

func (f *filter) init(n int) {
	width := min(max(bits.Len(uint(n)), 6), 18)
	f.bits = make([]uint64, 1<<(width-6))
	f.shift = uint(32 - width)
}

func (f *filter) at(typ, class uint16) uint32 {
	return (uint32(typ)<<16 | uint32(class)) * 0x9e3779b1 >> f.shift
}

func (f *filter) add(typ, class uint16) {
	h := f.at(typ, class)
	f.bits[h/64] |= 1 << (h % 64)
}

func (f *filter) may(typ, class uint16) bool {
	h := f.at(typ, class)
	return f.bits[h/64]>>(h%64)&1 != 0
}

// indexRules builds index and refuses rules that contradict each other, as
// the kernel does.
func (t *tables) indexRules() error {
	t.indexAttributes()
	if err := t.indexAVRules(); err != nil {
		return err
	}
	if err := t.indexCondRules(); err != nil {
		return err
	}
	t.indexXperms()
	t.roleAllowed = make(map[roleAllow]struct{}, len(t.roleAllow))
	for _, r := range t.roleAllow {
		t.roleAllowed[r] = struct{}{}
	}
	t.roleTransTo = make(map[roleTransKey]uint32, len(t.roleTrans))
	for _, r := range t.roleTrans {
		k := roleTransKey{r.role, r.typ, r.class}
		if t.version < versionRoleTransClass {
			k.class = uint32(t.processClass)
		}
		if _, ok := t.roleTransTo[k]; ok {
			return fmt.Errorf("policy: role transitions: expected one for role %s and type %s, found two", t.roleByValue[k.role].name, t.typeByValue[k.typ].name)
		}
		t.roleTransTo[k] = r.newRole
	}
	t.rangeTo = make(map[typePairClass]uint32, len(t.rangeTrans))
	for i, r := range t.rangeTrans {
		k := typePairClass{r.source, r.target, r.class}
		if _, ok := t.rangeTo[k]; ok {
			return fmt.Errorf("policy: range transitions: expected one for %s, found two", t.ruleName(uint16(k.source), uint16(k.target), uint16(k.class)))
		}
		t.rangeTo[k] = uint32(i)
	}
	return t.indexNames()
}

// indexAttributes flattens the attribute maps. Every type is in its own, even
// if the file left that out.
func (t *tables) indexAttributes() {
	n := 0
	for i, m := range t.typeAttrMap {
		n += m.with(uint32(i)).len()
	}
	flat := make([]uint16, 0, n)
	t.attrs = make([][]uint16, len(t.typeAttrMap)+1)
	for i, m := range t.typeAttrMap {
		first := len(flat)
		for bit := range m.with(uint32(i)).all {
			flat = append(flat, uint16(bit+1))
		}
		t.attrs[i+1] = flat[first:len(flat):len(flat)]
	}
}

func (t *tables) indexAVRules() error {
	nav, ntype := 0, 0
	for _, list := range [][]avRule{t.rules, t.condRules} {
		for i := range list {
			if list[i].spec&ruleAV != 0 {
				nav++
			} else if list[i].spec&ruleType != 0 {
				ntype++
			}
		}
	}
	t.av.init(nav)
	t.avRules = make([]avEntry, 0, nav)
	t.sources.init(nav * 8)
	t.targets.init(nav * 8)
	t.typeRules.init(ntype)
	t.typeEntries = make([]typeEntry, 0, ntype)
	for i := range t.rules {
		r := &t.rules[i]
		switch {
		case r.spec&ruleAV != 0:
			e := t.avEntry(r)
			if e.have&uint32(r.spec) != 0 {
				return t.twice("access vector rules", r)
			}
			e.have |= uint32(r.spec)
			switch r.spec {
			case ruleAllow:
				e.allow = AV(r.data)
			case ruleAuditAllow:
				e.auditAllow = AV(r.data)
			case ruleAuditDeny:
				e.auditDeny = AV(r.data)
			}
		case r.spec&ruleType != 0:
			e := t.typeEntry(r)
			if e.newType != 0 {
				return t.twice("type rules", r)
			}
			e.newType = r.data
		}
	}
	// Both lists grew to what was needed, which is less than the number of
	// rules: give the rest back.
	t.avRules = slices.Clip(t.avRules)
	return nil
}

func (t *tables) avEntry(r *avRule) *avEntry {
	i, added := t.av.add(avKey(r.source, r.target, r.class, 0))
	if added {
		t.avRules = append(t.avRules, avEntry{auditDeny: ^AV(0)})
		t.sources.add(r.source, r.class)
		t.targets.add(r.target, r.class)
	}
	return &t.avRules[i]
}

func (t *tables) typeEntry(r *avRule) *typeEntry {
	i, added := t.typeRules.add(avKey(r.source, r.target, r.class, r.spec&ruleType))
	if added {
		t.typeEntries = append(t.typeEntries, typeEntry{})
	}
	return &t.typeEntries[i]
}

// indexCondRules chains the conditional rules of each key in the order of the
// file. A type rule has at most two: one in each branch of one conditional,
// so that never two are in force.
func (t *tables) indexCondRules() error {
	t.condBranch = make([]uint32, len(t.condRules))
	t.condNext = make([]uint32, len(t.condRules))
	for i := range t.conds {
		c := &t.conds[i]
		for j := c.first; j < c.end; j++ {
			t.condBranch[j] = uint32(i) << 1
			if j < c.mid {
				t.condBranch[j] |= branchTrue
			}
		}
	}
	for i := len(t.condRules) - 1; i >= 0; i-- {
		r := &t.condRules[i]
		switch {
		case r.spec&ruleAV != 0:
			e := t.avEntry(r)
			t.condNext[i] = e.cond
			e.cond = uint32(i + 1)
		case r.spec&ruleType != 0:
			e := t.typeEntry(r)
			if e.newType != 0 {
				return t.twice("type rules inside and outside of conditionals", r)
			}
			// Going backwards, the rule in the false branch came first.
			if o := e.cond; o != 0 && (t.condNext[o-1] != 0 || t.condBranch[o-1]^t.condBranch[i] != branchTrue) {
				return t.twice("conditional type rules", r)
			}
			t.condNext[i] = e.cond
			e.cond = uint32(i + 1)
		}
	}
	return nil
}

func (t *tables) twice(what string, r *avRule) error {
	return fmt.Errorf("policy: %s: expected one of kind %#x for %s, found two", what, r.spec, t.ruleName(r.source, r.target, r.class))
}

// ruleName writes the key of a rule as policy sources do.
func (t *tables) ruleName(source, target, class uint16) string {
	return fmt.Sprintf("%s %s:%s", t.typeByValue[source].name, t.typeByValue[target].name, t.classByValue[class].name)
}

// indexNames chains the named transitions of each key in the order of the
// file, in which the first match wins.
func (t *tables) indexNames() error {
	t.namesBy = make(map[nameKey]uint32)
	t.nameNext = make([]uint32, len(t.names))
	for i := len(t.names) - 1; i >= 0; i-- {
		n := &t.names[i]
		k := nameKey{n.target, n.class, n.name}
		t.nameNext[i] = t.namesBy[k]
		t.namesBy[k] = uint32(i + 1)
	}
	for _, g := range t.nameGroups {
		n := &t.names[g.first]
		if t.namesBy[nameKey{n.target, n.class, n.name}] != g.first+1 || t.nameNext[g.end-1] != 0 {
			return fmt.Errorf("policy: named transitions: expected one entry for target %s, class %s and name %q, found two", t.typeByValue[n.target].name, t.classByValue[n.class].name, n.name)
		}
	}
	return nil
}
