package storage

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// tables is where the hash indexes of all shards have their memory from. Outgrown tables
// are not unmapped, because Prefetch may still be reading them; shards that grow later
// take them.
//
// Whoever takes a table holds a shard's lock, and mapping memory may wait for somebody who fills a huge page:
// tables are cut from blocks, of which the next one is mapped by another goroutine in time.
type tables struct {
	// waste counts the tables in dirty. Giving memory back takes a system
	// call that may interrupt other processors, so that it waits until no lock is held.
	waste atomic.Int32

	helpers sync.WaitGroup

	mu sync.Mutex
	// +checklocks:mu
	free    map[uint32][]*table // by number of buckets; without memory, so all zero
	dirty   []*table            // emptied, so all zero too, but with memory
	block   []byte              // what is left of the present block
	next    []byte              // the one after it, nil if it is not there yet
	mapping bool                // a helper maps it
	all     [][]byte            // what is mapped
	bytes   int64               // of tables in use
}

// tableBlock is the length of a block: tables for a million items and some more. Only what has been used of
// it takes memory.
const tableBlock = 8 << 20

// take returns an empty table of n buckets.
func (ts *tables) take(n uint32) (*table, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	size := int(n) * bucketSize
	if t := ts.used(n); t != nil {
		ts.bytes += int64(size)
		return t, nil
	}
	mem, err := ts.cut(size)
	if err != nil {
		return nil, err
	}
	ts.bytes += int64(size)
	return &table{base: unsafe.Pointer(unsafe.SliceData(mem)), n: n, mem: mem}, nil
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

// cut returns memory that was never used.
func (ts *tables) cut(size int) ([]byte, error) {
	if size > tableBlock/4 {
		mem, err := allocate(int64(size))
		if err == nil {
			ts.all = append(ts.all, mem)
		}
		return mem, err
	}
	if size > len(ts.block) {
		if ts.next == nil {
			mem, err := newBlock()
			if err != nil {
				return nil, err
			}
			ts.all = append(ts.all, mem)
			ts.next = mem
		}
		ts.block, ts.next = ts.next, nil
	}
	mem := ts.block[:size:size]
	if ts.block = ts.block[size:]; len(ts.block) < tableBlock/2 && ts.next == nil && !ts.mapping {
		ts.mapping = true
		ts.helpers.Go(ts.mapNext)
	}
	return mem, nil
}

// newBlock maps a block. A huge page would be cleared as a whole, under the lock of whoever touches it first.
func newBlock() ([]byte, error) {
	mem, err := allocate(tableBlock)
	if err == nil {
		refuseHugePages(mem)
	}
	return mem, err
}

// mapNext maps the next block.
func (ts *tables) mapNext() {
	mem, err := newBlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.mapping = false
	if err != nil {
		return // it is asked for again
	}
	ts.all = append(ts.all, mem)
	if ts.next == nil {
		ts.next = mem
	}
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

func (ts *tables) close() error {
	ts.helpers.Wait()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var err error
	for _, mem := range ts.all {
		if e := release(mem); err == nil {
			err = e
		}
	}
	ts.all = nil
	return err
}
