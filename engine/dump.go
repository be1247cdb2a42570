package engine

import (
	"bytes"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// DumpItem is one item as a listing shows it.
type DumpItem struct {
	Key        []byte // lives until the emit it was given to has returned
	Exptime    int64  // UNIX time, 0 for none
	LastAccess int64  // UNIX time
	CAS        uint64
	Flags      uint32
	Fetched    bool
	Class      int // the slab class that memcached would use
	Size       int // of the item, by memcached's formula
	ValueSize  int // bytes
	BinaryKey  bool

	label    avc.SID
	key, end int // of Key in the batch
}

// Dump is a listing of items in the order of their keys: for a client, those on
// which it has getattr, asked of each item's label in the generation of the
// moment. It belongs to one goroutine at a time.
type Dump struct {
	client Client
	cursor storage.Cursor
	filter Visible
	// Classes restricts the listing to slab classes: bit n is class n. 0 is all.
	Classes uint64

	batch []DumpItem
	keys  []byte
}

// NewDump begins a listing for the call's client: of the keys that begin with
// prefix, and come after the key after, where these are not empty. The slices
// are copied.
func (e *Secured) NewDump(c *Call, prefix, after []byte) *Dump {
	d := &Dump{client: *c.Client}
	d.cursor.Prefix, d.cursor.After = bytes.Clone(prefix), bytes.Clone(after)
	if len(after) > 0 {
		d.cursor.AfterInstance = 1<<32 - 1
	}
	return d
}

// Dump implements Interface. It may block on the decider.
func (e *Secured) Dump(d *Dump, emit func(it *DumpItem) bool) (more bool) {
	g := e.mon.Generation()
	d.batch, d.keys = d.batch[:0], d.keys[:0]
	now := e.Clock()
	d.cursor.Now = now
	more = e.store.Scan(&d.cursor, func(it storage.Item) bool {
		class, _, _ := e.store.Class(it.Size())
		if d.Classes != 0 && d.Classes>>class&1 == 0 {
			return true
		}
		start := len(d.keys)
		d.keys = append(d.keys, it.Key()...)
		x := DumpItem{
			LastAccess: e.started + int64(it.LastAccess()), CAS: it.CAS(), Flags: it.Flags(), Fetched: it.Fetched(),
			Class: class, Size: it.Size(), ValueSize: len(it.Value()), BinaryKey: it.BinaryKey(),
			label: avc.SID(it.Label()), key: start, end: len(d.keys),
		}
		if t := it.Exptime(); t != 0 {
			x.Exptime = e.started + int64(t)
		}
		d.batch = append(d.batch, x)
		return true
	})
	for i := range d.batch {
		it := &d.batch[i]
		if !e.Visible(g, &d.filter, d.client.ssid, it.label) {
			continue
		}
		it.Key = d.keys[it.key:it.end:it.end]
		if !emit(it) {
			return false
		}
	}
	return more
}

// Visible remembers, for one subject and one generation, on which labels it has
// getattr. The zero Visible is empty. It belongs to one goroutine at a time.
type Visible struct {
	seq    uint64
	ssid   avc.SID
	labels map[avc.SID]bool
}

// Visible says whether items with the label exist for ssid in generation g. It
// may block on the decider; it is not for event loops.
func (e *Secured) Visible(g *mac.Generation, f *Visible, ssid, label avc.SID) bool {
	if e.off {
		return true
	}
	if f.labels == nil || f.seq != g.Seq || f.ssid != ssid {
		f.seq, f.ssid, f.labels = g.Seq, ssid, map[avc.SID]bool{}
	}
	seen, ok := f.labels[label]
	if !ok {
		seen = e.judge(ssid, label, avc.ClassItem, avc.Getattr).Allowed
		f.labels[label] = seen
	}
	return seen
}

// Hidden says whether items exist under the prefix that the call's client may
// not know of. It may block.
func (e *Secured) Hidden(c *Call, prefix []byte) bool {
	if e.off {
		return false
	}
	g := e.mon.Generation()
	var f Visible
	hides := false
	for _, label := range e.labelsInUse() {
		hides = hides || !e.Visible(g, &f, c.Client.ssid, label)
	}
	if !hides {
		return false
	}
	cur := storage.Cursor{Prefix: prefix, Now: e.Clock()}
	var labels []avc.SID
	for more := true; more; {
		labels = labels[:0]
		more = e.store.Scan(&cur, func(it storage.Item) bool {
			labels = append(labels, avc.SID(it.Label()))
			return true
		})
		for _, label := range labels {
			if !e.Visible(g, &f, c.Client.ssid, label) {
				return true
			}
		}
	}
	return false
}
