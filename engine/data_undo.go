package engine

import (
	"encoding/binary"

	"sememcached/avc"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// itemKey is (instance, key) as a map wants it.
func itemKey(r *storage.Record) string {
	return string(append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(r.Key)), r.Instance), r.Key...))
}

// undo makes the items that were changed since the last commit what they were
// then: what their clients are told is that nothing was changed. The file's last
// commit says what they were; what cannot be read from it is removed.
//
// Nobody changes anything any more: d.failed is set, and every loop has ended the turn
// that it may have begun before.
func (d *Data) undo() {
	e := d.eng
	e.workers.mu.Lock()
	all := e.workers.all[:len(e.workers.all):len(e.workers.all)]
	e.workers.mu.Unlock()
	for _, w := range all {
		w.Inspect(nil, func() {})
	}
	e.store.Quiesce()
	keys := map[string]storage.Record{}
	collect := func(records []byte) {
		var r storage.Record
		for at := 0; at < len(records); {
			n, err := storage.ParseRecord(records[at:], &r)
			if err != nil {
				panic("engine: journal: " + err.Error())
			}
			keys[itemKey(&r)] = storage.Record{Kind: storage.RecordGone, Instance: r.Instance, Key: append([]byte(nil), r.Key...)}
			at += n
		}
	}
	d.batch.EachNew(collect)
	d.journal.Take(func(records []byte, _ uint32) { collect(records) })
	if len(keys) == 0 {
		return
	}
	labels := map[uint32]string{}
	for ctx, l := range d.labels.byContext {
		labels[l.id] = ctx
	}
	// The batch that failed may have been to delete labels that the file still names.
	if ls, err := d.file.Labels(); err == nil {
		for _, l := range ls {
			labels[l.ID] = l.Context
		}
	}
	left := len(keys)
	now := e.Clock()
	d.batch.EachKept(func(records []byte) {
		left -= d.undoChunk(&disk.Chunk{Records: records}, keys, labels, now)
	})
	// What a transaction that only drops was to drop holds nothing that is wanted, and may be gone.
	segments := d.segments
	for b := &d.batch; b.Records() == b.Kept() && len(segments) > 0 && segments[0].Seq < b.Drop; {
		segments = segments[1:]
	}
	r := d.file.Backwards(segments, d.file.Next())
	for left > 0 {
		more, err := r.Next(func(c *disk.Chunk) { left -= d.undoChunk(c, keys, labels, now) })
		if err != nil {
			d.log.Error("data: items whose last state cannot be read are removed", "items", left, "error", err)
		}
		if err != nil || !more {
			break
		}
	}
	for _, r := range keys {
		e.store.Undo(&r, 0, now)
	}
	d.n.undone.Add(int64(len(keys)))
}

// undoChunk brings back the items of keys that a chunk has the last state of, and
// returns their number.
func (d *Data) undoChunk(c *disk.Chunk, keys map[string]storage.Record, labels map[uint32]string, now uint32) (found int) {
	var at []int
	var r storage.Record
	for i := 0; i < len(c.Records); {
		n, err := storage.ParseRecord(c.Records[i:], &r)
		if err != nil {
			break
		}
		if _, wanted := keys[itemKey(&r)]; wanted {
			at = append(at, i)
		}
		i += n
	}
	for i := len(at) - 1; i >= 0; i-- {
		_, _ = storage.ParseRecord(c.Records[at[i]:], &r)
		k := itemKey(&r)
		gone, wanted := keys[k]
		if !wanted {
			continue
		}
		found++
		delete(keys, k)
		d.n.undone.Add(1)
		d.undoItem(&r, &gone, labels, now)
	}
	return found
}

// undoItem makes the item of a key what a record says, if that lives still.
func (d *Data) undoItem(r, gone *storage.Record, labels map[uint32]string, now uint32) {
	e := d.eng
	ctx, known := labels[r.Label]
	if r.Kind != storage.RecordItem || r.Label != 0 && !known || r.Exptime != 0 && r.Exptime <= now {
		e.store.Undo(gone, 0, now)
		return
	}
	var s avc.SID
	if ctx != "" || !e.off {
		var err error
		if s, _, err = e.resolve(ctx); err != nil {
			e.store.Undo(gone, 0, now)
			return
		}
		defer e.mon.SIDs().Release(s)
	}
	if f := e.store.Flushed(uint32(s)); f != 0 && r.Stored <= f {
		e.store.Undo(gone, 0, now)
		return
	}
	e.store.Undo(r, uint32(s), now)
}
