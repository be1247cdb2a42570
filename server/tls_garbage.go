package server

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// garbage has the garbage of handshakes collected: a handshake leaves some tens of
// kilobytes behind, all of them crypto/tls's, and a storm of them a hundred megabytes
// in a second.
//
// To begin a cycle of its collector the runtime stops the program, for less than 0.1
// ms. What takes long is to get a loop going again that was stopped while it ran: its
// goroutine is locked to a thread, so another thread must first find the goroutine and
// then wake the loop's; and where the threads that mark have got the processor before,
// both wait until the scheduler takes it from them, on one processor for 1 to 5 ms. A
// thread in a system call of which the runtime was told needs nobody's help: it takes
// the first P that is idle. Moreover the runtime begins a cycle in the thread that
// allocates, which is a handshaker: it stops the program, and then everybody else's
// threads go before it.
//
// So the handshakers look at the heap and have it collected a little before the runtime
// would: from a thread of ordinary priority, while the loops rest in a system call for
// as long as the stop takes. Until the cycle is over the loops tell the runtime when
// they wait for events, as it stops them again, to mark their stacks and to end the
// cycle; and the handshakers wait.
type garbage struct {
	limit uint64 // bytes on the heap above which it is collected; 0: the runtime decides

	mu      sync.Mutex        // held while it is collected, so that all handshakers wait
	samples [2]metrics.Sample // +checklocks:mu
	asked   atomic.Uint64     // cycles
}

const (
	// garbageEvery is how many handshakes a handshaker makes between two looks, which
	// take a microsecond or two: half a megabyte.
	garbageEvery = 16

	// restTime is how long a loop rests: until the other loops rest too, the thread that
	// collects has got a processor, and the program has been stopped and started.
	restTime = 250 * time.Microsecond

	// restPatience is how long the other loops are waited for: one may be in a long turn.
	restPatience = 2 * time.Millisecond
)

func newGarbage(limit uint64) *garbage {
	g := &garbage{limit: limit}
	g.samples[0].Name = "/memory/classes/heap/objects:bytes" // in use or not yet swept
	g.samples[1].Name = "/gc/heap/live:bytes"                // as the last cycle has found
	return g
}

// collect collects the heap if it is above the limit, and returns when that is done. A
// heap of which half the limit or more is in use is left to the runtime, which lets it
// grow to twice that: what fills it is not garbage, and to mark it takes long.
func (g *garbage) collect(loops []*loop) {
	if g.limit == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.due() {
		return
	}
	g.asked.Add(1)
	done := make(chan struct{})
	// Another goroutine: this one is locked to a thread of low priority.
	go func() {
		defer close(done)
		r := restAll(loops)
		runtime.GC()
		r.over.Store(true)
	}()
	<-done
}

// due reports whether the heap is to be collected. Preconditions: mu is held.
func (g *garbage) due() bool {
	metrics.Read(g.samples[:])
	for i := range g.samples {
		if g.samples[i].Value.Kind() != metrics.KindUint64 {
			return false // a runtime that does not tell
		}
	}
	return g.samples[0].Value.Uint64() >= g.limit && g.samples[1].Value.Uint64() < g.limit/2
}

// resting is what the loops know of a collection: as it begins they rest, and until it
// is over their waits for events go through the runtime's scheduler.
type resting struct {
	missing atomic.Int32  // loops that do not rest yet
	all     chan struct{} // closed when none is missing
	over    atomic.Bool   // the collection is
}

// restAll has the loops rest and returns when all do, or after a while.
func restAll(loops []*loop) *resting {
	r := &resting{all: make(chan struct{})}
	r.missing.Store(int32(len(loops)))
	for _, l := range loops {
		l.mu.Lock()
		l.rests = r
		l.mu.Unlock()
		l.wake()
	}
	t := time.NewTimer(restPatience)
	defer t.Stop()
	select {
	case <-r.all:
	case <-t.C:
	}
	return r
}

// rest makes the loop rest once, in a system call of which the runtime is told, and
// forget the collection when that is over. Preconditions: resting is not nil, and the
// loop is not in a turn.
func (l *loop) rest() {
	r := l.resting
	if r.over.Load() {
		l.resting = nil
		return
	}
	if l.rested {
		return
	}
	l.rested = true
	if r.missing.Add(-1) == 0 {
		close(r.all)
	}
	ts := unix.NsecToTimespec(int64(restTime))
	_ = unix.Nanosleep(&ts, nil) // a signal may end it early
}
