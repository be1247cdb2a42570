package cnp

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
)

// Table answers which commands a set of rules allows on a key. It never changes
// and may be used by any number of goroutines. The zero Table allows nothing.
type Table struct {
	any   Mask      // on every key, and without one
	seeds [2]uint64 // of the hash

	exact   hashed
	prefix  hashed
	lengths []uint8 // of prefixes, ascending

	side  []side    // what is too long for a slot, and where the rules are
	blob  []byte    // the keys of side
	lists [][]int32 // of rules with regular expressions: those that a key beginning with the prefix may match
	roots []int32   // the same for every key
	rules []*Rule   // in the order of the files
	anys  []int32   // rules without a condition, or with one that always holds
	owned []int32   // rules of exact keys and prefixes, by side
}

// keyMax is the longest key that memcached has, in bytes. Longer ones in rules
// match nothing.
const keyMax = 250

// inline is how many bytes of a key a slot holds: its last ones.
const inline = 16

// slot is one exact key, or one prefix with what all shorter ones that it begins
// with allow too. Two of them are a cache line.
type slot struct {
	mask Mask
	a, b uint64 // of words
	tag  uint32 // of the hash in the upper three bytes; the key's length in the lowest, 0: an empty slot
	side int32
}

type side struct {
	key         int32 // in blob
	list        int32 // in lists; -1: none
	rule, rules int32 // in owned: those of this very key or prefix
}

// hashed is an open hash table that is at most half full.
type hashed struct {
	slots []slot
	shift uint8
}

func tagOf(hash uint64, n int) uint32 { return uint32(hash)<<8 | uint32(n) }

// words are two numbers that hold every byte of a key of up to 16 bytes, and of a
// longer one the last 16. len(key) is not 0.
func words(key []byte) (a, b uint64) {
	le := binary.LittleEndian
	switch n := len(key); {
	case n > inline:
		return le.Uint64(key[n-16:]), le.Uint64(key[n-8:])
	case n >= 8:
		return le.Uint64(key), le.Uint64(key[n-8:])
	case n >= 4:
		return uint64(le.Uint32(key)), uint64(le.Uint32(key[n-4:]))
	default:
		return uint64(key[0]) | uint64(key[n/2])<<8 | uint64(key[n-1])<<16, 0
	}
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash is seeded, so that nobody who chooses keys can choose collisions.
func (t *Table) hash(key []byte) (h, a, b uint64) {
	a, b = words(key)
	h = uint64(len(key)) * 0x9e3779b97f4a7c15
	if len(key) > inline {
		for p := key; len(p) > inline; p = p[inline:] {
			h = mix(binary.LittleEndian.Uint64(p)^t.seeds[0]^h, binary.LittleEndian.Uint64(p[8:])^t.seeds[1])
		}
	}
	return mix(mix(a^t.seeds[0]^h, b^t.seeds[1])^t.seeds[0], 0x9e3779b97f4a7c15), a, b
}

// find returns the slot of key, nil if there is none. len(key) is at most keyMax
// and not 0.
func (t *Table) find(h *hashed, key []byte) *slot {
	hash, a, b := t.hash(key)
	return t.findFrom(h, key, hash, a, b)
}

// findFrom is find where hash has been called.
func (t *Table) findFrom(h *hashed, key []byte, hash, a, b uint64) *slot {
	tag := tagOf(hash, len(key))
	mask := uint64(len(h.slots) - 1)
	for i := hash >> h.shift; ; i++ {
		s := &h.slots[i&mask]
		switch {
		case s.tag == tag && s.a == a && s.b == b && (len(key) <= inline || t.same(s, key)):
			return s
		case s.tag == 0:
			return nil
		}
	}
}

// same compares all of a key that does not fit into a slot: a hash alone grants
// nothing.
func (t *Table) same(s *slot, key []byte) bool {
	from := t.side[s.side].key
	return string(t.blob[from:int(from)+len(key)]) == string(key)
}

// longest is the slot of the longest prefix of key, nil if there is none.
func (t *Table) longest(key []byte) *slot {
	var best *slot
	lo, hi := 0, len(t.lengths)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		n := int(t.lengths[mid])
		if n > len(key) {
			hi = mid
			continue
		}
		if s := t.find(&t.prefix, key[:n]); s != nil {
			best, lo = s, mid+1
		} else {
			hi = mid
		}
	}
	return best
}

// lacks reports which of the needed commands no rule allows on key.
func (t *Table) lacks(need Mask, key []byte) Mask {
	need &^= t.any
	if need == 0 || len(key) == 0 || len(key) > keyMax {
		return need
	}
	if len(t.exact.slots) > 0 {
		if s := t.find(&t.exact, key); s != nil {
			if need &^= s.mask; need == 0 {
				return 0
			}
		}
	}
	var p *slot
	if len(t.lengths) > 0 {
		if p = t.longest(key); p != nil {
			if need &^= p.mask; need == 0 {
				return 0
			}
			if l := t.side[p.side].list; l >= 0 {
				need = t.run(t.lists[l], need, key)
			}
		}
	}
	if len(t.roots) > 0 && need != 0 {
		need = t.run(t.roots, need, key)
	}
	return need
}

// run takes away what the rules of the list allow on key.
func (t *Table) run(list []int32, need Mask, key []byte) Mask {
	for _, i := range list {
		r := t.rules[i]
		if r.Mask&need != 0 && hasSuffix(key, r.shape.end) && r.re.Match(key) {
			if need &^= r.Mask; need == 0 {
				break
			}
		}
	}
	return need
}

func hasSuffix(key []byte, end string) bool {
	return len(key) >= len(end) && string(key[len(key)-len(end):]) == end
}

// lacksUnder reports which of the needed commands are not allowed on every key
// that begins with prefix.
func (t *Table) lacksUnder(need Mask, prefix []byte) Mask {
	need &^= t.any
	if need != 0 && len(prefix) > 0 && len(prefix) <= keyMax && len(t.lengths) > 0 {
		if s := t.longest(prefix); s != nil {
			need &^= s.mask
		}
	}
	return need
}

// each calls fn for every rule that holds for key, until it returns false. The
// order is that of the search, not of the files.
func (t *Table) each(key []byte, fn func(r *Rule) bool) {
	for _, i := range t.anys {
		if !fn(t.rules[i]) {
			return
		}
	}
	if len(key) == 0 || len(key) > keyMax {
		return
	}
	own := func(s *slot) bool {
		if s == nil {
			return true
		}
		x := &t.side[s.side]
		for _, i := range t.owned[x.rule : x.rule+x.rules] {
			if !fn(t.rules[i]) {
				return false
			}
		}
		return true
	}
	if len(t.exact.slots) > 0 && !own(t.find(&t.exact, key)) {
		return
	}
	list := int32(-1)
	for _, n := range t.lengths {
		if int(n) > len(key) {
			break
		}
		s := t.find(&t.prefix, key[:n])
		if s != nil && t.side[s.side].list >= 0 {
			list = t.side[s.side].list
		}
		if !own(s) {
			return
		}
	}
	lists := [2][]int32{t.roots}
	if list >= 0 {
		lists[1] = t.lists[list]
	}
	for _, l := range lists {
		for _, i := range l {
			r := t.rules[i]
			if hasSuffix(key, r.shape.end) && r.re.Match(key) && !fn(r) {
				return
			}
		}
	}
}

// newTable compiles rules.
func newTable(rules []*Rule) *Table {
	seed := maphash.MakeSeed()
	t := &Table{rules: rules, seeds: [2]uint64{maphash.String(seed, "a"), maphash.String(seed, "b")}}
	exact, prefix := map[string]*pending{}, map[string]*pending{}
	at := func(m map[string]*pending, key string) *pending {
		if m[key] == nil {
			m[key] = &pending{key: key}
		}
		return m[key]
	}
	put := func(m map[string]*pending, key string, i int32) {
		switch {
		case len(key) > keyMax:
		case key == "":
			t.any |= rules[i].Mask & Keyed
			t.anys = append(t.anys, i)
		default:
			p := at(m, key)
			p.mask |= rules[i].Mask
			p.rules = append(p.rules, i)
		}
	}
	for k, r := range rules {
		i := int32(k)
		switch r.Kind {
		case Any:
			t.any |= r.Mask
			t.anys = append(t.anys, i)
		case Exact:
			put(exact, r.Key, i)
		case Prefix:
			put(prefix, r.Key, i)
		case Regex:
			switch s := &r.shape; {
			case s.exact != nil:
				for _, key := range s.exact {
					if key != "" { // nothing has the empty key
						put(exact, key, i)
					}
				}
			case s.prefix != nil:
				for _, key := range s.prefix {
					put(prefix, key, i)
				}
			case s.begin != "" && len(s.begin) <= keyMax:
				p := at(prefix, s.begin)
				p.regex = append(p.regex, i)
			case s.begin == "":
				t.roots = append(t.roots, i)
			}
		}
	}
	slices.Sort(t.anys)
	t.anys = slices.Compact(t.anys)
	t.exact = t.build(sorted(exact))
	t.buildPrefixes(prefix)
	return t
}

// pending is an exact key or a prefix on its way into a table.
type pending struct {
	key   string
	mask  Mask    // of its own rules
	all   Mask    // and of those of all prefixes that it begins with
	rules []int32 // its own rules
	regex []int32 // rules with a regular expression that begins with it
	list  int32
}

func sorted(m map[string]*pending) []*pending {
	out := make([]*pending, 0, len(m))
	for _, p := range m {
		p.all, p.list = p.mask, -1
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pending) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return out
}

// buildPrefixes adds up what the prefixes of each prefix allow, and puts what the
// bisection needs beside them: where it has to go on to a longer prefix, a slot
// must say so, with the verdict of the longest prefix so far.
func (t *Table) buildPrefixes(m map[string]*pending) {
	list := sorted(m)
	var lengths [keyMax + 1]bool
	var open []*pending // those that list[i] begins with
	for _, p := range list {
		for len(open) > 0 && !hasPrefix(p.key, open[len(open)-1].key) {
			open = open[:len(open)-1]
		}
		p.list = -1
		if n := len(open); n > 0 {
			p.all |= open[n-1].all
			p.list = open[n-1].list
		}
		if len(p.regex) > 0 {
			var all []int32
			if p.list >= 0 {
				all = append(all, t.lists[p.list]...)
			}
			p.list = int32(len(t.lists))
			t.lists = append(t.lists, append(all, p.regex...))
		}
		open = append(open, p)
		lengths[len(p.key)] = true
	}
	for n, there := range lengths {
		if there {
			t.lengths = append(t.lengths, uint8(n))
		}
	}
	markers := map[string]*pending{}
	open = open[:0]
	for _, p := range list {
		for len(open) > 0 && !hasPrefix(p.key, open[len(open)-1].key) {
			open = open[:len(open)-1]
		}
		lo, hi := 0, len(t.lengths)
		for lo < hi {
			mid := int(uint(lo+hi) >> 1)
			n := int(t.lengths[mid])
			if n >= len(p.key) {
				hi = mid
				continue
			}
			lo = mid + 1
			mark := p.key[:n]
			if m[mark] != nil || markers[mark] != nil {
				continue
			}
			x := &pending{key: mark, list: -1}
			for k := len(open) - 1; k >= 0; k-- {
				if len(open[k].key) < n {
					x.all, x.list = open[k].all, open[k].list
					break
				}
			}
			markers[mark] = x
		}
		open = append(open, p)
	}
	for _, x := range markers {
		list = append(list, x)
	}
	t.prefix = t.build(list)
}

func hasPrefix(s, p string) bool { return len(s) >= len(p) && s[:len(p)] == p }

// build makes the hash table of a list.
func (t *Table) build(list []*pending) hashed {
	if len(list) == 0 {
		return hashed{}
	}
	k := bits.Len(uint(2*len(list) - 1))
	h := hashed{slots: make([]slot, 1<<k), shift: uint8(64 - k)}
	for _, p := range list {
		hash, a, b := t.hash([]byte(p.key))
		i := hash >> h.shift
		for h.slots[i&uint64(len(h.slots)-1)].tag != 0 {
			i++
		}
		s := &h.slots[i&uint64(len(h.slots)-1)]
		s.mask, s.tag, s.side = p.all, tagOf(hash, len(p.key)), int32(len(t.side))
		s.a, s.b = a, b
		x := side{list: p.list, rule: int32(len(t.owned)), rules: int32(len(p.rules))}
		t.owned = append(t.owned, p.rules...)
		if len(p.key) > inline {
			x.key = int32(len(t.blob))
			t.blob = append(t.blob, p.key...)
		}
		t.side = append(t.side, x)
	}
	return h
}
