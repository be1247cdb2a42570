package engine

import (
	"errors"
	"time"
)

// change closes started, and returns when n calls more wait for the disk: what they have
// changed is in the journal.
func (d *Data) change(started chan struct{}, n int64) {
	n += d.n.waits.Load()
	close(started)
	for until := time.Now().Add(15 * time.Second); d.n.waits.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			panic("expected calls that wait for the disk")
		}
	}
}

// FailRewriting is a commit with a whole round of rewriting that fails: what n calls change
// from the close of started on is in its batch.
func (d *Data) FailRewriting(started chan struct{}, n int64) (drop uint64, unused int) {
	d.do(func() {
		d.change(started, n)
		d.gather()
		d.n.logBytes.Store(1 << 40)
		d.rewrite.counted = time.Now()
		d.rewriteSome(d.eng.Clock(), d.batch.Bytes())
		var ids []uint32
		drop, ids = d.setAside()
		unused = len(ids)
		d.fail(errors.New("no space left on device"))
	})
	return drop, unused
}

// CommitRewriting is a commit with a whole round of rewriting.
func (d *Data) CommitRewriting() (err error) {
	d.do(func() {
		d.n.logBytes.Add(1 << 40)
		d.rewrite.counted = time.Now()
		err = d.commit()
		d.n.logBytes.Add(-1 << 40)
	})
	return err
}

// FailSync is a commit with a whole round of rewriting of which the transaction numbered
// which, from 1, fails at its very end: the new meta page is written, and what it says
// is what can be read, but its sync has failed. What n calls change from the
// close of started is in the batch, with which 1, or comes too late for it.
func (d *Data) FailSync(started chan struct{}, n int64, which int) (drop uint64) {
	d.do(func() {
		if which == 1 {
			d.change(started, n)
		}
		began, _ := d.gather()
		if fresh := d.batch.Records() > d.batch.Kept(); fresh != (which == 1) {
			panic("what is changed is not where it was to be")
		}
		d.n.logBytes.Store(1 << 40)
		d.rewrite.counted = time.Now()
		d.rewriteSome(d.eng.Clock(), d.batch.Bytes())
		drop = d.batch.Drop
		later, unused := d.setAside()
		if which == 2 {
			if err := d.put(began); err != nil {
				panic(err)
			}
			d.batch.Drop, d.batch.Unused = later, unused
			d.change(started, n)
		}
		if _, err := d.file.Commit(&d.batch); err != nil {
			panic(err)
		}
		d.fail(errors.New("input/output error"))
	})
	return drop
}
