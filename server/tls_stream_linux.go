package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/storage"
)

// A connection with TLS is served by its loop like any other, without a goroutine
// of its own. crypto/tls reads and writes through a net.Conn that never waits:
//
//	recv --> stream.Read  --> tls.Conn.Read  --> l.area, an item's memory
//	l.out, an item's text --> tls.Conn.Write --> stream.Write --> l.sealed --> send
//
// A read that would wait ends with a temporary error. To crypto/tls that is a read
// deadline that has passed: it keeps what it has of a record and goes on with the
// next read. A write only appends to memory, which the loop sends in one piece; so
// what a deadline would do to a write, tear the connection, cannot happen.
//
// Only the handshake cannot be continued after such an error. It runs before, on a
// thread of its own; see handshaker.

// sealChunk is how much is encrypted before it is sent.
const sealChunk = 64 << 10

// stream is the net.Conn under a connection's tls.Conn.
type stream struct {
	tc    *tls.Conn
	fd    int
	state *tlsState
	chain []*x509.Certificate // of a verified client, its own first; nil: it has shown none

	// pause, during the handshake, waits until the socket is ready. It reports false
	// when the handshake is to end.
	pause func() bool
	hand  *handshaker // that makes it

	// From then on.
	conn    *conn
	drained bool   // the socket has given all it had since the last event
	left    []byte // sealed and not taken by the kernel; owned
}

// errWouldBlock ends a read for which there is nothing at this time.
var errWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errHandshakeEnded = errors.New("the handshake took too long")

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.drained {
			return 0, errWouldBlock
		}
		n, e := recv(s.fd, p)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			if s.pause == nil {
				s.drained = true
			} else if !s.pause() {
				return 0, errHandshakeEnded
			}
		case e != 0:
			return 0, os.NewSyscallError("recv", e)
		case n == 0:
			return 0, io.EOF
		default:
			// As in loop.read: a short read has emptied the socket, unless the end of the
			// input has been announced.
			s.drained = s.conn != nil && n < len(p) && !s.conn.hup
			return n, nil
		}
	}
}

// giveWay is the handshaker's, for whoever has only the connection.
func (s *stream) giveWay() {
	if s.hand != nil {
		s.hand.giveWay()
	}
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	if s.conn != nil {
		l := s.conn.loop
		l.sealed = append(l.sealed, p...)
		return len(p), nil
	}
	s.giveWay() // after the signature
	for done := 0; ; {
		n, e := send(s.fd, p[done:])
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			if s.pause == nil || !s.pause() {
				return done, errHandshakeEnded
			}
		case e != 0:
			return done, os.NewSyscallError("send", e)
		default:
			if done += n; done == len(p) {
				return done, nil
			}
		}
	}
}

// Close implements net.Conn: the descriptor is the connection's.
func (s *stream) Close() error { return nil }

// LocalAddr, RemoteAddr and the deadlines implement net.Conn: nothing here uses
// them.
func (s *stream) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *stream) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// waiting says whether sealed bytes wait for the kernel.
func (s *stream) waiting() bool { return s != nil && len(s.left) > 0 }

// readStream is read for a connection with TLS: it takes records until p is full
// or the socket is empty.
func (l *loop) readStream(c *conn, p []byte) int {
	s := c.stream
	s.drained = false
	n := 0
	var err error
	for n < len(p) && err == nil {
		var k int
		k, err = s.tc.Read(p[n:])
		n += k
	}
	if len(l.sealed) > 0 && l.sendSealed(s) != 0 { // alerts, key updates
		l.close(c)
		return 0
	}
	// A full p may not have been all; what is left of the connection after an end or
	// an error is found by the next read.
	c.readable = err != errWouldBlock
	if n == 0 && c.readable {
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			l.srv.tls.protoErrors.Add(1)
		}
		if errors.Is(err, io.EOF) {
			c.reason = closedNormal
		}
		l.close(c)
		return 0
	}
	l.n.bytesRead += uint64(n)
	if s.waiting() {
		// What the client asks of TLS itself is not to be answered without bound.
		l.block(c)
	}
	return n
}

// seal encrypts p. The result is in l.sealed.
func (l *loop) seal(s *stream, p []byte) error {
	_, err := s.tc.Write(p)
	return err
}

// sendSealed sends what has been encrypted. What the kernel does not take is kept.
func (l *loop) sendSealed(s *stream) unix.Errno {
	p := l.sealed
	l.sealed = p[:0]
	if len(s.left) == 0 {
		n, e := send(s.fd, p)
		if e != 0 && e != unix.EAGAIN && e != unix.EINTR {
			return e
		}
		if e == 0 {
			p = p[n:]
		}
	}
	s.left = append(s.left, p...)
	return 0
}

// flushStream is flush for a connection with TLS.
func (l *loop) flushStream(c *conn) {
	s, n := c.stream, 0
	for k := c.first; k >= 0; k = l.segs[k].next {
		for p := l.bytes(&l.segs[k]); len(p) > 0; {
			m := min(len(p), sealChunk)
			if l.seal(s, p[:m]) != nil {
				l.dropSegments(c)
				l.close(c)
				return
			}
			n += m
			p = p[m:]
			if len(l.sealed) < sealChunk {
				continue
			}
			if e := l.sendSealed(s); e != 0 || s.waiting() {
				l.sent(c, n, e)
				return
			}
		}
	}
	l.sent(c, n, l.sendSealed(s))
}

// drainStream sends more of what a blocked connection with TLS has been left with.
// It reports whether all is gone; if not, c waits, or is closed.
func (l *loop) drainStream(c *conn) bool {
	s, u := c.stream, &c.unsent
	for {
		for s.waiting() {
			n, e := send(c.fd, s.left)
			if e == unix.EAGAIN || e == unix.EINTR {
				return false
			}
			if e != 0 {
				l.close(c)
				return false
			}
			s.left = s.left[n:]
		}
		s.left = nil
		if u.empty() {
			return true
		}
		for _, part := range [...]*[]byte{&u.pre, &u.body, &u.post} {
			k := min(len(*part), sealChunk-min(len(l.sealed), sealChunk))
			if k == 0 {
				if len(*part) > 0 {
					break
				}
				continue
			}
			if l.seal(s, (*part)[:k]) != nil {
				l.close(c)
				return false
			}
			l.n.bytesWritten += uint64(k)
			*part = (*part)[k:]
		}
		if len(u.body) == 0 {
			l.unpin(u.item)
			u.item, u.body = storage.Item{}, nil
		}
		if l.sendSealed(s) != 0 {
			l.close(c)
			return false
		}
	}
}

// endStream tells the client that nothing more comes, if that can be told.
func (l *loop) endStream(c *conn) {
	s := c.stream
	_ = s.tc.Close()
	if !s.waiting() && len(l.sealed) > 0 {
		_, _ = send(s.fd, l.sealed) // an alert that the kernel does not take is lost
	}
	l.sealed = l.sealed[:0]
	s.left = nil
}
