package engine

import (
	"fmt"
	"slices"
	"time"

	"sememcached/avc"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// rewriting is how far the log has been written anew. Items are written again
// shard by shard, in turn, so that the log before the oldest beginning of a shard's
// turn can be dropped.
type rewriting struct {
	at      storage.Rewriter
	begins  uint64   // the segment in which the present shard's turn began; 0: not begun
	begun   []uint64 // by shard: the segment in which its last whole turn began
	dropped uint64   // segments before it are gone
	strays  uint64   // segments before it hold items that the store does not; 0: none
	off     bool     // not any more: the store does not hold what the file does
	live    int64    // bytes that the log would have if everything were written once
	counted time.Time
}

// The log is written anew when it is longer than twice what is live and some
// more, as much as rewritePace times what changes.
const (
	minSlack    = 1 << 20
	maxSlack    = 64 << 20
	rewritePace = 3
	rewriteStep = 256 << 10 // at least
)

// commit writes what waits, and what Extend has written, in a transaction. It
// returns why the file is closed for good, or nil.
func (d *Data) commit() error {
	if err := d.Err(); err != nil {
		return err
	}
	b := &d.batch
	began, seq := d.gather()
	changed := b.Bytes()
	d.rewriteSome(d.eng.Clock(), changed)
	d.observe(seq)
	return d.transact(began)
}

// extend is commit for those who wait for an answer: under SyncAlways it writes
// what waits into the tail of the log, while that has room.
func (d *Data) extend() error {
	if !d.always || d.unclean {
		return d.commit()
	}
	if err := d.Err(); err != nil {
		return err
	}
	b := &d.batch
	began, seq := d.gather()
	d.observe(seq)
	if b.Settled() {
		d.journal.Written(true)
		return nil
	}
	n := b.Records() - b.Kept()
	b.CAS, b.Time = d.eng.store.CAS(), began.UnixMilli()
	d.n.oldest.Store(began.Add(-d.cfg.Interval).UnixNano())
	ok, err := d.file.Extend(b)
	if err != nil {
		d.fail(err)
		return d.Err()
	}
	if !ok {
		return d.commit()
	}
	d.n.count(n, 0, time.Since(began))
	d.n.oldest.Store(0)
	d.journal.Written(true)
	return nil
}

// gather puts what waits into the batch. Records that were made until now name
// labels of generation seq or an older one.
func (d *Data) gather() (began time.Time, seq uint64) {
	d.journal.Tick(d.eng.Clock())
	if d.epoch != nil {
		seq = d.eng.mon.Generation().Seq
	}
	began = time.Now()
	d.putFlushes()
	d.journal.Take(d.add)
	return began, seq
}

// observe says that no record of an older generation than seq waits any more.
func (d *Data) observe(seq uint64) {
	if d.epoch != nil {
		d.epoch.Observe(seq)
	}
}

// transact writes the batch in a transaction, and in another one what it drops. The error is of
// the first.
func (d *Data) transact(began time.Time) error {
	drop, unused := d.setAside()
	if err := d.put(began); err != nil || drop == 0 && len(unused) == 0 {
		return err
	}
	d.batch.Drop, d.batch.Unused = drop, unused
	// What was changed is on the disk, and those who waited for it have been told. If this
	// fails, the file is closed for good, with a line of the log and in Err; a caller who took it
	// for a failure of his change would deny what has happened.
	_ = d.put(time.Now())
	return nil
}

// setAside takes what the batch drops out of it, if that is for a transaction of its own. If the
// last sync of a transaction fails, what can be read of the file is its new state, and undo wants
// the one before: of a transaction that drops nothing, the new state has that too.
func (d *Data) setAside() (drop uint64, unused []uint32) {
	b := &d.batch
	if !d.always || b.Records() == b.Kept() {
		return 0, nil
	}
	drop, unused = b.Drop, slices.Clone(b.Unused)
	b.Drop, b.Unused = 0, b.Unused[:0]
	return drop, unused
}

// put writes the batch in one transaction.
func (d *Data) put(began time.Time) error {
	b := &d.batch
	b.Unclean = d.unclean && !b.Empty()
	if b.Empty() {
		d.n.oldest.Store(0)
		d.journal.Written(true)
		return nil
	}
	b.CAS, b.Time = d.eng.store.CAS(), began.UnixMilli()
	d.n.oldest.Store(began.Add(-d.cfg.Interval).UnixNano())
	seg, err := d.file.Commit(b)
	if err != nil {
		d.fail(err)
		return d.Err()
	}
	d.unclean = d.unclean && !b.Unclean
	if seg.Bytes > 0 {
		d.segments = append(d.segments, seg)
		d.n.logBytes.Add(seg.Bytes)
	}
	d.drop()
	d.n.segments.Store(int64(len(d.segments)))
	d.n.count(b.Records()-b.Kept(), b.Bytes(), time.Since(began))
	b.Reset()
	d.n.oldest.Store(0)
	d.journal.Written(true)
	return nil
}

// add puts n records into the batch, with the file's labels.
func (d *Data) add(records []byte, n uint32) {
	storage.RelabelRecords(d.batch.Append(records, n), func(label uint32) uint32 {
		return d.labelOf(avc.SID(label)).id
	})
}

// rewriteSome writes a part of the items anew if the log is too long.
func (d *Data) rewriteSome(now uint32, changed int64) {
	w := &d.rewrite
	if d.load != nil || w.off {
		return
	}
	if w.begun == nil {
		w.begun = make([]uint64, d.eng.store.Shards())
	}
	if time.Since(w.counted) > time.Second {
		st := d.eng.store.Stats()
		w.live, w.counted = int64(st.Bytes), time.Now()
	}
	if d.n.logBytes.Load() <= 2*w.live+d.cfg.Slack && w.strays == 0 {
		return
	}
	budget := max(rewritePace*changed, rewriteStep)
	for start := d.batch.Bytes(); d.batch.Bytes()-start < budget; {
		if w.begins == 0 {
			w.begins = d.file.Next()
		}
		shard := w.at.Shard
		if d.journal.Rewrite(&w.at, now, d.add) {
			w.begun[shard], w.begins = w.begins, 0
			if w.at.Shard == 0 {
				break // a round is enough for one batch
			}
		}
	}
	d.n.rewritten.Add(d.batch.Bytes() - changed)
	horizon := w.begun[0]
	for _, seq := range w.begun {
		horizon = min(horizon, seq)
	}
	if len(d.segments) > disk.DropMost { // what one transaction drops
		horizon = min(horizon, d.segments[disk.DropMost].Seq)
	}
	if horizon > w.dropped {
		d.batch.Drop = horizon
		d.dropLabels(horizon)
	}
}

// drop takes note of what the commit has dropped.
func (d *Data) drop() {
	n := 0
	for n < len(d.segments) && d.segments[n].Seq < d.batch.Drop && n < disk.DropMost {
		d.n.logBytes.Add(-d.segments[n].Bytes)
		n++
	}
	d.segments = d.segments[n:]
	w := &d.rewrite
	if len(d.segments) > 0 && d.segments[0].Seq < d.batch.Drop {
		return // there was more than one transaction drops
	}
	w.dropped = max(w.dropped, d.batch.Drop)
	if w.strays != 0 && w.dropped >= w.strays {
		w.strays = 0
		d.journal.NoStrays()
		d.dropLoadLabels()
	}
}

// fail closes the file for good. Under SyncAlways whatever is not on the disk is
// undone first, and everything that would change something is refused from then on;
// else the store goes on in memory.
func (d *Data) fail(err error) {
	if d.Err() != nil {
		return
	}
	err = fmt.Errorf("data: nothing is kept any more: %w", err)
	d.failed.Store(&err)
	d.n.failures.Add(1)
	how := "serving goes on from memory, and what changes is lost when the server ends"
	if d.always {
		how = "serving goes on from memory, and every change is refused"
	}
	d.log.Error("data: the file is closed for good: "+how, "file", d.cfg.Path, "error", err)
	if d.always {
		d.undo()
	}
	d.journal.Stop()
	d.endLoad(err)
	d.rewrite.off = true
}
