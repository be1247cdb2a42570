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
		drop, unused = d.batch.Drop, len(d.batch.Unused)
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
