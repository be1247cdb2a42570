package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Journal collects what changes in a store, until somebody writes it down: for
// each shard a list of encoded records in the order of the changes. A store
// without one pays a branch for each hold of a lock.
//
//	Alloc, Link, Remove ... Unlock -> records of the shard -> Take -> a file -> Written
//
// A record of an item is made when its shard is unlocked, from the item as it
// is then: all that a command does to it is one record. Values above
// journalInline are not copied then; Take looks them up.
//
// Journal's methods are for one goroutine, but for Await, Pressed and Pending, and
// for Restore, of which several may do the records of different keys.
type Journal struct {
	s     *Store
	wake  func()
	limit int64
	now   atomic.Uint32 // the second of the last Tick
	// strays says that the file holds items that memory does not.
	strays atomic.Bool
	dirty  [maxShards / 64]atomicBits
	held   atomic.Int64 // bytes of blocks that shards hold, taken ones included until Written

	pool struct {
		mu sync.Mutex
		// +checklocks:mu
		blocks [][]byte
	}
	copied  []byte   // scratch of takeShard
	taken   []*Shard // shards with records in the batch that is being written
	waiters []waiting
	tags    []uint64 // scratch of tell
	blocks  [][]byte // to be given back by Written
}

// Waiter is told when what it waits for has been written.
type Waiter interface {
	// Written is called by the goroutine that calls Journal.Written, with no lock held,
	// and gets each tag once; tags are valid during the call. ok false: it is not
	// on the disk and never will be.
	Written(tags []uint64, ok bool)
}

type waiting struct {
	w   Waiter
	tag uint64
}

// shardJournal is a shard's part. Everything is protected by the shard's lock.
type shardJournal struct {
	j       *Journal
	marks   []uint32 // items changed in this hold of the lock
	full    [][]byte // filled blocks, oldest first
	cur     []byte
	waiters []waiting
	flying  bool // records of this shard are being written

	// dead are keys of which the file may hold an item that must not come
	// back, by hash, while the file is being loaded; else nil.
	dead map[uint64]struct{}
}

const (
	journalBlock  = 32 << 10
	journalInline = 8 << 10 // values above it are copied by Take
	journalCopied = 4 << 10 // a shard's block is copied and not replaced up to here
	journalKeep   = 512     // idle blocks
)

// StartJournal makes the store keep a journal from now on. wake is called, by any
// goroutine and under a shard's lock, when half of the limit, in bytes, is in use; it must
// not block. Call it before the store is shared.
func (s *Store) StartJournal(limit int64, wake func()) *Journal {
	j := &Journal{s: s, wake: wake, limit: limit}
	for _, sh := range s.shards {
		sh.lock()
		sh.journal = &shardJournal{j: j}
		sh.unlock()
	}
	return j
}

// Stop ends the journal. What was not taken is dropped; those who wait for it are
// told that it is lost.
func (j *Journal) Stop() {
	var left []waiting
	for _, sh := range j.s.shards {
		sh.lock()
		if sh.journal != nil {
			left = append(left, sh.journal.waiters...)
			sh.journal = nil
		}
		sh.unlock()
	}
	j.held.Store(0)
	j.tell(append(j.waiters, left...), false)
	j.waiters, j.taken = nil, nil
}

// Tick tells the journal the present second: of items whose time has come no
// record is made when they go.
func (j *Journal) Tick(now uint32) { j.now.Store(now) }

// Pending is how many bytes wait, in whole blocks, those of the batch that is
// being written included.
func (j *Journal) Pending() int64 { return j.held.Load() }

// Pressed reports whether more waits than the limit: who changes something should
// Await before going on.
func (j *Journal) Pressed() bool { return j.held.Load() > j.limit }

// Changed notes that an item found under this lock has been changed in place. Link,
// Rewrite and SetExptime do so themselves.
func (sh *Shard) Changed(it Item) {
	if l := sh.journal; l != nil {
		l.mark(sh.s.arena.refOf(it))
	}
}

// Forget makes sure that no item comes back under a key that Find did not find:
// one that the file holds and memory had no room for.
func (sh *Shard) Forget(instance uint32, key []byte) {
	if l := sh.journal; l != nil && l.j.strays.Load() {
		l.append(sh, &Record{Kind: RecordGone, Instance: instance, Key: key})
	}
}

func (l *shardJournal) mark(ref uint32) {
	for _, r := range l.marks {
		if r == ref {
			return
		}
	}
	l.marks = append(l.marks, ref)
}

// drop forgets that the item at ref was changed: it goes.
func (l *shardJournal) drop(ref uint32) {
	for i, r := range l.marks {
		if r == ref {
			l.marks = append(l.marks[:i], l.marks[i+1:]...)
			return
		}
	}
}

// moved notes that an item is elsewhere now.
func (l *shardJournal) moved(ref, to uint32) {
	for i, r := range l.marks {
		if r == ref {
			l.marks[i] = to
		}
	}
}

// gone records that the item at ref, which is still whole, leaves the indexes.
func (l *shardJournal) gone(sh *Shard, h uint64, ref uint32) {
	if l.dead != nil {
		l.dead[h] = struct{}{}
	}
	l.drop(ref)
	it := sh.s.arena.item(ref)
	if sh.s.dead(it, l.j.now.Load()) != Present {
		return // the file knows: the record has its time, the label that of its flush
	}
	l.append(sh, &Record{Kind: RecordGone, Instance: it.Instance(), Key: it.Key()})
}

// settle makes the records of what was changed in this hold.
func (l *shardJournal) settle(sh *Shard) {
	for _, ref := range l.marks {
		it := sh.s.arena.item(ref)
		if hd := it.head(); hd.nkey == 0 || hd.shard != sh.id || hd.state&stateLinked == 0 {
			continue
		}
		r := it.record()
		if len(r.Value) > journalInline {
			r.Kind = RecordLarge
		}
		l.append(sh, &r)
	}
	l.marks = l.marks[:0]
}

// append adds a record to the shard's list.
func (l *shardJournal) append(sh *Shard, r *Record) {
	size := recordKeyHead + len(r.Key)
	if r.Kind == RecordItem {
		size = recordItemHead + len(r.Key) + len(r.Value)
	}
	if cap(l.cur)-len(l.cur) < size {
		if len(l.cur) > 0 {
			l.full = append(l.full, l.cur)
		}
		l.cur = l.j.block()
	}
	first := len(l.cur) == 0 && len(l.full) == 0
	l.cur = AppendRecord(l.cur, r)
	prefetchEnd(l.cur, size)
	if first {
		l.j.look(sh)
	}
}

// look makes Take look at the shard.
func (j *Journal) look(sh *Shard) {
	word := &j.dirty[sh.id/64]
	if bit := uint64(1) << (sh.id % 64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// block returns an empty block.
func (j *Journal) block() []byte {
	if held := j.held.Add(journalBlock); held > j.limit/2 {
		j.wake()
	}
	j.pool.mu.Lock()
	defer j.pool.mu.Unlock()
	if n := len(j.pool.blocks); n > 0 {
		b := j.pool.blocks[n-1]
		j.pool.blocks = j.pool.blocks[:n-1]
		return b
	}
	return make([]byte, 0, journalBlock)
}

func (j *Journal) giveBack(blocks [][]byte) {
	j.held.Add(-int64(len(blocks)) * journalBlock)
	j.pool.mu.Lock()
	defer j.pool.mu.Unlock()
	for _, b := range blocks {
		if len(j.pool.blocks) == journalKeep {
			break
		}
		j.pool.blocks = append(j.pool.blocks, b[:0])
	}
}

// Await makes w be told when everything that was changed so far in the shard of hash
// h has been written. It returns false if all of that is written. Whoever calls Take has to
// be told, by the caller and without delay, that somebody waits.
func (j *Journal) Await(h uint64, w Waiter, tag uint64) bool {
	sh := j.s.shard(h)
	sh.lock()
	defer sh.unlock()
	l := sh.journal
	if l == nil || !l.flying && len(l.cur) == 0 && len(l.full) == 0 {
		return false
	}
	l.waiters = append(l.waiters, waiting{w, tag})
	j.look(sh)
	return true
}

// Take hands over the records of all shards, those of a shard in their order, in
// pieces of n records that live until emit has returned, and begins a batch, which Written
// ends. Items that records name by their key only are looked up.
func (j *Journal) Take(emit func(records []byte, n uint32)) {
	for i := range j.dirty {
		for w := j.dirty[i].Swap(0); w != 0; w &= w - 1 {
			sh := j.s.shards[i*64+bits.TrailingZeros64(w)]
			sh.lock()
			full, cur, ok := j.takeShard(sh)
			sh.unlock()
			if ok {
				j.emit(full, cur, emit)
			}
		}
	}
}

// takeShard takes the records of one shard, which is locked. cur is the caller's until
// the next call.
func (j *Journal) takeShard(sh *Shard) (full [][]byte, cur []byte, ok bool) {
	l := sh.journal
	if l == nil {
		return nil, nil, false
	}
	if !l.flying {
		l.flying = true
		j.taken = append(j.taken, sh)
	}
	j.waiters = append(j.waiters, l.waiters...)
	l.waiters = l.waiters[:0]
	full = l.full
	l.full = nil
	if n := len(l.cur); n > 0 && n <= journalCopied {
		j.copied = append(j.copied[:0], l.cur...)
		cur, l.cur = j.copied, l.cur[:0]
	} else if n > 0 {
		full = append(full, l.cur)
		l.cur = nil
	}
	j.blocks = append(j.blocks, full...)
	return full, cur, true
}

// emit gives records on, with the items that are named by their key filled in.
func (j *Journal) emit(full [][]byte, cur []byte, emit func(records []byte, n uint32)) {
	for _, b := range full {
		j.resolve(b, emit)
	}
	if len(cur) > 0 {
		j.resolve(cur, emit)
	}
}

// resolve gives records on; those of large items in pieces of their own.
func (j *Journal) resolve(b []byte, emit func(records []byte, n uint32)) {
	start, count := 0, uint32(0)
	for at := 0; at < len(b); {
		n := recordLength(b[at:])
		if RecordKind(b[at]) != RecordLarge {
			at += n
			count++
			continue
		}
		if at > start {
			emit(b[start:at], count)
		}
		var r Record
		if _, err := ParseRecord(b[at:], &r); err != nil {
			panic("storage: journal: " + err.Error())
		}
		emit(j.large(&r), 1)
		at += n
		start, count = at, 0
	}
	if len(b) > start {
		emit(b[start:], count)
	}
}

// large encodes an item that is named by its key, or that it is gone.
func (j *Journal) large(r *Record) []byte {
	s := j.s
	h := s.Hash(r.Instance, r.Key)
	sh := s.shard(h)
	sh.lock()
	ref := sh.lookup(h, r.Instance, r.Key)
	if ref == 0 {
		sh.unlock()
		return AppendRecord(nil, &Record{Kind: RecordGone, Instance: r.Instance, Key: r.Key})
	}
	it := s.arena.item(ref)
	rec := it.record()
	pinned := len(rec.Value) > journalInline && sh.Pin(it)
	if !pinned {
		defer sh.unlock()
		return AppendRecord(nil, &rec)
	}
	sh.unlock()
	defer s.Unpin(it)
	return AppendRecord(make([]byte, 0, recordItemHead+len(rec.Key)+len(rec.Value)), &rec)
}

// Written ends the batch that Take began and tells those who wait for it.
func (j *Journal) Written(ok bool) {
	for _, sh := range j.taken {
		sh.lock()
		if l := sh.journal; l != nil {
			l.flying = false
		}
		sh.unlock()
	}
	j.taken = j.taken[:0]
	j.giveBack(j.blocks)
	j.blocks = j.blocks[:0]
	ws := j.waiters
	j.waiters = nil
	j.tell(ws, ok)
	if cap(ws) <= 1<<16 {
		clear(ws)
		j.waiters = ws[:0]
	}
}

// tell tells each waiter at once all that it waits for, in the order of ws, of
// which nothing is left then: a loop is woken once, and finds everything there.
func (j *Journal) tell(ws []waiting, ok bool) {
	for len(ws) > 0 {
		w, rest := ws[0].w, ws[:0]
		j.tags = j.tags[:0]
		for _, x := range ws {
			if x.w == w {
				j.tags = append(j.tags, x.tag)
			} else {
				rest = append(rest, x)
			}
		}
		w.Written(j.tags, ok)
		ws = rest
	}
}
