package cnp

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// sprout plants seeds with the keys, of which those that kind returns 0 for are
// exact, 1 prefixes, 2 both, each with a mask of its own.
func sprout(keys []string, kind func(i int) int) (tree, []*seed) {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	seeds := make([]*seed, len(keys))
	for i, k := range keys {
		s, what := &seed{key: k}, kind(i)
		if what != 0 {
			s.mask = 1 << (i % 7)
			s.rules = []int32{int32(i)}
		}
		if what != 1 {
			s.exact = 1 << (8 + i%5)
			s.exacts = []int32{int32(i)}
		}
		seeds[i] = s
	}
	t, _, ok := plant(seeds, maxBase)
	if !ok {
		panic("too many seeds")
	}
	return t, seeds
}

// TestTree compares trees of random keys with the list of them. The keys have bytes of all
// values, share beginnings of all lengths, and some have long tails.
func TestTree(t *testing.T) {
	n := rand.Uint64()
	t.Logf("seed %d", n)
	rnd := rand.New(rand.NewPCG(n, 2))
	for range 100 {
		letters := [][]byte{[]byte("ab"), []byte("0123456789:"), {0, 1, 63, 64, 127, 128, 191, 192, 254, 255}, nil}[rnd.IntN(4)]
		word := func(n int) string {
			b := make([]byte, n)
			for i := range b {
				if b[i] = byte(rnd.Uint32()); letters != nil {
					b[i] = letters[rnd.IntN(len(letters))]
				}
			}
			return string(b)
		}
		keys := make([]string, 1+rnd.IntN(200))
		for i := range keys {
			keys[i] = word(1 + rnd.IntN(12))
			if k := keys[rnd.IntN(i+1)]; rnd.IntN(3) > 0 {
				keys[i] = k[:rnd.IntN(len(k)+1)] + word(1+rnd.IntN(1+rnd.IntN(30)))
			}
			keys[i] = keys[i][:min(len(keys[i]), keyMax)]
		}
		tree, seeds := sprout(keys, func(int) int { return rnd.IntN(3) })
		for range 200 {
			key := seeds[rnd.IntN(len(seeds))].key
			switch rnd.IntN(4) {
			case 0:
				key += word(rnd.IntN(12))
			case 1:
				key = key[:rnd.IntN(len(key)+1)] + word(rnd.IntN(3))
			case 2:
				b := []byte(key)
				b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
				key = string(b)
			}
			var want Mask
			var ends []string
			for _, s := range seeds {
				if strings.HasPrefix(key, s.key) {
					want |= s.mask
					ends = append(ends, s.key)
				}
				if key == s.key {
					want |= s.exact
				}
			}
			if got, list := tree.find([]byte(key), All); got != want || list != -1 {
				t.Fatalf("%q: found %#x and list %d, expected %#x, in %q", key, got, list, want, keys)
			}
			var walked []string
			tree.walk([]byte(key), func(p *place, n int) {
				if p.ends {
					walked = append(walked, key[:n])
				}
			})
			if !slices.Equal(walked, ends) {
				t.Fatalf("%q: walked over %q, expected %q", key, walked, ends)
			}
			for need := Mask(1); need < 1<<13; need <<= 1 {
				if got, _ := tree.find([]byte(key), need); got&need != want&need {
					t.Fatalf("%q, %#x: found %#x, expected %#x, in %q", key, need, got, want, keys)
				}
				rest, ok := tree.enter(tree.root(), []byte(key))
				if got := ok && tree.allows(need, tree.root(), rest); got != (want&need != 0) {
					t.Fatalf("%q, %#x: allowed %v, expected %#x, in %q", key, need, got, want, keys)
				}
			}
		}
	}
}

// TestTreeFull: a tree that would have more bases or places than its cells can tell apart is
// none, whichever of the two there are more of.
func TestTreeFull(t *testing.T) {
	var seeds []*seed
	for i := range 10_000 {
		seeds = append(seeds, &seed{key: fmt.Sprintf("%04d", i), mask: 1 << (i * 7 % 13)})
	}
	whole, _, ok := plant(seeds, maxBase)
	if !ok {
		t.Fatal("10,000 seeds are too many")
	}
	for _, most := range []int{0, 1, 10, len(whole.places) - 2, 100} {
		if _, _, ok := plant(seeds, base(most)); ok {
			t.Errorf("there are %d places and %d cells, but no more than %d", len(whole.places), len(whole.cells), most)
		}
	}
	if _, _, ok := plant(seeds, base(len(whole.cells))); !ok {
		t.Errorf("%d bases are too many for %d cells", len(whole.cells), len(whole.cells))
	}
}

// TestTreeOfOneCommand: the seeds of one command say about it what all of them do.
func TestTreeOfOneCommand(t *testing.T) {
	n := rand.Uint64()
	t.Logf("seed %d", n)
	rnd := rand.New(rand.NewPCG(n, 3))
	for range 200 {
		keys := map[string]*seed{}
		for range 1 + rnd.IntN(60) {
			b := make([]byte, 1+rnd.IntN(6))
			for i := range b {
				b[i] = "ab"[rnd.IntN(2)]
			}
			keys[string(b)] = &seed{key: string(b), mask: Mask(rnd.IntN(4)), exact: Mask(rnd.IntN(4))}
		}
		var seeds []*seed
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			seeds = append(seeds, keys[k])
		}
		all, _, _ := plant(seeds, maxBase)
		one, _, _ := plant(only(1, seeds), maxBase)
		for i := range 1 << 8 {
			key := []byte(strings.Map(func(r rune) rune { return rune("ab"[r-'0']) }, fmt.Sprintf("%b", i)))
			want, _ := all.find(key, All)
			if got, _ := one.find(key, All); got != want&1 {
				t.Fatalf("%q: found %#x, expected that of %#x", key, got, want)
			}
		}
	}
}

// TestTreeOfNothing: the zero tree allows nothing.
func TestTreeOfNothing(t *testing.T) {
	var none tree
	if got, list := none.find([]byte("key"), All); got != 0 || list != -1 {
		t.Errorf("found %#x and list %d", got, list)
	}
	none.walk([]byte("key"), func(*place, int) { t.Error("there is a place") })
	if new(Table).lacks(Get, []byte("key")) != Get {
		t.Error("the zero Table allows something")
	}
}

// TestTreeSize bounds the memory of trees: names that were counted up are a few cells,
// others are in proportion to the bytes in which they differ.
func TestTreeSize(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	const n = 20_000
	for _, c := range []struct {
		name string
		key  func(i int) string
		kind func(i int) int
		most int // bytes of a tree without its paths, for each rule
	}{
		{"counted", func(i int) string { return fmt.Sprintf("tenant:%06d:", i) }, func(int) int { return 1 }, 1},
		{"counted, any command", func(i int) string { return fmt.Sprintf("tenant:%06d:", i) }, func(int) int { return rnd.IntN(3) }, 12},
		{"random", func(int) string { return fmt.Sprintf("%016x:", rnd.Uint64()) }, func(int) int { return rnd.IntN(3) }, 72},
		{"nested", func(i int) string { return strings.Repeat("x", i%240) + fmt.Sprint(i) }, func(int) int { return rnd.IntN(3) }, 48},
	} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = c.key(i)
		}
		tree, seeds := sprout(keys, c.kind)
		if c.most == 1 {
			for _, s := range seeds {
				s.mask = 1
			}
			tree, _, _ = plant(seeds, maxBase)
		}
		size := (int(unsafe.Sizeof(cell(0)))*len(tree.cells) + int(unsafe.Sizeof(place{}))*len(tree.places)) / len(seeds)
		t.Logf("%s: %d cells, %d places, %d bytes of paths, %d bytes for each rule", c.name, len(tree.cells), len(tree.places), len(tree.blob), size)
		if size > c.most {
			t.Errorf("%s: %d bytes for each rule, expected at most %d", c.name, size, c.most)
		}
		used := 0
		for _, x := range tree.cells {
			if x != 0 {
				used++
			}
		}
		if len(tree.cells) > used+used/3+1024 {
			t.Errorf("%s: %d of %d cells are used", c.name, used, len(tree.cells))
		}
		for range 1000 {
			key := seeds[rnd.IntN(len(seeds))].key
			if got, _ := tree.find([]byte(key), All); got == 0 {
				t.Fatalf("%s: %q is not there", c.name, key)
			}
		}
	}
}

// TestTreeWide has a fork with every byte, and forks that fit nowhere but at the end.
func TestTreeWide(t *testing.T) {
	var keys []string
	for i := range 256 {
		for j := range 256 {
			keys = append(keys, string([]byte{byte(i), byte(j), byte(i * j)}))
		}
	}
	tree, seeds := sprout(keys, func(i int) int { return i % 3 })
	for i, s := range seeds {
		if got, _ := tree.find([]byte(s.key), All); got != s.mask|s.exact {
			t.Fatalf("%q, number %d: found %#x, expected %#x", s.key, i, got, s.mask|s.exact)
		}
		if got, _ := tree.find(append([]byte(s.key), 0xff), All); got != s.mask {
			t.Fatalf("behind %q, number %d: found %#x, expected %#x", s.key, i, got, s.mask)
		}
		other := bytes.Clone([]byte(s.key))
		other[2]++
		if got, _ := tree.find(other, All); got != 0 {
			t.Fatalf("%q: found %#x, expected nothing", other, got)
		}
	}
}
