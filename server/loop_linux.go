package server

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

const (
	areaSize   = 512 << 10 // what the connections of one turn can send together
	chunkAlone = 64 << 10  // received at most from one connection, when few are ready
	chunkMany  = 16 << 10
	manyReady  = 8
	longInput  = 32 << 10  // input above this is received into the connection's own buffer
	outFlush   = 256 << 10 // replies of one turn above this are sent at once
	maxSegs    = maxParts - 4
	hintGroup  = 128 // connections are executed together until they have this many keys
	hintKeys   = 256 // keys prefetched ahead of execution

	rawWait   = 5                      // ms of epoll_wait that keep the P
	drainTime = 5 * time.Second        // a graceful stop waits this long for verdicts and slow readers
	drainTick = 100 * time.Millisecond // and looks this often
)

// interest is what every connection is registered for, once.
const interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// newcomer is an accepted connection on its way from the acceptor to a loop.
type newcomer struct {
	fd    int
	peer  *mac.Peer
	local *listener

	stream *stream // with TLS, after its handshake
}

// stops of a loop.
const (
	running  = iota
	draining // answer what has been received, then close
	stopping // close
)

// loop is one event loop. Its fields belong to its goroutine, but for the inbox.
type loop struct {
	srv    *Server
	eng    engine.Interface
	worker *engine.Worker
	ep     int
	events []unix.EpollEvent
	limits protocol.Limits
	budget int  // -R
	tight  bool // -I is small: see storeInline

	slots   slots
	ready   []*conn // to be received from and executed in the next turn
	batch   []*conn // those of this turn
	dirty   []*conn // with replies in segs
	buffers buffers
	area    []byte // received in this turn
	pos     int
	out     []byte // replies of this turn
	segs    []segment
	untold  int  // where in out begins what the access log was not told of the reply that is made
	telling bool // the access log is told
	mark    int  // where the running connection's replies in out begin
	gather  gather
	sealed  []byte // TLS: encrypted and not yet sent, of one connection
	hashes  [hintKeys]uint64
	spans   [hintKeys]span     // where the keys of hashes are
	hint    int                // the first of them that the running connection may come to
	hints   int                // and the first that it will not
	keys    [hintKeys]cnp.Span // for the key rules: the same from the first key of the line on
	located [hintKeys]cnp.Span // and the keys of a line that the scan did not find
	req     protocol.Request
	status  protocol.Status // of a binary request that the parser has ended
	opt     engine.Options  // of the request that is being executed
	meta    metaHead
	binary  binaryHead
	traced  engine.Trace // of the request, when somebody watches

	watchers []*conn      // that watch
	watched  atomic.Bool  // lines may wait for one of them
	clock    atomic.Int32 // of its thread's processor time, for clockTime; 0: it has not begun
	udp      []*udpSocket
	datagram []byte        // received by UDP
	control  [8 << 10]byte // what came with it: a label is a page at most
	n        loopCounters
	stop     int
	stopAt   time.Time
	sweepAt  uint32 // worker time of the next look for idle connections

	// The inbox: written by others, emptied by the loop.
	mu       sync.Mutex
	newcomes []newcomer // +checklocks:mu
	logins   []*login   // +checklocks:mu that are over
	expelled []uint64   // +checklocks:mu; tags of connections to be closed
	order    int        // +checklocks:mu
	wakefd   int        // +checklocks:mu; -1 when the loop has ended
	woken    atomic.Bool
}

func newLoop(s *Server) (*loop, error) {
	l := &loop{
		srv: s, eng: s.eng, budget: s.set.ReqsPerEvent, tight: s.set.MaxItem <= smallItems,
		limits: s.limits,
		events: make([]unix.EpollEvent, 256),
		area:   make([]byte, areaSize),
		out:    make([]byte, 0, outFlush+chunkAlone),
		segs:   make([]segment, 0, 512),
	}
	var err error
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		closeFD(l.ep)
		return nil, err
	}
	ev := event(unix.EPOLLIN, wakeGen<<32)
	if err = unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, l.wakefd, &ev); err != nil {
		closeFD(l.ep)
		closeFD(l.wakefd)
		return nil, err
	}
	l.worker = s.eng.NewWorker(l.wake)
	return l, nil
}

// wake makes the loop look at its inbox and at the engine's answers. Any
// goroutine may call it, also after the loop has ended.
func (l *loop) wake() {
	if l.woken.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wakefd >= 0 {
		one := [8]byte{7: 1}
		_, _ = unix.Write(l.wakefd, one[:]) // fails only when it would wake twice
	}
}

// adopt gives the loop a connection. It reports false when the loop has ended.
func (l *loop) adopt(n newcomer) bool {
	l.mu.Lock()
	if l.wakefd < 0 {
		l.mu.Unlock()
		return false
	}
	l.newcomes = append(l.newcomes, n)
	l.mu.Unlock()
	l.wake()
	return true
}

// halt tells the loop to drain or to stop.
func (l *loop) halt(how int) {
	l.mu.Lock()
	l.order = max(l.order, how)
	l.mu.Unlock()
	l.wake()
}

// serve runs the loop until it is halted.
func (l *loop) serve() {
	runtime.LockOSThread() // for good: the thread, whose slice is its own, ends with the goroutine
	nameThread(loopThread)
	l.clock.Store(threadClock(unix.Gettid()))
	l.srv.roster.enterLoop(l.srv.set.PreferLoops)
	quiet := false
	for {
		n := l.wait(quiet)
		l.worker.Begin()
		work := n > 0 || len(l.ready) > 0
		for i := range l.events[:n] {
			l.event(&l.events[i])
		}
		l.turn()
		if l.srv.set.IdleTimeout > 0 {
			l.sweep()
		}
		if l.stop != running && l.wind() {
			l.worker.End(true)
			break
		}
		quiet = !work
		l.worker.End(len(l.ready) == 0)
	}
	l.releaseAll()
}

// releaseAll gives back what newLoop and the inbox hold.
func (l *loop) releaseAll() {
	l.mu.Lock()
	closeFD(l.wakefd)
	l.wakefd = -1
	left := l.newcomes
	l.newcomes = nil
	l.mu.Unlock()
	for _, n := range left {
		closeFD(n.fd)
		l.srv.conns.Add(-1)
	}
	closeFD(l.ep)
}

func releaseAll(ls []*loop) {
	for _, l := range ls {
		l.releaseAll()
	}
}

// wait waits for events: not at all while connections are ready, at first with
// the P in hand, and as an ordinary system call when that brought nothing, or while
// there are handshakes, whose garbage is collected: a goroutine in a system call need
// not be stopped for that, and one that is stopped waits for another thread to give it a
// P again. It costs each turn 0.2 to 0.5 us.
func (l *loop) wait(quiet bool) int {
	for {
		var n int
		var e unix.Errno
		switch {
		case len(l.ready) > 0:
			n, e = epollWaitRaw(l.ep, l.events, 0)
		case l.stop != running:
			n, e = epollWaitBlocking(l.ep, l.events, int(drainTick/time.Millisecond))
		case quiet:
			n, e = epollWaitBlocking(l.ep, l.events, l.patience())
		case l.srv.tls != nil && l.srv.tls.underway.Load() > 0:
			n, e = epollWaitBlocking(l.ep, l.events, rawWait)
		default:
			n, e = epollWaitRaw(l.ep, l.events, rawWait)
		}
		if e == 0 {
			return n
		}
		if e != unix.EINTR {
			panic("server: epoll_wait: " + e.Error())
		}
		if len(l.ready) > 0 {
			return 0
		}
	}
}

// event takes note of one event.
func (l *loop) event(e *unix.EpollEvent) {
	tag := eventTag(e)
	if uint32(tag>>32) == wakeGen {
		if k := uint32(tag); k > 0 {
			l.receiveUDP(l.udp[k-1])
		} else {
			l.inbox()
		}
		return
	}
	c := l.slots.find(tag)
	if c == nil {
		return
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hup = true
		// Nobody is there to be answered any more: a reset, or both directions shut
		// down. A UNIX socket says so too when the client has merely sent its last
		// command and closed, so that one is executed to the end.
		if e.Events&unix.EPOLLERR != 0 || e.Events&unix.EPOLLHUP != 0 && !c.unix {
			if c.parked || c.blocked {
				l.close(c)
				return
			}
		}
	}
	if e.Events&^unix.EPOLLOUT != 0 {
		c.readable = true
	}
	if c.blocked && e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.drain(c)
		return
	}
	l.enqueue(c)
}

// enqueue puts c into the next turn, if there is something that can be done.
func (l *loop) enqueue(c *conn) {
	if c.queued || c.parked || c.blocked || !c.readable && !c.runnable {
		return
	}
	c.queued = true
	l.ready = append(l.ready, c)
}

// inbox takes in whatever other goroutines have left.
func (l *loop) inbox() {
	var b [8]byte
	_, _ = unix.Read(l.wakefd, b[:])
	l.woken.Store(false)
	l.mu.Lock()
	come, gone := l.newcomes, l.expelled
	l.newcomes, l.expelled = nil, nil
	logins := l.logins
	l.logins = nil
	if l.order != running && l.stop == running {
		l.stopAt = time.Now().Add(drainTime)
	}
	l.stop = max(l.stop, l.order)
	l.mu.Unlock()
	for _, n := range come {
		l.open(n)
	}
	for _, tag := range gone {
		if c := l.slots.find(tag); c != nil {
			l.close(c)
		}
	}
	l.worker.Drain(l.findCall, l.unpark)
	l.takeLogins(logins)
	l.inform()
}

func (l *loop) findCall(tag uint64) *engine.Call {
	if c := l.slots.find(tag); c != nil && c.parked {
		return &c.call
	}
	return nil
}

// unpark puts a connection whose answer has come into the next turn.
func (l *loop) unpark(tag uint64) {
	c := l.slots.find(tag)
	if c.udp != nil {
		c.parked = false
		c.input, c.owned = c.in, true
		l.goOnUDP(c)
		return
	}
	c.parked, c.runnable = false, true
	l.enqueue(c)
}

// open makes a connection of a newcomer.
func (l *loop) open(n newcomer) {
	c := &conn{loop: l, fd: n.fd, local: n.local, unix: n.local.unix(), dialect: n.local.dialect, locked: l.srv.auth != nil}
	l.slots.put(c)
	c.client.Peer = n.peer
	c.call.Client = &c.client
	c.call.Tag = c.tag()
	c.lastCmd = l.worker.Now()
	l.n.conns++
	ev := event(interest, c.tag())
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		l.srv.log.Error("cannot watch a connection", "error", err)
		l.close(c)
		return
	}
	l.srv.verbose.opened(c)
	l.noteConn(c, connNew, "")
	if n.stream != nil {
		l.openStream(c, n.stream)
	}
}

// close ends a connection, whatever it is doing.
func (l *loop) close(c *conn) {
	if l.slots.find(c.tag()) != c {
		return
	}
	l.srv.verbose.closed(c)
	if c.udp == nil {
		l.noteConn(c, connClose, closeReasons[c.reason])
	}
	l.unwatch(c)
	l.eng.Disconnect(l.worker, &c.client, &c.call)
	l.dropUnsent(c)
	l.dropSegments(c)
	l.slots.remove(c)
	if c.stream != nil {
		l.endStream(c)
	}
	if c.udp == nil {
		closeFD(c.fd)
		l.srv.conns.Add(-1)
	}
	c.fd = -1
	l.buffers.put(c.in)
	c.in, c.input, c.up = nil, nil, upload{}
	c.parked, c.blocked, c.hanging = false, false, true
}

// wind goes on with a stop. It reports whether the loop has nothing left.
func (l *loop) wind() bool {
	all := l.stop == stopping || time.Now().After(l.stopAt)
	for _, c := range l.slots.conns {
		if c != nil && (all || c.idle()) {
			c.reason = closedShutdown
			l.close(c)
		}
	}
	return l.slots.live == 0
}
