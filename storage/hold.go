package storage

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Holds says how long the locks of shards were held, in builds with the invariants tag and after
// TimeHolds.
//
// CPU is the time of the processor that the thread used meanwhile. What else runs on the machine is in Wall only:
// where two threads share a processor, the holder of a lock may be stopped for milliseconds. Interrupts
// and, in a virtual machine, what its host takes are in both.
type Holds struct {
	CPU, Wall [len(HoldBounds) + 1]uint64 // holds of less than the bound of the same index and not of the one before
	MostCPU   time.Duration
	MostWall  time.Duration
	Switched  uint64        // holds during which the processor was taken away; they are in Wall only
	Moved     uint64        // holds whose goroutine changed its thread meanwhile; they are in Wall only
	Total     time.Duration // of the processor, all holds that are in CPU together
	Faults    int64         // pages that were touched first in them
	Longest   []LongHold    // some of those that took LongHoldBound or more of the processor
}

// LongHold is one hold of a lock.
type LongHold struct {
	CPU, Wall time.Duration
	Faults    int64  // pages that the thread touched first
	Where     string // the functions that held the lock, the innermost first
}

func (l LongHold) String() string {
	return fmt.Sprintf("%v of the processor, %v by the clock, %d page faults: %s", l.CPU, l.Wall, l.Faults, l.Where)
}

// LongHoldBound is from when on a hold is described in [Holds], and longHolds how many of them are.
const (
	LongHoldBound = 200 * time.Microsecond
	longHolds     = 50
)

// HoldBounds are the bounds of the counters in [Holds].
var HoldBounds = [...]time.Duration{
	time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond,
	10 * time.Microsecond, 20 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 10 * time.Millisecond,
}

// holds are the counters behind Holds.
type holds struct {
	cpu, wall         [len(HoldBounds) + 1]atomic.Uint64
	mostCPU, mostWall atomic.Int64
	switched, moved   atomic.Uint64
	total, faults     atomic.Int64

	mu sync.Mutex
	// +checklocks:mu
	longest []LongHold
}

// Holds returns how long locks were held since the last call; zeros without the invariants tag.
func (s *Store) Holds() Holds { return s.holds.take() }

// take returns the counters and sets them to zero.
func (h *holds) take() (t Holds) {
	for i := range t.CPU {
		t.CPU[i], t.Wall[i] = h.cpu[i].Swap(0), h.wall[i].Swap(0)
	}
	t.MostCPU, t.MostWall = time.Duration(h.mostCPU.Swap(0)), time.Duration(h.mostWall.Swap(0))
	t.Switched, t.Moved = h.switched.Swap(0), h.moved.Swap(0)
	t.Total, t.Faults = time.Duration(h.total.Swap(0)), h.faults.Swap(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Longest, h.longest = h.longest, nil
	return t
}

// TimeHolds begins to fill Holds, which costs several system calls for each hold. Call it before
// the store is used. It does nothing without the invariants tag.
func (s *Store) TimeHolds() {
	s.timed = true
	for _, sh := range s.shards {
		sh.since = new(threadState)
	}
}

func (sh *Shard) lock() {
	sh.mu.Lock()
	if invariants && sh.s.timed {
		*sh.since = threadTime()
	}
}

func (sh *Shard) tryLock() bool {
	ok := sh.mu.TryLock()
	if invariants && ok && sh.s.timed {
		*sh.since = threadTime()
	}
	return ok
}

func (sh *Shard) unlock() {
	if invariants && sh.s.timed {
		sh.s.holds.add(sh.since)
	}
	sh.mu.Unlock()
}

// threadState is what a thread has used so far.
type threadState struct {
	thread   int
	wall     time.Time
	cpu      time.Duration
	switches int64 // how often the system took the processor away
	faults   int64 // pages touched first
}

// threadTime returns the state of this thread; thread is negative if the goroutine
// was moved to another one meanwhile.
func threadTime() threadState {
	thread := unix.Gettid()
	var use unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &use) // fails for unknown subjects only
	wall := time.Now()
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // fails for unknown clocks only
	if unix.Gettid() != thread {
		thread = -1
	}
	return threadState{thread, wall, time.Duration(ts.Nano()), use.Nivcsw, use.Minflt}
}

// add counts a hold that began in that state and ends now.
func (h *holds) add(since *threadState) {
	now := threadTime()
	wall := now.wall.Sub(since.wall)
	h.wall[holdIndex(wall)].Add(1)
	atLeast(&h.mostWall, wall)
	if now.thread != since.thread || now.thread < 0 {
		h.moved.Add(1)
		return
	}
	// The clock of the processor is corrected now and then, and jumps; it cannot be ahead of the other.
	cpu := min(now.cpu-since.cpu, wall)
	if now.switches != since.switches || wall-cpu > maxAway {
		h.switched.Add(1)
		return
	}
	h.cpu[holdIndex(cpu)].Add(1)
	h.total.Add(int64(cpu))
	h.faults.Add(now.faults - since.faults)
	atLeast(&h.mostCPU, cpu)
	if cpu >= LongHoldBound {
		h.describe(LongHold{CPU: cpu, Wall: wall, Faults: now.faults - since.faults})
	}
}

// describe keeps a long hold, with who ended it.
func (h *holds) describe(l LongHold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.longest) == longHolds {
		return
	}
	var pcs [12]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]) // not this, add, unlock
	var names []string
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		names = append(names, f.Function[strings.LastIndexByte(f.Function, '/')+1:])
	}
	l.Where = strings.Join(names, " < ")
	h.longest = append(h.longest, l)
}

// maxAway is how much longer than its time of the processor a hold may last: beyond it the host of
// a virtual machine took the processor away, which the system does not count.
const maxAway = 20 * time.Microsecond

func holdIndex(d time.Duration) int {
	for i, b := range HoldBounds {
		if d < b {
			return i
		}
	}
	return len(HoldBounds)
}

// atLeast raises v to d.
func atLeast(v *atomic.Int64, d time.Duration) {
	for {
		old := v.Load()
		if int64(d) <= old || v.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}
