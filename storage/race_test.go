package storage_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/storage"
)

// TestConcurrentUse lets goroutines do everything at once in a store that is too small, and
// looks whether values are whole and the store sound. The race detector sees every access, since under
// it the arena comes from the Go heap.
func TestConcurrentUse(t *testing.T) {
	for _, shards := range []int{1, 256} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			s := newStore(t, storage.Config{Limit: 4 << 20, Shards: shards})
			var now atomic.Uint32
			now.Store(1)
			var stop atomic.Bool
			var wg sync.WaitGroup
			var failed, stores atomic.Int64
			for w := range 6 {
				wg.Go(func() {
					w := worker{t: t, s: s, now: &now, r: rand.New(rand.NewPCG(uint64(w), 7))}
					for !stop.Load() {
						w.step()
					}
					w.close()
					failed.Add(w.failed)
					stores.Add(w.stores)
				})
			}
			for range 15 {
				time.Sleep(20 * time.Millisecond)
				now.Add(1)
			}
			stop.Store(true)
			wg.Wait()
			check(t, s)
			t.Logf("%d stores, %d without memory, %+v", stores.Load(), failed.Load(), s.Stats())
			if failed.Load()*1000 > stores.Load() {
				t.Errorf("%d of %d stores found no memory", failed.Load(), stores.Load())
			}
		})
	}
}

// Goroutines that only store, of all sizes, each holding one shard, always find
// memory.
func TestConcurrentStoresFindMemory(t *testing.T) {
	for _, limit := range []int64{8 << 20, 64 << 20} {
		s := newStore(t, storage.Config{Limit: limit})
		n := 30_000
		if storage.RaceEnabled {
			n = 3000
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 3))
				value := make([]byte, 1<<20)
				for i := range n {
					size := 10 + int(math.Pow(2, 19.9*math.Pow(r.Float64(), 3))) // most small, some up to 1 MB
					if err := set(s, storage.Spec{Key: fmt.Appendf(nil, "%d:%d", w, i), Now: uint32(i / 1000)}, value[:size]); err != nil {
						t.Errorf("limit %d MiB, store %d of %d bytes: %v", limit>>20, i, size, err)
						return
					}
				}
			})
		}
		wg.Wait()
		check(t, s)
		st := s.Stats()
		t.Logf("limit %d MiB: %d mapped, %d items, %d evictions, %d pages moved", limit>>20, st.TotalMalloced, st.CurrItems, st.Evictions, st.SlabsMoved)
		if int64(st.TotalMalloced) > limit+41<<20 {
			t.Errorf("%d bytes mapped, limit %d", st.TotalMalloced, limit)
		}
	}
}

type worker struct {
	t              *testing.T
	s              *storage.Store
	now            *atomic.Uint32
	r              *rand.Rand
	pinned         []pinnedItem
	failed, stores int64
	crawl          storage.Crawl
	cursor         storage.Cursor
	value          []byte
}

// fillByte makes a value of which every byte is the same, so that a torn one shows.
func (w *worker) fill(n int) []byte {
	if cap(w.value) < n {
		w.value = make([]byte, n)
	}
	w.value = w.value[:n]
	c := byte('a' + w.r.IntN(26))
	for i := range w.value {
		w.value[i] = c
	}
	return w.value
}

func (w *worker) size() int {
	switch w.r.IntN(60) {
	case 0:
		return w.r.IntN(900_000)
	case 1, 2, 3, 4:
		return w.r.IntN(20_000)
	}
	return w.r.IntN(500)
}

func whole(b []byte) bool {
	return len(b) == 0 || bytes.Count(b, b[:1]) == len(b)
}

func (w *worker) step() {
	now := w.now.Load()
	key := fmt.Appendf(nil, "key:%d", w.r.IntN(2000))
	h := w.s.Hash(0, key)
	spec := storage.Spec{Key: key, Label: w.r.Uint32N(4), Flags: w.r.Uint32(), Now: now, CAS: w.s.NextCAS()}
	if w.r.IntN(4) == 0 {
		spec.Exptime = now + w.r.Uint32N(4)
	}
	w.s.Prefetch([]uint64{h})
	switch w.r.IntN(20) {
	default:
		sh := w.s.Lock(h)
		if it, _ := sh.Find(h, 0, key, now); !it.Nil() {
			if !whole(it.Value()) || string(it.Key()) != string(key) {
				w.t.Errorf("%s: torn value, key %q", key, it.Key())
			}
			sh.Hit(it, now)
		}
		sh.Unlock()
	case 0, 1, 2, 3, 4, 5:
		w.stores++
		if err := set(w.s, spec, w.fill(w.size())); err != nil {
			w.failed++
		}
	case 6:
		spec.NValue = w.size()
		w.stores++
		it, err := w.s.Reserve(h, &spec)
		if err != nil {
			w.failed++
			return
		}
		copy(it.Value(), w.fill(spec.NValue))
		if w.r.IntN(2) == 0 {
			w.s.Release(it)
			return
		}
		sh := w.s.Lock(h)
		sh.Link(h, it)
		sh.Unlock()
	case 7, 8:
		if len(w.pinned) > 3 {
			w.unpin()
		}
		sh := w.s.Lock(h)
		if it, _ := sh.Find(h, 0, key, now); !it.Nil() && sh.Pin(it) {
			w.pinned = append(w.pinned, pinnedItem{it: it, text: it.Text(), want: string(it.Text())})
		}
		sh.Unlock()
	case 9:
		sh := w.s.Lock(h)
		if it, _ := sh.Find(h, 0, key, now); !it.Nil() {
			sh.Remove(h, it)
		}
		sh.Unlock()
	case 10:
		sh := w.s.Lock(h)
		if it, _ := sh.Find(h, 0, key, now); !it.Nil() {
			sh.SetExptime(it, now+2)
			it.SetStale(true)
			it.SetCAS(w.s.NextCAS())
		}
		sh.Unlock()
	case 11:
		if w.r.IntN(50) == 0 {
			w.s.FlushLabel(spec.Label, now)
		}
		w.s.CrawlStep(&w.crawl, now)
	case 12:
		if !w.s.Scan(&w.cursor, func(it storage.Item) bool { return whole(it.Value()) }) {
			w.cursor = storage.Cursor{}
		}
	case 13:
		if w.r.IntN(50) == 0 {
			w.s.Stats()
			w.s.ClassStats(func(int, storage.ClassStats) {})
			w.s.Labels(func(uint32, storage.LabelStats) bool { return true })
			w.s.LabelItems(spec.Label)
		}
	}
}

func (w *worker) unpin() {
	p := w.pinned[0]
	w.pinned = w.pinned[1:]
	if string(p.text) != p.want {
		w.t.Errorf("a pinned item changed: %.60q", p.text)
	}
	w.s.Unpin(p.it)
}

func (w *worker) close() {
	for len(w.pinned) > 0 {
		w.unpin()
	}
}

// plantedEnv makes TestPlantedRace write to an item without the lock.
const plantedEnv = "STORAGE_PLANTED_RACE"

// TestRaceDetectorSeesItems proves that the race detector watches the arena: a test binary
// built with -race must report the unlocked write that TestPlantedRace does.
func TestRaceDetectorSeesItems(t *testing.T) {
	cmd := exec.Command("go", "test", "-race", "-count=1", "-run", "^TestPlantedRace$", ".")
	if storage.RaceEnabled {
		cmd = exec.Command(os.Args[0], "-test.run", "^TestPlantedRace$")
	} else if _, err := exec.LookPath("go"); err != nil {
		missing(t, "no go command to build with -race: %v", err)
	}
	cmd.Env = append(os.Environ(), plantedEnv+"=1", "CGO_ENABLED=1")
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("-race requires cgo")) || bytes.Contains(out, []byte("C compiler")) {
		missing(t, "no C compiler for -race: %s", out)
	}
	if err == nil || !bytes.Contains(out, []byte("DATA RACE")) || !bytes.Contains(out, []byte("PlantedWrite")) {
		t.Errorf("the planted race was not found: %v\n%s", err, out)
	}
}

// missing skips a test for want of a tool, and fails it where CI is set.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func TestPlantedRace(t *testing.T) {
	if os.Getenv(plantedEnv) == "" {
		t.Skip("runs only as a child of TestRaceDetectorSeesItems")
	}
	s := newStore(t, storage.Config{Shards: 1, Limit: 1 << 20})
	if err := set(s, storage.Spec{Key: []byte("k"), Now: 1}, []byte("v")); err != nil {
		t.Fatal(err)
	}
	h := s.Hash(0, []byte("k"))
	sh := s.Lock(h)
	it, _ := sh.Find(h, 0, []byte("k"), 1)
	sh.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 1000 {
			it.PlantedWrite()
		}
	})
	for range 1000 {
		sh := s.Lock(h)
		if sh.Hit(it, 1); it.PlantedRead() == 0 {
			t.Log("unexpected access time")
		}
		sh.Unlock()
	}
	wg.Wait()
}

// TestIndexesGrowWhenReady: tables and ghosts of a store without a seed are made by other goroutines; they come, in
// the right size, while several goroutines store and evict.
func TestIndexesGrowWhenReady(t *testing.T) {
	items, limit := uint64(100_000), int64(16<<20)
	if storage.RaceEnabled {
		items, limit = 10_000, 1<<20
	}
	s := newStore(t, storage.Config{Limit: limit, Shards: 2})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < int(3*items); i += 4 {
				key := strconv.AppendInt(nil, int64(i), 10)
				if err := set(s, storage.Spec{Key: key, Now: 1}, stallValue[:16]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	check(t, s)
	st := s.Stats()
	if st.CurrItems < items || st.Evictions == 0 {
		t.Fatalf("expected %d items and more, and evictions, found %d and %d", items, st.CurrItems, st.Evictions)
	}
	// 12 references in 64 bytes, at most 92 of 100 in use, and where a shard is growing a second table.
	if per := float64(st.HashBytes) / float64(st.CurrItems); per < 64.0/12/0.93 || per > 64.0/12/0.67*2.25 {
		t.Errorf("%.1f bytes of hash tables an item", per)
	}
}
