package storage

import (
	"sync"
	"sync/atomic"
)

// drainer empties one page at a time, so that its memory can go to another
// class: a few chunks with each allocation, while the limit is exceeded.
type drainer struct {
	busy atomic.Bool // a page is chosen

	mu sync.Mutex
	// +checklocks:mu
	page   uint32
	class  *class
	chunk  uint32 // where the walk goes on
	rounds int
	rest   uint32 // allocations to wait after a search found no page
}

const (
	// drainChunks is how many chunks an allocation looks at.
	drainChunks = 32
	// drainRounds is how often a page is walked before it is given up: chunks
	// that are pinned or still being filled cannot be evicted.
	drainRounds = 4
	drainRest   = 256
)

// drain goes on emptying a page, if the limit is exceeded or one was begun.
func (s *Store) drain(sh *Shard, now uint32) {
	d := &s.drainer
	if (s.pool.excess.Load() == 0 && !d.busy.Load()) || s.cfg.NoEvict || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if !d.busy.Load() {
		if d.rest > 0 {
			d.rest--
			return
		}
		if !s.chooseDrain() {
			d.rest = drainRest
			return
		}
	}
	for range drainChunks {
		ref, owner, done := s.nextDrain()
		if done {
			d.busy.Store(false)
			return
		}
		if ref != 0 {
			s.drainChunk(sh, owner, ref, now)
		}
	}
}

// nextDrain advances the walk and returns the next chunk in use, or 0, and the shard
// that owned it at that moment. done means that the page is empty and given back, or
// given up.
func (s *Store) nextDrain() (ref uint32, owner *Shard, done bool) {
	d := &s.drainer
	c := d.class
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &s.pages[d.page]
	if p.live == 0 {
		p.draining = false
		c.pages--
		s.owner[d.page].Store(0)
		s.pool.givePage(d.page)
		return 0, nil, true
	}
	if d.chunk == p.carved {
		d.chunk = 0
		if d.rounds++; d.rounds == drainRounds {
			p.draining = false
			if p.free != 0 || p.carved < c.perPage {
				c.push(d.page)
			}
			return 0, nil, true
		}
	}
	ref = s.chunkRef(d.page, c.units, d.chunk)
	d.chunk++
	hd := s.arena.head(ref)
	if hd.nkey == 0 {
		return 0, nil, false
	}
	return ref, s.shards[hd.shard], false
}

// drainChunk evicts the item at ref if it can be had.
func (s *Store) drainChunk(sh, owner *Shard, ref, now uint32) {
	if owner != sh {
		if !owner.mu.TryLock() {
			return
		}
		defer owner.mu.Unlock()
	}
	c := s.drainer.class
	it := s.arena.item(ref)
	hd := it.head()
	c.mu.Lock()
	same := hd.nkey != 0 && hd.shard == owner.id
	c.mu.Unlock()
	if !same || hd.state&stateLinked == 0 || hd.state&statePinned != 0 || owner.keep == ref {
		return
	}
	owner.countEviction(it, now)
	owner.unlink(s.hashOf(ref), ref)
}

// chooseDrain picks the page to empty: the emptiest of the class with most pages.
func (s *Store) chooseDrain() bool {
	best, most := -1, int32(1)
	for i := range s.classes {
		c := &s.classes[i]
		c.mu.Lock()
		if c.pages > most {
			best, most = i, c.pages
		}
		c.mu.Unlock()
	}
	if best < 0 {
		return false
	}
	c := &s.classes[best]
	c.mu.Lock()
	defer c.mu.Unlock()
	page := uint32(0)
	for i := range s.owner {
		n := uint32(i)
		if s.owner[n].Load() == uint32(c.id)+1 && (page == 0 || s.pages[n].live < s.pages[page].live) {
			page = n
		}
	}
	if page == 0 {
		return false
	}
	p := &s.pages[page]
	if p.onList {
		c.drop(page)
	}
	p.draining = true
	d := &s.drainer
	d.page, d.class, d.chunk, d.rounds = page, c, 0, 0
	d.busy.Store(true)
	return true
}
