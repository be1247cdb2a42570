package storage

import "unsafe"

// ghost remembers items that were evicted from a small queue, by 16 bits of
// their hash: two bytes for each, as many as nine tenths of the shard's items. A set of
// ghostWays holds the last ones that fell into it, the newest first.
//
// It lies outside the Go heap, where it would make the collector keep as much again
// free.
type ghost struct {
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
	g.close()
	mem, err := allocate((int64(n)*2*ghostWays + 4095) &^ 4095)
	if err != nil {
		return
	}
	// SAFETY: mem is aligned to a page and n sets long.
	g.sets, g.mem = unsafe.Slice((*ghostSet)(unsafe.Pointer(unsafe.SliceData(mem))), n), mem
}

func (g *ghost) close() {
	if g.mem != nil {
		_ = release(g.mem) // fails only for a range that is not mapped
	}
	*g = ghost{}
}
