package storage

import (
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Holds counts how long the locks of shards were held, in builds with the
// invariants tag and after TimeHolds: Holds[i] is the number of holds of less than 2^i microseconds and
// not less than half of that. It is the time of the processor that counts, not that of the clock:
// what else runs on the machine does not show. A goroutine that changed its thread meanwhile is left out.
type Holds [32]uint64

// holds are the counters behind Holds.
type holds [32]atomic.Uint64

// Holds returns how long locks were held so far; zeros without the invariants tag.
func (s *Store) Holds() (h Holds) {
	for i := range h {
		h[i] = s.holds[i].Load()
	}
	return h
}

// TimeHolds begins to fill Holds, which costs several system calls for each hold. Call it before
// the store is used. It does nothing without the invariants tag.
func (s *Store) TimeHolds() { s.timed = true }

func (sh *Shard) lock() {
	sh.mu.Lock()
	if invariants && sh.s.timed {
		sh.since, sh.thread = threadTime()
	}
}

func (sh *Shard) tryLock() bool {
	ok := sh.mu.TryLock()
	if invariants && ok && sh.s.timed {
		sh.since, sh.thread = threadTime()
	}
	return ok
}

func (sh *Shard) unlock() {
	if invariants && sh.s.timed {
		if now, thread := threadTime(); thread == sh.thread && thread > 0 {
			sh.s.holds[min(bits.Len64(uint64((now-sh.since).Microseconds())), 31)].Add(1)
		}
	}
	sh.mu.Unlock()
}

// threadTime returns how long this thread ran so far, and its number, negative if the goroutine
// was moved to another thread meanwhile.
func threadTime() (ran time.Duration, thread int) {
	thread = unix.Gettid()
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // fails for unknown clocks only
	if unix.Gettid() != thread {
		thread = -1
	}
	return time.Duration(ts.Nano()), thread
}
