package server

import (
	"time"

	"golang.org/x/sys/unix"

	"sememcached/mac"
	"sememcached/protocol"
)

// acceptor waits on all listeners and deals new connections to the loops, one
// after the other. It is one goroutine; the system calls that tell who the
// client is are made there and not on a loop.
type acceptor struct {
	srv   *Server
	ls    []*listener
	loops []*loop
	next  int
	hands []*handshaker // for listeners with TLS
	hand  int
	ep    int
	stop  int // eventfd

	complained time.Time // when an error was logged last
	waiting    bool      // for room, see fullness
}

func newAcceptor(s *Server, ls []*listener, loops []*loop) (*acceptor, error) {
	a := &acceptor{srv: s, ls: ls, loops: loops}
	var err error
	if a.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if a.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		closeFD(a.ep)
		return nil, err
	}
	err = a.add(a.stop, len(ls))
	for i, l := range ls {
		if err == nil {
			err = a.add(l.fd, i)
		}
	}
	if err != nil {
		closeFD(a.ep)
		closeFD(a.stop)
		return nil, err
	}
	return a, nil
}

func (a *acceptor) add(fd, i int) error {
	ev := event(unix.EPOLLIN, uint64(i))
	return unix.EpollCtl(a.ep, unix.EPOLL_CTL_ADD, fd, &ev)
}

// halt makes serve return.
func (a *acceptor) halt() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(a.stop, one[:]) // fails only when it would wake twice
}

// serve accepts until halt.
func (a *acceptor) serve() {
	defer closeFD(a.ep)
	defer closeFD(a.stop)
	events := make([]unix.EpollEvent, 16)
	for {
		timeout := -1
		if a.waiting && !a.goOn() {
			timeout = fullTick
		}
		n, e := epollWaitBlocking(a.ep, events, timeout)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			panic("server: epoll_wait: " + e.Error())
		}
		for i := range events[:n] {
			k := int(eventTag(&events[i]))
			if k == len(a.ls) {
				return
			}
			a.accept(a.ls[k])
		}
	}
}

// accept takes connections from one listener, at which somebody waits, until there are
// none.
func (a *acceptor) accept(l *listener) {
	for i := range 64 {
		if a.waiting {
			return
		}
		if a.srv.set.WaitAtMaxConns && a.srv.conns.Load() >= int64(a.srv.set.MaxConns) {
			if i == 0 { // later it is not known whether anybody waits: epoll will tell
				a.wait()
			}
			return
		}
		fd, sa, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EAGAIN:
			return
		default:
			// Out of descriptors or memory: whoever waits in the backlog goes on
			// waiting, and the listener is looked at again a little later.
			if now := time.Now(); now.Sub(a.complained) > time.Second {
				a.complained = now
				what := "cannot accept"
				if err == unix.EMFILE || err == unix.ENFILE {
					what += ": expected descriptors for all connections of -c: raise the limit (ulimit -n, LimitNOFILE= of a unit), or lower -c"
				}
				a.srv.log.Error(what, "listener", l.name(), "error", err)
			}
			time.Sleep(10 * time.Millisecond)
			return
		}
		if a.srv.conns.Add(1) > int64(a.srv.set.MaxConns) {
			a.reject(fd)
			continue
		}
		peer := peerOf(fd, sa, l)
		if l.tls != tlsOff {
			a.hand = (a.hand + 1) % len(a.hands)
			if n := (newcomer{fd: fd, peer: peer, local: l}); !a.hands[a.hand].adopt(n) {
				a.srv.dropNewcomer(n)
			}
			continue
		}
		if !a.loops[a.next].adopt(newcomer{fd: fd, peer: peer, local: l}) {
			a.srv.conns.Add(-1)
			closeFD(fd)
		}
		a.next = (a.next + 1) % len(a.loops)
	}
}

// reject tells a surplus client so, as memcached's maxconns_fast does.
func (a *acceptor) reject(fd int) {
	a.srv.rejected.Add(1)
	_, _ = unix.SendmsgN(fd, []byte(protocol.ReplyTooManyConns), nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	closeFD(fd)
	a.srv.conns.Add(-1)
}

// peerOf asks the kernel who is at the other end.
func peerOf(fd int, sa unix.Sockaddr, l *listener) *mac.Peer {
	p := &mac.Peer{FD: fd}
	if l.unix() {
		p.Path = l.path
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p.HasCred, p.UID, p.GID, p.PID = true, cred.Uid, cred.Gid, cred.Pid
		}
		return p
	}
	p.Addr = addrPort(sa)
	if local, err := unix.Getsockname(fd); err == nil {
		p.Local = addrPort(local)
	}
	return p
}
