package engine

import (
	"sync"
	"sync/atomic"

	"sememcached/mac"
)

// job is work of one call on a helper goroutine.
type job struct {
	status Status // what fn has returned, once done
	done   atomic.Bool
}

// Background implements Interface. At most cap(e.jobs) run at once, and cap(e.prefixes)
// of OpDeletePrefix, which goes through the store for anybody who asks and which a
// load can make wait; the others wait for their turn, each parking only its own
// connection.
func (e *Secured) Background(w *Worker, c *Call, fn func()) Status {
	return e.background(w, c, func() Status {
		fn()
		return OK
	})
}

// background is Background for what may fail.
func (e *Secured) background(w *Worker, c *Call, fn func() Status) Status {
	r := c.waiting()
	if r.job != nil {
		if r.job.done.Load() {
			st := r.job.status
			r.job = nil
			return st
		}
		r.parked = true
		return Pending
	}
	j := &job{}
	r.job, r.parked = j, true
	tag, slots := c.Tag, []chan struct{}{e.jobs}
	if c.Op == OpDeletePrefix {
		slots = []chan struct{}{e.prefixes, e.jobs}
	}
	// Announced here, while this worker's turn protects the labels that fn refers
	// to, and not only once the goroutine runs.
	ep := e.announce()
	go func() {
		for _, s := range slots {
			s <- struct{}{}
		}
		j.status = fn()
		for _, s := range slots {
			<-s
		}
		if ep != nil {
			ep.Close()
		}
		j.done.Store(true)
		w.post(answer{tag: tag, job: j})
	}()
	return Pending
}

// announce makes background work a worker of its own in the eyes of the monitor:
// the numbers of labels that it looks at are not reused before it has ended. It
// returns nil where there are none.
func (e *Secured) announce() *mac.Epoch {
	if e.off {
		return nil
	}
	ep := e.mon.NewEpoch()
	ep.Begin()
	return ep
}

// workerList is every worker ever made, for the sums of their counters.
type workerList struct {
	mu sync.Mutex
	// +checklocks:mu
	all []*Worker
	// +checklocks:mu
	base Counters // what "stats reset" subtracts
}
