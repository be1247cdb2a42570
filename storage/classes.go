package storage

import "slices"

// Pages, chunks and grains, in bytes.
const (
	pageSize  = 1 << 20
	pageShift = 20

	// grain is the granularity of runs, the homes of items above largestChunk.
	grain        = 16 << 10
	largestChunk = pageSize / 2

	smallestChunk = 64
)

// sizes is the table of chunk sizes: how much of a page an item of a given
// size takes.
type sizes struct {
	chunk   []uint32 // ascending
	perPage []uint32
	small   [1024/8 + 1]uint8 // class by (size+7)/8, for sizes up to 1024
}

// newSizes builds the table for references in units of unit bytes.
//
// Small chunks are a unit or two apart. From 512 bytes on, the sizes are those that
// memcached's factor of 1.25 gives and one between each two, each then stretched to the largest
// that fits the page as often: so an item never takes more of a page than in memcached,
// and mostly less.
func newSizes(unit uint32) *sizes {
	var t []uint32
	up := func(c uint32) uint32 { return (c + unit - 1) &^ (unit - 1) }
	for c := up(smallestChunk); c < 192; c += up(8) {
		t = append(t, c)
	}
	for c := up(192); c < 512; c += up(16) {
		t = append(t, c)
	}
	fit := func(c uint32) uint32 { return pageSize / (pageSize / c) &^ (unit - 1) }
	mc := newMemcachedClasses(defaultChunk, defaultFactor, largestChunk, nil)
	for i, c := range mc.chunk {
		if c < 512 {
			continue
		}
		prev := mc.chunk[i-1]
		t = append(t, fit(prev+(c-prev)/2), fit(c))
	}
	slices.Sort(t)
	s := &sizes{chunk: slices.Compact(t)}
	for _, c := range s.chunk {
		s.perPage = append(s.perPage, pageSize/c)
	}
	for i := range s.small {
		s.small[i] = uint8(s.search(i * 8))
	}
	return s
}

func (s *sizes) search(size int) int {
	i, _ := slices.BinarySearch(s.chunk, uint32(size))
	return i
}

// class returns the class of the smallest chunk that holds size bytes;
// len(s.chunk), the class of runs, if none does.
func (s *sizes) class(size int) int {
	if size <= 1024 {
		return int(s.small[(size+7)/8])
	}
	if size > largestChunk {
		return len(s.chunk)
	}
	return s.search(size)
}
