package storage

import "slices"

// memcachedClasses is the table of slab classes that memcached builds from -n,
// -f, slab_chunk_max and slab_sizes, as slabs_init in slabs.c does.
// Class numbers begin at 1; chunk[0] is class 1. Users see these numbers in
// stats items, stats slabs and metadumps.
type memcachedClasses struct {
	chunk   []uint32
	perPage []uint32
	small   [1024/8 + 1]uint8 // index into chunk by (size+7)/8
}

// memcachedHeader is sizeof(item) in memcached on 64-bit machines.
const (
	memcachedHeader     = 48
	memcachedCAS        = 8
	memcachedMaxClasses = 63
)

func newMemcachedClasses(chunkMin int, factor float64, chunkMax int, sizes []int) *memcachedClasses {
	m := &memcachedClasses{}
	largest := uint32(chunkMax)
	align := func(size uint32) uint32 { return (size + 7) &^ 7 }
	for _, size := range sizes[:min(len(sizes), memcachedMaxClasses-1)] {
		m.chunk = append(m.chunk, align(uint32(size)))
	}
	for size := uint32(memcachedHeader + chunkMin); sizes == nil && len(m.chunk) < memcachedMaxClasses-1; {
		if float64(size) >= float64(largest)/factor {
			break
		}
		size = align(size)
		m.chunk = append(m.chunk, size)
		size = uint32(float64(size) * factor)
	}
	m.chunk = append(m.chunk, largest)
	for _, c := range m.chunk {
		m.perPage = append(m.perPage, pageSize/c)
	}
	for i := range m.small {
		m.small[i] = uint8(m.search(i * 8))
	}
	return m
}

func (m *memcachedClasses) search(size int) int {
	i, _ := slices.BinarySearch(m.chunk, uint32(size))
	return min(i, len(m.chunk)-1)
}

// index returns the class of size less one. Sizes above the last chunk, which memcached
// stores in several, are in the last class.
func (m *memcachedClasses) index(size int) int {
	if size <= 1024 {
		return int(m.small[(size+7)/8])
	}
	return m.search(size)
}

// Class returns the slab class that memcached would use for an item of size
// bytes (see [Item.Size]), its chunk size and the number of such chunks in a page of
// 1 MiB. id begins at 1. A size above [Config.MaxItem] gives 0, 0, 0.
func (s *Store) Class(size int) (id, chunkSize, perPage int) {
	if size > s.cfg.MaxItem || size < 0 {
		return 0, 0, 0
	}
	i := s.mc.index(size)
	return i + 1, int(s.mc.chunk[i]), int(s.mc.perPage[i])
}

// ClassFor is the class for an item of these lengths.
func (s *Store) ClassFor(nkey int, flags uint32, nvalue int) int {
	class, _, _ := s.Class(s.itemSize(nkey, flags, nvalue))
	return class
}

// itemSize is memcached's item_make_header: what it says an item of this form takes.
func (s *Store) itemSize(nkey int, flags uint32, nvalue int) int {
	n := s.fixed + nkey + 1 + nvalue + 2
	if flags != 0 {
		n += 4
	}
	return n
}
