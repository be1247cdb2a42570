package storage

import "math/bits"

// The eviction of one class in one shard is S3-FIFO: new items enter a small queue; those
// that are hit before they reach its end go to the main queue, the others go, and
// the ghost remembers them, so that they enter the main queue if they come back. An item at the
// end of the main queue that was hit begins anew, with one hit less.
//
// How much the small queue may hold is learned. Where the popular keys become other ones, the main queue is
// full of what was popular: new items need longer in the small queue, and what tells is that
// items come back that left it too early. They do so in a loop as well, where a longer queue is
// of no use; but there all items of the small queue are hit, or none, for a long time.
// So it grows with an item that comes back, if another was hit in time since the last one that
// did, and shrinks with each item of the main queue that proves to be in use.
//
// A hit sets bits and moves nothing, as memcached's ITEM_ACTIVE does.
//
// Of the policies that were compared (see TestEvictionPolicies), this one, with one hit
// to leave the small queue and at most two remembered, is the only one that is nowhere
// below memcached's segmented LRU: SIEVE loses to it where popularity shifts, and both
// get nothing from a loop.
const (
	// smallShare is the part of a class that the small queue has at least: a tenth. It may have
	// half of the class more.
	smallShare = 10
	// growBy is by how many items the small queue grows at once, and shrinkBy by how many it
	// shrinks.
	growBy, shrinkBy = 8, 3
	// maxRecent is how many hits are remembered.
	maxRecent = 2
)

// fifo is a list of items, linked by next (older) and prev (newer).
type fifo struct{ head, tail, n uint32 }

// queue is the eviction state of one class in one shard: all its linked items.
type queue struct{ small, main fifo }

// learned is what a class has learned in one shard about its small queue: how many items it may hold beyond
// its share, times two, and in the lowest bit whether an item went from it to the main queue
// since that number grew. It lies apart from queue, which would be larger by a third.
type learned uint16

const (
	promoted learned = 1
	maxExtra         = 1<<15 - 1
)

func (l learned) extra() uint32 { return uint32(l >> 1) }

// returned notes that an item came back that had left the small queue; items is how many
// the class has.
func (l *learned) returned(items uint32) {
	if *l&promoted != 0 {
		*l = learned(min(l.extra()+growBy, items/2, maxExtra)) << 1
	}
}

// used notes that an item of the main queue proved to be in use.
func (l *learned) used() { *l -= learned(min(l.extra(), shrinkBy)) << 1 }

func (q *queue) n() uint32 { return q.small.n + q.main.n }

// full reports whether the next victim should be of the small queue, which may hold extra items.
func (q *queue) full(extra uint32) bool {
	return q.main.n == 0 || (q.small.n-min(extra, q.small.n))*smallShare >= q.n()
}

// of returns the list that holds an item with these bits.
func (q *queue) of(hd *header) *fifo {
	if hd.state&stateMain != 0 {
		return &q.main
	}
	return &q.small
}

func (f *fifo) push(a *arena, ref uint32) {
	hd := a.head(ref)
	hd.prev, hd.next = 0, f.head
	if f.head != 0 {
		a.head(f.head).prev = ref
	} else {
		f.tail = ref
	}
	f.head = ref
	f.n++
}

func (f *fifo) cut(a *arena, ref uint32) {
	hd := a.head(ref)
	if hd.prev != 0 {
		a.head(hd.prev).next = hd.next
	} else {
		f.head = hd.next
	}
	if hd.next != 0 {
		a.head(hd.next).prev = hd.prev
	} else {
		f.tail = hd.prev
	}
	f.n--
}

// swap puts the item at ref in the place of another, whose links it has.
func (f *fifo) swap(a *arena, old, ref uint32) {
	hd := a.head(ref)
	if hd.prev != 0 {
		a.head(hd.prev).next = ref
	} else {
		f.head = ref
	}
	if hd.next != 0 {
		a.head(hd.next).prev = ref
	} else {
		f.tail = ref
	}
}

func recent(hd *header) uint8 { return hd.state & stateRecent / stateRecent0 }

func setRecent(hd *header, n uint8) { hd.state = hd.state&^stateRecent | n*stateRecent0 }

// touchRecent notes a hit for the eviction.
func touchRecent(hd *header) {
	if n := recent(hd); n < maxRecent {
		setRecent(hd, n+1)
	}
}

// classOf returns the class of the item at ref: its page's, or that of runs.
func (s *Store) classOf(ref uint32) int {
	if ref >= s.runBase {
		return len(s.classes)
	}
	return int(s.owner[s.pageOf(ref)].Load()) - 1
}

// enqueue makes a linked item a candidate for eviction, in the main queue if its
// bits say so.
func (sh *Shard) enqueue(ref uint32) {
	c := sh.s.classOf(ref)
	q := &sh.queues[c]
	q.of(sh.s.arena.head(ref)).push(sh.s.arena, ref)
	if q.n() == 1 {
		sh.s.setCandidate(c, sh.id, true)
	}
}

// dequeue is the inverse.
func (sh *Shard) dequeue(ref uint32) {
	c := sh.s.classOf(ref)
	q := &sh.queues[c]
	q.of(sh.s.arena.head(ref)).cut(sh.s.arena, ref)
	if q.n() == 0 {
		sh.s.setCandidate(c, sh.id, false)
	}
}

// maxSteps bounds how many items a search for a victim looks at: each costs several cache misses, half a
// microsecond, and the shard is locked.
const maxSteps = 64

// victim returns the item that class c of this shard should lose, 0 if it has none
// that may go.
func (sh *Shard) victim(c int, now uint32) uint32 {
	q, l := &sh.queues[c], &sh.learned[c]
	a := sh.s.arena
	fallback := uint32(0)
	for range min(maxSteps, 3*q.n()) {
		f := &q.main
		if q.full(l.extra()) {
			f = &q.small
		}
		ref := f.tail
		it := a.item(ref)
		hd := it.head()
		kept := hd.state&statePinned != 0 || ref == sh.keep
		switch {
		case kept: // goes round; a pin is a use
		case recent(hd) == 0 || sh.s.dead(it, now) != Present:
			if hd.prev != 0 {
				sh.s.prefetchRef(hd.prev) // the next victim, seldom asked for soon, always cold
			}
			return ref
		case fallback == 0:
			fallback = ref
		}
		f.cut(a, ref)
		if f == &q.main {
			if !kept {
				setRecent(hd, recent(hd)-1)
				l.used()
			}
		} else {
			if !kept {
				*l |= promoted
			}
			hd.state |= stateMain
			setRecent(hd, 0)
		}
		q.main.push(a, ref)
	}
	return fallback
}

func (s *Store) candidates(c int) *[maxShards / 64]atomicBits {
	if c == len(s.classes) {
		return &s.runs.queues
	}
	return &s.classes[c].queues
}

// candidateShards returns the number of shards that have items of class c.
func (s *Store) candidateShards(c int) (n int) {
	set := s.candidates(c)
	for i := range set {
		n += bits.OnesCount64(set[i].Load())
	}
	return n
}

// setCandidate notes whether a shard has items of class c.
func (s *Store) setCandidate(c int, shard uint8, on bool) {
	w := &s.candidates(c)[shard/64]
	if on {
		w.Or(1 << (shard % 64))
	} else {
		w.And(^(uint64(1) << (shard % 64)))
	}
}
