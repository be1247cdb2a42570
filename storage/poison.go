package storage

import "fmt"

// poisonByte fills freed chunks in builds with the invariants tag, so that a
// use after free shows. It is left out where locks are timed.
const poisonByte = 0xdb

// poison fills a chunk of n bytes behind its header.
func (s *Store) poison(ref, n uint32) {
	if s.timed {
		return
	}
	b := s.arena.bytes(ref, int(n))[headerSize:]
	for i := range b {
		b[i] = poisonByte
	}
}

// checkPoison panics if somebody wrote to a freed chunk.
func (s *Store) checkPoison(ref, n uint32) {
	if s.timed {
		return
	}
	for i, c := range s.arena.bytes(ref, int(n))[headerSize:] {
		if c != poisonByte {
			panic(fmt.Sprintf("storage: write after free: chunk %#x, offset %d: expected %#x, found %#x", ref, headerSize+i, poisonByte, c))
		}
	}
}
