package engine

import (
	"errors"
	"time"
)

// FailRewriting is a commit with a whole round of rewriting that fails, 200 ms from now:
// what is changed meanwhile is in its batch.
func (d *Data) FailRewriting(started chan struct{}) (drop uint64, unused int) {
	d.do(func() {
		close(started)
		time.Sleep(200 * time.Millisecond)
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
// is what can be read, but its sync has failed. What is changed in the 200 ms that follow the
// close of started is in the batch, with which 1, or comes too late for it.
func (d *Data) FailSync(started chan struct{}, which int) (drop uint64) {
	d.do(func() {
		if which == 1 {
			close(started)
			time.Sleep(200 * time.Millisecond)
		}
		began, _ := d.gather()
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
			close(started)
			time.Sleep(200 * time.Millisecond)
		}
		if _, err := d.file.Commit(&d.batch); err != nil {
			panic(err)
		}
		d.fail(errors.New("input/output error"))
	})
	return drop
}
