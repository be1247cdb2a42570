package server

import (
	"golang.org/x/sys/unix"

	"sememcached/storage"
)

// segment is a piece of one connection's replies: a part of loop.out, or the
// text of a pinned item. The pieces of a connection are a list through next.
type segment struct {
	lo, hi int32        // in loop.out, when item is nil
	next   int32        // in loop.segs; -1 ends the list
	item   storage.Item // pinned until body has been sent
	body   []byte
}

// begin notes where the replies of c that follow begin.
func (l *loop) begin() { l.mark = len(l.out) }

// commit makes what has been appended to out since begin a part of c's replies.
func (l *loop) commit(c *conn) {
	lo, hi := l.mark, len(l.out)
	l.mark = hi
	if lo == hi {
		return
	}
	if c.nseg > 0 {
		if s := &l.segs[c.last]; s.body == nil && int(s.hi) == lo {
			s.hi = int32(hi)
			return
		}
	}
	l.link(c, segment{lo: int32(lo), hi: int32(hi)})
}

// pinned adds a large hit to c's replies, after what has been appended so far.
func (l *loop) pinned(c *conn, item storage.Item, body []byte) {
	l.commit(c)
	l.link(c, segment{item: item, body: body})
	c.pin = true
	if l.telling {
		l.tell(c)
		c.told.add(body)
	}
}

func (l *loop) link(c *conn, s segment) {
	s.next = -1
	k := int32(len(l.segs))
	l.segs = append(l.segs, s)
	if c.nseg == 0 {
		c.first = k
		l.dirty = append(l.dirty, c)
	} else {
		l.segs[c.last].next = k
	}
	c.last = k
	c.nseg++
}

// flushNow sends c's replies in the middle of a turn, after those that were made before
// them: short ones would have to wait for every large value of the turn. It reports
// whether c can go on.
func (l *loop) flushNow(c *conn) bool {
	l.tell(c)
	l.commit(c)
	l.flushAll()
	l.begin()
	l.untold = len(l.out)
	return !c.blocked && c.fd >= 0
}

// flushAll sends the replies of every connection and starts out afresh.
func (l *loop) flushAll() {
	for i, c := range l.dirty {
		l.flush(c)
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
	if cap(l.out) > 4*outFlush {
		l.out = make([]byte, 0, outFlush+chunkAlone)
	}
	l.out = l.out[:0]
	l.mark = 0
	clear(l.segs)
	l.segs = l.segs[:0]
}

// flush sends c's replies. What the kernel does not take is kept and c blocked;
// an error is kept for the next read to find.
func (l *loop) flush(c *conn) {
	if c.nseg == 0 {
		return
	}
	if c.udp != nil {
		l.collect(c)
		return
	}
	if c.fd < 0 {
		l.dropSegments(c)
		return
	}
	if c.stream != nil {
		l.flushStream(c)
		return
	}
	first := &l.segs[c.first]
	if c.nseg == 1 && first.body == nil {
		p := l.out[first.lo:first.hi]
		n, e := send(c.fd, p)
		if n == len(p) && e == 0 {
			l.n.bytesWritten += uint64(n)
			c.nseg, c.pin = 0, false
			if c.hanging {
				l.close(c)
			}
			return
		}
		l.sent(c, n, e)
		return
	}
	for k := c.first; k >= 0; k = l.segs[k].next {
		l.gather.add(l.bytes(&l.segs[k]))
	}
	n, e := l.gather.send(c.fd)
	l.sent(c, n, e)
}

func (l *loop) bytes(s *segment) []byte {
	if s.body != nil {
		return s.body
	}
	return l.out[s.lo:s.hi]
}

// sent deals with the result of sending c's segments: n bytes are gone, the
// rest is kept, in order.
func (l *loop) sent(c *conn, n int, e unix.Errno) {
	if e != 0 {
		if e != unix.EAGAIN && e != unix.EINTR {
			l.dropSegments(c)
			l.close(c)
			return
		}
		n = 0
	}
	l.n.bytesWritten += uint64(n)
	u := &c.unsent
	for k := c.first; k >= 0; k = l.segs[k].next {
		s := &l.segs[k]
		p := l.bytes(s)
		if n >= len(p) {
			n -= len(p)
			if s.body != nil {
				l.unpin(s.item)
			}
			continue
		}
		p = p[n:]
		n = 0
		switch {
		case s.body != nil:
			u.item, u.body = s.item, p
		case u.body == nil:
			u.pre = append(u.pre, p...)
		default:
			u.post = append(u.post, p...)
		}
	}
	c.nseg, c.pin = 0, false
	if !u.empty() || c.stream.waiting() {
		l.block(c)
	} else if c.hanging {
		l.close(c)
	}
}

// block stops c until the kernel takes more.
func (l *loop) block(c *conn) {
	c.blocked = true
	l.watch(c, interest|unix.EPOLLOUT)
}

// watch changes what c is registered for; the kernel reports afresh what is
// true already.
func (l *loop) watch(c *conn, mask uint32) {
	ev := event(mask, c.tag())
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		l.srv.log.Error("cannot watch a connection", "error", err)
		l.close(c)
	}
}

// drain sends more of what a blocked connection has been left with, and lets it
// go on when all is gone.
func (l *loop) drain(c *conn) {
	if c.stream != nil && !l.drainStream(c) {
		return
	}
	u := &c.unsent
	for !u.empty() {
		for _, p := range [...][]byte{u.pre, u.body, u.post} {
			if len(p) > 0 {
				l.gather.add(p)
			}
		}
		n, e := l.gather.send(c.fd)
		if e == unix.EAGAIN || e == unix.EINTR {
			return
		}
		if e != 0 {
			l.close(c)
			return
		}
		l.n.bytesWritten += uint64(n)
		k := min(n, len(u.pre))
		u.pre, n = u.pre[k:], n-k
		k = min(n, len(u.body))
		u.body, n = u.body[k:], n-k
		u.post = u.post[n:]
		if len(u.body) == 0 {
			l.unpin(u.item)
			u.item, u.body = storage.Item{}, nil
		}
	}
	c.unsent = unsent{}
	if c.hanging {
		l.close(c)
		return
	}
	c.blocked = false
	l.watch(c, interest)
	l.enqueue(c)
}

func (l *loop) unpin(it storage.Item) {
	if !it.Nil() {
		l.eng.Storage().Unpin(it)
	}
}

// dropUnsent forgets what a closed connection has not been sent.
func (l *loop) dropUnsent(c *conn) {
	l.unpin(c.unsent.item)
	c.unsent = unsent{}
}

// dropSegments forgets the replies of this turn of a closed connection.
func (l *loop) dropSegments(c *conn) {
	if c.nseg == 0 {
		return
	}
	for k := c.first; k >= 0; k = l.segs[k].next {
		if l.segs[k].body != nil {
			l.unpin(l.segs[k].item)
		}
	}
	c.nseg, c.pin = 0, false
}
