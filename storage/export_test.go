package storage

import "unsafe"

// Internals that external tests need.

const (
	HeaderSize  = headerSize
	PageSize    = pageSize
	Invariants  = invariants
	RaceEnabled = raceEnabled
)

// PerPage returns how many items with these measures one page holds.
func (s *Store) PerPage(nkey int, flags uint32, nvalue int) int {
	c := s.sizes.class(physicalSize(nkey, flags, nvalue))
	return int(s.sizes.perPage[c])
}

// Chunks returns the sizes of chunks.
func (s *Store) Chunks() []uint32 { return s.sizes.chunk }

// MemcachedClasses returns memcached's chunk sizes and how many a page holds.
func (s *Store) MemcachedClasses() (chunk, perPage []uint32) { return s.mc.chunk, s.mc.perPage }

// PlantedWrite changes an item without any lock: what the race detector must find.
func (it Item) PlantedWrite() { it.head().access++ }

// PlantedRead reads what PlantedWrite changes.
func (it Item) PlantedRead() uint32 { return it.head().access }

// CorruptFree writes to the chunk of an item as a use after free would.
func (it Item) CorruptFree() { *(*byte)(unsafe.Add(it.p, headerSize+3)) ^= 1 }
