// Package engine is the storage-engine interface of the server and its one
// implementation, the secured engine: the only place where an item store and a
// verdict of the access vector cache meet.
//
// The interface follows memcached's engine_interface_v1 (allocate, fill, store,
// so that a large value is read straight into its final memory), with one
// difference in principle: a result may be Pending. A verdict that is not in the
// worker's table is never computed under a lock or on an event loop. The engine
// then returns Pending and has changed nothing; a helper goroutine asks, the
// worker is woken, and the same Call is executed again from its look-up.
//
// # Access control
//
// What each operation needs, and what its denial looks like, is data: Table in
// table.go. Every decision is taken before any answer that depends on the item's
// existence, value, cas or time to live, and all permissions for one key come
// from one generation. A denial changes nothing that anybody can see.
//
// # Locks
//
// A Worker belongs to one event loop; its mutex is held by that loop for the
// length of a turn and released whenever it blocks, so that others may read the
// counters. Below it are the store's locks, in their order (shard < class <
// pool). Audit records are written after the shard's lock is released.
package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// Status is the visible outcome of an operation. A denial is translated here
// into what it must look like (a miss, NOT_STORED or Denied), so that no caller
// can tell by accident what the table hides.
type Status uint8

const (
	Failed     Status = iota // nobody can say what happened: SERVER_ERROR
	Pending                  // nothing has changed; execute again when the worker is woken for Call.Tag
	OK                       // done: a hit, DELETED, TOUCHED, RELABELED, OK
	Miss                     // absent, or denied and hidden: END, NOT_FOUND
	Stored                   // STORED
	NotStored                // NOT_STORED
	Exists                   // EXISTS: the cas value differs
	NonNumeric               // incr and decr on a value that is no number
	TooLarge                 // object too large for cache
	NoMemory                 // out of memory storing object
	Denied                   // access denied, shown as such
	BadContext               // the security context given by the client is not valid
	BadPerm                  // mac check names a permission that the class does not have
	Disabled                 // the command exists only with access control on
)

// Form says how Get renders a hit.
type Form uint8

const (
	FormNone    Form = iota // nothing is rendered; Call.Item results are set only
	FormText                // VALUE <key> <flags> <bytes>\r\n<data>\r\n
	FormTextCAS             // VALUE <key> <flags> <bytes> <cas>\r\n<data>\r\n
	FormView                // by Call.Composer
)

// Client is what the engine knows of one connection. It is used by one worker
// at a time. The zero Client is nobody: every operation is denied.
type Client struct {
	Peer *mac.Peer // who is at the other end; immutable once set

	known  bool    // ssid has been resolved in generation seq
	seq    uint64  // the generation in which ssid was resolved
	ssid   avc.SID // the client's SID; retained
	create avc.SID // creation context set by "mac create"; retained; 0: none
	chose  avc.SID // who set it; retained
}

// Call is one request of one client, from its first execution to its result.
// A connection keeps one and calls Reset between requests. Slices are borrowed:
// the caller keeps them unchanged until the call has returned something other
// than Pending.
type Call struct {
	Client *Client
	Tag    uint64 // given back by Worker.Drain when a pending call can be retried

	Op       Op
	Form     Form
	Key      []byte
	Hash     uint64 // Interface.Hash(Key), or 0: computed by the engine
	Flags    uint32
	Exptime  int64  // as on the wire: 0 never, <0 at once, up to 30 days relative, above absolute
	CAS      uint64 // compared by OpCAS, and by any operation with WithCAS set
	WithCAS  bool
	Delta    uint64
	Value    []byte          // data of a store, without CRLF
	Upload   storage.Item    // or: a reserved item that has been filled (Reserve)
	Opt      *Options        // nil: a classic command
	Composer Composer        // with FormView
	Gen      *mac.Generation // decide by this one, which the server has judged the request in; nil: the newest
	Trace    *Trace          // what the streams of watch want to know; nil: nothing
	// Removed is told of every item that a DeletePrefix removes, whose label is a number
	// of generation seq; the key lives until it returns. It may be nil.
	Removed func(seq uint64, it TraceItem, key []byte)
	Context []byte // mac create, mac relabel: the context; mac check: permission names, blank-separated

	// Results.
	Number uint64       // incr, decr: the new value
	NewCAS uint64       // the cas value of the item stored
	Pinned storage.Item // Get: a large hit; Interface.Storage().Unpin when Body has been sent
	Body   []byte       // Get: what to send from the arena right after dst, when Pinned is set
	Text   []byte       // mac commands, stats: what to answer; owned by the call until Reset

	retry *retry // nil until the call has missed a verdict once; kept for the connection
}

// Interface is a storage engine. Methods that take a Worker are called by the
// worker's own event loop only, with the worker's turn begun; different workers
// may call at the same time.
type Interface interface {
	// NewWorker returns the state of one event loop. wake is called from other
	// goroutines, any number of times, when Drain has something to give back.
	NewWorker(wake func()) *Worker

	// Hash is the hash of a key for Call.Hash and Prefetch.
	Hash(key []byte) uint64
	// Prefetch hints that the keys of these hashes are about to be looked up.
	// Advisory; best with tens of them.
	Prefetch(hashes []uint64)

	// Get serves OpGet, OpGat (which sets a new exptime), OpMetaGet and OpMetaDebug.
	// A hit is appended
	// to dst as Call.Form says, or pinned in Call.Pinned when it is above 16 KiB:
	// the caller then sends Body. Statuses: OK, Miss, Denied, Pending.
	Get(w *Worker, c *Call, dst []byte) ([]byte, Status)

	// Store serves OpSet, OpAdd, OpReplace, OpAppend, OpPrepend and OpCAS with
	// Call.Value, or with Call.Upload, of which it takes ownership unless it
	// returns Pending.
	Store(w *Worker, c *Call) Status
	// StoreRefused is what remains of a store whose value cannot be kept
	// (why: TooLarge or NoMemory): a set loses the old value, if write is allowed.
	// It returns why, or Pending. With Denied, from Reserve, it decides the store
	// now that the request is complete, and returns as Store does; where the value
	// would be stored after all, there is NoMemory for it.
	StoreRefused(w *Worker, c *Call, why Status) Status
	// Reserve takes memory for a value of n bytes that is still arriving, unless
	// nothing would be stored as things are: somebody who may store nothing must
	// not be able to take memory from others. Statuses: OK (Call.Upload is set;
	// Abort or Store ends it), TooLarge, NoMemory, Pending; Denied: the value is to
	// be discarded, and StoreRefused to be called when all of it has come.
	Reserve(w *Worker, c *Call, n int) Status
	// Abort gives a reserved item back.
	Abort(w *Worker, c *Call)
	// TooLarge says whether a value of n bytes under c.Key can never be stored.
	TooLarge(c *Call, n int) bool

	// Delete, Touch, and Arith (OpIncr, OpDecr).
	Delete(w *Worker, c *Call) Status
	Touch(w *Worker, c *Call) Status
	Arith(w *Worker, c *Call) Status

	// Flush serves OpFlush: Call.Exptime is the delay as on the wire.
	Flush(w *Worker, c *Call) Status

	// Authorize asks for the kv_server permissions of Call.Op. OK or Denied or Pending.
	Authorize(w *Worker, c *Call) Status

	// Whoami, Label, Check, Explain, Relabel and CreateContext serve the mac commands.
	// Text answers (without CRLF) are in Call.Text.
	Whoami(w *Worker, c *Call) Status
	Label(w *Worker, c *Call) Status
	Check(w *Worker, c *Call) Status
	Explain(w *Worker, c *Call) Status
	Relabel(w *Worker, c *Call) Status
	CreateContext(w *Worker, c *Call) Status

	// Background runs fn on a helper goroutine, once, and returns Pending until
	// it has ended, then OK: for answers that are long to compute (statistics).
	Background(w *Worker, c *Call, fn func()) Status

	// StatsMac and StatsLabels append STAT pairs. They may be slow and are called
	// from Background; StatsLabels shows ssid only labels with getattr.
	StatsMac(emit func(name, value string))
	StatsLabels(c *Call, emit func(name, value string))
	// StatsData does so with what is known of the data file.
	StatsData(emit func(name, value string))
	// NewDump begins a listing of items, and Dump goes on with it: it gives at most
	// 256 items to emit, until that returns false, and reports whether there are
	// more. Hidden says whether items exist under a prefix that the client may not
	// know of. Dump and Hidden are slow and are called from Background.
	NewDump(c *Call, prefix, after []byte) *Dump
	Dump(d *Dump, emit func(it *DumpItem) bool) (more bool)
	Hidden(c *Call, prefix []byte) bool
	// OnEvict makes fn be told of every live item that is evicted, until stop is
	// called. fn runs under the lock of the item's shard: it must be quick and must
	// not call the engine.
	OnEvict(fn func(*Evicted)) (stop func())
	// Known makes sure that it is known who the call's client is, for work in its
	// name on another goroutine.
	Known(w *Worker, c *Call)
	// DeletePrefix removes the items whose keys begin with prefix and on which the
	// call's client has remove, and returns their number. It is slow and is called
	// from Background. ok is false when that is not kept: the disk has failed.
	DeletePrefix(c *Call, prefix []byte) (removed uint64, ok bool)
	// NewWatcher returns what decides which events the client at p is shown. p
	// keeps its socket open until the watcher is closed.
	// Guarded runs fn, on a goroutine that is no event loop, so that the numbers of
	// labels that it looks at are not reused before it has ended.
	NewWatcher(p *mac.Peer) *Watcher
	Guarded(fn func())
	// StoreTime is an exptime of the wire on the store's clock.
	StoreTime(exptime int64, now uint32) uint32
	// ClassOf is the slab class that memcached would use for an item with the call's
	// key and flags and a value of n bytes; 0 if it is too large.
	ClassOf(c *Call, n int) int
	// NewCrawler returns a crawler over the item store, which is off.
	NewCrawler() *Crawler
	// Counters is the sum over all workers and the store, since the last reset.
	Counters(w *Worker) Counters
	// ResetStats zeroes the counters that memcached's "stats reset" zeroes.
	ResetStats(w *Worker)
	// Store gives read-only statistics of the item store.
	Storage() *storage.Store

	// Become makes the client the one that p describes, as if it had just connected:
	// its creation context is gone. It is called between two calls of the client.
	Become(cl *Client, p *mac.Peer)

	// Disconnect ends a client: pending questions are dropped, references released.
	Disconnect(w *Worker, cl *Client, c *Call)
}
