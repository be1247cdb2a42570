package storage_test

import (
	"fmt"
	"math"
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
// meet, lock or no lock; and where such a host has not got the memory at hand, to touch it takes as long. So the
// same threads, in turn with the holds and for as long, only read here and there in as much memory as the store
// has, or touch as many new pages, and hold nothing. What
// takes 200 µs there is the machine's, and as much of it has to be expected in holds, give or take what
// chance does to such counts. What is above that is ours, and fails.
// While a store is filled for the first time, the ordered index gets new memory from the Go heap under locks: that phase is
// judged by itself.
//
// STORAGE_ITEMS says how many items, 200,000 if not set.
func TestHolds(t *testing.T) {
	if !storage.Invariants || storage.RaceEnabled {
		t.Skip("needs -tags invariants, which times locks, without -race, which slows them")
	}
	r := &stallRun{t: t, n: envInt(t, "STORAGE_ITEMS", 200_000)}
	r.now.Store(1)
	limit := int64(r.n) * 112
	r.s = newStore(t, storage.Config{Limit: limit})
	var err error
	if r.control, err = storage.NewNoHolds(limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.control.Close(); err != nil {
			t.Error(err)
		}
	}()
	r.s.TimeHolds()
	n := r.n

	r.phase("insert", r.load(n, func(i int) { r.store("a", i, 32) }))
	r.holds, r.longs, r.expected = 0, 0, 0
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
	t.Logf("in all but insert: %d holds, %d above %v; without a lock %d", r.holds, r.longs, stallBound, r.expected)
	if exceeds(r.longs, r.expected) {
		t.Errorf("in all but insert: %d holds took more than %v of the processor; as much calculation without a lock had %d", r.longs, stallBound, r.expected)
	}
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
	now     atomic.Uint32
	control *storage.NoHolds

	holds, longs, expected uint64 // of all phases
}

// stallKeys are buffers for keys: a server makes no garbage either, and collecting it under a lock takes time.
var stallKeys = sync.Pool{New: func() any { return new([]byte) }}

func stallKey(buf []byte, prefix string, i int) []byte {
	return strconv.AppendInt(append(append(buf[:0], prefix...), ':'), int64(i), 10)
}

var stallValue = make([]byte, 1<<20)

// store stores one item, and moves the clock from time to time.
func (r *stallRun) store(prefix string, i, size int) {
	if i%10_000 == 0 {
		r.now.Add(1)
	}
	buf := stallKeys.Get().(*[]byte)
	defer stallKeys.Put(buf)
	*buf = stallKey(*buf, prefix, i)
	spec := storage.Spec{Key: *buf, Label: uint32(i % stallLabels), Now: r.now.Load()}
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
	buf := stallKeys.Get().(*[]byte)
	defer stallKeys.Put(buf)
	*buf = stallKey(*buf, "a", i)
	key := *buf
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
					r.control.Beside(r.s)
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
					r.control.Beside(r.s)
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
	fn()
	h := r.s.Holds()
	c := r.control.Holds()
	var b strings.Builder
	row := func(kind string, counts []uint64, most time.Duration) (total, long uint64) {
		fmt.Fprintf(&b, "\n    %-7s", kind)
		for i, n := range counts {
			total += n
			if n == 0 {
				continue
			}
			if i > 0 && storage.HoldBounds[i-1] >= stallBound {
				long += n
			}
			if i < len(storage.HoldBounds) {
				fmt.Fprintf(&b, " <%v:%d", storage.HoldBounds[i], n)
			} else {
				fmt.Fprintf(&b, " more:%d", n)
			}
		}
		fmt.Fprintf(&b, ", most %v", most)
		return total, long
	}
	total, long := row("cpu", h.CPU[:], h.MostCPU)
	row("clock", h.Wall[:], h.MostWall)
	_, none := row("without", c.CPU[:], c.MostCPU)
	r.t.Logf("%s: %d holds in %v, %d above %v in %v of the processor and %d new pages; without a lock %d in %v and %d%s\n    the processor was taken away in %d more; %d goroutines moved",
		name, total, time.Since(start).Round(time.Millisecond), long, stallBound, h.Total.Round(time.Millisecond), h.Faults, none, c.Total.Round(time.Millisecond), c.Faults, b.String(), h.Switched, h.Moved)
	for _, l := range h.Longest {
		r.t.Logf("%s: %v", name, l)
	}
	r.holds, r.longs = r.holds+total, r.longs+long
	r.expected += none
	if exceeds(long, none) {
		r.t.Errorf("%s: %d of %d holds took more than %v of the processor, %v at most; as much calculation without a lock had %d", name, long, total, stallBound, h.MostCPU, none)
	}
}

// exceeds says whether n events of one kind are more than m of another that is as frequent: by more than
// three standard deviations of the difference, and three events.
func exceeds(n, m uint64) bool {
	return float64(n) > float64(m)+3+3*math.Sqrt(float64(n+m))
}
