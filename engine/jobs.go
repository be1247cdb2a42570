package engine

import (
	"sync"
	"sync/atomic"
)

// job is work of one call on a helper goroutine.
type job struct {
	done atomic.Bool
}

// Background implements Interface. At most cap(e.jobs) run at once; the others
// wait for their turn, each parking only its own connection.
func (e *Secured) Background(w *Worker, c *Call, fn func()) Status {
	r := c.waiting()
	if r.job != nil {
		if r.job.done.Load() {
			r.job = nil
			return OK
		}
		r.parked = true
		return Pending
	}
	j := &job{}
	r.job, r.parked = j, true
	tag := c.Tag
	go func() {
		e.jobs <- struct{}{}
		e.guarded(fn)
		<-e.jobs
		j.done.Store(true)
		w.post(answer{tag: tag, job: j})
	}()
	return Pending
}

// guarded runs fn as a worker of its own in the eyes of the monitor: the numbers
// of labels that it looks at are not reused before it has ended.
func (e *Secured) guarded(fn func()) {
	if !e.off {
		ep := e.mon.NewEpoch()
		ep.Begin()
		defer ep.Close()
	}
	fn()
}

// workerList is every worker ever made, for the sums of their counters.
type workerList struct {
	mu sync.Mutex
	// +checklocks:mu
	all []*Worker
	// +checklocks:mu
	base Counters // what "stats reset" subtracts
}
