package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// drainer moves memory from where it is used least to where it is wanted: it
// empties one page at a time, or evicts runs, a little with each allocation, as memcached's
// slab rebalancer does in a thread of its own. It begins when the limit is exceeded, and
// when a class evicts items that are younger than what another class keeps. Below the limit
// it begins when a class takes a page and another has a surplus of free chunks: a mix of sizes
// that changes would otherwise leave every class with the most that it ever had.
//
// Items of the page that were used lately are moved to other chunks of the class; the rest is
// evicted. Nothing is evicted from a class with a surplus.
type drainer struct {
	busy   atomic.Bool  // a page is chosen
	wanted atomic.Int32 // class that needs memory, plus one; 0 none
	grown  atomic.Bool  // a class has taken a page since surplus was looked for

	mu sync.Mutex
	// +checklocks:mu
	page   uint32
	class  *class
	chunk  uint32 // where the walk goes on
	rounds int
	gentle bool   // the page is of a class with a surplus: items are moved and never evicted
	rest   uint32 // allocations to wait after a search found no page
	survey survey

	moved atomic.Uint64 // pages emptied
}

const (
	// drainWork bounds one step: a free chunk costs 1 of it, an item, which may have to be
	// moved, 4: that is some 10 microseconds, and up to 40 among millions of items.
	drainWork = 12
	drainItem = 4
	// drainBytes is how many bytes may be moved for 1 of it.
	drainBytes = 8 << 10
	// drainRounds is how often a page is walked before it is given up: chunks
	// that are pinned or still being filled cannot be had.
	drainRounds = 4
	drainRest   = 256
	// surplusHalves is how many half pages of free chunks a class may keep: less than
	// memcached's slab_automove lets it, for there are twice as many classes.
	surplusHalves = 3
	// sampleItems is how many items at the end of a queue are asked for their age.
	sampleItems = 8
	// sampleShards is how many shards are tried for some.
	sampleShards = 4
	// olderBy is how many seconds older than what a class evicts the items of another must be
	// to be given up for it.
	olderBy = 5
	// forsaken is the age, in seconds, at which a class may lose its last page.
	forsaken = 300
	// sparse: a class that uses less than a fourth of its only page shares those of the next
	// larger class, if memory is wanted.
	sparse = 4
)

// Balance does one step of moving memory between classes, as every allocation does, and
// reports whether there is more to do. It is for the time without allocations, after
// SetLimit above all. It holds no lock for longer than an allocation.
func (s *Store) Balance(now uint32) (more bool) {
	sh := s.shards[s.balanceTurn.Add(1)%uint32(len(s.shards))]
	sh.lock()
	s.drain(sh, now)
	sh.unlock()
	s.trim()
	d := &s.drainer
	return !s.cfg.NoEvict && (d.busy.Load() || s.pool.excess.Load() > 0 || d.wanted.Load() != 0)
}

// drain does one step of what is to be done. sh is locked.
func (s *Store) drain(sh *Shard, now uint32) {
	d := &s.drainer
	if !d.busy.Load() && d.wanted.Load() == 0 && s.pool.excess.Load() == 0 && !d.grown.Load() || s.cfg.NoEvict || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if !d.busy.Load() && d.grown.Load() && d.wanted.Load() == 0 && s.pool.excess.Load() == 0 {
		d.grown.Store(false)
		donor := s.surplus()
		if donor == nil || !s.choosePage(donor) {
			return
		}
		d.gentle = true
	}
	if !d.busy.Load() {
		if d.rest > 0 && d.wanted.Load() == 0 {
			d.rest--
			return
		}
		if v := &d.survey; !v.on || v.wanted < 0 && s.pool.excess.Load() == 0 {
			v.cause = d.wanted.Load()
			wanted := int(v.cause) - 1
			if wanted >= 0 && s.pool.excess.Load() > 0 {
				wanted = -1 // the limit first
			}
			s.begin(v, wanted)
		}
		if !s.look(&d.survey, sh, now) {
			return
		}
		d.wanted.CompareAndSwap(d.survey.cause, 0)
		donor := d.survey.best
		switch {
		case donor < 0:
			d.rest = drainRest
			return
		case donor == len(s.classes):
			sh.evict(donor, 0, now)
			return
		case !s.choosePage(&s.classes[donor]):
			d.rest = drainRest
			return
		}
		d.gentle = false
	}
	for work := 0; work < drainWork; work++ {
		ref, owner, done := s.nextDrain()
		if done {
			d.busy.Store(false)
			return
		}
		if ref != 0 {
			work += drainItem - 1 + s.drainChunk(sh, owner, ref, now)
		}
	}
}

// surplus returns the class with the most free chunks beyond what it may keep, nil if
// there is none.
func (s *Store) surplus() (most *class) {
	best := int64(0)
	for i := range s.classes {
		c := &s.classes[i]
		pages := int64(c.pages.Load())
		if 2*pages <= surplusHalves {
			continue
		}
		c.mu.Lock()
		free := int64(c.pages.Load())*int64(c.perPage) - c.live
		c.mu.Unlock()
		if over := (2*free - surplusHalves*int64(c.perPage)) * int64(c.chunk); over > best {
			most, best = c, over
		}
	}
	return most
}

// survey is the search for the class that should lose memory, a few classes at a time: to see how
// old the items of one are takes some microseconds, and there are more than a hundred.
type survey struct {
	on      bool
	cause   int32  // drainer.wanted at the beginning
	wanted  int    // the class that gets the memory; negative: none, the limit is exceeded
	next    int    // class to be looked at next
	best    int    // the donor so far; the number of classes stands for runs, -1 for none
	bestAge uint32 // of its items
}

// surveyAges is how many classes a step of a survey asks for the age of their items.
const surveyAges = 6

// begin begins a survey for class wanted, or for the limit if wanted is negative.
func (s *Store) begin(v *survey, wanted int) {
	*v = survey{on: true, cause: v.cause, wanted: wanted, best: -1}
	if wanted >= 0 {
		v.bestAge = s.victimAge(wanted)
		v.bestAge += max(v.bestAge/4, olderBy)
	}
}

// look goes on with a survey, and reports whether that was the end of it. sh is locked.
func (s *Store) look(v *survey, sh *Shard, now uint32) (done bool) {
	for asked := 0; v.next <= len(s.classes); v.next++ {
		i := v.next
		if i == v.wanted {
			continue
		}
		last := false // page of the class
		if i < len(s.classes) {
			c := &s.classes[i]
			c.mu.Lock()
			pages, live := c.pages.Load(), c.live
			c.mu.Unlock()
			switch {
			case pages == 0:
				continue
			case int64(pages-1)*int64(c.perPage) >= live, // a whole page is free
				pages == 1 && live*sparse < int64(c.perPage) && s.neighbor(i) >= 0:
				v.on, v.best = false, i
				return true
			}
			last = pages == 1
		}
		if asked == surveyAges {
			return false
		}
		asked++
		age, known := s.age(sh, i, now)
		if known && !(last && age < forsaken) && age >= v.bestAge && (v.best < 0 || age > v.bestAge) {
			v.best, v.bestAge = i, age
		}
	}
	v.on = false
	return true
}

// age returns how long the items of class c that are next to go were not used,
// on average over some of them; known is false if none was found. sh is locked.
func (s *Store) age(sh *Shard, c int, now uint32) (age uint32, known bool) {
	if age, known = sh.age(c, now); known {
		return age, true
	}
	tries := sampleShards
	set := s.candidates(c)
	for i := range set {
		for w := set[i].Load(); w != 0 && tries > 0; w &= w - 1 {
			tries--
			other := s.shards[i*64+bits.TrailingZeros64(w)]
			if other == sh || !other.tryLock() {
				continue
			}
			age, known = other.age(c, now)
			other.unlock()
			if known {
				return age, true
			}
		}
	}
	return 0, false
}

// age is the same for one shard, which is locked.
func (sh *Shard) age(c int, now uint32) (age uint32, known bool) {
	var sum, n uint64
	q := &sh.queues[c]
	for _, ref := range []uint32{q.small.tail, q.main.tail} {
		for range sampleItems {
			if ref == 0 {
				break
			}
			hd := sh.s.arena.head(ref)
			sum += uint64(now - min(now, hd.access))
			n++
			ref = hd.prev
		}
	}
	if n == 0 {
		return 0, false
	}
	return uint32(sum / n), true
}

// victimAge returns how long the items that class c evicts were not used, on average.
func (s *Store) victimAge(c int) uint32 {
	if c == len(s.classes) {
		return s.runs.victims.age()
	}
	return s.classes[c].victims.age()
}

// victims watches the evictions of one class.
type victims struct {
	sum atomic.Uint64 // ages of the last ones in seconds, times 16, decaying
	n   atomic.Uint32
}

func (v *victims) age() uint32 { return uint32(v.sum.Load() / 256) }

// add notes an eviction; every evictions it returns true.
func (v *victims) add(age, every uint32) bool {
	old := v.sum.Load()
	v.sum.Store(old - old/16 + uint64(age)*16)
	return v.n.Add(1)%every == 0
}

// noteVictim watches an eviction by class c, and asks for more memory from time to time.
func (s *Store) noteVictim(c int, age uint32) {
	v, every := &s.runs.victims, uint32(16)
	if c < len(s.classes) {
		v, every = &s.classes[c].victims, max(16, s.classes[c].perPage/4)
	}
	if v.add(age, every) {
		s.drainer.wanted.Store(int32(c + 1))
	}
}

// choosePage begins to empty the page of c that has least in it.
func (s *Store) choosePage(c *class) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	page := uint32(0)
	for n := range s.pool.used() {
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
		c.pages.Add(-1)
		s.owner[d.page].Store(0)
		s.pool.givePage(d.page)
		d.moved.Add(1)
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

// drainChunk moves or evicts the item at ref if it can be had, and returns what that cost beyond drainItem.
func (s *Store) drainChunk(sh, owner *Shard, ref, now uint32) (work int) {
	if owner != sh {
		if !owner.tryLock() {
			return 0
		}
		defer owner.unlock()
	}
	c := s.drainer.class
	it := s.arena.item(ref)
	hd := it.head()
	c.mu.Lock()
	same := hd.nkey != 0 && hd.shard == owner.id
	c.mu.Unlock()
	if !same || hd.state&stateLinked == 0 || hd.state&statePinned != 0 || owner.keep == ref {
		return 0
	}
	size := hd.size()
	if s.dead(it, now) == Present {
		switch how, evicted := owner.rescue(c, ref, now); {
		case how == moved:
			return size/drainBytes + evicted*drainItem
		case how == later || s.drainer.gentle:
			return 0
		}
	}
	h := s.hashOf(ref)
	if owner.countEviction(it, now) {
		owner.ghost.add(owner, h) // it went for its place: let it come back as a used one
	}
	owner.unlink(h, ref)
	return 0
}

// rescued says what has become of an item of a page that is emptied.
type rescued uint8

const (
	lost  rescued = iota // nobody has room for it
	later                // it stays for now; the next walk may have room
	moved
)

// rescue moves an item out of a page that is emptied, to a free chunk of its
// class or of the next, or to that of an item that the eviction would take before it; evicted is 1 then.
//
// That victim may lie in the page itself, whose items were stored at one time. Then the item waits for the
// next walk: by then this one has evicted such victims.
func (sh *Shard) rescue(c *class, ref, now uint32) (how rescued, evicted int) {
	s := sh.s
	hd := s.arena.head(ref)
	to := c.reuse(sh.id, hd.nkey)
	if to == 0 {
		if n := s.neighbor(int(c.id)); n >= 0 {
			to = s.classes[n].reuse(sh.id, hd.nkey)
		}
	}
	if to == 0 {
		if s.drainer.gentle {
			return lost, 0
		}
		if recent(hd) == 0 && hd.state&stateMain == 0 {
			return lost, 0
		}
		victim := sh.victim(int(c.id), now)
		switch {
		case victim == 0:
			return lost, 0
		case s.pageOf(victim) == s.drainer.page:
			if s.drainer.rounds+1 < drainRounds {
				return later, 0
			}
			return lost, 0
		case recent(s.arena.head(victim)) > recent(hd):
			return lost, 0
		}
		sh.take(victim, now)
		c.retag(victim, sh.id, hd.nkey, false) // not refused: no other page is being emptied
		to, evicted = victim, 1
	}
	sh.relocate(ref, to)
	return moved, evicted
}

// relocate moves a linked item to another chunk.
func (sh *Shard) relocate(ref, to uint32) {
	s := sh.s
	it, copied := s.arena.item(ref), s.arena.item(to)
	from, hd := it.head(), copied.head()
	nkey, shard := hd.nkey, hd.shard // these are the drainer's to read, and right already
	n := from.size() - headerSize
	hd.next, hd.prev, hd.cas, hd.exptime, hd.stored = from.next, from.prev, from.cas, from.exptime, from.stored
	hd.access, hd.label, hd.instance, hd.nvalue = from.access, from.label, from.instance, from.nvalue
	hd.form, hd.state = from.form, from.state
	copy(copied.body(0, n), it.body(0, n))
	if nkey != from.nkey || shard != from.shard {
		panic("storage: item moved to a chunk of another shard")
	}
	sh.index.replace(s.hashOf(to), ref, to)
	sh.tree.ReplaceOrInsert(to)
	if l := sh.journal; l != nil {
		l.moved(ref, to)
	}
	if c := s.classOf(ref); s.classOf(to) == c {
		sh.queues[c].of(hd).swap(s.arena, ref, to)
	} else {
		sh.dequeue(ref)
		sh.enqueue(to)
	}
	from.state = 0
	s.free(ref)
}
