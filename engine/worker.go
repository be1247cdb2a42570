package engine

import (
	"sync"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// A worker's own decision table has tableEntries at first, 128 KiB, and grows with
// the pairs of labels that meet to tableMost, 8 MiB; what does not fit is found in the shared
// layer.
const (
	tableEntries = 4096
	tableMost    = 1 << 18
)

// Worker is the engine's state of one event loop: its decision table, its
// coarse clock, its counters, and the answers that have come in for its parked
// calls. All methods but Answered belong to the loop.
type Worker struct {
	eng  *Secured
	wake func()

	// mu is held by the loop from Begin to End, so that another loop may read
	// the counters between two turns of this one.
	mu sync.Mutex
	// +checklocks:mu
	counters Counters

	why    storage.Absence // why the last look-up found nothing
	now    uint32          // seconds on the store's clock, read once per turn
	waits  uint32          // calls of this turn that wait for the disk
	epoch  *mac.Epoch
	table  *avc.Table
	labels labelTable
	record mac.Record // scratch for audit

	// inbox holds answers posted by helper goroutines until Drain.
	inbox inbox
}

// answer is one message of a helper to a worker.
type answer struct {
	tag uint64
	q   mac.Question
	a   mac.Answer
	job *job
	// written: what the call waits for is on the disk, or, with lost, is not (that comes
	// as an outcome); or the data file has been loaded.
	written, lost bool
}

type inbox struct {
	mu sync.Mutex
	// +checklocks:mu
	waiting []answer
	// +checklocks:mu
	written []outcome
	spare   []answer  // the loop's, swapped with waiting
	spared  []outcome // the same for written
}

// empty reports whether nothing waits. mu is held.
func (b *inbox) empty() bool { return len(b.waiting)+len(b.written) == 0 }

// Begin starts a turn: it takes the worker's lock, reads the clock once, and
// tells the monitor which generation this worker works in.
func (w *Worker) Begin() {
	w.mu.Lock()
	w.now = w.eng.Clock()
	if w.epoch != nil {
		w.epoch.Begin()
	}
}

// CountSet counts a store whose data block was broken: memcached counts it
// though nothing is stored. CountFlush likewise counts a flush_all with a bad
// argument.
func (w *Worker) CountSet() { w.counters.CmdSet++ }

// CountFlush is explained at CountSet.
func (w *Worker) CountFlush() { w.counters.CmdFlush++ }

// CountDeletes counts items removed by DeletePrefix.
func (w *Worker) CountDeletes(n uint64) { w.counters.DeleteHits += n }

// Now is the turn's time in seconds on the store's clock.
func (w *Worker) Now() uint32 { return w.now }

// Inspect runs fn while w's loop is between two turns. The caller is another
// worker's loop in its turn (own; nil for any other goroutine), whose lock is
// released meanwhile: two loops that inspect each other cannot wait in a ring.
func (w *Worker) Inspect(own *Worker, fn func()) {
	if w == own {
		fn()
		return
	}
	if own != nil {
		own.mu.Unlock()
		defer own.mu.Lock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// Answered implements mac.Waiter. It is called from helper goroutines.
func (w *Worker) Answered(tag uint64, q mac.Question, a mac.Answer) {
	w.post(answer{tag: tag, q: q, a: a})
}

func (w *Worker) post(m answer) {
	w.inbox.mu.Lock()
	first := w.inbox.empty()
	w.inbox.waiting = append(w.inbox.waiting, m)
	w.inbox.mu.Unlock()
	if first {
		w.wake()
	}
}

// Drain hands every answer that has come in to the call that waits for it and
// then lets the caller retry it. find returns the parked call with that tag, or
// nil when it is gone (the client has disconnected): the answer is dropped then.
// retry is called after the answer has been delivered.
func (w *Worker) Drain(find func(tag uint64) *Call, retry func(tag uint64)) {
	w.inbox.mu.Lock()
	msgs := w.inbox.waiting
	w.inbox.waiting = w.inbox.spare[:0]
	written := w.inbox.written
	w.inbox.written = w.inbox.spared[:0]
	w.inbox.mu.Unlock()
	w.settled(written, find, retry)
	w.inbox.spared = written
	for i := range msgs {
		m := &msgs[i]
		if m.job == nil && !m.written {
			w.learn(m)
		}
		c := find(m.tag)
		if c == nil || !c.retry.deliver(w, m) {
			w.discard(m)
			continue
		}
		retry(m.tag)
	}
	clear(msgs)
	w.inbox.spare = msgs[:0]
}
