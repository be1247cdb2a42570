package enginetest

import (
	"sync/atomic"
	"time"

	"sememcached/engine"
)

// Flaky wraps an engine and makes it behave badly now and then, as memcached's
// ewouldblock_engine does: results come late (Pending first), or there is no
// memory. What it lets through is the wrapped engine's own answer, so a server
// over it must give the same replies, later. Counters say how often it acted, so
// that a test can tell a fault that was survived from one that never happened.
//
// The fields are set before use; it may then be used by all workers.
type Flaky struct {
	engine.Interface
	// PendingEvery makes every n-th call Pending once; 0 never.
	PendingEvery uint64
	// Delay is how long such a call waits.
	Delay time.Duration
	// NoMemoryEvery makes every n-th store and reservation fail for want of
	// memory; 0 never.
	NoMemoryEvery uint64

	calls, stores     atomic.Uint64
	Pendings, Refused atomic.Uint64
}

var _ engine.Interface = (*Flaky)(nil)

// late says Pending when this call's turn to be late has come, and while it is.
func (f *Flaky) late(w *engine.Worker, c *engine.Call) bool {
	if f.PendingEvery == 0 {
		return false
	}
	if !c.Delayed() {
		if f.calls.Add(1)%f.PendingEvery != 0 {
			return false
		}
		f.Pendings.Add(1)
	}
	return f.Background(w, c, func() { time.Sleep(f.Delay) }) == engine.Pending
}

func (f *Flaky) noMemory() bool {
	if f.NoMemoryEvery == 0 || f.stores.Add(1)%f.NoMemoryEvery != 0 {
		return false
	}
	f.Refused.Add(1)
	return true
}

// Get implements engine.Interface.
func (f *Flaky) Get(w *engine.Worker, c *engine.Call, dst []byte) ([]byte, engine.Status) {
	if f.late(w, c) {
		return dst, engine.Pending
	}
	return f.Interface.Get(w, c, dst)
}

// Store implements engine.Interface.
func (f *Flaky) Store(w *engine.Worker, c *engine.Call) engine.Status {
	if f.late(w, c) {
		return engine.Pending
	}
	if f.noMemory() {
		f.Abort(w, c)
		return engine.NoMemory
	}
	return f.Interface.Store(w, c)
}

// Reserve implements engine.Interface.
func (f *Flaky) Reserve(w *engine.Worker, c *engine.Call, n int) engine.Status {
	if f.noMemory() {
		return engine.NoMemory
	}
	return f.Interface.Reserve(w, c, n)
}

// Delete implements engine.Interface.
func (f *Flaky) Delete(w *engine.Worker, c *engine.Call) engine.Status {
	if f.late(w, c) {
		return engine.Pending
	}
	return f.Interface.Delete(w, c)
}

// Touch implements engine.Interface.
func (f *Flaky) Touch(w *engine.Worker, c *engine.Call) engine.Status {
	if f.late(w, c) {
		return engine.Pending
	}
	return f.Interface.Touch(w, c)
}

// Arith implements engine.Interface.
func (f *Flaky) Arith(w *engine.Worker, c *engine.Call) engine.Status {
	if f.late(w, c) {
		return engine.Pending
	}
	return f.Interface.Arith(w, c)
}
