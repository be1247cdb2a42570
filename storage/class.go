package storage

import (
	"sync"
	"sync/atomic"
)

// page is the state of one page; protected by the lock of the class that owns it.
type page struct {
	draining bool
	onList   bool   // in class.partial
	live     uint32 // chunks handed out
	carved   uint32 // chunks handed out at least once; those beyond are untouched memory
	free     uint32 // first of the freed chunks, linked by next
	next     int32  // partial list, page numbers plus one; 0 ends it
	prev     int32
}

// class owns pages of one chunk size. Chunks are handed out page by page, so
// that pages become empty and can go to another class.
type class struct {
	s       *Store
	id      uint8
	chunk   uint32 // bytes
	units   uint32 // chunk in units of a ref
	perPage uint32

	// queues says which shards have items of this class that may be evicted,
	// a bit for each shard, set and cleared under that shard's lock.
	queues  [maxShards / 64]atomicBits
	victims victims
	turn    atomic.Uint32 // the shard where the next search in foreign shards begins

	mu sync.Mutex
	// +checklocks:mu
	partial int32        // first page with free chunks, plus one
	pages   atomic.Int32 // changed under mu, read without it
	live    int64        // chunks handed out
}

// alloc hands out a chunk to shard, taking a page from the pool if needed;
// the page may exceed the limit by over bytes. 0 if there is none.
func (c *class) alloc(shard, nkey uint8, over int64) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partial == 0 {
		n, ok := c.s.pool.takePage(over)
		if !ok {
			return 0
		}
		c.s.pages[n] = page{}
		c.s.owner[n].Store(uint32(c.id) + 1)
		c.pages.Add(1)
		c.push(n)
		c.s.drainer.grown.Store(true)
	}
	return c.take(shard, nkey)
}

// take hands out a chunk of the first page with free ones. c.mu is held.
func (c *class) take(shard, nkey uint8) uint32 {
	n := uint32(c.partial - 1)
	p := &c.s.pages[n]
	var ref uint32
	if p.free != 0 {
		ref = p.free
		p.free = c.s.arena.head(ref).next
		if invariants {
			c.s.checkPoison(ref, c.chunk)
		}
	} else {
		ref = c.s.chunkRef(n, c.units, p.carved)
		p.carved++
	}
	p.live++
	c.live++
	if p.free == 0 && p.carved == c.perPage {
		c.drop(n)
	}
	h := c.s.arena.head(ref)
	h.shard, h.nkey = shard, nkey
	h.state = 0 // a chunk of a page that had another class before holds anything
	return ref
}

// reuse is alloc from the pages that the class has.
func (c *class) reuse(shard, nkey uint8) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partial == 0 {
		return 0
	}
	return c.take(shard, nkey)
}

// retag hands a chunk over to another item without freeing it. It fails if the
// chunk's page is to be emptied, and with force only if the class has no other page. The locks of both owners must be held.
func (c *class) retag(ref uint32, shard, nkey uint8, force bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.pages[c.s.pageOf(ref)].draining && !(force && c.pages.Load() > 1) {
		return false
	}
	h := c.s.arena.head(ref)
	h.shard, h.nkey = shard, nkey
	return true
}

// release takes a chunk back. The lock of the shard that owns it must be held.
func (c *class) release(ref uint32) {
	if invariants {
		c.s.poison(ref, c.chunk)
	}
	n := c.s.pageOf(ref)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.s.pages[n]
	h := c.s.arena.head(ref)
	h.nkey = 0
	h.next = p.free
	p.free = ref
	p.live--
	c.live--
	if !p.draining && !p.onList {
		c.push(n)
	}
}

// push puts a page at the head of the partial list.
func (c *class) push(n uint32) {
	p := &c.s.pages[n]
	p.onList, p.prev, p.next = true, 0, c.partial
	if p.next != 0 {
		c.s.pages[p.next-1].prev = int32(n + 1)
	}
	c.partial = int32(n + 1)
}

// drop takes a page off the partial list.
func (c *class) drop(n uint32) {
	p := &c.s.pages[n]
	if p.prev != 0 {
		c.s.pages[p.prev-1].next = p.next
	} else {
		c.partial = p.next
	}
	if p.next != 0 {
		c.s.pages[p.next-1].prev = p.prev
	}
	p.onList, p.prev, p.next = false, 0, 0
}

// pageOf returns the number of the page that holds ref.
func (s *Store) pageOf(ref uint32) uint32 { return ref >> (pageShift - s.arena.shift) }

// chunkRef returns the i-th chunk, of units each, of page n.
func (s *Store) chunkRef(n, units, i uint32) uint32 {
	return n<<(pageShift-s.arena.shift) + i*units
}
