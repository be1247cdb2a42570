package engine

import (
	"time"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// startOffset is how far the store's clock is ahead of zero when the server
// starts, in seconds: no live time stamp is ever 0, which means "none". The
// value is memcached's (ITEM_UPDATE_INTERVAL + 2).
const startOffset = 62

// maxRelative is the longest exptime that counts from now, 30 days; a larger
// one is absolute UNIX time (protocol.txt, "Expiration times").
const maxRelative = 60 * 60 * 24 * 30

// pinAbove is the size of a value, in bytes, above which a hit is sent from the
// arena instead of being copied to the reply.
const pinAbove = 16 << 10

// Config is what a Secured engine is made of.
type Config struct {
	Store   *storage.Store
	Monitor *mac.Monitor
	// DenyError answers every denial "access denied" instead of hiding it
	// (--mac-deny=error).
	DenyError bool
	// NoCAS turns cas values off (-C): items are stored with cas 0.
	NoCAS bool
	// AVCEntries is the size of each worker's decision table; 0 is 4,096.
	AVCEntries int
	// Clock is UNIX time in seconds; nil is the system's, as it was at the start.
	Clock func() int64
}

// Secured is the storage engine with access control. It implements Interface.
type Secured struct {
	store     *storage.Store
	mon       *mac.Monitor
	denyError bool
	noCAS     bool
	off       bool // --mac=off
	clock     func() int64
	started   int64 // UNIX time of the store clock's zero
	entries   int   // of a worker's decision table, at first
	most      int   // and as far as it may grow

	workers   workerList
	flushes   flushList
	evictions evictions
	jobs      chan struct{} // bounds Background
	prefixes  chan struct{} // of those, what DeletePrefix may take
	data      *Data         // nil: nothing is kept; set before the engine is used
}

var _ Interface = (*Secured)(nil)

// New returns an engine over the store and the monitor. It tells the monitor
// which labels are in use.
func New(cfg Config) *Secured {
	e := &Secured{
		store: cfg.Store, mon: cfg.Monitor,
		denyError: cfg.DenyError, noCAS: cfg.NoCAS,
		clock: cfg.Clock, entries: cfg.AVCEntries,
		off:  !cfg.Monitor.Enabled(),
		jobs: make(chan struct{}, 8), prefixes: make(chan struct{}, 2),
	}
	e.most = e.entries
	if e.entries == 0 {
		e.entries, e.most = tableEntries, tableMost
	}
	if e.clock == nil {
		e.clock = steadyClock()
	}
	e.started = e.clock() - startOffset
	e.flushes.eng = e
	cfg.Monitor.SIDs().OnFree(func(s avc.SID) { cfg.Store.ForgetLabel(uint32(s)) })
	cfg.Monitor.SetLive(func(s avc.SID) bool { return cfg.Store.LabelItems(uint32(s)) > 0 })
	return e
}

// steadyClock is UNIX time that goes on from now by the monotonic clock: nothing
// expires, and no flush comes due, because somebody sets the system's clock. It is
// memcached's (clock_handler in memcached.c).
func steadyClock() func() int64 {
	start := time.Now()
	return func() int64 { return (start.UnixNano() + int64(time.Since(start))) / int64(time.Second) }
}

// Clock is the time on the store's clock: whole seconds, starting at 62. It is
// never before 1.
func (e *Secured) Clock() uint32 { return uint32(max(e.clock()-e.started, 1)) }

// Started is the UNIX time at which the store's clock was zero.
func (e *Secured) Started() int64 { return e.started }

// exptime converts an exptime of the wire to the store's clock: 0 never,
// negative at once, up to 30 days from now, above that absolute UNIX time.
func (e *Secured) exptime(wire int64, now uint32) uint32 {
	switch {
	case wire == 0:
		return 0
	case wire < 0:
		return 1
	case wire <= maxRelative:
		return uint32(wire) + now
	case wire <= e.started:
		return 1
	}
	return uint32(wire - e.started)
}

// Hash implements Interface.
func (e *Secured) Hash(key []byte) uint64 { return e.store.Hash(0, key) }

// Prefetch implements Interface.
func (e *Secured) Prefetch(hashes []uint64) { e.store.Prefetch(hashes) }

// Storage implements Interface.
func (e *Secured) Storage() *storage.Store { return e.store }

// nextCAS is the cas value of the next item stored.
func (e *Secured) nextCAS() uint64 {
	if e.noCAS {
		return 0
	}
	return e.store.NextCAS()
}

// hash is the call's key hash, computed at most once per request.
func (e *Secured) hash(c *Call) uint64 {
	if c.Hash == 0 {
		c.Hash = e.store.Hash(0, c.Key)
	}
	return c.Hash
}
