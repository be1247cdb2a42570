package server

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/protocol"
)

// Bridge package to expose internals to tests.

const (
	OutFlush = outFlush
	AreaSize = areaSize
)

// RouteOp is the engine operation of a command and whether it is served.
func RouteOp(c protocol.Command) (engine.Op, bool) {
	return routes[c].op, routes[c].do != nil || routes[c].bin != nil
}

// Held is what the loops keep for connections between turns: connections,
// input bytes, unsent bytes, and pinned items.
func (s *Server) Held() (conns, input, unsent, pinned int) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.worker.Inspect(nil, func() {
			for _, c := range l.slots.conns {
				if c == nil {
					continue
				}
				conns++
				input += cap(c.in)
				unsent += len(c.unsent.pre) + len(c.unsent.post)
				if len(c.unsent.body) > 0 {
					pinned++
				}
			}
		})
	}
	return conns, input, unsent, pinned
}

// Opened is how many connections the loops have had so far.
func (s *Server) Opened() (n int) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.worker.Inspect(nil, func() { n += int(l.n.conns) })
	}
	return n
}

// Parked is how many connections wait for the engine.
func (s *Server) Parked() (n int) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.worker.Inspect(nil, func() {
			for _, c := range l.slots.conns {
				if c != nil && c.parked {
					n++
				}
			}
		})
	}
	return n
}

// ParseInterfaces is parseInterfaces, as text.
func ParseInterfaces(lists []string, port int) ([]string, error) {
	as, err := parseInterfaces(lists, port)
	var out []string
	for _, a := range as {
		out = append(out, a.String())
	}
	return out, err
}

// LockHeldIn tells how a panic in a function with that name would be judged.
func LockHeldIn(fn func()) (held bool) {
	defer func() {
		if recover() != nil {
			pcs := make([]uintptr, 64)
			held = lockHeld(pcs[:runtime.Callers(2, pcs)])
		}
	}()
	fn()
	return false
}

// PanicOn makes dispatch of a command panic until undo is called.
func PanicOn(c protocol.Command) (undo func()) {
	old := routes[c]
	routes[c].do = func(*loop, *conn, *protocol.Request) outcome { panic("planted") }
	return func() { routes[c] = old }
}

// SetHandshakeTime changes how long a handshake may take until undo is called.
func SetHandshakeTime(d time.Duration) (undo func()) {
	old := handshakeTime
	handshakeTime = d
	return func() { handshakeTime = old }
}

// LookAtCertFiles does what the server does every two seconds.
func (s *Server) LookAtCertFiles() { s.refreshChanged() }

// CertFilesChanged is what tells the server, when it looks, that it has to read the
// files again; nothing is read.
func CertFilesChanged(set TLS) (changed func() bool, err error) {
	t, err := newTLSService(set)
	return func() bool {
		t.refreshing.Lock()
		defer t.refreshing.Unlock()
		return t.changed()
	}, err
}

// SetTLSClock replaces the clock by which certificates are judged.
func (s *Server) SetTLSClock(now func() time.Time) { s.tls.clock.Store(&now) }

// ParseCiphers is parseCiphers.
var ParseCiphers = parseCiphers

// CipherNames are the names and words of cipher lists that stand for suites that Go has,
// and words for others.
func CipherNames() (suites map[string]uint16, words, absent []string) {
	return opensslNames, slices.Sorted(maps.Keys(cipherWords)), absentWords
}

// ConnSize is the size of a connection in memory, without buffers.
const ConnSize = unsafe.Sizeof(conn{}) + unsafe.Sizeof(mac.Peer{})

// FakeRecvmsg makes every datagram bring control messages, until the returned function
// is called. No server may run while it changes.
func FakeRecvmsg(control []byte, flags int) (restore func()) {
	real := recvmsg
	recvmsg = func(fd int, p, oob []byte, _ int) (n, oobn, recvflags int, from unix.Sockaddr, err error) {
		n, _, _, from, err = real(fd, p, nil, 0)
		return n, copy(oob, control), flags, from, err
	}
	return func() { recvmsg = real }
}

// Users is one reading of a file of users.
type Users struct{ u *users }

// ReadUsers reads a file as -Y does; key makes the choice of stand-ins.
func ReadUsers(file string, key [32]byte) (*Users, error) {
	u, err := readUsers(file, false, key)
	return &Users{u}, err
}

// Verify is what a verifier asks.
func (u *Users) Verify(name, secret string) bool { return u.u.verify(name, secret) }

// Work is what Verify does for a name, whatever the password: each check that it makes,
// with all that makes it long or short.
func (u *Users) Work(name string) (checks []string, exists bool) {
	ps, exists := u.u.find(name)
	for _, p := range ps {
		switch {
		case p.bcrypt != nil:
			checks = append(checks, "bcrypt "+string(p.bcrypt[:6]))
		case p.argon != nil:
			checks = append(checks, fmt.Sprint("argon2id ", p.argon.memory, p.argon.time, p.argon.lanes, len(p.argon.salt), len(p.argon.hash)))
		default:
			checks = append(checks, "plain")
		}
	}
	return checks, exists
}

// AccessLogTo makes the access log go to w, before the first request.
func (s *Server) AccessLogTo(w io.Writer) {
	s.access.dest.w = w
	s.access.poke <- struct{}{}
	s.access.poke <- struct{}{} // the first has been received
}

// HandshakesUnderway is how many handshakes have begun and not ended.
func (s *Server) HandshakesUnderway() int64 { return s.tls.underway.Load() }
