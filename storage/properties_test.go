package storage_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/storage"
)

func TestHotPathDoesNotAllocate(t *testing.T) {
	s := newStore(t, storage.Config{})
	for i := range 10_000 {
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%d", i), Label: uint32(i % 3), Now: 1}, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	reply := make([]byte, 0, 1<<10)
	key := []byte("key:77")
	value := make([]byte, 100)
	for name, fn := range map[string]func(){
		"get hit": func() {
			h := s.Hash(0, key)
			s.Prefetch([]uint64{h})
			sh := s.Lock(h)
			it, _ := sh.Find(h, 0, key, 2)
			sh.Hit(it, 2)
			reply = append(reply[:0], it.Text()...)
			sh.Unlock()
		},
		"get miss": func() {
			h := s.Hash(0, key[:4])
			sh := s.Lock(h)
			if it, why := sh.Find(h, 0, key[:4], 2); !it.Nil() || why != storage.Missing {
				t.Errorf("found %v", why)
			}
			sh.Unlock()
		},
		"overwrite in place": func() {
			if err := set(s, storage.Spec{Key: key, Label: 2, Now: 2}, value); err != nil {
				t.Error(err)
			}
		},
		"pin and unpin": func() {
			h := s.Hash(0, key)
			sh := s.Lock(h)
			it, _ := sh.Find(h, 0, key, 2)
			if !sh.Pin(it) {
				t.Error("pin refused")
			}
			sh.Unlock()
			s.Unpin(it)
		},
		"overwrite with another size": func() {
			for _, n := range []int{400, 100} {
				if err := set(s, storage.Spec{Key: key, Label: 2, Now: 2}, reply[:n]); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Errorf("%s: expected no allocation, found %v", name, n)
		}
	}
}

// The sizes users see are memcached's: 39 classes with the defaults, and these.
func TestReportedClassesAreMemcacheds(t *testing.T) {
	s := newStore(t, storage.Config{Shards: 1})
	chunk, perPage := s.MemcachedClasses()
	want := `1 96×10922, 2 120×8738, 3 152×6898, 4 192×5461, 5 240×4369, 6 304×3449, 7 384×2730, 8 480×2184, 9 600×1747, 10 752×1394, 11 944×1110, 12 1184×885, 13 1480×708, 14 1856×564, 15 2320×451, 16 2904×361, 17 3632×288, 18 4544×230, 19 5680×184, 20 7104×147, 21 8880×118, 22 11104×94, 23 13880×75, 24 17352×60, 25 21696×48, 26 27120×38, 27 33904×30, 28 42384×24, 29 52984×19, 30 66232×15, 31 82792×12, 32 103496×10, 33 129376×8, 34 161720×6, 35 202152×5, 36 252696×4, 37 315872×3, 38 394840×2, 39 524288×2`
	var got []string
	for i := range chunk {
		got = append(got, fmt.Sprintf("%d %d×%d", i+1, chunk[i], perPage[i]))
		if id, c, n := s.Class(int(chunk[i])); id != i+1 || c != int(chunk[i]) || n != int(perPage[i]) {
			t.Errorf("size %d is in class %d of %d×%d", chunk[i], id, c, n)
		}
		if id, _, _ := s.Class(int(chunk[i]) + 1); id != min(i+2, len(chunk)) {
			t.Errorf("size %d is in class %d", chunk[i]+1, id)
		}
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("expected %s\nfound    %s", want, strings.Join(got, ", "))
	}
	if id, _, _ := s.Class(1<<20 + 1); id != 0 {
		t.Errorf("an item above the largest is in class %d", id)
	}
}

func TestItemSizeLimit(t *testing.T) {
	s := newStore(t, storage.Config{Shards: 1})
	for _, c := range []struct {
		n    int
		want error
	}{{1048477, nil}, {1048576 - 56 - 4 - 2, nil}, {1048576 - 56 - 4 - 1, storage.ErrTooLarge}, {1048576, storage.ErrTooLarge}, {-1, storage.ErrTooLarge}} {
		spec := storage.Spec{Key: []byte("foo"), NValue: c.n, Now: 1}
		it, err := s.Reserve(s.Hash(0, spec.Key), &spec)
		if err != c.want {
			t.Errorf("%d bytes: expected %v, found %v", c.n, c.want, err)
		}
		if err == nil {
			if it.Size() > 1<<20 || len(it.Value()) != c.n {
				t.Errorf("%d bytes: size %d, value %d", c.n, it.Size(), len(it.Value()))
			}
			s.Release(it)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 251)} {
		spec := storage.Spec{Key: []byte(key), Now: 1}
		if _, err := s.Reserve(0, &spec); err != storage.ErrTooLarge {
			t.Errorf("key of %d bytes: found %v", len(key), err)
		}
	}
	check(t, s)
}

func TestFirstCASIsTwo(t *testing.T) {
	if got := newStore(t, storage.Config{Shards: 1}).NextCAS(); got != 2 {
		t.Errorf("expected 2, found %d", got)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for want, cfg := range map[string]storage.Config{
		"shards: expected a power of two from 1 to 256, found 3": {Shards: 3},
		"limit: expected":         {Limit: 5},
		"largest item: expected":  {MaxItem: 1000},
		"growth factor: expected": {Factor: 1},
		"smallest chunk":          {ChunkMin: -1},
	} {
		if _, err := storage.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: expected %q, found %v", cfg, want, err)
		}
	}
}

// Before the first eviction, at least as many items fit as the classes of
// memcached can hold in the same number of pages.
func TestItemsBeforeFirstEviction(t *testing.T) {
	const limit = 64 << 20
	for _, n := range []int{32, 100, 1000, 10_000, 100_000, 400_000, 600_000, 1_000_000} {
		if storage.RaceEnabled && n < 1000 {
			continue // takes minutes, and shows nothing about races
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStore(t, storage.Config{Limit: limit})
			value := make([]byte, n)
			held := 0
			for ; s.Stats().Evictions == 0; held++ {
				for range max(1, 20_000/(n+1)) {
					held++
					if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%08d", held), Now: 1}, value); err != nil {
						t.Fatal(err)
					}
				}
				held--
			}
			held = int(s.Stats().CurrItems)
			size := 48 + 8 + 12 + 1 + n + 2
			_, chunk, perPage := s.Class(size)
			want := limit / storage.PageSize * perPage
			if chunk < size { // memcached chains chunks of half a page and a smaller one
				rest := size - 1<<19
				_, restChunk, _ := s.Class(rest + 60)
				want = limit / (1<<19 + restChunk)
			}
			t.Logf("%d items, memcached's classes hold %d (%.3f)", held, want, float64(held)/float64(want))
			if held < want {
				t.Errorf("expected at least %d items, found %d", want, held)
			}
		})
	}
}

func TestNoEvictRefuses(t *testing.T) {
	s := newStore(t, storage.Config{Limit: 2 << 20, NoEvict: true})
	value := make([]byte, 1000)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%d", n), Now: 1}, value)
	}
	if err != storage.ErrNoMemory || n < 1500 {
		t.Fatalf("%d items, then %v", n, err)
	}
	if st := s.Stats(); st.Evictions != 0 || st.OutOfMemory != 1 {
		t.Errorf("unexpected statistics: %+v", st)
	}
	// What was stored is still there, and may be overwritten and deleted.
	if got := get(s, "key:0", 1); got == "" {
		t.Error("the first item is gone")
	}
	if err := set(s, storage.Spec{Key: []byte("key:0"), Now: 1}, value); err != nil {
		t.Error(err)
	}
	check(t, s)
}

func TestPinsSurviveReplacementAndRemoval(t *testing.T) {
	s := newStore(t, storage.Config{})
	key := []byte("large")
	if err := set(s, storage.Spec{Key: key, Now: 1}, []byte(strings.Repeat("a", 20_000))); err != nil {
		t.Fatal(err)
	}
	h := s.Hash(0, key)
	sh := s.Lock(h)
	it, _ := sh.Find(h, 0, key, 1)
	for range 2 {
		if !sh.Pin(it) {
			t.Fatal("pin refused")
		}
	}
	text := it.Text()
	sh.Unlock()
	for range 3 {
		if err := set(s, storage.Spec{Key: key, Now: 1}, []byte(strings.Repeat("b", 20_000))); err != nil {
			t.Fatal(err)
		}
	}
	s.Unpin(it)
	if want := "large 0 20000\r\n" + strings.Repeat("a", 20_000) + "\r\n"; string(text) != want {
		t.Errorf("the pinned item changed: %.60q", text)
	}
	if err := s.Check(1); err != nil {
		t.Fatal(err)
	}
	s.Unpin(it)
	check(t, s)
}

// Flushes within one second do not reach items that are stored after them.
func TestFlushWithinASecond(t *testing.T) {
	s := newStore(t, storage.Config{})
	store := func(key string, label uint32) {
		if err := set(s, storage.Spec{Key: []byte(key), Label: label, Now: 10}, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(key string, present bool) {
		t.Helper()
		if got := get(s, key, 10) != ""; got != present {
			t.Errorf("%s: expected present %v, found %v", key, present, got)
		}
	}
	store("a", 1)
	store("other", 2)
	s.FlushLabel(1, 10)
	want("a", false)
	store("b", 1)
	want("b", true)
	s.FlushLabel(1, 10)
	want("b", false)
	store("c", 1)
	s.FlushLabel(1, 10)
	s.FlushLabel(1, 10)
	store("d", 1)
	want("c", false)
	want("d", true)
	want("other", true)
	// An item whose value was still arriving is stored after the flush.
	spec := storage.Spec{Key: []byte("late"), Label: 1, Now: 10, NValue: 1}
	h := s.Hash(0, spec.Key)
	it, err := s.Reserve(h, &spec)
	if err != nil {
		t.Fatal(err)
	}
	s.FlushLabel(1, 10)
	copy(it.Value(), "v")
	sh := s.Lock(h)
	sh.Link(h, it)
	sh.Unlock()
	want("late", true)
	want("d", false)
	check(t, s)
}

func TestLabelCounters(t *testing.T) {
	s := newStore(t, storage.Config{Limit: 2 << 20})
	for i := range 6000 {
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "key:%d", i), Label: uint32(i % 100), Now: 1}, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		get(s, fmt.Sprintf("key:%d", i), 1)
	}
	var items, hits, evictions, size uint64
	labels := 0
	s.Labels(func(label uint32, st storage.LabelStats) bool {
		labels++
		items += st.Items
		hits += st.Hits
		evictions += st.Evictions
		size += st.Bytes
		if got := s.LabelItems(label); got != st.Items {
			t.Errorf("label %d: %d items, LabelItems says %d", label, st.Items, got)
		}
		return true
	})
	st := s.Stats()
	if labels != 100 || hits != 6000 || items != st.CurrItems || evictions != st.Evictions || size != st.Bytes || evictions == 0 {
		t.Errorf("%d labels, %d items, %d bytes, %d hits, %d evictions; store: %+v", labels, items, size, hits, evictions, st)
	}
	s.ResetStats()
	s.Labels(func(label uint32, st storage.LabelStats) bool {
		if st.Hits != 0 || st.Evictions != 0 || st.Items == 0 {
			t.Errorf("label %d after the reset: %+v", label, st)
		}
		return true
	})
	check(t, s)
}

func TestClassStatsUseMemcachedsNumbers(t *testing.T) {
	s := newStore(t, storage.Config{})
	for i, n := range []int{1, 1, 50, 1000} {
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "k%d", i), Now: 7}, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	s.ClassStats(func(class int, st storage.ClassStats) {
		got = append(got, fmt.Sprintf("%d %d: %d items %d bytes oldest %d", class, st.ChunkSize, st.Number, st.MemRequested, st.OldestAccess))
	})
	want := "1 96: 2 items 124 bytes oldest 7; 2 120: 1 items 111 bytes oldest 7; 12 1184: 1 items 1061 bytes oldest 7"
	if strings.Join(got, "; ") != want {
		t.Errorf("expected %s\nfound    %s", want, strings.Join(got, "; "))
	}
}

// A freed chunk is poisoned, and a write to it found, in builds with the invariants tag.
func TestPoisonFindsUseAfterFree(t *testing.T) {
	if !storage.Invariants {
		t.Skip("needs -tags invariants")
	}
	s := newStore(t, storage.Config{Shards: 1})
	spec := storage.Spec{Key: []byte("k"), Now: 1, NValue: 10}
	h := s.Hash(0, spec.Key)
	it, err := s.Reserve(h, &spec)
	if err != nil {
		t.Fatal(err)
	}
	s.Release(it)
	it.CorruptFree()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "write after free") {
			t.Errorf("expected a panic about a write after free, found %v", v)
		}
	}()
	sh := s.Lock(h)
	_, _ = sh.Alloc(h, &spec)
}

// TestLargeTable: the hash index of one shard outgrows the blocks that smaller tables are cut from.
func TestLargeTable(t *testing.T) {
	const n = 600_000
	s := newStore(t, storage.Config{Limit: 256 << 20, Shards: 1})
	for i := range n {
		if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "k%d", i), Now: 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	check(t, s)
	for i := range n {
		if got := get(s, fmt.Sprintf("k%d", i), 1); got == "" {
			t.Fatalf("k%d is gone", i)
		}
	}
	if st := s.Stats(); st.HashBytes < 6*n || st.HashBytes > 16*n {
		t.Errorf("%d bytes of tables for %d items", st.HashBytes, n)
	}
}
