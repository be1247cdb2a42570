package storage

import (
	"sync"

	"github.com/google/btree"
)

// Shard is a part of the store, chosen by the hash of the key. All methods need its lock, which
// [Store.Lock] takes.
type Shard struct {
	mu sync.Mutex
	s  *Store
	id uint8

	// Everything below: +checklocks:mu
	index   index
	tree    *btree.BTreeG[uint32]
	probe   position
	queues  []queue   // by class; the last is that of runs
	learned []learned // the same
	ghost   ghost
	keep    uint32 // what Find returned last; Alloc does not evict it
	deltas  [labelDeltas]delta
	stats   shardStats
	mc      []classCount      // by memcached's class less one
	cold    []classStats      // the same, allocated when first needed
	pins    map[uint32]uint32 // pins of an item, by ref

	journal *shardJournal // nil: nobody writes down what changes

	since *threadState // of the thread that took the lock; set by TimeHolds
}

// Unlock unlocks the shard. Items that were found become invalid.
func (sh *Shard) Unlock() {
	sh.keep = 0
	if l := sh.journal; l != nil && len(l.marks) > 0 {
		l.settle(sh)
	}
	sh.unlock()
	sh.s.trim()
}

// trim gives some memory back to the system, if there is any to give. No shard may be locked.
func (s *Store) trim() {
	switch {
	case s.tables.waste.Load() != 0:
		s.tables.trim()
	case s.ghosts.waste.Load() != 0:
		s.ghosts.trim()
	case s.pool.waste.Load() != 0:
		s.pool.trim()
	}
}

// Absence says why Find found nothing.
type Absence uint8

const (
	Missing Absence = iota // no such item
	Expired                // there was one; its time had come
	Flushed                // there was one; its label was flushed after it was stored
	Present                // not absent
)

// String returns the name of the reason, as memcached's watchers write it.
func (a Absence) String() string {
	switch a {
	case Missing:
		return "not_found"
	case Expired:
		return "expired"
	case Flushed:
		return "flushed"
	default:
		return "found"
	}
}

// Find returns the live item of (instance, key) and Present. An item that is expired or
// flushed at second now is unlinked, and the zero Item returned.
//
// The item that Find returned last is not evicted by an Alloc before the shard
// is unlocked, so that its value can be copied to the new one.
func (sh *Shard) Find(h uint64, instance uint32, key []byte, now uint32) (Item, Absence) {
	if invariants && h != sh.s.Hash(instance, key) {
		panic("storage: a key is looked up by the hash of another")
	}
	ref := sh.lookup(h, instance, key)
	if ref == 0 {
		return Item{}, Missing
	}
	it := sh.s.arena.item(ref)
	if why := sh.s.dead(it, now); why != Present {
		if why == Expired {
			sh.stats.lazyExpired++
		} else {
			sh.stats.lazyFlushed++
		}
		sh.unlink(h, ref)
		return Item{}, why
	}
	sh.keep = ref
	return it, Present
}

// dead reports whether an item is Expired or Flushed at second now; Present if neither.
func (s *Store) dead(it Item, now uint32) Absence {
	hd := it.head()
	if hd.exptime != 0 && hd.exptime <= now {
		return Expired
	}
	if f := s.labels.flushed(hd.label); f != 0 && hd.stored <= f {
		return Flushed
	}
	return Present
}

// Link stores an item from Alloc or Reserve: from now on it is found. An item
// with the same instance and key is replaced.
func (sh *Shard) Link(h uint64, it Item) {
	ref := sh.s.arena.refOf(it)
	hd := it.head()
	sh.date(hd, hd.stored)
	hd.state = hd.state&(stateStale|stateToken|statePinned) | stateLinked
	if old := sh.lookup(h, hd.instance, it.Key()); old != 0 {
		// For the eviction an overwrite is a hit.
		hd.state |= sh.s.arena.head(old).state & (stateMain | stateRecent)
		touchRecent(hd)
		sh.index.replace(h, old, ref)
		sh.tree.ReplaceOrInsert(ref)
		sh.forget(old)
	} else {
		if sh.ghost.take(h) {
			hd.state |= stateMain
			c := sh.s.classOf(ref)
			sh.learned[c].returned(sh.queues[c].n())
		}
		sh.put(h, ref)
		sh.tree.ReplaceOrInsert(ref)
	}
	sh.enqueue(ref)
	sh.counted(it, 1)
	sh.stats.total++
	if l := sh.journal; l != nil {
		l.mark(ref)
	}
}

// date sets the store time: now, or the second after the label's last flush, so that
// the flush does not cover it.
func (sh *Shard) date(hd *header, now uint32) {
	hd.stored = now
	if f := sh.s.labels.flushed(hd.label); f != 0 && now <= f {
		hd.stored = f + 1
	}
}

// counted adds an item to the counters, or takes it out (n = -1).
func (sh *Shard) counted(it Item, n int) {
	size := it.Size()
	d := sh.count(it.Label())
	d.items += int32(n)
	d.bytes += int64(n * size)
	sh.stats.items += int64(n)
	sh.stats.bytes += int64(n * size)
	c := &sh.mc[sh.s.mc.index(size)]
	c.items += int32(n)
	c.bytes += int64(n * size)
}

// Remove unlinks an item: a delete. It must be linked.
func (sh *Shard) Remove(h uint64, it Item) { sh.unlink(h, sh.s.arena.refOf(it)) }

// unlink takes an item out of the indexes and frees it unless it is pinned.
func (sh *Shard) unlink(h uint64, ref uint32) {
	sh.detach(h, ref)
	sh.forget(ref)
}

// detach takes an item out of the indexes.
func (sh *Shard) detach(h uint64, ref uint32) {
	if l := sh.journal; l != nil {
		l.gone(sh, h, ref)
	}
	sh.index.cut(h, ref)
	if _, ok := sh.tree.Delete(ref); !ok {
		panic("storage: item is not in the ordered index")
	}
}

// forget takes an item that has left the indexes out of everything else, and frees it unless it is pinned.
func (sh *Shard) forget(ref uint32) {
	it := sh.s.arena.item(ref)
	if l := sh.journal; l != nil {
		l.drop(ref)
	}
	sh.dequeue(ref)
	sh.counted(it, -1)
	hd := it.head()
	hd.state &^= stateLinked
	if sh.keep == ref {
		sh.keep = 0
	}
	if hd.state&statePinned == 0 {
		sh.s.free(ref)
	}
}

// Free gives back an item from Alloc that was not linked.
func (sh *Shard) Free(it Item) { sh.s.free(sh.s.arena.refOf(it)) }

// Hit notes that a client read the item: second, fetched bit, eviction, the
// label's counter. It moves nothing.
func (sh *Shard) Hit(it Item, now uint32) {
	hd := it.head()
	hd.access = now
	hd.state |= stateFetched
	touchRecent(hd)
	sh.count(hd.label).hits++
}

// SetExptime changes the second at which the item expires, 0 for never.
func (sh *Shard) SetExptime(it Item, exptime uint32) {
	it.head().exptime = exptime
	if it.Linked() {
		sh.Changed(it)
	}
}

// maxPins bounds the pins of one item.
const maxPins = 1 << 20

// Pin keeps the bytes of an item unchanged until Unpin, even if it is removed or
// replaced meanwhile. It fails if the item has too many pins.
func (sh *Shard) Pin(it Item) bool {
	ref := sh.s.arena.refOf(it)
	if sh.pins[ref] >= maxPins {
		return false
	}
	if sh.pins == nil {
		sh.pins = make(map[uint32]uint32)
	}
	sh.pins[ref]++
	it.head().state |= statePinned
	return true
}

// Unpin takes one pin back; the last one frees an item that was removed meanwhile. It locks
// the item's shard itself.
func (s *Store) Unpin(it Item) {
	sh := s.shards[it.head().shard]
	ref := s.arena.refOf(it)
	sh.lock()
	defer sh.unlock()
	n := sh.pins[ref]
	if n == 0 {
		panic("storage: Unpin of an item that is not pinned")
	}
	if n > 1 {
		sh.pins[ref] = n - 1
		return
	}
	delete(sh.pins, ref)
	hd := it.head()
	hd.state &^= statePinned
	if hd.state&stateLinked == 0 {
		s.free(ref)
	}
}
