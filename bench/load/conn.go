package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	fillDepth = 32
	leftMax   = 4096 // the longest start of a reply line that is kept
)

var (
	replyStored = []byte("STORED\r\n")
	replyEnd    = []byte("END\r\n")
	replyValue  = []byte("VALUE " + keyPrefix)
)

// conn is one connection. It belongs to its thread.
type conn struct {
	fd   int
	slot int32

	start int64 // when the batch was sent, or was due

	// The batch: which requests are sets, the keys of all, and how far it has been
	// answered.
	sets   []bool
	keys   []uint32 // with Verify only
	n, at  int      // requests sent, answered
	keyAt  int      // of keys, the first that may still be answered
	keyEnd int      // of keys, the end of those of the request at

	left    []byte // start of a reply that has not arrived whole
	got     int    // values of the request at that have come
	body    int    // bytes of a value and its CR LF that have not arrived
	bodyKey uint32

	pending []byte // what the kernel did not take of the batch
	sent    int    // of it
}

// issue sends the next batch of c. It reports false when there is nothing left
// to ask for.
func (t *thread) issue(c *conn, now int64) bool {
	out := t.out[:0]
	c.n, c.at, c.keyAt, c.keyEnd = 0, 0, 0, 0
	c.keys = c.keys[:0]
	depth := t.cfg.Depth
	if t.src.filling {
		depth = fillDepth
	}
	for range depth {
		if t.src.filling && t.src.next == t.src.to {
			break
		}
		set := t.src.filling || t.setsOf > 0 && t.src.random()>>32*uint64(t.mixOf)>>32 < uint64(t.setsOf)
		c.sets[c.n] = set
		c.n++
		if t.cfg.Protocol != Text {
			k := t.src.key()
			t.note(c, k)
			switch t.cfg.Protocol {
			case Meta:
				out = t.appendMeta(out, set, k)
			case Binary:
				out = t.appendBinary(out, set, k)
			default:
				out = t.appendRedis(out, set, k)
			}
			continue
		}
		if set {
			k := t.src.key()
			out = append(out, "set "...)
			out = AppendKey(out, k)
			out = append(out, t.setTail...)
			out = t.values.appendTo(out, k)
			t.note(c, k)
		} else {
			out = append(out, "get"...)
			for range t.cfg.MultiGet {
				k := t.src.key()
				out = append(out, ' ')
				out = AppendKey(out, k)
				t.note(c, k)
			}
		}
		out = append(out, '\r', '\n')
	}
	t.out = out
	if c.n == 0 {
		return false
	}
	c.start = now
	c.keyEnd = t.keysOf(c)
	t.res.BytesOut += uint64(len(out))
	n, e := send(c.fd, out)
	if e == unix.EAGAIN || e == unix.EINTR {
		n, e = 0, 0
	}
	if e != 0 {
		t.fail("send: %v", e)
		return true
	}
	if n < len(out) {
		c.pending, c.sent = append(c.pending[:0], out[n:]...), 0
		t.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
	}
	return true
}

func (t *thread) note(c *conn, key uint32) {
	if t.cfg.Verify {
		c.keys = append(c.keys, key)
	}
}

// keysOf is the number of keys of the request that is answered next.
func (t *thread) keysOf(c *conn) int {
	if c.sets[c.at] {
		return 1
	}
	return t.cfg.MultiGet
}

// flush sends more of what the kernel did not take at once.
func (t *thread) flush(c *conn) {
	n, e := send(c.fd, c.pending[c.sent:])
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return
	case e != 0:
		t.fail("send: %v", e)
		return
	}
	if c.sent += n; c.sent == len(c.pending) {
		c.pending, c.sent = c.pending[:0], 0
		t.watch(c, unix.EPOLLIN)
	}
}

// receive reads once from c and returns how many requests that has answered.
func (t *thread) receive(c *conn) (answered int) {
	held := copy(t.in, c.left)
	n, e := recv(c.fd, t.in[held:])
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return 0
	case e != 0:
		t.fail("recv: %v", e)
		return 0
	case n == 0:
		t.fail("the server has closed a connection")
		return 0
	}
	t.res.BytesIn += uint64(n)
	before := c.at
	rest := t.consume(c, t.in[:held+n])
	switch {
	case c.at == c.n && len(rest) > 0:
		t.fail("an answer that nobody asked for: %.60q", rest)
	case len(rest) > leftMax:
		t.fail("an endless reply line: %.60q", rest)
	}
	c.left = append(c.left[:0], rest...)
	return c.at - before
}

// consume takes replies from p and returns the start of one that has not
// arrived whole.
func (t *thread) consume(c *conn, p []byte) []byte {
	switch t.cfg.Protocol {
	case Meta, Redis:
		return t.consumeBare(c, p)
	case Binary:
		return t.consumeBinary(c, p)
	}
	for len(p) > 0 && c.at < c.n {
		switch {
		case c.body > 0:
			p = t.takeBody(c, p)
		case c.sets[c.at]:
			if !bytes.HasPrefix(p, replyStored) {
				rest, ok := t.strange(c, p)
				if !ok {
					return p
				}
				p = rest
				continue
			}
			p = p[len(replyStored):]
			t.answered(c)
		case p[0] == 'V' && len(p) >= t.headLen:
			if !bytes.HasPrefix(p, replyValue) || string(p[t.headLen-len(t.headTail):t.headLen]) != t.headTail {
				t.fail("a VALUE line that does not fit: %.60q", p)
				return nil
			}
			t.res.Hits++
			c.got++
			if t.cfg.Verify {
				t.checkKey(c, p[len(replyValue):])
			}
			c.body = t.values.size + len(t.bodyTail)
			p = p[t.headLen:]
		case bytes.HasPrefix(p, replyEnd):
			p = p[len(replyEnd):]
			t.res.Misses += uint64(max(0, t.keysOf(c)-c.got))
			t.answered(c)
		default:
			rest, ok := t.strange(c, p)
			if !ok {
				return p
			}
			p = rest
		}
	}
	return p
}

// answered ends the request that is answered now.
func (t *thread) answered(c *conn) {
	n := t.keysOf(c)
	t.res.Requests++
	t.res.Keys += uint64(n)
	if !c.sets[c.at] {
		t.res.Gets++
	}
	c.at++
	c.got = 0
	c.keyAt = c.keyEnd
	if c.at < c.n {
		c.keyEnd += t.keysOf(c)
	}
}

// strange deals with a line that is no usual reply. ok is false while it has not
// arrived whole.
func (t *thread) strange(c *conn, p []byte) (rest []byte, ok bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return p, false
	}
	if p[0] == 'V' {
		t.fail("a VALUE or VA line that does not fit: %.60q", p[:i+1])
		return nil, true
	}
	t.res.Errors++
	if t.res.Example == "" {
		t.res.Example = fmt.Sprintf("%.100s", p[:i])
	}
	t.answered(c)
	return p[i+1:], true
}

// checkKey compares the key of a VALUE line with those asked for: they come in
// order, and some may be missing.
func (t *thread) checkKey(c *conn, digits []byte) {
	k, ok := parseDigits(digits)
	for ok && c.keyAt < c.keyEnd && c.keys[c.keyAt] != k {
		c.keyAt++
	}
	if !ok || c.keyAt >= c.keyEnd {
		t.wrong("key %.8q was not asked for", digits)
		return
	}
	c.keyAt++
	c.bodyKey = k
}

// compare compares a part of a value and its CR LF with what it should be.
func (t *thread) compare(c *conn, p []byte) {
	t.scratch = append(t.values.appendTo(t.scratch[:0], c.bodyKey), t.bodyTail...)
	off := len(t.scratch) - c.body
	if want := t.scratch[off : off+len(p)]; !bytes.Equal(p, want) {
		t.wrong("value of key %08x, from byte %d: expected %.40q, found %.40q", c.bodyKey, off, want, p)
	}
}

func (t *thread) wrong(format string, args ...any) {
	t.res.Wrong++
	if t.res.Example == "" {
		t.res.Example = fmt.Sprintf(format, args...)
	}
}
