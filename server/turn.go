package server

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// turn receives from every ready connection, executes what has come, and sends
// the replies. Connections with at most -R requests go first, and their replies
// leave before the others' are executed: a client that sends thousands of
// commands at once delays only its like. No connection has more than one read
// executed in a turn.
func (l *loop) turn() {
	if len(l.ready) == 0 {
		return
	}
	l.batch, l.ready = l.ready, l.batch[:0]
	l.pos = 0
	chunk := chunkAlone
	if len(l.batch) > manyReady {
		chunk = chunkMany
	}
	work := l.batch[:0]
	for _, c := range l.batch {
		c.queued = false
		if c.fd >= 0 && l.receive(c, chunk) {
			work = append(work, c)
		}
	}
	if len(work) > 1 {
		work = l.small(work)
	}
	for len(work) > 0 {
		work = l.large(work)
	}
	clear(l.batch)
	l.flushAll()
}

// small executes the connections that have at most -R requests and returns the
// others.
func (l *loop) small(work []*conn) (rest []*conn) {
	rest = work[:0]
	for len(work) > 0 {
		// As many connections as can be prefetched for together.
		keys, group := 0, 0
		for group < len(work) && keys < hintGroup {
			c := work[group]
			group++
			if c.large = requests(c.input) > l.budget; !c.large {
				keys = l.scan(c, keys)
			}
		}
		l.eng.Prefetch(l.hashes[:keys])
		for _, c := range work[:group] {
			if c.large || l.runGuarded(c, l.budget) {
				l.n.yields++
				rest = append(rest, c)
			} else {
				l.settle(c)
			}
			if len(l.out) > outFlush {
				l.flushAll()
			}
		}
		work = work[group:]
	}
	if len(rest) > 0 {
		l.flushAll()
	}
	return rest
}

// requests estimates how many requests input holds: a line each, or two for what
// does not look like a get. It decides about precedence and nothing else.
func requests(input []byte) int {
	n := bytes.Count(input, lineFeed)
	if len(input) > 0 && input[0] != 'g' {
		n /= 2
	}
	return n
}

var lineFeed = []byte{'\n'}

// large executes all the input of the connections, as far as prefetching
// reaches, and returns those that have more.
func (l *loop) large(work []*conn) (more []*conn) {
	more = work[:0]
	for len(work) > 0 {
		keys, group := 0, 0
		for group < len(work) && keys < hintGroup {
			keys = l.scan(work[group], keys)
			group++
		}
		l.eng.Prefetch(l.hashes[:keys])
		for _, c := range work[:group] {
			if l.runGuarded(c, hintKeys) {
				more = append(more, c)
			} else {
				l.settle(c)
			}
			if len(l.out) > outFlush || c.nseg >= maxSegs {
				l.flushAll()
			}
		}
		work = work[group:]
	}
	return more
}

// receive reads once from c, or takes what c has left over. It reports whether
// there is input to execute.
func (l *loop) receive(c *conn, chunk int) bool {
	switch {
	case c.runnable:
		c.runnable = false
		c.input, c.owned = c.in, true
		return true
	case c.phase == phaseUpload && c.up.off < len(c.up.value):
		if l.receiveUpload(c) {
			c.input, c.owned = nil, false
			return true
		}
		return false
	case len(c.in) > longInput:
		return l.receiveLong(c)
	}
	held := len(c.in)
	if l.pos+held+chunk > len(l.area) {
		l.enqueue(c) // no room in this turn
		return false
	}
	p := l.area[l.pos:]
	n := l.read(c, p[held:held+chunk:held+chunk])
	if n == 0 {
		return false
	}
	copy(p, c.in)
	l.release(c)
	c.input, c.owned = p[:held+n:held+n], false
	l.pos += held + n
	return true
}

// receiveLong reads the rest of a long line into the connection's own buffer.
func (l *loop) receiveLong(c *conn) bool {
	if cap(c.in)-len(c.in) < chunkMany {
		c.in = append(make([]byte, 0, 2*cap(c.in)), c.in...)
	}
	n := l.read(c, c.in[len(c.in):cap(c.in)])
	if n == 0 {
		return false
	}
	c.in = c.in[:len(c.in)+n]
	c.input, c.owned = c.in, true
	return true
}

// read is one recv(2) into p with all that follows from its result. It returns
// the number of bytes read, 0 if there are none to execute.
func (l *loop) read(c *conn, p []byte) int {
	if c.stream != nil {
		return l.readStream(c, p)
	}
	n, e := recv(c.fd, p)
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		c.readable = e == unix.EINTR
		l.enqueue(c)
		return 0
	case e != 0:
		l.close(c)
		return 0
	case n == 0:
		// The end of the input. Whatever is incomplete never will be complete.
		c.reason = closedNormal
		l.close(c)
		return 0
	}
	l.n.bytesRead += uint64(n)
	// A short read has emptied the socket, and the next byte makes a new edge; but
	// an end of input that has been announced does not.
	c.readable = n == len(p) || c.hup
	return n
}

// receiveUpload reads a large value into its item, and reports whether it is complete.
func (l *loop) receiveUpload(c *conn) bool {
	n := l.read(c, c.up.rest())
	if n == 0 {
		return false
	}
	c.up.off += n
	if c.readable && l.pull(c) || len(c.up.rest()) == 0 {
		return true
	}
	l.enqueue(c)
	return false
}

// pull reads more of an upload while its connection is executed, so that a value that has arrived
// is stored in the turn that began it. It reports whether the upload is complete. The end of the
// input, or an error, is left for the next turn: the replies so far go first. What
// comes through TLS waits for its own goroutine and is read by the turn.
func (l *loop) pull(c *conn) bool {
	if c.stream != nil {
		return false
	}
	u := &c.up
	for range maxPulls {
		p := u.rest()
		if len(p) == 0 {
			return true
		}
		n, e := recv(c.fd, p)
		if n <= 0 || e != 0 {
			c.readable = e != unix.EAGAIN
			return false
		}
		l.n.bytesRead += uint64(n)
		u.off += n
		if c.readable = n == len(p) || c.hup; !c.readable {
			break
		}
	}
	return len(u.rest()) == 0
}

// maxPulls bounds how often one connection is read from in one turn.
const maxPulls = 8

// release gives c's own buffer back.
func (l *loop) release(c *conn) {
	if c.in != nil {
		l.buffers.put(c.in)
		c.in = nil
	}
}

// settle ends a connection's part in a turn: what it has not executed is kept,
// and it is put into the next turn if it can go on.
func (l *loop) settle(c *conn) {
	if c.fd < 0 {
		c.input = nil
		return
	}
	if c.hanging {
		c.input = nil
		if c.nseg == 0 && !c.blocked {
			l.close(c)
		}
		return
	}
	switch rest := c.input; {
	case c.owned && len(rest) == len(c.in):
	case c.owned && len(rest) > 0:
		c.in = c.in[:copy(c.in, rest)]
	case len(rest) > 0:
		c.in = append(l.buffers.get(max(len(rest), c.need)), rest...)
	case c.owned:
		l.release(c)
	}
	c.input = nil
	l.enqueue(c)
}
