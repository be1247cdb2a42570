package server

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fullness is what is known of times when there were -c connections and clients
// waited in the backlog (-o no_maxconns_fast; memcached's accept_new_conns).
type fullness struct {
	now   atomic.Bool // nothing is accepted
	times atomic.Uint64
	past  atomic.Int64 // nanoseconds of those times that have ended
	since atomic.Int64 // UNIX nanoseconds of the begin of this one
}

// fullTick is how often, in milliseconds, the acceptor looks whether a connection
// has gone; memcached's.
const fullTick = 10

// micros is how long nothing was accepted, in microseconds.
func (f *fullness) micros() uint64 {
	t := time.Duration(f.past.Load())
	if f.now.Load() {
		t += time.Duration(time.Now().UnixNano() - f.since.Load())
	}
	return uint64(max(t, 0) / time.Microsecond)
}

// wait stops accepting until goOn.
func (a *acceptor) wait() {
	a.waiting = true
	f := &a.srv.full
	f.since.Store(time.Now().UnixNano())
	f.times.Add(1)
	f.now.Store(true)
	a.listen(0)
}

// goOn accepts again if a connection has gone, and reports whether it does.
func (a *acceptor) goOn() bool {
	if a.srv.conns.Load() >= int64(a.srv.set.MaxConns) {
		return false
	}
	a.waiting = false
	f := &a.srv.full
	f.past.Add(time.Now().UnixNano() - f.since.Load())
	f.now.Store(false)
	a.listen(unix.EPOLLIN)
	return true
}

// listen sets what the listeners are watched for.
func (a *acceptor) listen(interest uint32) {
	for i, l := range a.ls {
		ev := event(interest, uint64(i))
		if err := unix.EpollCtl(a.ep, unix.EPOLL_CTL_MOD, l.fd, &ev); err != nil {
			panic("server: epoll_ctl: " + err.Error()) // the listener is in the set since the start
		}
	}
}
