package engine

import (
	"sememcached/avc"
	"sememcached/storage"
)

// kept is the result of a call that has been executed and is answered when it is
// on the disk.
type kept struct {
	done, lost     bool
	status         Status
	number, newCAS uint64
	view           View
	out            []byte
	trace          Trace
}

var _ storage.Waiter = (*Worker)(nil)

// outcome is what became of the change that a call waits for.
type outcome struct {
	tag  uint64
	lost bool
}

// Written implements storage.Waiter. It is called from the goroutine of Data.
func (w *Worker) Written(tags []uint64, ok bool) {
	w.inbox.mu.Lock()
	first := w.inbox.empty()
	for _, tag := range tags {
		w.inbox.written = append(w.inbox.written, outcome{tag, !ok})
	}
	w.inbox.mu.Unlock()
	if first {
		w.wake()
	}
}

// settled gives the calls that waited for the disk their outcomes.
func (w *Worker) settled(os []outcome, find func(tag uint64) *Call, retry func(tag uint64)) {
	m := answer{written: true}
	for _, o := range os {
		m.tag, m.lost = o.tag, o.lost
		if c := find(o.tag); c != nil && c.retry.deliver(w, &m) {
			retry(o.tag)
		}
	}
}

// refuses says that nothing may be changed: it could not be kept.
func (e *Secured) refuses() bool {
	d := e.data
	return d != nil && d.always && d.failed.Load() != nil
}

// Executed says whether the call, which is Pending, has been executed: what is left
// is to wait for the disk. The next execution returns its result, and needs of the call
// no more than its key.
func (c *Call) Executed() bool { return c.retry != nil && c.retry.kept != nil }

// settle is the end of a call that may have changed something: it returns st, or
// Pending until what was changed so far under the call's key is on the disk. An answer that
// says that there is nothing waits too, for what made it true. In the other modes a call waits only
// while too much waits to be written.
func (e *Secured) settle(w *Worker, c *Call, st Status) Status {
	d := e.data
	if d == nil || st == Pending || st == Denied {
		return st
	}
	if !d.always && !d.journal.Pressed() {
		return st
	}
	if !d.journal.Await(e.hash(c), w, c.Tag) {
		return st
	}
	w.waits++
	r := c.waiting()
	k := r.spare
	if k == nil {
		k = new(kept)
	}
	r.spare = nil
	k.status, k.number, k.newCAS = st, c.Number, c.NewCAS
	if c.Opt != nil {
		k.view = c.Opt.View
	}
	if c.Trace != nil {
		k.trace = *c.Trace
	}
	r.kept, r.parked = k, true
	return Pending
}

// End ends a turn. With idle true the worker says that it holds nothing of any
// generation until the next Begin: right before blocking. Whoever writes is told
// that calls of this turn wait for the disk, now that they all do: told at once, it
// would begin with the first, and the others would wait for a second commit.
func (w *Worker) End(idle bool) {
	if n := w.waits; n > 0 {
		w.waits = 0
		d := w.eng.data
		d.n.waits.Add(int64(n))
		d.wake()
	}
	if idle && w.epoch != nil {
		w.epoch.Rest()
	}
	w.mu.Unlock()
}

// resume returns the result of a call that was executed before and waited for
// the disk. ok is false for any other call. Under SyncAlways a change that is
// not on the disk has failed, and has been undone; else it stands.
func (e *Secured) resume(c *Call) (st Status, ok bool) {
	r := c.retry
	if r == nil || r.kept == nil || !r.kept.done {
		return Failed, false
	}
	k := r.kept
	r.kept, r.spare = nil, k
	st = k.status
	switch {
	case k.lost && e.alwaysSynced():
		st = Failed
	default:
		c.Number, c.NewCAS = k.number, k.newCAS
		if c.Opt != nil {
			c.Opt.View = k.view
		}
		if c.Trace != nil {
			*c.Trace = k.trace
		}
	}
	*k = kept{}
	return st, true
}

// alwaysSynced says whether nothing is answered before it is on the disk.
func (e *Secured) alwaysSynced() bool { return e.data != nil && e.data.always }

// changes says whether a look-up changes the item, or makes one.
func (c *Call) changes() bool {
	return c.Op == OpGat || c.Opt != nil && (c.Opt.Touch || c.Opt.Vivify)
}

// getChanging is get for a look-up that changes something: its reply is kept back
// while it waits.
func (e *Secured) getChanging(w *Worker, c *Call, dst []byte) ([]byte, Status) {
	if r := c.retry; r != nil && r.kept != nil && r.kept.done {
		out := r.kept.out
		st, _ := e.resume(c)
		if st == Failed {
			e.unpin(c)
			return dst, st
		}
		return append(dst, out...), st
	}
	if e.refuses() {
		return dst, Failed
	}
	n := len(dst)
	dst, st := e.get(w, c, dst)
	if st != OK {
		return dst, st
	}
	if st = e.settle(w, c, st); st == Pending {
		c.retry.kept.out = append([]byte(nil), dst[n:]...)
		dst = dst[:n]
	}
	return dst, st
}

// unpin lets go of the item that a reply would have been sent from.
func (e *Secured) unpin(c *Call) {
	if !c.Pinned.Nil() {
		e.store.Unpin(c.Pinned)
		c.Pinned, c.Body = storage.Item{}, nil
	}
}

// markFlush has a flush of a label written with the next commit.
func (d *Data) markFlush(context string, second uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes = append(d.flushes, labelFlush{context, second})
}

// flushLabels flushes labels at a second. Under SyncAlways that is on the disk
// before anything is flushed in memory. It may block.
func (e *Secured) flushLabels(labels []avc.SID, second uint32) error {
	d := e.data
	if d == nil {
		for _, l := range labels {
			e.store.FlushLabel(uint32(l), second)
		}
		return nil
	}
	at := make([]uint32, len(labels))
	for i, l := range labels {
		at[i] = e.store.NextFlush(uint32(l), second)
		d.markFlush(e.mon.SIDs().String(l), at[i])
	}
	if d.always {
		if err := d.Barrier(); err != nil {
			return err
		}
	}
	for i, l := range labels {
		e.store.RestoreFlush(uint32(l), at[i])
	}
	return nil
}

// keepPending has the delayed flushes written with the next commit.
func (d *Data) keepPending(text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending, d.pendingNew = text, true
}
