package storage_test

import (
	"bytes"
	"fmt"
	"testing"

	"sememcached/storage"
)

// When the sizes that clients store change, memory follows them: nearly all of it serves the
// new size in the end, and items of the old size that are still read stay.
func TestPagesFollowTheMix(t *testing.T) {
	if storage.RaceEnabled {
		t.Skip("single-threaded, and slow under the race detector")
	}
	const limit = 16 << 20
	s := newStore(t, storage.Config{Limit: limit, Seed: 1})
	store := func(prefix string, i, n int, now uint32) {
		t.Helper()
		// Values that look like headers with every bit set, should one be taken for another.
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "%s:%d", prefix, i), Now: now}, bytes.Repeat([]byte{0xff}, n)); err != nil {
			t.Fatal(err)
		}
	}
	const old = 90_000
	for i := range old {
		store("old", i, 100, 1)
	}
	const hot = 2000
	for i := range 400_000 {
		now := uint32(60 + i/1000)
		store("new", i%12_000, 1000+i%8, now)
		get(s, fmt.Sprintf("old:%d", i%hot), now)
		if i%100_000 == 50_000 {
			check(t, s)
		}
	}
	check(t, s)
	present := func(prefix string, n int) (found int) {
		for i := range n {
			if get(s, fmt.Sprintf("%s:%d", prefix, i), 500) != "" {
				found++
			}
		}
		return found
	}
	st := s.Stats()
	fresh, kept := present("new", 12_000), present("old", hot)
	t.Logf("%d of the new size, %d of %d old ones in use, %d pages moved", fresh, kept, hot, st.SlabsMoved)
	if fresh < 11_500 {
		t.Errorf("%d of 12000 items of the new size fit", fresh)
	}
	if kept < hot*9/10 {
		t.Errorf("%d of %d old items in use were kept", kept, hot)
	}
	if st.TotalMalloced > limit {
		t.Errorf("%d bytes mapped, limit %d", st.TotalMalloced, limit)
	}
}

// has looks for a key without using it.
func has(s *storage.Store, key string, now uint32) bool {
	h := s.Hash(0, []byte(key))
	sh := s.Lock(h)
	defer sh.Unlock()
	it, _ := sh.Find(h, 0, []byte(key), now)
	return !it.Nil()
}

// Large items and small ones take memory from each other, too.
func TestRunsAndPagesShareTheLimit(t *testing.T) {
	if storage.RaceEnabled {
		t.Skip("single-threaded, and slow under the race detector")
	}
	const limit = 32 << 20
	s := newStore(t, storage.Config{Limit: limit, Seed: 1})
	ones := bytes.Repeat([]byte{0xff}, 900_000)
	fill := func(prefix string, n, size int, from uint32) {
		for i := range n {
			spec := storage.Spec{Key: fmt.Appendf(nil, "%s:%d", prefix, i), Now: from + uint32(i*100/n), NValue: size}
			h := s.Hash(0, spec.Key)
			it, err := s.Reserve(h, &spec)
			if err != nil {
				t.Fatal(err)
			}
			copy(it.Value(), ones)
			sh := s.Lock(h)
			sh.Link(h, it)
			sh.Unlock()
		}
	}
	count := func(prefix string, n int) (found int) {
		for i := range n {
			if has(s, fmt.Sprintf("%s:%d", prefix, i), 10_000) {
				found++
			}
		}
		return found
	}
	fill("large", 100, 900_000, 1)
	if n := count("large", 100); n < 30 {
		t.Errorf("%d items of 900,000 bytes in %d", n, limit)
	}
	fill("small", 300_000, 100, 1000)
	large, small := count("large", 100), count("small", 300_000)
	t.Logf("after small items: %d large, %d small", large, small)
	if small < 120_000 {
		t.Errorf("%d small items, though the large ones are old", small)
	}
	check(t, s)
	fill("large", 1000, 900_000, 10_100)
	large, small = count("large", 1000), count("small", 300_000)
	t.Logf("after large items: %d large, %d small", large, small)
	if large < 20 {
		t.Errorf("%d large items, though the small ones are old", large)
	}
	check(t, s)
}

func TestSetLimit(t *testing.T) {
	s := newStore(t, storage.Config{Limit: 32 << 20, Seed: 1})
	for i := range 40_000 {
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%d", i), Now: uint32(i / 1000)}, make([]byte, 500+i%500)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetLimit(8 << 20); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ; s.Balance(100) && steps < 200_000; steps++ {
	}
	check(t, s)
	st := s.Stats()
	t.Logf("%d steps, %d items, %d bytes mapped", steps, st.CurrItems, st.TotalMalloced)
	if st.TotalMalloced > 12<<20 || st.LimitMaxBytes != 8<<20 || st.CurrItems == 0 {
		t.Errorf("%d bytes mapped after %d steps, limit %d, %d items", st.TotalMalloced, steps, st.LimitMaxBytes, st.CurrItems)
	}
	if !storage.RaceEnabled {
		if err := s.SetLimit(64 << 20); err != nil {
			t.Error(err)
		}
	}
	if err := s.SetLimit(1 << 50); err == nil {
		t.Error("a limit beyond the address space was taken")
	}
}

// TestMixShifts: a store full of old small items is to hold large ones too. They get their memory soon, and
// without pages beyond the limit.
func TestMixShifts(t *testing.T) {
	const limit = 16 << 20
	s := newStore(t, storage.Config{Limit: limit, Seed: 1})
	n := limit / 150
	put := func(p string, i, size int, now uint32) {
		t.Helper()
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "%s:%d", p, i), Now: now}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 * n {
		put("a", i, 100, uint32(1+i*1000/n))
	}
	var now uint32
	over, most, before := 0, uint64(0), s.Stats().Evictions
	for i := range n / 6 {
		now = uint32(3000 + i*1000/n)
		for _, of := range []struct {
			prefix  string
			i, size int
		}{{"a", 2*n + i, 100}, {"b", i, 1000}} {
			put(of.prefix, of.i, of.size, now)
			after := s.Stats().Evictions
			most, before = max(most, after-before), after
		}
		if s.Stats().TotalMalloced > limit {
			over++
		}
	}
	found := 0
	for i := range n / 6 {
		if get(s, fmt.Sprintf("b:%d", i), now) != "" {
			found++
		}
	}
	t.Logf("%d of %d large items are there; above the limit in %d of %d steps; %d evictions at most in one", found, n/6, over, n/6, most)
	// One or two for the item's own chunk, and a step of the drainer's.
	if most > 8 {
		t.Errorf("a store evicted %d items", most)
	}
	if found < 8000 {
		t.Errorf("expected 8,000 large items at least, found %d", found)
	}
	if over > n/60 {
		t.Errorf("above the limit in %d of %d steps", over, n/6)
	}
}
