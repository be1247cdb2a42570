package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// Trace is what an operation tells the streams of watch: of the item that was
// looked up, and of the one that was stored. What a denial hides is not in it.
// The server clears it before each operation that is to be told of.
type Trace struct {
	Seq     uint64  // the generation in which the labels are numbers
	Subject avc.SID // of the client
	Now     uint32  // on the store's clock

	Found bool // the item was there, and the client was let to it
	Why   storage.Absence
	Item  TraceItem // where Found

	Stored bool
	New    TraceItem // where Stored
}

// TraceItem is one item of a Trace.
type TraceItem struct {
	Label   avc.SID
	Class   int    // the slab class that memcached would use
	Size    int    // of the value, in bytes
	Exptime uint32 // on the store's clock, 0 for none
}

func (e *Secured) traceItem(it storage.Item) TraceItem {
	class, _, _ := e.store.Class(it.Size())
	return TraceItem{Label: avc.SID(it.Label()), Class: class, Size: len(it.Value()), Exptime: it.Exptime()}
}

// traceFound notes the item that the call has been let to.
func (w *Worker) traceFound(c *Call, it storage.Item) {
	if t := c.Trace; t != nil {
		t.Found, t.Item = true, w.eng.traceItem(it)
	}
}

// TraceOf completes the call's trace when the operation has ended, and returns it.
func (w *Worker) TraceOf(c *Call) *Trace {
	t := c.Trace
	t.Seq, t.Subject, t.Now = c.Client.seq, c.Client.ssid, w.now
	if !t.Found {
		t.Why = w.why
	}
	return t
}

// StoreTime is an exptime of the wire on the store's clock.
func (e *Secured) StoreTime(exptime int64, now uint32) uint32 { return e.exptime(exptime, now) }

// ClassOf implements Interface.
func (e *Secured) ClassOf(c *Call, n int) int {
	if e.TooLarge(c, n) {
		return 0
	}
	return e.store.ClassFor(len(c.Key), c.Flags, n)
}

// Watcher decides which events one client of watch is shown. It belongs to one
// goroutine, which is not an event loop.
type Watcher struct {
	eng    *Secured
	peer   *mac.Peer
	filter Visible
	known  bool
	seq    uint64
	ssid   avc.SID // retained
	watch  bool    // the client has kv_server watch in generation seq
	dump   bool    // and dump
}

// NewWatcher implements Interface.
func (e *Secured) NewWatcher(p *mac.Peer) *Watcher { return &Watcher{eng: e, peer: p} }

// Close releases what the watcher holds.
func (x *Watcher) Close() {
	if x.ssid != 0 {
		x.eng.mon.SIDs().Release(x.ssid)
		x.ssid = 0
	}
}

// refresh finds out again who the client is and what it may do, if the policy has
// changed.
func (x *Watcher) refresh() *mac.Generation {
	e := x.eng
	g := e.mon.Generation()
	if x.known && x.seq == g.Seq {
		return g
	}
	old := x.ssid
	x.ssid = e.mon.Subject(g, x.peer)
	if old != 0 {
		e.mon.SIDs().Release(old)
	}
	x.known, x.seq = true, g.Seq
	x.watch = e.judge(x.ssid, g.Server, avc.ClassServer, avc.ServerWatch).Allowed
	x.dump = e.judge(x.ssid, g.Server, avc.ClassServer, avc.ServerDump).Allowed
	return g
}

// SeesItem says whether the client is shown an event about an item with the label,
// which was found in generation seq.
func (x *Watcher) SeesItem(seq uint64, label avc.SID) bool {
	if x.eng.off {
		return true
	}
	g := x.refresh()
	// The number may stand for another label since.
	return x.watch && seq == g.Seq && x.eng.Visible(g, &x.filter, x.ssid, label)
}

// SeesSubject says whether the client is shown what a client with that subject
// did and that is about no item: if it is its own.
func (x *Watcher) SeesSubject(seq uint64, subject avc.SID) bool {
	if x.eng.off {
		return true
	}
	g := x.refresh()
	return x.watch && seq == g.Seq && subject == x.ssid
}

// SeesConns says whether the client is shown the connections of others.
func (x *Watcher) SeesConns() bool {
	if x.eng.off {
		return true
	}
	x.refresh()
	return x.watch && x.dump
}

// Guarded implements Interface.
func (e *Secured) Guarded(fn func()) {
	if ep := e.announce(); ep != nil {
		defer ep.Close()
	}
	fn()
}
