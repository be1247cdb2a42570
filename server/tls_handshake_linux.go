package server

import (
	"crypto/tls"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/mac"
)

// handshaker is a thread for TLS handshakes. They cost a hundred times what a
// request costs, so they are never made on a loop; and they run at a lower
// priority than the loops and at most as many at a time as there are handshakers,
// so that a storm of them takes only time that nobody else wants, and not even all of
// it; see pace.
//
// crypto/tls makes a handshake in one call, which reads and writes. Here that call
// is a coroutine (iter.Pull): where it would wait for its client it yields, and the
// handshaker goes on with another. So a client that is slow, or says nothing, holds
// up nobody and costs a stack and a descriptor until its time is over.
type handshaker struct {
	srv    *Server
	loops  []*loop       // that get the connections, one after the other
	theirs []unix.PollFd // their epoll sets, for giveWay
	turn   int
	ep     int
	events []unix.EpollEvent
	all    map[uint64]*handshake // those under way, by number
	queue  []*handshake          // the same in the order of their deadlines
	number uint64
	pace   pace

	// The inbox: written by others.
	mu     sync.Mutex
	come   []newcomer // +checklocks:mu
	ended  bool       // +checklocks:mu
	wakefd int        // +checklocks:mu; -1 when ended
}

// handshake is one under way.
type handshake struct {
	newcomer
	number   uint64
	deadline time.Time
	next     func() (struct{}, bool) // goes on with it; false: it has ended
	stop     func()                  // makes it end
	err      error                   // how it has ended
	ended    bool
}

// portion is the most handshakes that are begun, and the most that go on, before a
// handshaker looks again at who else waits and whose time is over. It may rest after each.
const portion = 16

// handshakersFor is how many handshakers a machine with n processors gets.
func handshakersFor(n int) int { return max(1, min(4, n/2)) }

// newHandshaker returns a handshaker that does not run yet.
func newHandshaker(s *Server, loops []*loop) (*handshaker, error) {
	h := &handshaker{srv: s, loops: loops, events: make([]unix.EpollEvent, portion), all: map[uint64]*handshake{}}
	for _, l := range loops {
		h.theirs = append(h.theirs, unix.PollFd{Fd: int32(l.ep), Events: unix.POLLIN})
	}
	var err error
	if h.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if h.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		closeFD(h.ep)
		return nil, err
	}
	ev := event(unix.EPOLLIN, 0)
	if err := unix.EpollCtl(h.ep, unix.EPOLL_CTL_ADD, h.wakefd, &ev); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// adopt gives the handshaker a connection. It reports false when it has ended.
func (h *handshaker) adopt(n newcomer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.come = append(h.come, n)
	h.wake()
	return true
}

// halt makes serve return. The handshakes under way fail.
func (h *handshaker) halt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.wake()
}

// wake ends the wait for events. Preconditions: mu is held.
func (h *handshaker) wake() {
	if h.wakefd >= 0 {
		one := [8]byte{7: 1}
		_, _ = unix.Write(h.wakefd, one[:]) // fails only when it would wake twice
	}
}

// release closes the descriptors.
func (h *handshaker) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	closeFD(h.wakefd)
	closeFD(h.ep)
	h.wakefd, h.ended = -1, true
}

// serve makes handshakes until halt.
func (h *handshaker) serve() {
	// The goroutine ends with its thread: nothing else shall run at its priority.
	// Coroutines run on the thread of whoever made them.
	runtime.LockOSThread()
	defer h.release()
	nameThread(handshakeThread)
	// SCHED_IDLE would be too much: on a busy machine there would be no handshakes at
	// all, and a thread that is never run holds up the garbage collector.
	h.srv.roster.enterNicer(handshakeNice)
	for {
		n, e := epollWaitBlocking(h.ep, h.events, h.patience())
		if e != 0 && e != unix.EINTR {
			panic("server: epoll_wait: " + e.Error())
		}
		if e != 0 {
			n = 0
		}
		for i := range h.events[:n] {
			if k := eventTag(&h.events[i]); k == 0 {
				if !h.inbox() {
					h.stopAll()
					return
				}
			} else if hs := h.all[k]; hs != nil {
				h.goOn(hs)
				h.rest()
			}
		}
		h.expire()
	}
}

// giveWay lets a loop run that wants to. The scheduler does not always see to it: a
// loop that wakes a moment after it slept may have had more than its share and is not
// eligible yet, and a kernel that does not preempt looks again at the next tick, up to
// 4 ms later. So between the parts of a handshake, each of which takes about 0.1 ms,
// the handshaker looks whether there are events that a loop has not fetched, and yields
// if so. Not always: yielding costs the rest of the slice (Linux 6.18), to whoever else wants the processor.
func (h *handshaker) giveWay() {
	if n, _ := unix.Poll(h.theirs, 0); n > 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// patience is how long to wait for events, in milliseconds.
func (h *handshaker) patience() int {
	for len(h.queue) > 0 && h.queue[0].ended {
		h.queue = h.queue[1:]
	}
	if len(h.queue) == 0 {
		return -1
	}
	return int(max(time.Until(h.queue[0].deadline), 0)/time.Millisecond) + 1
}

// expire ends the handshakes that have taken too long.
func (h *handshaker) expire() {
	now := time.Now()
	for len(h.queue) > 0 && (h.queue[0].ended || now.After(h.queue[0].deadline)) {
		hs := h.queue[0]
		h.queue = h.queue[1:]
		if !hs.ended {
			h.abandon(hs)
		}
	}
	if len(h.queue) == 0 {
		h.queue = nil
	}
}

// inbox begins the handshakes of newcomers, not of all of many at once: those that are
// under way shall go on in between, as their time runs. It reports false after halt.
func (h *handshaker) inbox() bool {
	h.mu.Lock()
	ended := h.ended
	n := len(h.come)
	if !ended {
		n = min(n, portion)
	}
	come := h.come[:n]
	if h.come = h.come[n:]; len(h.come) == 0 {
		h.come = nil
		var b [8]byte
		_, _ = unix.Read(h.wakefd, b[:])
	}
	h.mu.Unlock()
	for _, n := range come {
		if ended {
			h.srv.dropNewcomer(n)
		} else {
			h.begin(n)
			h.rest()
		}
	}
	return !ended
}

// rest is between parts of handshakes. In a server that stops no more rests begin.
func (h *handshaker) rest() {
	h.mu.Lock()
	ended := h.ended
	h.mu.Unlock()
	if !ended {
		h.pace.rest()
	}
}

// begin starts one handshake: its first part runs at once.
func (h *handshaker) begin(n newcomer) {
	h.number++
	hs := &handshake{newcomer: n, number: h.number, deadline: time.Now().Add(h.srv.tls.patience)}
	st := h.srv.tls.current.Load()
	s := &stream{fd: n.fd, state: st, hand: h}
	s.tc = tls.Server(s, st.configs[n.local.tls])
	hs.newcomer.stream = s
	hs.next, hs.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if v := recover(); v != nil {
				hs.err = fmt.Errorf("panic: %v", v)
				h.srv.log.Error("panic in a TLS handshake, whose connection is closed", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		s.pause = func() bool { return yield(struct{}{}) }
		hs.err = s.tc.Handshake()
	})
	ev := event(unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET&0xffffffff, hs.number)
	if err := unix.EpollCtl(h.ep, unix.EPOLL_CTL_ADD, n.fd, &ev); err != nil {
		h.srv.log.Error("cannot watch a connection", "error", err)
		hs.stop()
		h.srv.dropNewcomer(n)
		return
	}
	h.all[hs.number] = hs
	h.srv.tls.underway.Add(1)
	h.queue = append(h.queue, hs)
	h.goOn(hs)
}

// goOn continues a handshake until it has to wait again, or ends.
func (h *handshaker) goOn(hs *handshake) {
	h.pace.begin(h.loops)
	h.giveWay()
	_, more := hs.next()
	h.pace.end(h.loops)
	if more {
		return
	}
	h.forget(hs)
	if hs.err != nil {
		h.fail(hs)
		return
	}
	s := hs.newcomer.stream
	s.pause, s.hand = nil, nil
	cs := s.tc.ConnectionState()
	if len(cs.VerifiedChains) > 0 {
		s.chain = cs.PeerCertificates
		peer := *hs.peer
		peer.Extra = append(peer.Extra[:len(peer.Extra):len(peer.Extra)], mac.CertificateIdentities(s.chain[0])...)
		hs.newcomer.peer = &peer
	}
	h.turn++
	if !h.loops[h.turn%len(h.loops)].adopt(hs.newcomer) {
		h.srv.dropNewcomer(hs.newcomer)
	}
	hs.release()
}

// release lets go of all that an ended handshake has held: it may stay in the queue
// behind a slow one until that one's time is over.
func (hs *handshake) release() { *hs = handshake{ended: true} }

// forget takes a handshake off the list of those under way.
func (h *handshaker) forget(hs *handshake) {
	hs.ended = true
	delete(h.all, hs.number)
	h.srv.tls.underway.Add(-1)
	ev := unix.EpollEvent{}
	_ = unix.EpollCtl(h.ep, unix.EPOLL_CTL_DEL, hs.fd, &ev) // fails only for one that is not there
}

// abandon ends a handshake that is under way.
func (h *handshaker) abandon(hs *handshake) {
	hs.stop()
	h.forget(hs)
	if hs.err == nil {
		hs.err = errHandshakeEnded
	}
	h.fail(hs)
}

// fail counts a handshake that has failed and closes its connection.
func (h *handshaker) fail(hs *handshake) {
	h.srv.tls.handshakeErrors.Add(1)
	if h.srv.verbose.level.Load() > 0 {
		h.srv.verbose.printf("%d: TLS handshake failed: %v\n", hs.fd, hs.err)
	}
	// What has not been read would make the kernel reset the connection, and an
	// alert, or the end, might not be seen.
	_ = unix.Shutdown(hs.fd, unix.SHUT_WR)
	var rest [16 << 10]byte
	_, _, _ = unix.Recvfrom(hs.fd, rest[:], unix.MSG_DONTWAIT)
	h.srv.dropNewcomer(hs.newcomer)
	hs.release()
}

// stopAll ends all handshakes: the server stops.
func (h *handshaker) stopAll() {
	for _, hs := range h.all {
		hs.stop()
		h.forget(hs)
		h.srv.dropNewcomer(hs.newcomer)
	}
}

// startHandshakers starts n threads for handshakes. stop ends them, with all
// handshakes under way, and waits for that.
func (s *Server) startHandshakers(n int, loops []*loop) (all []*handshaker, stop func(), err error) {
	var group sync.WaitGroup
	for range n {
		h, err := newHandshaker(s, loops)
		if err != nil {
			for _, h := range all {
				h.release()
			}
			return nil, nil, err
		}
		all = append(all, h)
	}
	for _, h := range all {
		group.Go(h.serve)
	}
	return all, func() {
		for _, h := range all {
			h.halt()
		}
		group.Wait()
	}, nil
}

// dropNewcomer closes a connection that no loop has.
func (s *Server) dropNewcomer(n newcomer) {
	closeFD(n.fd)
	s.conns.Add(-1)
}
