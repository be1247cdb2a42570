package server

import (
	"strconv"
	"time"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/mac"
	"sememcached/protocol"
	"sememcached/storage"
)

// eventKind is what an event tells.
type eventKind uint8

const (
	itemGet eventKind = iota + 1
	itemStore
	itemDeleted
	itemEvicted
	connNew
	connClose
	sysCrawl
)

// logEvent is one line of watch before it is written. It holds no references but
// the peer's, which is immutable.
type logEvent struct {
	stream protocol.Streams
	kind   eventKind
	item   bool // it is about an item, with label
	nkey   uint8
	key    [protocol.KeyMax]byte
	at     time.Time

	seq     uint64 // the generation in which the numbers count
	subject avc.SID
	label   avc.SID

	status string
	cmd    string
	class  int
	size   int
	ttl    uint32
	la     uint32
	fetch  bool
	cfd    int
	peer   *mac.Peer
	reason string
	pass   engine.CrawlPass
}

// visible says whether a watcher may be shown the event: one about an item by
// getattr on it, one about a request that met no item only to the same subject,
// and one about a connection, or about the server itself, only with kv_server dump.
func (e *logEvent) visible(w *engine.Watcher) bool {
	switch {
	case e.kind == connNew || e.kind == connClose || e.kind == sysCrawl:
		return w.SeesConns()
	case e.item:
		return w.SeesItem(e.seq, e.label)
	}
	return w.SeesSubject(e.seq, e.subject)
}

// append appends the event's line, in memcached's form.
func (e *logEvent) append(dst []byte, gid uint64) []byte {
	num := func(name string, n uint64) {
		dst = append(dst, name...)
		dst = strconv.AppendUint(dst, n, 10)
	}
	str := func(name, s string) {
		dst = append(dst, name...)
		dst = append(dst, s...)
	}
	// The microseconds are not padded, in memcached neither.
	num("ts=", uint64(e.at.Unix()))
	num(".", uint64(e.at.Nanosecond()/1000))
	num(" gid=", gid)
	key := func(kind string) {
		str(" type=", kind)
		dst = append(dst, " key="...)
		dst = appendURI(dst, e.key[:e.nkey])
	}
	switch e.kind {
	case itemGet:
		key("item_get")
		str(" status=", e.status)
		num(" clsid=", uint64(e.class))
		num(" cfd=", uint64(e.cfd))
		num(" size=", uint64(e.size))
	case itemStore:
		key("item_store")
		str(" status=", e.status)
		str(" cmd=", e.cmd)
		num(" ttl=", uint64(e.ttl))
		num(" clsid=", uint64(e.class))
		num(" cfd=", uint64(e.cfd))
		num(" size=", uint64(e.size))
	case itemDeleted:
		key("deleted")
		str(" cmd=", e.cmd)
		num(" clsid=", uint64(e.class))
		num(" size=", uint64(e.size))
	case itemEvicted:
		key("eviction")
		str(" fetch=", yesNo(e.fetch))
		if e.ttl == 0 {
			str(" ttl=", "-1")
		} else {
			num(" ttl=", uint64(e.ttl))
		}
		num(" la=", uint64(e.la))
		num(" clsid=", uint64(e.class))
		num(" size=", uint64(e.size))
	case connNew, connClose:
		kind, rip, port, transport := "conn_new", "unix", uint64(0), "local"
		if e.kind == connClose {
			kind = "conn_close"
		}
		if p := e.peer; p != nil && p.Addr.IsValid() {
			rip, port, transport = p.Addr.Addr().Unmap().String(), uint64(p.Addr.Port()), "tcp"
			if p.UDP {
				transport = "udp"
			}
		}
		str(" type=", kind)
		str(" rip=", rip)
		num(" rport=", port)
		str(" transport=", transport)
		if e.kind == connClose {
			str(" reason=", e.reason)
		}
		num(" cfd=", uint64(e.cfd))
	case sysCrawl:
		// memcached tells of each class and segment; here one pass is all of them.
		str(" type=lru_crawler crawler=0 lru=", "hot")
		num(" low_mark=", 0)
		num(" next_reclaims=", 0)
		num(" since_run=", uint64(e.pass.SinceRun/time.Second))
		num(" next_run=", uint64(e.pass.NextRun/time.Second))
		num(" elapsed=", uint64(e.pass.Elapsed/time.Second))
		num(" examined=", e.pass.Examined)
		num(" reclaimed=", e.pass.Reclaimed)
	}
	return append(dst, '\n')
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func appendSkipped(dst []byte, n uint64) []byte {
	dst = append(dst, "skipped="...)
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, '\n')
}

// itemStreams are the streams about items.
const itemStreams = protocol.WatchFetchers | protocol.WatchMutations | protocol.WatchDeletions

// trace makes the engine tell of the call what is wanted by somebody.
func (l *loop) trace(k *engine.Call) {
	k.Trace = nil // of the key before, if somebody watched then
	if l.srv.hub.wants(itemStreams) {
		l.traced = engine.Trace{}
		k.Trace = &l.traced
	}
}

// itemEvent is an event of the connection's call.
func (l *loop) itemEvent(s protocol.Streams, kind eventKind, c *conn, t *engine.Trace) logEvent {
	e := l.happened(s, c)
	e.kind, e.seq, e.subject = kind, t.Seq, t.Subject
	e.nkey = uint8(copy(e.key[:], c.call.Key))
	return e
}

// noteLookup tells of a look-up that has ended: every command on an item is one.
func (l *loop) noteLookup(c *conn) {
	if c.call.Trace == nil || !l.srv.hub.wants(protocol.WatchFetchers) {
		return
	}
	t := l.worker.TraceOf(&c.call)
	e := l.itemEvent(protocol.WatchFetchers, itemGet, c, t)
	if t.Found {
		e.status, e.item, e.label, e.class, e.size = "found", true, t.Item.Label, t.Item.Class, t.Item.Size
	} else if e.status = t.Why.String(); !l.limits.NoMac || t.Why == storage.Present {
		// Whose the item was that is gone, or is hidden by a denial, is not known here.
		e.status = storage.Missing.String()
	}
	l.srv.hub.put(&e)
}

// noteGet tells of a get that has ended.
func (l *loop) noteGet(c *conn, hit bool) {
	if l.srv.hub.wanted.Load() == 0 {
		return
	}
	if l.srv.detail.on.Load() {
		l.srv.detail.get(c.call.Key, hit)
	}
	l.noteLookup(c)
}

var storeStatuses = [...]string{
	engine.Stored: "stored", engine.NotStored: "not_stored", engine.Exists: "exists", engine.Miss: "not_found",
	engine.TooLarge: "too_large", engine.NoMemory: "no_memory",
}

// noteStore tells of a store that has ended. Those of meta commands are not
// counted by prefix, in memcached neither.
func (l *loop) noteStore(c *conn, meta bool, n int, st engine.Status) {
	if l.srv.hub.wanted.Load() == 0 {
		return
	}
	k := &c.call
	if !meta && l.srv.detail.on.Load() {
		l.srv.detail.set(k.Key)
	}
	l.noteLookup(c)
	if k.Trace == nil || !l.srv.hub.wants(protocol.WatchMutations) || int(st) >= len(storeStatuses) || storeStatuses[st] == "" {
		return
	}
	t := l.worker.TraceOf(k)
	e := l.itemEvent(protocol.WatchMutations, itemStore, c, t)
	e.status, e.cmd, e.size = storeStatuses[st], engine.Table[k.Op].Name, n
	exptime := l.eng.StoreTime(k.Exptime, t.Now)
	switch {
	case t.Stored:
		e.item, e.label, e.class, e.size = true, t.New.Label, t.New.Class, t.New.Size
		exptime = t.New.Exptime // that of the old item, where it stays
	case t.Found:
		e.item, e.label = true, t.Item.Label
		fallthrough
	default:
		e.class = l.eng.ClassOf(k, n) // of the item that came
	}
	e.expires(exptime, t.Now)
	l.srv.hub.put(&e)
}

// expires sets the event's ttl. memcached subtracts clocks of 32 bits.
func (e *logEvent) expires(exptime, now uint32) {
	if exptime != 0 {
		e.ttl = exptime - now
	}
}

// noteArith tells of an incr or decr that has ended. One that makes the item is,
// to memcached, a look-up and an add, which looks up as well.
func (l *loop) noteArith(c *conn, st engine.Status) {
	k := &c.call
	if k.Trace == nil {
		return
	}
	l.noteLookup(c)
	if st != engine.OK || k.Opt == nil || !k.Opt.View.Created {
		return
	}
	l.noteLookup(c)
	if !l.srv.hub.wants(protocol.WatchMutations) {
		return
	}
	t := l.worker.TraceOf(k)
	e := l.itemEvent(protocol.WatchMutations, itemStore, c, t)
	e.status, e.cmd, e.item = storeStatuses[engine.Stored], engine.Table[engine.OpAdd].Name, true
	e.label, e.class, e.size = t.New.Label, t.New.Class, t.New.Size
	e.expires(t.New.Exptime, t.Now)
	l.srv.hub.put(&e)
}

// noteDelete tells of a delete that has ended.
func (l *loop) noteDelete(c *conn, cmd string, st engine.Status) {
	if l.srv.hub.wanted.Load() == 0 {
		return
	}
	if cmd == "delete" && l.srv.detail.on.Load() {
		l.srv.detail.delete(c.call.Key)
	}
	l.noteLookup(c)
	if c.call.Trace == nil || st != engine.OK || !l.srv.hub.wants(protocol.WatchDeletions) {
		return
	}
	t := l.worker.TraceOf(&c.call)
	e := l.itemEvent(protocol.WatchDeletions, itemDeleted, c, t)
	e.item, e.label, e.class, e.size, e.cmd = t.Found, t.Item.Label, t.Item.Class, t.Item.Size, cmd
	l.srv.hub.put(&e)
}

// removed tells of the items that an mdp removes, if anybody wants to know.
func (h *hub) removed(cfd int) func(uint64, engine.TraceItem, []byte) {
	if !h.wants(protocol.WatchDeletions) {
		return nil
	}
	return func(seq uint64, it engine.TraceItem, key []byte) {
		e := logEvent{
			stream: protocol.WatchDeletions, kind: itemDeleted, at: time.Now(), cfd: cfd, cmd: "mdp",
			item: true, seq: seq, label: it.Label, class: it.Class, size: it.Size,
		}
		e.nkey = uint8(copy(e.key[:], key))
		h.put(&e)
	}
}

// noteConn tells of a connection that comes or goes.
func (l *loop) noteConn(c *conn, kind eventKind, reason string) {
	if !l.srv.hub.wants(protocol.WatchConnevents) {
		return
	}
	e := l.happened(protocol.WatchConnevents, c)
	e.kind, e.peer, e.reason = kind, c.client.Peer, reason
	l.srv.hub.put(&e)
}

// crawled tells of a pass of the crawler.
func (h *hub) crawled(p engine.CrawlPass) {
	if h.wants(protocol.WatchSysevents) {
		h.put(&logEvent{stream: protocol.WatchSysevents, kind: sysCrawl, at: time.Now(), pass: p})
	}
}

// evicted tells of an item that gave way to another. It is called with the item's
// shard locked.
func (h *hub) evicted(v *engine.Evicted) {
	e := logEvent{
		stream: protocol.WatchEvictions, kind: itemEvicted, at: time.Now(),
		item: true, seq: v.Seq, label: v.Item.Label, class: v.Item.Class, size: v.Item.Size,
		fetch: v.Fetched, la: v.Now - min(v.Now, v.LastAccess),
	}
	if v.Item.Exptime != 0 {
		e.ttl = v.Item.Exptime - v.Now
	}
	e.nkey = uint8(copy(e.key[:], v.Key))
	h.put(&e)
}
