package storage

import "slices"

// Restored says what became of a record that was read back.
type Restored uint8

// What Restore returns.
const (
	RestoredItem   Restored = iota // the item is in the store
	RestoredNewer                  // the store knows better: something newer, or that it is gone
	RestoredDead                   // its time has come, or its label was flushed after it
	RestoredNoRoom                 // there is no memory for it without evicting
)

// BeginLoad says that records are about to be read back, the newest first,
// while others may use the store: from now on every shard remembers what has
// gone, so that no older record brings it back.
func (j *Journal) BeginLoad() {
	for _, sh := range j.s.shards {
		sh.lock()
		sh.journal.dead = make(map[uint64]struct{})
		sh.unlock()
	}
}

// EndLoad ends that. strays says that the file holds items that are not in the
// store, until NoStrays: then a Forget is still recorded.
func (j *Journal) EndLoad(strays bool) {
	j.strays.Store(strays)
	for _, sh := range j.s.shards {
		sh.lock()
		if sh.journal != nil {
			sh.journal.dead = nil
		}
		sh.unlock()
	}
}

// NoStrays says that the file holds nothing any more that the store does not.
func (j *Journal) NoStrays() { j.strays.Store(false) }

// Restore puts a record that was read back into the store, with label for the
// record's, at second now. Records come newest first: what the store knows of the key is newer. It
// evicts nothing, and is not recorded in the journal.
func (j *Journal) Restore(r *Record, label, now uint32) Restored {
	s := j.s
	h := s.hash.sum(r.Instance, r.Key)
	sh := s.shard(h)
	sh.lock()
	defer sh.unlock()
	l := sh.journal
	if l == nil {
		return RestoredNewer
	}
	if _, gone := l.dead[h]; gone || sh.lookup(h, r.Instance, r.Key) != 0 {
		return RestoredNewer
	}
	if r.Kind != RecordItem {
		l.dead[h] = struct{}{}
		return RestoredDead
	}
	if f := s.labels.flushed(label); r.Exptime != 0 && r.Exptime <= now || f != 0 && r.Stored <= f {
		l.dead[h] = struct{}{}
		return RestoredDead
	}
	if !sh.restore(h, r, label, now, false) {
		l.dead[h] = struct{}{}
		return RestoredNoRoom
	}
	return RestoredItem
}

// restore links an item that is as a record says. The shard is locked.
func (sh *Shard) restore(h uint64, r *Record, label, now uint32, evict bool) bool {
	s := sh.s
	spec := Spec{
		Instance: r.Instance, Key: r.Key, Label: label, Flags: r.Flags, Exptime: r.Exptime, CAS: r.CAS,
		NValue: len(r.Value), Now: now, BinaryKey: r.Bits&RecordBinaryKey != 0,
	}
	size, err := s.check(&spec)
	if err != nil {
		return false
	}
	var ref uint32
	if evict {
		ref = sh.chunk(size, uint8(len(r.Key)), now)
	} else {
		ref = sh.spare(size, uint8(len(r.Key)))
	}
	if ref == 0 {
		return false
	}
	it := s.arena.item(ref)
	it.format(&spec, s.cfg.NoCAS, true)
	hd := it.head()
	hd.access = min(r.Access, now)
	// Not ahead of the clock, or a flush would not cover it; but behind the last
	// flush, as the second of a store is that comes within that of a flush.
	sh.date(hd, min(r.Stored, now))
	hd.state = stateLinked
	it.SetStale(r.Bits&RecordStale != 0)
	it.SetTokenSent(r.Bits&RecordTokenSent != 0)
	it.setState(stateFetched, r.Bits&RecordFetched != 0)
	copy(it.Value(), r.Value)
	sh.put(h, ref)
	sh.tree.ReplaceOrInsert(ref)
	sh.enqueue(ref)
	sh.counted(it, 1)
	return true
}

// spare returns a chunk for size bytes that nobody uses, or 0.
func (sh *Shard) spare(size int, nkey uint8) uint32 {
	s := sh.s
	if c := s.sizes.class(size); c < len(s.classes) {
		return s.classes[c].alloc(sh.id, nkey, 0)
	}
	ref := s.pool.takeRun(size, 0)
	if ref != 0 {
		hd := s.arena.head(ref)
		hd.shard, hd.nkey = sh.id, nkey
	}
	return ref
}

// Undo makes the item of a key what the record says, whatever it is now; RecordGone:
// none. It is not recorded: it is for when nothing can be recorded any more.
func (s *Store) Undo(r *Record, label, now uint32) {
	h := s.hash.sum(r.Instance, r.Key)
	sh := s.shard(h)
	sh.lock()
	defer sh.unlock()
	if ref := sh.lookup(h, r.Instance, r.Key); ref != 0 {
		sh.unlink(h, ref)
	}
	if r.Kind == RecordItem {
		sh.restore(h, r, label, now, true)
	}
}

// RestoreFlush makes the last flush of a label one of second at, unless there was a
// later one.
func (s *Store) RestoreFlush(label, at uint32) {
	f := &s.labels.make(label).flushed
	for {
		old := f.Load()
		if old >= at || f.CompareAndSwap(old, at) {
			return
		}
	}
}

// NextFlush returns the second that FlushLabel(label, now) would make the label's
// last flush.
func (s *Store) NextFlush(label, now uint32) uint32 {
	return max(now, s.labels.flushed(label)+1)
}

// Flushed returns the second of the label's last flush, 0 for none.
func (s *Store) Flushed(label uint32) uint32 { return s.labels.flushed(label) }

// CAS returns the number that was given out last; SkipCAS makes the next one
// higher than at.
func (s *Store) CAS() uint64 { return s.cas.Load() }

// SkipCAS is explained at CAS.
func (s *Store) SkipCAS(at uint64) {
	for {
		old := s.cas.Load()
		if old >= at || s.cas.CompareAndSwap(old, at) {
			return
		}
	}
}

// Rewriter is a place in the store: what is in front of it has been written anew.
// The zero Rewriter is at the beginning of shard 0.
type Rewriter struct {
	Shard    int // the shard it is in
	key      []byte
	instance uint32
	begun    bool
	buf      []byte
}

// A step of a Rewriter, in one hold of a lock.
const (
	rewriteItems = 256
	rewriteBytes = 64 << 10
)

// Shards is the number of shards.
func (s *Store) Shards() int { return len(s.shards) }

// Rewrite hands over records of the next items at the Rewriter's place, 256 at
// most, within the batch that Take began; what waits in their shard comes first, so
// that the order of a key's records stays that of its changes. done says that its shard has no
// more: the Rewriter is at the beginning of the next shard, or of the first, then.
func (j *Journal) Rewrite(c *Rewriter, now uint32, emit func(records []byte, n uint32)) (done bool) {
	sh := j.s.shards[c.Shard]
	c.buf = c.buf[:0]
	sh.lock()
	full, cur, ok := j.takeShard(sh)
	done = true
	n := 0
	from := position{slices.Clone(c.key), c.instance}
	sh.probe = from
	sh.tree.AscendGreaterOrEqual(0, func(ref uint32) bool {
		it := j.s.arena.item(ref)
		at := position{it.Key(), it.Instance()}
		if c.begun && at.compare(from) <= 0 {
			return true
		}
		if n++; n > rewriteItems || len(c.buf) > rewriteBytes {
			done = false
			return false
		}
		c.key, c.instance, c.begun = append(c.key[:0], at.key...), at.instance, true
		if j.s.dead(it, now) != Present {
			return true
		}
		r := it.record()
		if len(r.Value) > journalInline {
			r.Kind = RecordLarge
		}
		c.buf = AppendRecord(c.buf, &r)
		return true
	})
	sh.probe = position{}
	sh.unlock()
	if ok {
		j.emit(full, cur, emit)
	}
	if len(c.buf) > 0 {
		j.resolve(c.buf, emit)
	}
	if done {
		c.Shard = (c.Shard + 1) % len(j.s.shards)
		c.key, c.begun = c.key[:0], false
	}
	return done
}

// Quiesce returns when every hold of a shard's lock that had begun has ended.
func (s *Store) Quiesce() {
	for _, sh := range s.shards {
		sh.lock()
		sh.unlock() //nolint:staticcheck // an empty critical section is the point
	}
}
