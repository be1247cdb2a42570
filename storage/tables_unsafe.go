package storage

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// tables is where the hash indexes of all shards have their memory from. That of outgrown tables
// is used for tables only, because Prefetch may still be reading it.
type tables struct {
	blocks *blocks

	// waste counts the tables in dirty. Giving memory back takes a system
	// call that may interrupt other processors, so that it waits until no lock is held.
	waste atomic.Int32

	mu sync.Mutex
	// +checklocks:mu
	free  map[uint32][]*table // by number of buckets; without memory, so all zero
	dirty []*table            // emptied, so all zero too, but with memory
	bytes int64               // of tables in use
}

// take returns an empty table of n buckets.
func (ts *tables) take(n uint32) (*table, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	size := int(n) * bucketSize
	if t := ts.used(n); t != nil {
		ts.bytes += int64(size)
		return t, nil
	}
	mem, err := ts.blocks.cut(size)
	if err != nil {
		return nil, err
	}
	ts.bytes += int64(size)
	return &table{base: unsafe.Pointer(unsafe.SliceData(mem)), n: n, mem: mem}, nil
}

// prepare makes another goroutine get a table of n buckets ready for a shard, which is locked.
func (ts *tables) prepare(sh *Shard, n uint32) {
	ts.blocks.helpers.Go(func() {
		t, err := ts.take(n)
		if err == nil {
			populate(t.mem)
		}
		sh.lock()
		defer sh.unlock()
		sh.index.asked = false
		if err == nil {
			sh.index.next = t // there is none: nobody asks who has one or waits for one
		}
	})
}

// used returns a table of n buckets that was given back, nil if there is none.
func (ts *tables) used(n uint32) *table {
	for i, t := range ts.dirty {
		if t.n == n {
			ts.dirty = slices.Delete(ts.dirty, i, i+1)
			ts.waste.Store(int32(len(ts.dirty)))
			return t
		}
	}
	l := ts.free[n]
	if len(l) == 0 {
		return nil
	}
	ts.free[n] = l[:len(l)-1]
	return l[len(l)-1]
}

// give takes an emptied table.
func (ts *tables) give(t *table) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.bytes -= int64(t.n) * bucketSize
	ts.dirty = append(ts.dirty, t)
	ts.waste.Store(int32(len(ts.dirty)))
}

// trim gives the memory of one table back to the system. No shard may be locked.
func (ts *tables) trim() {
	ts.mu.Lock()
	if len(ts.dirty) == 0 {
		ts.mu.Unlock()
		return
	}
	t := ts.dirty[0]
	ts.dirty = slices.Delete(ts.dirty, 0, 1)
	ts.waste.Store(int32(len(ts.dirty)))
	ts.mu.Unlock()
	discard(t.mem) // it is in no list meanwhile, so that nobody takes it
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.free[t.n] = append(ts.free[t.n], t)
}

// size is how many bytes the tables in use have.
func (ts *tables) size() int64 {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.bytes
}
