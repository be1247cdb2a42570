package storage

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// The hash index of a shard: a table of buckets, each one cache line.
//
//	 0            12         16                                64
//	+------------+----------+---------------------------------+
//	| 12 tags, B | overflow | 12 references, 4 B              |
//	+------------+----------+---------------------------------+
//
// A tag is one byte of the hash, 0 for a free slot. An item that finds its home
// bucket full goes to the next with a free slot; overflow counts the items that
// passed by, so that a search goes on only where somebody did, and a removal
// leaves no tombstone.
//
// Buckets are assigned by multiplication, not by masking, so that a table can grow
// by a quarter: the load stays between 0.68 and 0.85, 6.3 to 7.8 bytes an item. It
// grows bucket by bucket with the inserts that follow; those of the old
// table below the frontier are empty, and their items are in the new one. The new one's memory is taken from
// the system before, by another goroutine and without a lock: a page that the host of a virtual machine
// has to find first may take 0.3 ms. Until it is there the old one fills up further.
//
// Words are stored atomically, since Prefetch reads them without the lock.
const (
	bucketSlots = 12
	bucketSize  = 64

	// A table is a multiple of a page of the system, which it would take anyway.
	tableUnit    = 4096 / bucketSize
	firstBuckets = tableUnit
	// movesPerInsert is how many old buckets an insert empties: growing ends
	// well before the table is full again.
	movesPerInsert = 4

	growAt    = 85 // percent of the slots in use from which on a larger table is wanted
	growAtAll = 92 // and from which on it is not waited for
)

// bucket is one cache line: three words of tags, one of overflow, twelve refs.
type bucket [bucketSize / 4]uint32

const (
	overflowWord = 3
	firstRef     = 4
)

// table is an array of buckets.
type table struct {
	base unsafe.Pointer
	n    uint32
	mem  []byte
}

func (t *table) home(h uint64) uint32 {
	return uint32(uint64(uint32(h>>20)) * uint64(t.n) >> 32)
}

func (t *table) bucket(b uint32) *bucket {
	// SAFETY: b < n, and the memory of a table is never unmapped before Close.
	return (*bucket)(unsafe.Add(t.base, uintptr(b)*bucketSize))
}

func (t *table) after(b uint32) uint32 {
	if b++; b == t.n {
		return 0
	}
	return b
}

func tagOf(h uint64) uint32 {
	if t := uint32(uint8(h)); t != 0 {
		return t
	}
	return 1
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// match returns a mask with the high bit of byte i set where tag i of the first
// eight, w0 and w1, and of the last four, w2, equals the tag. It may also mark the byte
// above a true match; the caller compares the key anyway.
func match(tag, w0, w1, w2 uint32) (first, last uint64) {
	pat := uint64(tag) * lowBits
	x := (uint64(w0) | uint64(w1)<<32) ^ pat
	y := (uint64(w2) | uint64(^uint32(pat))<<32) ^ pat
	return (x - lowBits) &^ x & highBits, (y - lowBits) &^ y & highBits
}

// free returns a free slot, -1 if there is none.
func (b *bucket) freeSlot() int {
	for w := range 3 {
		x := b[w]
		if m := (x - lowBits&0xffffffff) &^ x & (highBits & 0xffffffff); m != 0 {
			return w*4 + bits.TrailingZeros32(m)>>3
		}
	}
	return -1
}

func (b *bucket) set(slot int, tag, ref uint32) {
	shift := uint(slot&3) * 8
	w := b[slot>>2]&^(0xff<<shift) | tag<<shift
	atomic.StoreUint32(&b[firstRef+slot], ref)
	atomic.StoreUint32(&b[slot>>2], w)
}

func (b *bucket) tag(slot int) uint32 { return b[slot>>2] >> (uint(slot&3) * 8) & 0xff }

// index finds the items of one shard by hash. Everything but the atomics needs the shard's lock.
type index struct {
	cur      atomic.Pointer[table]
	old      atomic.Pointer[table] // being emptied, or nil
	frontier atomic.Uint32         // buckets of old below it are empty
	count    uint32
	next     *table // ready for the next growth, or nil
	asked    bool   // a helper is getting it ready
}

// full reports whether at least so many percent of t's slots are in use.
func (ix *index) full(t *table, percent uint64) bool {
	return uint64(ix.count)*100 >= uint64(t.n)*bucketSlots*percent
}

// route returns the table that holds items of hash h.
func (ix *index) route(h uint64) *table {
	if old := ix.old.Load(); old != nil && old.home(h) >= ix.frontier.Load() {
		return old
	}
	return ix.cur.Load()
}

// lookup returns the item of (instance, key), 0 if there is none.
func (sh *Shard) lookup(h uint64, instance uint32, key []byte) uint32 {
	t := sh.index.route(h)
	tag := tagOf(h)
	for i := t.home(h); ; i = t.after(i) {
		b := t.bucket(i)
		first, last := match(tag, b[0], b[1], b[2])
		for ; first != 0; first &= first - 1 {
			if ref := b[firstRef+bits.TrailingZeros64(first)>>3]; ref != 0 && sh.same(ref, instance, key) {
				return ref
			}
		}
		for ; last != 0; last &= last - 1 {
			if ref := b[firstRef+8+bits.TrailingZeros64(last)>>3]; ref != 0 && sh.same(ref, instance, key) {
				return ref
			}
		}
		if b[overflowWord] == 0 {
			return 0
		}
	}
}

// same reports whether the item at ref has this key.
func (sh *Shard) same(ref, instance uint32, key []byte) bool {
	it := sh.s.arena.item(ref)
	h := it.head()
	return int(h.nkey) == len(key) && h.instance == instance && string(it.body(0, len(key))) == string(key)
}

// put adds an item that is not in the index.
func (sh *Shard) put(h uint64, ref uint32) {
	ix := &sh.index
	if ix.old.Load() != nil {
		sh.grow(movesPerInsert)
	} else if t := ix.cur.Load(); ix.full(t, growAt) {
		sh.startGrowing(t)
	}
	ix.route(h).put(h, ref)
	ix.count++
}

func (t *table) put(h uint64, ref uint32) {
	for i := t.home(h); ; i = t.after(i) {
		b := t.bucket(i)
		if slot := b.freeSlot(); slot >= 0 {
			b.set(slot, tagOf(h), ref)
			return
		}
		atomic.StoreUint32(&b[overflowWord], b[overflowWord]+1)
	}
}

// find returns the place of ref, whose hash is h.
func (t *table) find(h uint64, ref uint32) (b *bucket, slot int) {
	tag := tagOf(h)
	start := t.home(h)
	for i := start; ; {
		b := t.bucket(i)
		for slot := range bucketSlots {
			if b[firstRef+slot] == ref && b.tag(slot) == tag {
				return b, slot
			}
		}
		if i = t.after(i); i == start {
			panic("storage: item is not in the hash index")
		}
	}
}

// replace puts an item in the place of another with the same key.
func (ix *index) replace(h uint64, old, ref uint32) {
	b, slot := ix.route(h).find(h, old)
	atomic.StoreUint32(&b[firstRef+slot], ref)
}

// cut removes an item.
func (ix *index) cut(h uint64, ref uint32) {
	ix.route(h).cut(h, ref)
	ix.count--
}

func (t *table) cut(h uint64, ref uint32) {
	b, slot := t.find(h, ref)
	b.set(slot, 0, 0)
	for i := t.home(h); ; i = t.after(i) {
		passed := t.bucket(i)
		if passed == b {
			return
		}
		atomic.StoreUint32(&passed[overflowWord], passed[overflowWord]-1)
	}
}

// startGrowing makes a table larger by a quarter the current one, if it is ready or cannot be waited for.
func (sh *Shard) startGrowing(t *table) {
	ix := &sh.index
	n := t.n + max(tableUnit, (t.n/4+tableUnit/2)&^(tableUnit-1))
	next := ix.next
	ix.next = nil
	if next != nil && next.n != n { // it came too late for an earlier growth
		sh.s.tables.give(next)
		next = nil
	}
	if next == nil {
		if sh.s.cfg.Seed == 0 && !ix.full(t, growAtAll) {
			if !ix.asked {
				ix.asked = true
				sh.s.tables.prepare(sh, n)
			}
			return
		}
		var err error
		if next, err = sh.s.tables.take(n); err != nil {
			return // no memory: the table fills up further; asked again at the next insert
		}
	}
	ix.frontier.Store(0)
	ix.old.Store(t)
	ix.cur.Store(next)
}

// grow moves the items of the next n old buckets to the new table.
func (sh *Shard) grow(n int) {
	ix := &sh.index
	old, cur := ix.old.Load(), ix.cur.Load()
	at := ix.frontier.Load()
	for ; n > 0 && at < old.n; n-- {
		sh.moveBucket(old, cur, at)
		at++
	}
	ix.frontier.Store(at)
	if at == old.n {
		ix.old.Store(nil)
		sh.s.tables.give(old)
	}
}

// moveBucket moves the items whose home in old is bucket home.
func (sh *Shard) moveBucket(old, cur *table, home uint32) {
	for slot := range bucketSlots {
		if ref := old.bucket(home)[firstRef+slot]; ref != 0 {
			prefetchItem(unsafe.Pointer(sh.s.arena.head(ref)), headerSize+64)
		}
	}
	for i := home; ; i = old.after(i) {
		b := old.bucket(i)
		more := b[overflowWord] != 0 // before the removals below count it down
		for slot := range bucketSlots {
			ref := b[firstRef+slot]
			if ref == 0 {
				continue
			}
			h := sh.s.hashOf(ref)
			if old.home(h) != home {
				continue
			}
			old.cut(h, ref)
			cur.put(h, ref)
		}
		if !more {
			return
		}
	}
}

// Prefetch asks the processor for what a look-up of each of the hashes will
// touch: the lines of the hash index first, then those of the items that they
// lead to. It takes no lock and changes nothing. It is best called with tens of
// hashes, whose lines then come side by side, right before the look-ups.
func (s *Store) Prefetch(hashes []uint64) {
	for _, h := range hashes {
		t := s.shard(h).index.route(h)
		prefetch(unsafe.Pointer(t.bucket(t.home(h))))
	}
	for _, h := range hashes {
		t := s.shard(h).index.route(h)
		b := t.bucket(t.home(h))
		first, last := match(tagOf(h), atomic.LoadUint32(&b[0]), atomic.LoadUint32(&b[1]), atomic.LoadUint32(&b[2]))
		for ; first != 0; first &= first - 1 {
			s.prefetchRef(atomic.LoadUint32(&b[firstRef+bits.TrailingZeros64(first)>>3]))
		}
		for ; last != 0; last &= last - 1 {
			s.prefetchRef(atomic.LoadUint32(&b[firstRef+8+bits.TrailingZeros64(last)>>3]))
		}
	}
}

// prefetchRef asks for as much of an item as its size class may fill, up to
// prefetchReach: of a longer copy the processor guesses the rest in time.
func (s *Store) prefetchRef(ref uint32) {
	if ref == 0 {
		return
	}
	reach := uintptr(prefetchReach)
	if ref < s.runBase {
		reach = uintptr(s.reach[s.owner[s.pageOf(ref)].Load()])
	}
	prefetchItem(unsafe.Pointer(s.arena.head(ref)), reach)
}

// prefetchReach is the last byte of an item that is prefetched.
const prefetchReach = 1279
