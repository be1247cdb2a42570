package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ghost remembers items that were evicted from a small queue, by 16 bits of
// their hash: two bytes for each, as many as nine tenths of the shard's items. A set of
// ghostWays holds the last ones that fell into it, the newest first.
//
// It lies outside the Go heap, where it would make the collector keep as much again
// free.
type ghost struct {
	from  *ghosts
	sets  []ghostSet
	mem   []byte
	asked bool // a helper is getting another one ready
}

const ghostWays = 32 // one cache line

type ghostSet [ghostWays]uint16

// ghostPrint returns the fingerprint of a hash; never 0, the mark of a free place.
func ghostPrint(h uint64) uint16 { return uint16(h) | 1 }

func (g *ghost) set(h uint64) *ghostSet {
	return &g.sets[uint64(uint32(h>>16))*uint64(len(g.sets))>>32]
}

// add remembers h, which the locked shard sh has evicted.
func (g *ghost) add(sh *Shard, h uint64) {
	want := max(1, int(sh.stats.items)*9/10/ghostWays)
	if have := len(g.sets); want > have+have/2 || want*3 < have {
		g.resize(sh, want)
	}
	if len(g.sets) == 0 {
		return
	}
	set := g.set(h)
	copy(set[1:], set[:ghostWays-1])
	set[0] = ghostPrint(h)
}

// take reports whether h was remembered, and forgets it.
func (g *ghost) take(h uint64) bool {
	if len(g.sets) == 0 {
		return false
	}
	set := g.set(h)
	for i, p := range set {
		if p == ghostPrint(h) {
			copy(set[i:], set[i+1:])
			set[ghostWays-1] = 0
			return true
		}
	}
	return false
}

// resize makes it an empty ghost of n sets. No more than n: one that remembers too long takes everything for
// popular. The memory of a large one is taken from the system by another goroutine and without a lock; until then
// it stays as it is.
func (g *ghost) resize(sh *Shard, n int) {
	size := ghostRoom(n * 2 * ghostWays)
	if size == ghostPage || sh.s.cfg.Seed != 0 {
		g.become(n, g.from.take(size))
		return
	}
	if g.asked {
		return
	}
	g.asked = true
	g.from.blocks.helpers.Go(func() {
		mem := g.from.take(size)
		populate(mem)
		sh.lock()
		defer sh.unlock()
		g.asked = false
		g.become(n, mem)
	})
}

// become makes it an empty ghost of n sets in mem, or none if that is nil.
func (g *ghost) become(n int, mem []byte) {
	if g.mem != nil {
		g.from.give(g.mem)
	}
	if g.sets, g.mem = nil, mem; mem != nil {
		// SAFETY: mem is aligned to a page and n sets long at least.
		g.sets = unsafe.Slice((*ghostSet)(unsafe.Pointer(unsafe.SliceData(mem))), n)
	}
}

// ghosts is where the ghosts of all shards have their memory from.
type ghosts struct {
	blocks *blocks
	waste  atomic.Int32 // the length of dirty: as tables.waste

	mu sync.Mutex
	// +checklocks:mu
	free  map[int][][]byte // by length; all zero
	dirty [][]byte
}

// take returns zeroed memory of size bytes, which come from ghostRoom, nil if there is none.
func (gs *ghosts) take(size int) []byte {
	if mem := gs.used(size); mem != nil {
		clear(mem)
		return mem
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if l := gs.free[size]; len(l) > 0 {
		gs.free[size] = l[:len(l)-1]
		return l[len(l)-1]
	}
	mem, err := gs.blocks.cut(size)
	if err != nil {
		return nil
	}
	return mem
}

// used returns memory of size bytes that another ghost has had and not cleared, nil if there is none.
func (gs *ghosts) used(size int) []byte {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for i, mem := range gs.dirty {
		if len(mem) == size {
			last := len(gs.dirty) - 1
			gs.dirty[i], gs.dirty[last] = gs.dirty[last], nil
			gs.dirty = gs.dirty[:last]
			gs.waste.Store(int32(last))
			return mem
		}
	}
	return nil
}

// ghostPage is the least that a ghost takes: a page of the system.
const ghostPage = 4096

// ghostRoom rounds up to a power of two of pages of the system or to one and a half, so that what one
// ghost has outgrown fits another.
func ghostRoom(size int) int {
	pages := max(1, (size+ghostPage-1)/ghostPage)
	room := 1 << bits.Len(uint(pages-1))
	if room >= 4 && pages <= room/4*3 {
		room = room / 4 * 3
	}
	return room * ghostPage
}

func (gs *ghosts) give(mem []byte) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.dirty = append(gs.dirty, mem)
	gs.waste.Store(int32(len(gs.dirty)))
}

// trim gives the memory of one ghost back to the system. No shard may be locked.
func (gs *ghosts) trim() {
	gs.mu.Lock()
	last := len(gs.dirty) - 1
	if last < 0 {
		gs.mu.Unlock()
		return
	}
	mem := gs.dirty[last]
	gs.dirty[last] = nil
	gs.dirty = gs.dirty[:last]
	gs.waste.Store(int32(last))
	gs.mu.Unlock()
	if !discard(mem) { // it is in no list meanwhile
		clear(mem)
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.free[len(mem)] = append(gs.free[len(mem)], mem)
}
