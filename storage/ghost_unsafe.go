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
	from *ghosts
	sets []ghostSet
	mem  []byte
}

const ghostWays = 32 // one cache line

type ghostSet [ghostWays]uint16

// ghostPrint returns the fingerprint of a hash; never 0, the mark of a free place.
func ghostPrint(h uint64) uint16 { return uint16(h) | 1 }

func (g *ghost) set(h uint64) *ghostSet {
	return &g.sets[uint64(uint32(h>>16))*uint64(len(g.sets))>>32]
}

// add remembers h; items is how many the shard has.
func (g *ghost) add(h uint64, items int64) {
	want := max(1, int(items)*9/10/ghostWays)
	if have := len(g.sets); want > have+have/2 || want*3 < have {
		g.resize(want)
		if len(g.sets) == 0 {
			return
		}
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

// resize makes an empty ghost of n sets, or none if there is no memory. No more than n:
// one that remembers too long takes everything for popular.
func (g *ghost) resize(n int) {
	if g.mem != nil {
		g.from.give(g.mem)
		g.sets, g.mem = nil, nil
	}
	mem := g.from.take(n * 2 * ghostWays)
	if mem == nil {
		return
	}
	// SAFETY: mem is aligned to a page and n sets long at least.
	g.sets, g.mem = unsafe.Slice((*ghostSet)(unsafe.Pointer(unsafe.SliceData(mem))), n), mem
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

// take returns zeroed memory of size bytes and some more, nil if there is none.
func (gs *ghosts) take(size int) []byte {
	size = ghostRoom(size)
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for i, mem := range gs.dirty {
		if len(mem) == size {
			last := len(gs.dirty) - 1
			gs.dirty[i], gs.dirty[last] = gs.dirty[last], nil
			gs.dirty = gs.dirty[:last]
			gs.waste.Store(int32(last))
			clear(mem)
			return mem
		}
	}
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

// ghostRoom rounds up to a power of two of pages of the system or to one and a half, so that what one
// ghost has outgrown fits another.
func ghostRoom(size int) int {
	const page = 4096
	pages := max(1, (size+page-1)/page)
	room := 1 << bits.Len(uint(pages-1))
	if room >= 4 && pages <= room/4*3 {
		room = room / 4 * 3
	}
	return room * page
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
