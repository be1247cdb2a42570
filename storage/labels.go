package storage

import (
	"sync"
	"sync/atomic"
)

// LabelStats counts what belongs to one label. Items and Bytes (memcached's item
// size) are what is stored now, dead items included until they are unlinked; Hits and
// Evictions are since the start or the last ResetStats.
type LabelStats struct{ Items, Bytes, Hits, Evictions uint64 }

// label is the state of one label, common to all shards.
type label struct {
	items, bytes    atomic.Int64
	hits, evictions atomic.Uint64

	// Items stored in this second or before are gone; 0 if never flushed. It can
	// be ahead of the clock: a store that comes after a flush in the same second is dated
	// one second later, and a second flush must catch that one.
	flushed atomic.Uint32
}

// Labels below directLabels are found in two loads, without a lock; the numbers
// that callers use are small. Any other number works, slower.
const (
	labelBlock   = 64
	directLabels = 1 << 20
)

// labels is a table of label by number, filled on demand.
type labels struct {
	blocks [directLabels / labelBlock]atomic.Pointer[[labelBlock]label]

	mu sync.RWMutex
	// +checklocks:mu
	others map[uint32]*label
}

// get returns the state of a label, nil if nothing was ever counted for it.
func (t *labels) get(n uint32) *label {
	if n < directLabels {
		if b := t.blocks[n/labelBlock].Load(); b != nil {
			return &b[n%labelBlock]
		}
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.others[n]
}

// make returns the state of a label, creating it if need be.
func (t *labels) make(n uint32) *label {
	if l := t.get(n); l != nil {
		return l
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < directLabels {
		slot := &t.blocks[n/labelBlock]
		if slot.Load() == nil {
			slot.Store(new([labelBlock]label))
		}
		return &slot.Load()[n%labelBlock]
	}
	if t.others == nil {
		t.others = make(map[uint32]*label)
	}
	if t.others[n] == nil {
		t.others[n] = new(label)
	}
	return t.others[n]
}

// flushed returns the second of the label's last flush.
func (t *labels) flushed(n uint32) uint32 {
	if l := t.get(n); l != nil {
		return l.flushed.Load()
	}
	return 0
}

// each calls fn for every label that was ever used, the small numbers in order.
func (t *labels) each(fn func(n uint32, l *label) bool) {
	for i := range t.blocks {
		b := t.blocks[i].Load()
		if b == nil {
			continue
		}
		for j := range b {
			if !fn(uint32(i*labelBlock+j), &b[j]) {
				return
			}
		}
	}
	t.mu.RLock()
	others := make(map[uint32]*label, len(t.others))
	for n, l := range t.others {
		others[n] = l
	}
	t.mu.RUnlock()
	for n, l := range others {
		if !fn(n, l) {
			return
		}
	}
}

// delta is what a shard counted for one label and has not yet added to the
// common counters. Counting in place would cost a contended cache line on each
// hit, and a table of all labels in each shard more memory than the items.
type delta struct {
	label           uint32
	hits, evictions uint32
	items           int32
	bytes           int64
}

// labelDeltas is how many labels a shard counts at a time, chosen by the low bits.
const labelDeltas = 16

// count returns the shard's counters for a label.
func (sh *Shard) count(n uint32) *delta {
	d := &sh.deltas[n%labelDeltas]
	if d.label != n {
		sh.spill(d)
		d.label = n
	}
	return d
}

// spill adds d to the common counters and clears it.
func (sh *Shard) spill(d *delta) {
	if d.hits|d.evictions != 0 || d.items != 0 || d.bytes != 0 {
		l := sh.s.labels.make(d.label)
		l.hits.Add(uint64(d.hits))
		l.evictions.Add(uint64(d.evictions))
		l.items.Add(int64(d.items))
		l.bytes.Add(d.bytes)
	}
	*d = delta{label: d.label}
}

// FlushLabel makes every item of the label that is stored so far disappear.
// Items stored later live, in the same second too. It costs the same for any number of items:
// they are unlinked when a look-up, the eviction or the crawler meets them.
func (s *Store) FlushLabel(label, now uint32) {
	f := &s.labels.make(label).flushed
	for {
		old := f.Load()
		if f.CompareAndSwap(old, max(now, old+1)) {
			return
		}
	}
}

// LabelItems returns the number of items stored with the label, those that are dead but
// not yet unlinked included. 0 means that the label is in no item's header,
// unlinked ones aside.
func (s *Store) LabelItems(label uint32) uint64 {
	for _, sh := range s.shards {
		sh.lock()
		if d := &sh.deltas[label%labelDeltas]; d.label == label {
			sh.spill(d)
		}
		sh.unlock()
	}
	if l := s.labels.get(label); l != nil {
		return uint64(max(0, l.items.Load()))
	}
	return 0
}

// Labels calls fn for each label that has items or counters, until it returns
// false. No lock is held during the call.
func (s *Store) Labels(fn func(label uint32, st LabelStats) bool) {
	s.spillAll()
	s.labels.each(func(n uint32, l *label) bool {
		st := LabelStats{
			Items: uint64(max(0, l.items.Load())), Bytes: uint64(max(0, l.bytes.Load())),
			Hits: l.hits.Load(), Evictions: l.evictions.Load(),
		}
		return st == LabelStats{} || fn(n, st)
	})
}

func (s *Store) spillAll() {
	for _, sh := range s.shards {
		sh.lock()
		for i := range sh.deltas {
			sh.spill(&sh.deltas[i])
		}
		sh.unlock()
	}
}
