package storage

import "math/bits"

// queue is the eviction state of one class in one shard: all linked items in
// order of insertion, and a hand that looks for the next victim. Hits set bits and
// move nothing (memcached's ITEM_ACTIVE does the same); the hand takes
// the bits back and passes by, so that an item is evicted only if nobody asked for it for a whole round (SIEVE).
type queue struct {
	head, tail uint32 // newest, oldest
	hand       uint32 // where the search goes on, toward the head; 0 is the tail
	n          uint32
}

// touchRecent notes a hit for the eviction.
func touchRecent(hd *header) { hd.state |= stateRecent0 }

// classOf returns the class of the item at ref: its page's, or that of runs.
func (s *Store) classOf(ref uint32) int {
	if ref >= s.runBase {
		return len(s.classes)
	}
	return int(s.owner[s.pageOf(ref)].Load()) - 1
}

// enqueue makes a linked item a candidate for eviction.
func (sh *Shard) enqueue(_ uint64, ref uint32) {
	c := sh.s.classOf(ref)
	q := &sh.queues[c]
	hd := sh.s.arena.head(ref)
	hd.prev, hd.next = 0, q.head
	if q.head != 0 {
		sh.s.arena.head(q.head).prev = ref
	} else {
		q.tail = ref
	}
	q.head = ref
	q.n++
	if q.n == 1 {
		sh.s.setCandidate(c, sh.id, true)
	}
}

// dequeue is the inverse.
func (sh *Shard) dequeue(ref uint32) {
	c := sh.s.classOf(ref)
	q := &sh.queues[c]
	hd := sh.s.arena.head(ref)
	if q.hand == ref {
		q.hand = hd.prev
	}
	if hd.prev != 0 {
		sh.s.arena.head(hd.prev).next = hd.next
	} else {
		q.head = hd.next
	}
	if hd.next != 0 {
		sh.s.arena.head(hd.next).prev = hd.prev
	} else {
		q.tail = hd.prev
	}
	q.n--
	if q.n == 0 {
		sh.s.setCandidate(c, sh.id, false)
	}
}

// maxSteps bounds how many items a search for a victim looks at.
const maxSteps = 256

// victim returns the item that class c of this shard should lose, 0 if it has none that may go.
func (sh *Shard) victim(c int, now uint32) uint32 {
	q := &sh.queues[c]
	at, fallback := q.hand, uint32(0)
	for range min(maxSteps, 2*q.n+1) {
		if at == 0 {
			at = q.tail
		}
		it := sh.s.arena.item(at)
		hd := it.head()
		if hd.state&statePinned == 0 && at != sh.keep {
			if hd.state&stateRecent == 0 || sh.s.dead(it, now) != Present {
				q.hand = at
				return at
			}
			if fallback == 0 {
				fallback = at
			}
		}
		hd.state &^= stateRecent
		at = hd.prev
	}
	q.hand = at
	return fallback
}

func (s *Store) candidates(c int) *[maxShards / 64]atomicBits {
	if c == len(s.classes) {
		return &s.runs.queues
	}
	return &s.classes[c].queues
}

// candidateShards returns the number of shards that have items of class c to evict.
func (s *Store) candidateShards(c int) (n int) {
	set := s.candidates(c)
	for i := range set {
		n += bits.OnesCount64(set[i].Load())
	}
	return n
}

// setCandidate notes whether a shard has items of class c to evict.
func (s *Store) setCandidate(c int, shard uint8, on bool) {
	w := &s.candidates(c)[shard/64]
	if on {
		w.Or(1 << (shard % 64))
	} else {
		w.And(^(uint64(1) << (shard % 64)))
	}
}
