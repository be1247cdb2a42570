package server

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// The path of an event: the loop on which something happens puts it into the
// bounded queue of the hub; the hub's goroutine decides for each watcher whether
// it may know, and appends a line to the watcher's bounded buffer; the loop of
// the watcher's connection sends what is there. An event that finds the queue
// full is dropped and counted; a line that finds a buffer full is skipped, and
// the watcher is told how many were.

// Bounds of watch.
const (
	maxWatchers  = 20   // memcached's WATCHER_LIMIT
	watchQueue   = 1024 // events that wait for the hub
	watchSkipped = 64   // bytes kept free for the line that tells of skipped ones
)

// streamDetail is a bit of hub.wanted beside the streams: stats detail is on.
const streamDetail = 1 << 31

// hub distributes events to watchers. wanted is all that a loop looks at while
// nobody watches.
type hub struct {
	srv     *Server
	wanted  atomic.Uint32 // the streams that somebody watches, and streamDetail
	events  chan logEvent // nil until somebody watches; made once
	written atomic.Uint64 // events queued
	dropped atomic.Uint64 // events that found the queue full
	sent    atomic.Uint64 // lines sent to watchers, or at least in their buffer
	skipped atomic.Uint64 // lines that found a buffer full
	gid     uint64        // the hub's goroutine's

	mu sync.Mutex
	// +checklocks:mu
	watchers []*watcher
	// +checklocks:mu
	started bool
	// +checklocks:mu
	noEvictions func() // ends being told of evictions; nil: not told
	stop        chan struct{}
	ended       sync.WaitGroup
}

// watcher is one client of watch.
type watcher struct {
	streams protocol.Streams
	loop    *loop
	tag     uint64
	sees    *engine.Watcher // the hub's goroutine's
	peer    *mac.Peer       // a copy whose socket is a duplicate
	gone    atomic.Bool
	matcher *cnp.Matcher // the key rules for the watcher in generation seq; the hub's goroutine's
	seq     uint64

	mu sync.Mutex
	// Everything below: +checklocks:mu
	buf     []byte
	skipped uint64
}

// wants says whether events of any of the streams are to be made.
func (h *hub) wants(s protocol.Streams) bool { return h.wanted.Load()&uint32(s) != 0 }

// put queues an event. It does not block.
func (h *hub) put(e *logEvent) {
	select {
	case h.events <- *e:
		h.written.Add(1)
	default:
		h.dropped.Add(1)
	}
}

// detail turns the counting by prefixes on or off.
func (h *hub) detail(on bool) {
	if on {
		h.wanted.Or(streamDetail)
	} else {
		h.wanted.And(^uint32(streamDetail))
	}
}

// add makes a connection a watcher; nil if there are too many.
func (h *hub) add(l *loop, c *conn, streams protocol.Streams) *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) >= maxWatchers {
		return nil
	}
	p := &mac.Peer{FD: -1}
	if c.client.Peer != nil {
		*p = *c.client.Peer
	}
	if p.FD >= 0 {
		// The connection may close, and its descriptor become another's, while the
		// kernel is asked for its label.
		fd, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil
		}
		p.FD = fd
	}
	w := &watcher{streams: streams, loop: l, tag: c.tag(), peer: p, sees: h.srv.eng.NewWatcher(p)}
	h.watchers = append(h.watchers, w)
	if !h.started {
		h.started = true
		h.events = make(chan logEvent, watchQueue)
		h.stop = make(chan struct{})
		h.ended.Go(func() { h.run(h.events, h.stop) })
	}
	h.update()
	return w
}

// update computes wanted. h.mu is held. A loop sees the channel when it sees the
// bits, as both are written before the atomic store.
func (h *hub) update() {
	var all protocol.Streams
	for _, w := range h.watchers {
		if !w.gone.Load() {
			all |= w.streams
		}
	}
	switch evictions := all&protocol.WatchEvictions != 0; {
	case evictions && h.noEvictions == nil:
		h.noEvictions = h.srv.eng.OnEvict(h.evicted)
	case !evictions && h.noEvictions != nil:
		h.noEvictions()
		h.noEvictions = nil
	}
	for {
		old := h.wanted.Load()
		if h.wanted.CompareAndSwap(old, old&streamDetail|uint32(all)) {
			return
		}
	}
}

// remove ends a watcher. The hub's goroutine, which may be using it, releases
// what it holds.
func (h *hub) remove(w *watcher) {
	w.gone.Store(true)
	h.mu.Lock()
	h.update()
	h.mu.Unlock()
	select {
	case h.events <- logEvent{}: // so that it is released soon
	default:
	}
}

// close ends the hub's goroutine, when no loop runs any more.
func (h *hub) close() {
	defer h.ended.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noEvictions != nil {
		h.noEvictions()
		h.noEvictions = nil
	}
	if h.started {
		close(h.stop)
	}
}

// run distributes events until stop.
func (h *hub) run(events chan logEvent, stop chan struct{}) {
	for {
		select {
		case <-stop:
			h.sweep(true)
			return
		case e := <-events:
			h.srv.eng.Guarded(func() {
				h.distribute(&e)
				for n := len(events); n > 0; n-- {
					e := <-events
					h.distribute(&e)
				}
			})
			h.sweep(false)
			h.wake()
		}
	}
}

// live is the list of watchers as it is now.
func (h *hub) live() []*watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watchers[:len(h.watchers):len(h.watchers)]
}

// distribute gives a line to every watcher that may see the event.
func (h *hub) distribute(e *logEvent) {
	if e.stream == 0 {
		return
	}
	h.gid++
	var line [1024]byte
	var text []byte
	for _, w := range h.live() {
		if w.gone.Load() || w.streams&e.stream == 0 || !e.visible(w.sees) || !h.srv.mayWatch(w, e.key[:e.nkey]) {
			continue
		}
		if text == nil {
			text = e.append(line[:0], h.gid)
		}
		if w.add(text, h.srv.set.Tuning.WatcherBuffer) {
			h.sent.Add(1)
		} else {
			h.skipped.Add(1)
		}
	}
}

// add appends a line to what waits for the watcher, limit bytes at most. It
// reports false if there is no room.
func (w *watcher) add(line []byte, limit int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf)+len(line)+watchSkipped > limit {
		w.skipped++
		return false
	}
	if w.skipped > 0 {
		w.buf = appendSkipped(w.buf, w.skipped)
		w.skipped = 0
	}
	w.buf = append(w.buf, line...)
	return true
}

// take appends what waits for the watcher to dst.
func (w *watcher) take(dst []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	dst = append(dst, w.buf...)
	w.buf = w.buf[:0]
	return dst
}

// pending says whether anything waits for the watcher.
func (w *watcher) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buf) > 0
}

// sweep releases the watchers that are gone, or all.
func (h *hub) sweep(all bool) {
	h.mu.Lock()
	keep := make([]*watcher, 0, len(h.watchers))
	var gone []*watcher
	for _, w := range h.watchers {
		if all || w.gone.Load() {
			gone = append(gone, w)
		} else {
			keep = append(keep, w)
		}
	}
	h.watchers = keep
	h.mu.Unlock()
	for _, w := range gone {
		w.sees.Close()
		if w.peer.FD >= 0 {
			closeFD(w.peer.FD)
		}
	}
}

// wake tells the loops of watchers for which something waits.
func (h *hub) wake() {
	for _, w := range h.live() {
		if w.pending() {
			w.loop.watched.Store(true)
			w.loop.wake()
		}
	}
}

// count is the number of watchers.
func (h *hub) count() int {
	n := 0
	for _, w := range h.live() {
		if !w.gone.Load() {
			n++
		}
	}
	return n
}

// watchStreams serves watch [<stream>*]: from its OK on the connection is the
// watcher's, and what the client still sends is not looked at.
func (l *loop) watchStreams(c *conn, r *protocol.Request) outcome {
	r.Noreply = false
	if l.srv.set.NoWatch {
		return l.answer(r, protocol.ReplyWatchOff)
	}
	if c.stage == 0 && l.pipelined(c) {
		return l.answer(r, protocol.ReplyPipelinedWatch)
	}
	a, bad := protocol.ParseAdmin(r)
	if bad != "" {
		return l.answer(r, bad)
	}
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	w := l.srv.hub.add(l, c, a.Streams)
	if w == nil {
		return l.answer(r, protocol.ReplyWatchTooMany)
	}
	c.watcher, c.phase = w, phaseWatch
	l.watchers = append(l.watchers, c)
	l.out = append(l.out, protocol.ReplyOK...)
	return done
}

// goOnWatch is what a watcher's connection does in a turn: it forgets its input
// and gets the lines that wait for it.
func (l *loop) goOnWatch(c *conn) outcome {
	c.input = c.input[len(c.input):]
	l.out = c.watcher.take(l.out)
	return done
}

// inform sends the lines that wait for watchers of this loop. It runs before the
// turn; a connection that is blocked goes on when its replies have left.
func (l *loop) inform() {
	if !l.watched.Swap(false) {
		return
	}
	keep := l.watchers[:0]
	for _, c := range l.watchers {
		if c.fd < 0 || c.watcher == nil {
			continue
		}
		keep = append(keep, c)
		if c.watcher.pending() {
			c.runnable = true
			l.enqueue(c)
		}
	}
	clear(l.watchers[len(keep):])
	l.watchers = keep
}

// unwatch ends the watcher of a connection that closes.
func (l *loop) unwatch(c *conn) {
	if c.watcher != nil {
		l.srv.hub.remove(c.watcher)
		c.watcher = nil
	}
}

// happened notes the time of an event and who caused it.
func (l *loop) happened(s protocol.Streams, c *conn) logEvent {
	return logEvent{stream: s, at: time.Now(), cfd: c.fd}
}
