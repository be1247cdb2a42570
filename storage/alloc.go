package storage

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// atomicBits is a part of a set of shards.
type atomicBits = atomic.Uint64

// Spec describes an item to store. Key is read during the call only.
type Spec struct {
	Instance  uint32
	Key       []byte // 1 to MaxKey bytes
	Label     uint32
	Flags     uint32 // client flags
	Exptime   uint32 // second at which it expires, 0 never
	CAS       uint64
	NValue    int    // length of the value in bytes
	Now       uint32 // the present second
	BinaryKey bool   // the client sent the key in base64
}

// check returns what the item takes of a chunk, or ErrTooLarge.
func (s *Store) check(spec *Spec) (size int, err error) {
	if n := len(spec.Key); n == 0 || n > MaxKey || spec.NValue < 0 || spec.NValue > s.cfg.MaxItem ||
		s.itemSize(n, spec.Flags, spec.NValue) > s.cfg.MaxItem {
		return 0, ErrTooLarge
	}
	return physicalSize(len(spec.Key), spec.Flags, spec.NValue), nil
}

// Alloc returns a new item with everything but the value filled in. It is not
// linked: no one else sees it, and it must end in Link or Free. If there is no memory,
// items are evicted, but never the one that Find returned last.
func (sh *Shard) Alloc(h uint64, spec *Spec) (Item, error) {
	s := sh.s
	size, err := s.check(spec)
	if err != nil {
		return Item{}, err
	}
	ref := sh.chunk(size, uint8(len(spec.Key)), spec.Now)
	if ref == 0 {
		sh.stats.outOfMemory++
		sh.class(s.itemSize(len(spec.Key), spec.Flags, spec.NValue)).OutOfMemory++
		return Item{}, ErrNoMemory
	}
	it := s.arena.item(ref)
	it.format(spec, s.cfg.NoCAS, true)
	hd := it.head()
	hd.state, hd.stored = 0, spec.Now
	return it, nil
}

// chunk returns a chunk for size bytes, evicting if need be, or 0.
//
// A class that has no page shares those of a class up to a fourth larger when memory is
// short: memcached's classes are as far apart. Only if there is none does it take a page beyond the
// limit, as memcached's may, and if there are as many such pages as memcached has classes, it
// borrows from any larger class.
func (sh *Shard) chunk(size int, nkey uint8, now uint32) uint32 {
	s := sh.s
	defer s.drain(sh, now)
	c := s.sizes.class(size)
	if c == len(s.classes) {
		return sh.run(size, nkey, now)
	}
	if s.classes[c].pages.Load() == 0 {
		n := s.neighbor(c)
		if n >= 0 && s.pool.short() {
			if ref := s.classes[n].reuse(sh.id, nkey); ref != 0 {
				return ref
			}
		}
		if ref := s.classes[c].alloc(sh.id, nkey, 0); ref != 0 {
			return ref
		}
		if n >= 0 {
			if ref := sh.chunkOf(n, nkey, now); ref != 0 {
				return ref
			}
		}
		if ref := s.classes[c].alloc(sh.id, nkey, s.pageOver); ref != 0 {
			return ref
		}
	}
	for ; c < len(s.classes); c++ {
		if s.classes[c].pages.Load() == 0 {
			continue
		}
		if ref := sh.chunkOf(c, nkey, now); ref != 0 {
			return ref
		}
		if s.cfg.NoEvict {
			return 0
		}
	}
	if s.cfg.NoEvict {
		return 0
	}
	return sh.run(size, nkey, now)
}

// neighbor returns the next larger class that has pages and chunks up to a fourth larger, -1
// if there is none.
func (s *Store) neighbor(c int) int {
	for n := c + 1; n < len(s.classes) && s.sizes.chunk[n] <= s.sizes.chunk[c]/4*5; n++ {
		if s.classes[n].pages.Load() > 0 {
			return n
		}
	}
	return -1
}

// chunkOf returns a chunk of class c, which has pages, evicting if need be, or 0.
func (sh *Shard) chunkOf(c int, nkey uint8, now uint32) uint32 {
	s := sh.s
	cl := &s.classes[c]
	if ref := cl.alloc(sh.id, nkey, 0); ref != 0 || s.cfg.NoEvict {
		return ref
	}
	for try := range evictTries {
		ref, last := sh.evict(c, nkey, now)
		if ref != 0 {
			return ref
		}
		over := int64(0)
		if last || try > patience { // the page that is being emptied comes back
			over = s.pageOver
		}
		if ref := cl.alloc(sh.id, nkey, over); ref != 0 {
			return ref
		}
		if s.candidateShards(c) == 0 {
			return 0
		}
		runtime.Gosched() // other goroutines hold the shards that have victims
	}
	return 0
}

// evictTries is how often a search through all shards is repeated before a
// store fails: a shard that another goroutine holds may be free the next time.
const evictTries = 8

// patience is after how many tries a class takes a page beyond the limit.
const patience = 3

// run returns a run for size bytes, evicting other runs if need be, or 0.
func (sh *Shard) run(size int, nkey uint8, now uint32) uint32 {
	s := sh.s
	for try := 0; ; {
		ref := s.pool.takeRun(size, 0)
		if ref == 0 && !s.cfg.NoEvict {
			if freed, _ := sh.evict(len(s.classes), nkey, now); freed != 0 {
				continue
			}
		}
		if ref == 0 && (!s.cfg.NoEvict || s.pool.noRuns()) {
			ref = s.pool.takeRun(size, s.runOver)
		}
		if ref != 0 {
			hd := s.arena.head(ref)
			hd.shard, hd.nkey = sh.id, nkey
			return ref
		}
		if try++; try == evictTries || s.cfg.NoEvict {
			return 0
		}
		runtime.Gosched()
	}
}

// ownShare is how many items of a class a shard must have to lose its own rather
// than one of another shard's: with fewer, the hash and not the use would choose.
const ownShare = 8

// evict unlinks one item of class c and hands its chunk to an item of this shard with a key of nkey
// bytes; 0 if no item may go. A run is freed instead of handed over. This
// shard is looked at first, others only if they are not locked. last says that items went, but lay in the only page of the
// class, which is being emptied.
func (sh *Shard) evict(c int, nkey uint8, now uint32) (ref uint32, last bool) {
	s := sh.s
	refused := 0
	if sh.queues[c].n() >= ownShare {
		if ref := sh.evictFor(sh, c, nkey, now, &refused); ref != 0 {
			return ref, false
		}
	}
	turn := &s.runs.turn
	if c < len(s.classes) {
		turn = &s.classes[c].turn
	}
	set := s.candidates(c)
	start := turn.Load()
	for i := range uint32(len(set) + 1) { // the word of start twice: its upper part, at last its lower
		word := (start/64 + i) % uint32(len(set))
		w := set[word].Load()
		if i == 0 {
			w &= ^uint64(0) << (start % 64)
		} else if i == uint32(len(set)) {
			w &= 1<<(start%64) - 1
		}
		for ; w != 0 && refused <= maxRefused; w &= w - 1 {
			n := word*64 + uint32(bits.TrailingZeros64(w))
			owner := s.shards[n]
			if owner != sh && !owner.tryLock() {
				continue
			}
			ref := owner.evictFor(sh, c, nkey, now, &refused)
			if owner != sh {
				owner.unlock()
			}
			if ref != 0 {
				turn.Store((n + 1) % maxShards)
				return ref, false
			}
		}
	}
	return 0, refused > maxRefused
}

// evictFor unlinks one item of class c of this shard and hands its chunk to shard to. A chunk of the page that is being
// emptied is not handed over at once: the page is empty the sooner if the next victim's is taken. refused counts those of one
// search. All items of a class may lie in that page, and the shard is locked: after maxRefused the chunk is handed over
// in spite of it, and has to be moved or evicted once more, unless the class is to lose its only page.
func (sh *Shard) evictFor(to *Shard, c int, nkey uint8, now uint32, refused *int) uint32 {
	s := sh.s
	for *refused <= maxRefused {
		ref := sh.victim(c, now)
		if ref == 0 {
			return 0
		}
		age := sh.take(ref, now)
		s.noteVictim(c, age)
		if c < len(s.classes) && s.classes[c].retag(ref, to.id, nkey, *refused == maxRefused) {
			return ref
		}
		s.free(ref)
		if c == len(s.classes) {
			return ref
		}
		*refused++
	}
	return 0
}

// maxRefused is how many chunks of the page that is being emptied one search does not hand over.
const maxRefused = 1

// take unlinks an item for its memory, which the caller has from then on, and returns
// how many seconds it was not used.
func (sh *Shard) take(ref, now uint32) (age uint32) {
	it := sh.s.arena.item(ref)
	hd := it.head()
	h := sh.s.hashOf(ref)
	alive := sh.countEviction(it, now)
	sh.detach(h, ref)
	sh.dequeue(ref)
	sh.counted(it, -1)
	if alive && hd.state&stateMain == 0 {
		sh.ghost.add(sh, h)
	}
	hd.state = 0
	return now - min(now, hd.access)
}

// free gives the memory of an unlinked, unpinned item back. Its shard must be locked.
func (s *Store) free(ref uint32) {
	if ref < s.runBase {
		s.classes[s.classOf(ref)].release(ref)
		return
	}
	hd := s.arena.head(ref)
	size := hd.size()
	if invariants {
		s.poison(ref, uint32(size))
	}
	s.pool.giveRun(ref, size)
}

// Reserve is Alloc for a value that still arrives: it locks the shard itself. The
// item counts in Config.Limit and is not evicted. It ends in Link, under the
// shard's lock, or in Release.
//
// A large item does more of the moving of memory than a small one, in several holds of locks.
func (s *Store) Reserve(h uint64, spec *Spec) (Item, error) {
	sh := s.Lock(h)
	it, err := sh.Alloc(h, spec)
	sh.Unlock()
	for range min(spec.NValue/reserveStep, maxReserveSteps) {
		if !s.Balance(spec.Now) {
			break
		}
	}
	return it, err
}

// A reservation does a step of Balance for each reserveStep bytes.
const (
	reserveStep     = 20 << 10
	maxReserveSteps = 52
)

// Release gives back an item from Reserve that was not linked. It locks the shard
// itself.
func (s *Store) Release(it Item) {
	sh := s.shards[it.head().shard]
	sh.lock()
	defer sh.unlock()
	sh.Free(it)
}

// Rewrite overwrites a linked item in place with what spec says, value bytes
// left to the caller, who must write all of them before the shard is unlocked. It
// returns false, and has changed nothing, if the new item does not fit the old chunk or would leave
// more than an eighth of it empty, the old one is pinned, or spec is not storable: use Alloc and Link then. spec.Key must be
// the item's. The indexes are not touched; the eviction takes it for a hit.
func (sh *Shard) Rewrite(h uint64, old Item, spec *Spec) (Item, bool) {
	s := sh.s
	hd := old.head()
	size, err := s.check(spec)
	if err != nil || hd.state&statePinned != 0 {
		return Item{}, false
	}
	ref := s.arena.refOf(old)
	switch c := s.classOf(ref); {
	case c == len(s.classes):
		if s.sizes.class(size) != c || runGrains(size) != runGrains(hd.size()) {
			return Item{}, false
		}
	case s.sizes.class(size) != c && (uint32(size) > s.sizes.chunk[c] || uint32(size) < s.sizes.chunk[c]/8*7):
		return Item{}, false
	}
	sh.counted(old, -1)
	recency := hd.state & (stateMain | stateRecent)
	old.format(spec, s.cfg.NoCAS, false)
	sh.date(hd, spec.Now)
	hd.state = stateLinked | recency
	touchRecent(hd)
	sh.counted(old, 1)
	sh.stats.total++
	if l := sh.journal; l != nil {
		l.mark(ref)
	}
	return old, true
}
