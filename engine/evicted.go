package engine

import (
	"slices"
	"sync"

	"sememcached/storage"
)

// Evicted is an item that has been evicted for memory.
type Evicted struct {
	Seq        uint64 // the generation in which Item.Label is a number
	Key        []byte // lives until the call has returned
	Item       TraceItem
	Fetched    bool
	Now        uint32 // on the store's clock
	LastAccess uint32 // the same
}

// evictions are those who want to be told.
type evictions struct {
	mu sync.Mutex
	// +checklocks:mu
	fns []*func(*Evicted)
}

// OnEvict implements Interface.
func (e *Secured) OnEvict(fn func(*Evicted)) (stop func()) {
	x := &e.evictions
	p := &fn
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fns = append(slices.Clone(x.fns), p)
	e.tellEvictions(x.fns)
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.fns = slices.DeleteFunc(slices.Clone(x.fns), func(q *func(*Evicted)) bool { return q == p })
		e.tellEvictions(x.fns)
	}
}

// tellEvictions makes the store tell fns, which does not change any more.
func (e *Secured) tellEvictions(fns []*func(*Evicted)) {
	if len(fns) == 0 {
		e.store.OnEvict(nil)
		return
	}
	e.store.OnEvict(func(it storage.Item, now uint32) {
		v := Evicted{
			Seq: e.mon.Generation().Seq, Key: it.Key(), Item: e.traceItem(it),
			Fetched: it.Fetched(), Now: now, LastAccess: it.LastAccess(),
		}
		for _, fn := range fns {
			(*fn)(&v)
		}
	})
}
