package storage

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Holds counts how long the locks of shards were held, in builds with the
// invariants tag: Holds[i] is the number of holds of less than 2^i microseconds and
// not less than half of that.
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

func (sh *Shard) lock() {
	sh.mu.Lock()
	if invariants {
		sh.since = time.Now()
	}
}

func (sh *Shard) tryLock() bool {
	ok := sh.mu.TryLock()
	if invariants && ok {
		sh.since = time.Now()
	}
	return ok
}

func (sh *Shard) unlock() {
	if invariants {
		sh.s.holds[min(bits.Len64(uint64(time.Since(sh.since).Microseconds())), 31)].Add(1)
	}
	sh.mu.Unlock()
}
