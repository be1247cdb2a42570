package storage_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/storage"
)

// TestHolds shows how long locks are held while the index grows, pages move, items are
// evicted, a crawler and a dump run, and 10,000 labels are flushed, each beside two goroutines that
// store and read. A hold is what every other request for the shard waits for.
//
// None may take more than 200 µs of the processor. Times of the clock are shown and
// not judged: on a busy machine they say how long the holder of a lock had no processor. Nor
// are holds judged during which that happened, for their time of the processor has the switches in it.
//
// Interrupts, and what a host of a virtual machine takes and does not tell, count for the thread that they
// meet. A thread that holds no lock and only calculates shows how often they do: "beside it".
//
// STORAGE_ITEMS says how many items, 200,000 if not set; STORAGE_HOLDS how many
// holds of a phase may take longer, one in 50,000 and two at least if not set.
func TestHolds(t *testing.T) {
	if !storage.Invariants || storage.RaceEnabled {
		t.Skip("needs -tags invariants, which times locks, without -race, which slows them")
	}
	r := &stallRun{t: t, n: envInt(t, "STORAGE_ITEMS", 200_000), allowed: -1}
	if os.Getenv("STORAGE_HOLDS") != "" {
		r.allowed = envInt(t, "STORAGE_HOLDS", 0)
	}
	r.now.Store(1)
	r.s = newStore(t, storage.Config{Limit: int64(r.n) * 112})
	r.s.TimeHolds()
	n := r.n

	r.phase("insert", r.load(n, func(i int) { r.store("a", i, 32) }))
	t.Logf("%d items", r.s.Stats().CurrItems)
	r.phase("hit, overwrite", r.load(n/2, func(i int) {
		r.hit(i * 7 % n)
		r.store("a", i, 32)
	}))
	r.phase("insert, evict", r.load(n/2, func(i int) { r.store("b", i, 32) }))
	r.now.Add(100)
	r.phase("pages move", r.load(n/4, func(i int) { r.store("c", i, 400) }))
	r.phase("all sizes, runs too", r.load(n/4, func(i int) {
		size := i * 7919 % 900
		if i%100 == 0 { // half of all classes are for these
			size = 900 << (i / 100 % 11)
		}
		r.store("d", i%(n/8), size)
	}))
	r.now.Add(100)
	r.phase("pages move back", r.load(n/2, func(i int) { r.store("e", i, 32) }))
	r.phase("dump", r.beside(func() {
		var c storage.Cursor
		var line []byte
		for r.s.Scan(&c, func(it storage.Item) bool { line = append(line[:0], it.Key()...); return true }) {
		}
	}))
	r.phase("crawl, nothing dead", r.beside(r.crawl))
	r.phase("flush 10,000 labels", r.beside(func() {
		for label := range uint32(stallLabels) {
			r.s.FlushLabel(label, r.now.Load())
			if label%1000 == 0 {
				r.s.LabelItems(label)
			}
		}
	}))
	r.phase("crawl, most dead", r.beside(r.crawl))
	r.phase("statistics", r.beside(func() {
		for range 20 {
			r.s.Stats()
			r.s.ClassStats(func(int, storage.ClassStats) {})
			r.s.Labels(func(uint32, storage.LabelStats) bool { return true })
		}
	}))
	check(t, r.s)
}

const (
	stallLabels  = 10_000
	stallBound   = 200 * time.Microsecond
	stallWorkers = 2
	stallLarge   = 16 << 10 // bytes; from here on the server writes values in place
)

func envInt(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: expected a number, found %q", name, v)
	}
	return n
}

// stallRun is a store under load whose locks are timed.
type stallRun struct {
	t       *testing.T
	s       *storage.Store
	n       int
	allowed int // holds above the bound; negative: one in 50,000, or two
	now     atomic.Uint32
}

var stallValue = make([]byte, 1<<20)

// store stores one item, and moves the clock from time to time.
func (r *stallRun) store(prefix string, i, size int) {
	if i%10_000 == 0 {
		r.now.Add(1)
	}
	spec := storage.Spec{Key: fmt.Appendf(nil, "%s:%d", prefix, i), Label: uint32(i % stallLabels), Now: r.now.Load()}
	var err error
	if size > stallLarge {
		err = r.receive(spec, stallValue[:size])
	} else {
		err = set(r.s, spec, stallValue[:size])
	}
	if err != nil {
		r.t.Error(err)
	}
}

// hit reads one item.
func (r *stallRun) hit(i int) {
	var copied [100]byte
	key := fmt.Appendf(nil, "a:%d", i)
	h := r.s.Hash(0, key)
	sh := r.s.Lock(h)
	defer sh.Unlock()
	if it, _ := sh.Find(h, 0, key, r.now.Load()); !it.Nil() {
		copy(copied[:], it.Text())
		sh.Hit(it, r.now.Load())
	}
}

// receive stores a large value as the server does: it is written while no lock is held.
func (r *stallRun) receive(spec storage.Spec, value []byte) error {
	spec.NValue = len(value)
	h := r.s.Hash(0, spec.Key)
	it, err := r.s.Reserve(h, &spec)
	if err != nil {
		return err
	}
	copy(it.Value(), value)
	sh := r.s.Lock(h)
	defer sh.Unlock()
	sh.Link(h, it)
	return nil
}

// load returns what calls fn with the numbers below n, on several threads.
func (r *stallRun) load(n int, fn func(i int)) func() {
	return func() {
		var wg sync.WaitGroup
		for w := range stallWorkers {
			wg.Go(func() {
				runtime.LockOSThread()
				for i := w; i < n; i += stallWorkers {
					fn(i)
				}
			})
		}
		wg.Wait()
	}
}

// beside returns what calls fn while items are stored and read.
func (r *stallRun) beside(fn func()) func() {
	return func() {
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			runtime.LockOSThread()
			defer done.Store(true)
			fn()
		})
		for w := range stallWorkers {
			wg.Go(func() {
				runtime.LockOSThread()
				for i := w; !done.Load(); i += stallWorkers {
					r.hit(i * 7 % r.n)
					r.store("e", i%r.n, 32)
				}
			})
		}
		wg.Wait()
	}
}

func (r *stallRun) crawl() {
	var c storage.Crawl
	for more := true; more; {
		_, _, more = r.s.CrawlStep(&c, r.now.Load())
	}
}

// phase runs fn and shows and judges the holds meanwhile.
func (r *stallRun) phase(name string, fn func()) {
	start := time.Now()
	var done atomic.Bool
	var sections, none uint64
	var mostNone time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		sections, none, mostNone = storage.TimeNothing(&done, stallBound)
	})
	fn()
	done.Store(true)
	wg.Wait()
	h := r.s.Holds()
	var b strings.Builder
	total, long := uint64(0), uint64(0)
	row := func(kind string, counts []uint64, most time.Duration) {
		fmt.Fprintf(&b, "\n    %-5s", kind)
		for i, n := range counts {
			if n == 0 {
				continue
			}
			if i < len(storage.HoldBounds) {
				fmt.Fprintf(&b, " <%v:%d", storage.HoldBounds[i], n)
			} else {
				fmt.Fprintf(&b, " more:%d", n)
			}
		}
		fmt.Fprintf(&b, ", most %v", most)
	}
	row("cpu", h.CPU[:], h.MostCPU)
	row("clock", h.Wall[:], h.MostWall)
	for i, n := range h.CPU {
		total += n
		if i > 0 && storage.HoldBounds[i-1] >= stallBound {
			long += n
		}
	}
	r.t.Logf("%s: %d holds in %v, %d above %v%s\n    the processor was taken away in %d more; %d goroutines moved\n    beside it %d of %d calculations without a lock took more than %v, %v at most",
		name, total, time.Since(start).Round(time.Millisecond), long, stallBound, b.String(), h.Switched, h.Moved, none, sections, stallBound, mostNone)
	allowed := uint64(r.allowed)
	if r.allowed < 0 {
		allowed = max(2, total/50_000)
	}
	if long > allowed {
		r.t.Errorf("%s: %d of %d holds took more than %v of the processor, %v at most", name, long, total, stallBound, h.MostCPU)
	}
}
