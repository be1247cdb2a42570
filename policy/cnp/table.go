package cnp

import (
	"slices"
	"strings"
)

// Table answers which commands a set of rules allows on a key. It never changes
// and may be used by any number of goroutines. The zero Table allows nothing.
type Table struct {
	any   Mask      // on every key, and without one
	tree  tree      // exact keys and prefixes
	gets  tree      // what of that allows Get: see lacksKeys
	lists [][]int32 // of rules with regular expressions: those that a key beginning with the prefix may match
	roots []int32   // the same for every key
	rules []*Rule   // in the order of the files
	anys  []int32   // rules without a condition, or with one that always holds
	own   []own     // by key
}

// own are the rules with one key or prefix.
type own struct {
	key            string
	prefix, exacts []int32
}

// keyMax is the longest key that memcached has, in bytes. Longer ones in rules
// match nothing.
const keyMax = 250

// lacks reports which of the needed commands no rule allows on key.
func (t *Table) lacks(need Mask, key []byte) Mask {
	need &^= t.any
	if need == 0 || len(key) == 0 || len(key) > keyMax {
		return need
	}
	allowed, list := t.tree.find(key, need)
	need &^= allowed
	if need != 0 && list >= 0 {
		need = t.run(t.lists[list], need, key)
	}
	if need != 0 && len(t.roots) > 0 {
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
	allowed := t.any
	if len(prefix) > 0 && len(prefix) <= keyMax {
		t.tree.walk(prefix, func(p *place, _ int) { allowed |= p.mask })
	}
	return need &^ allowed
}

// each calls fn for every rule that holds for key, until it returns false. The
// order is that of the search, not of the files.
func (t *Table) each(key []byte, fn func(r *Rule) bool) {
	more := true
	all := func(list []int32, fits func(r *Rule) bool) {
		for _, i := range list {
			if r := t.rules[i]; more && (fits == nil || fits(r)) {
				more = fn(r)
			}
		}
	}
	all(t.anys, nil)
	if len(key) == 0 || len(key) > keyMax {
		return
	}
	list := int32(-1)
	t.tree.walk(key, func(p *place, n int) {
		list = p.list
		if !p.ends || !more {
			return
		}
		o := t.ownOf(key[:n])
		all(o.prefix, nil)
		if n == len(key) {
			all(o.exacts, nil)
		}
	})
	matches := func(r *Rule) bool { return hasSuffix(key, r.shape.end) && r.re.Match(key) }
	all(t.roots, matches)
	if list >= 0 {
		all(t.lists[list], matches)
	}
}

// ownOf are the rules with this very key or prefix, of which there is one.
func (t *Table) ownOf(key []byte) *own {
	i, _ := slices.BinarySearchFunc(t.own, key, func(o own, key []byte) int { return strings.Compare(o.key, string(key)) })
	return &t.own[i]
}

// newTable compiles rules. It is nil if they are more than a tree can have.
func newTable(rules []*Rule) *Table {
	t := &Table{rules: rules}
	seeds := map[string]*seed{}
	at := func(key string) *seed {
		if seeds[key] == nil {
			seeds[key] = &seed{key: key}
		}
		return seeds[key]
	}
	always := func(i int32, m Mask) {
		t.any |= m
		t.anys = append(t.anys, i)
	}
	prefix := func(key string, i int32) {
		switch {
		case key == "":
			always(i, rules[i].Mask&Keyed)
		case len(key) <= keyMax:
			p := at(key)
			p.mask |= rules[i].Mask
			p.rules = append(p.rules, i)
		}
	}
	exact := func(key string, i int32) {
		if key != "" && len(key) <= keyMax { // nothing has the empty key
			p := at(key)
			p.exact |= rules[i].Mask
			p.exacts = append(p.exacts, i)
		}
	}
	for k, r := range rules {
		i := int32(k)
		switch s := &r.shape; {
		case r.Kind == Any:
			always(i, r.Mask)
		case r.Kind == Exact && r.Key == "", r.Kind == Prefix:
			prefix(r.Key, i)
		case r.Kind == Exact:
			exact(r.Key, i)
		case s.exact != nil:
			for _, key := range s.exact {
				exact(key, i)
			}
		case s.prefix != nil:
			for _, key := range s.prefix {
				prefix(key, i)
			}
		case s.begin == "":
			t.roots = append(t.roots, i)
		case len(s.begin) <= keyMax:
			p := at(s.begin)
			p.regex = append(p.regex, i)
		}
	}
	slices.Sort(t.anys)
	t.anys = slices.Compact(t.anys)
	sorted := make([]*seed, 0, len(seeds))
	for _, p := range seeds {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(a, b *seed) int { return strings.Compare(a.key, b.key) })
	var ok, also bool
	t.tree, t.lists, ok = plant(sorted, maxBase)
	t.gets, _, also = plant(only(Get, sorted), maxBase)
	if !ok || !also {
		return nil
	}
	for _, p := range sorted {
		if len(p.rules)+len(p.exacts) > 0 {
			t.own = append(t.own, own{p.key, p.rules, p.exacts})
		}
	}
	return t
}

// only is what seeds, which are sorted, say about need, which is one command: those that allow
// it, without those that begin with a prefix that does.
func only(need Mask, seeds []*seed) []*seed {
	var out []*seed
	var last *seed // the last prefix: what begins with an earlier one comes before it
	for _, s := range seeds {
		if last != nil && strings.HasPrefix(s.key, last.key) {
			continue
		}
		n := &seed{key: s.key, mask: s.mask & need, exact: s.exact & need}
		if n.mask != 0 {
			n.exact, last = 0, n
		}
		if n.mask|n.exact != 0 {
			out = append(out, n)
		}
	}
	return out
}
