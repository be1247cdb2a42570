package storage

import (
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
	Switched  uint64 // holds during which the processor was taken away; they are in Wall only
	Moved     uint64 // holds whose goroutine changed its thread meanwhile; they are in Wall only
}

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
}

// Holds returns how long locks were held since the last call; zeros without the invariants tag.
func (s *Store) Holds() (h Holds) {
	c := &s.holds
	for i := range h.CPU {
		h.CPU[i], h.Wall[i] = c.cpu[i].Swap(0), c.wall[i].Swap(0)
	}
	h.MostCPU, h.MostWall = time.Duration(c.mostCPU.Swap(0)), time.Duration(c.mostWall.Swap(0))
	h.Switched, h.Moved = c.switched.Swap(0), c.moved.Swap(0)
	return h
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
	return threadState{thread, wall, time.Duration(ts.Nano()), use.Nivcsw}
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
	atLeast(&h.mostCPU, cpu)
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
