package protocol_test

import (
	"fmt"
	"reflect"
	"strings"

	"sememcached/protocol"
)

// A session is a connection as a server would keep it, around a parser: a
// receive buffer, the rest of a block to be discarded, the rest of an upload.
// handle sees every request whose last byte has arrived; what it returns is
// sent.
type session struct {
	limits protocol.Limits
	handle func(r *protocol.Request, out protocol.Outcome, reply []byte) (send string, quit bool)

	buf     []byte
	need    int
	scanned int

	swallow int
	after   string // to be sent when swallow is 0

	binary  bool // since the first byte
	decided bool

	upload  bool
	request protocol.Request // of the upload; its slices are copies

	sent   strings.Builder
	closed bool
	cutOff bool // by Close
	calls  int  // of the parser
}

// feed hands over the next bytes of the client.
func (s *session) feed(piece []byte) {
	s.buf = append(s.buf, piece...)
	for !s.closed && s.step() {
	}
}

// step does one thing and reports whether there may be another.
func (s *session) step() bool {
	switch {
	case s.swallow > 0:
		n := min(s.swallow, len(s.buf))
		s.buf = s.buf[n:]
		s.swallow -= n
		if s.swallow > 0 {
			return false
		}
		s.sent.WriteString(s.after)
		return true
	case s.upload:
		n := s.request.NBytes
		end := n + 2
		if s.binary {
			end = n
		}
		if len(s.buf) < end {
			return false
		}
		s.upload = false
		r := &s.request
		if !s.binary && (s.buf[n] != '\r' || s.buf[n+1] != '\n') {
			r.BadChunk = true
			reply := []byte(protocol.ReplyBadDataChunk)
			if r.Noreply {
				reply = nil
			}
			s.finish(r, protocol.Reply, reply)
		} else {
			r.Data = s.buf[:n:n]
			s.finish(r, protocol.Ready, nil)
		}
		s.buf = s.buf[end:]
		return true
	case len(s.buf) == 0 || len(s.buf) < s.need:
		return false
	}
	var r protocol.Request
	s.calls++
	if !s.decided {
		s.decided, s.binary = true, s.buf[0] == protocol.MagicRequest
	}
	n, out, reply := s.parse(&r)
	s.need, s.scanned = 0, 0
	switch out {
	case protocol.NeedMore:
		if r.Need <= len(s.buf) || r.Scanned > len(s.buf) || n != 0 {
			panic(fmt.Sprintf("NeedMore with n %d, Need %d, Scanned %d of %d bytes", n, r.Need, r.Scanned, len(s.buf)))
		}
		s.need, s.scanned = r.Need, r.Scanned
		return false
	case protocol.Close:
		s.closed, s.cutOff = true, true
		return false
	case protocol.Upload:
		s.upload = true
		s.request = r
		s.request.Key = append([]byte(nil), r.Key...)
		s.request.Meta.Flags = append([]byte(nil), r.Meta.Flags...)
	default:
		s.finish(&r, out, reply)
	}
	s.buf = s.buf[n:]
	return true
}

// parse calls the parser of the connection's protocol.
func (s *session) parse(r *protocol.Request) (n int, out protocol.Outcome, reply []byte) {
	if !s.binary {
		return protocol.ParseFrom(s.buf, s.scanned, &s.limits, r)
	}
	n, out, status := protocol.ParseBinary(s.buf, &s.limits, r)
	if out == protocol.Reply {
		reply = protocol.AppendBinaryError(nil, r, status)
	}
	return n, out, reply
}

// finish lets handle answer a complete request.
func (s *session) finish(r *protocol.Request, out protocol.Outcome, reply []byte) {
	send, quit := s.handle(r, out, reply)
	if r.Swallow > 0 {
		s.swallow, s.after = r.Swallow, send
	} else {
		s.sent.WriteString(send)
	}
	s.closed = s.closed || quit || r.Hangup
}

// show prints what a parser found as one line.
func show(r *protocol.Request, out protocol.Outcome, reply []byte) string {
	var b strings.Builder
	if out == protocol.Reply {
		fmt.Fprintf(&b, "reply %+q", reply)
		if r.Command != protocol.None {
			fmt.Fprintf(&b, " to %s", r.Command)
		}
		if r.BadChunk {
			fmt.Fprintf(&b, " badchunk key=%q nbytes=%d", r.Key, r.NBytes)
		}
		if r.Swallow > 0 {
			fmt.Fprintf(&b, " swallow=%d", r.Swallow)
		}
		if r.Hangup {
			b.WriteString(" hangup")
		}
		return b.String()
	}
	b.WriteString(r.Command.String())
	field := func(name string, v []byte) {
		if v != nil {
			fmt.Fprintf(&b, " %s=%q", name, v)
		}
	}
	field("key", r.Key)
	if r.Keys != nil && string(r.Keys) != string(r.Key) {
		field("keys", r.Keys)
	}
	if r.Flags != 0 {
		fmt.Fprintf(&b, " flags=%d", r.Flags)
	}
	if r.Exptime != 0 {
		fmt.Fprintf(&b, " exptime=%d", r.Exptime)
	}
	if r.CAS != 0 {
		fmt.Fprintf(&b, " cas=%d", r.CAS)
	}
	if r.Delta != 0 {
		fmt.Fprintf(&b, " delta=%d", r.Delta)
	}
	if len(r.Args) > 0 {
		field("args", r.Args)
	}
	field("context", r.Context)
	field("perms", r.Perms)
	if r.Noreply {
		b.WriteString(" noreply")
	}
	if r.Command >= protocol.MetaGet && r.Command <= protocol.MetaDebug {
		b.WriteString(showMeta(&r.Meta))
	}
	if r.IsBinary {
		fmt.Fprintf(&b, " op=%#02x", r.Binary.Opcode)
		if r.Command == protocol.Incr || r.Command == protocol.Decr {
			fmt.Fprintf(&b, " initial=%d create=%v", r.Binary.Initial, r.Binary.Create)
		}
		if r.Binary.Quiet {
			b.WriteString(" quiet")
		}
		if r.Binary.WithKey {
			b.WriteString(" withkey")
		}
	}
	if r.Command.Stores() || r.Command == protocol.SASLAuth || r.Command == protocol.SASLStep {
		if len(r.Data) > 64 {
			fmt.Fprintf(&b, " data=%d bytes", len(r.Data))
		} else {
			fmt.Fprintf(&b, " data=%q", r.Data)
		}
	}
	return b.String()
}

func showMeta(m *protocol.Meta) string {
	var b strings.Builder
	for token, rest := protocol.NextToken(m.Flags); token != nil; token, rest = protocol.NextToken(rest) {
		fmt.Fprintf(&b, " %q", token)
	}
	for _, f := range []struct {
		name  string
		value any
		zero  bool
	}{
		{"mode", string(rune(m.Mode)), m.Mode == 0},
		{"ttl", m.TTL, m.TTL == 0},
		{"vivify", m.Vivify, m.Vivify == 0},
		{"recache", m.Recache, m.Recache == 0},
		{"newcas", m.NewCAS, m.NewCAS == 0},
		{"initial", m.Initial, m.Initial == 0},
		{"binary", m.Binary, !m.Binary},
	} {
		if !f.zero {
			fmt.Fprintf(&b, " %s=%v", f.name, f.value)
		}
	}
	return b.String()
}

// script runs input, cut at the given ascending offsets, through a session that
// prints what it finds, a line each.
func script(input []byte, limits protocol.Limits, cuts []int) (text string, calls int) {
	s := session{limits: limits}
	s.handle = func(r *protocol.Request, out protocol.Outcome, reply []byte) (string, bool) {
		line := show(r, out, reply) + "\n"
		if out == protocol.Ready && isAdmin(r.Command) && !r.IsBinary {
			line += showAdmin(r)
		}
		return line, r.Command == protocol.Quit
	}
	start := 0
	for _, cut := range append(cuts, len(input)) {
		if !s.closed {
			s.feed(input[start:cut])
		}
		start = cut
	}
	switch {
	case s.closed:
		s.sent.WriteString("close\n")
	case s.swallow > 0:
		fmt.Fprintf(&s.sent, "swallowing %d\n", s.swallow)
	case len(s.buf) > 0 || s.upload && s.request.NBytes > 0:
		s.sent.WriteString("waiting\n")
	}
	return s.sent.String(), s.calls
}

// showAdmin prints what the arguments of an administrative command ask for.
func showAdmin(r *protocol.Request) string {
	a, bad := protocol.ParseAdmin(r)
	if bad != "" {
		return fmt.Sprintf("  %s refused %q\n", a.Action, bad)
	}
	line := "  " + a.Action.String()
	fields := reflect.ValueOf(a)
	for i := range fields.NumField() {
		if name := fields.Type().Field(i).Name; name != "Action" && !fields.Field(i).IsZero() {
			line += fmt.Sprintf(" %s=%v", name, fields.Field(i))
		}
	}
	return line + "\n"
}

func isAdmin(c protocol.Command) bool {
	switch c {
	case protocol.Shutdown, protocol.CacheMemlimit, protocol.Slabs, protocol.LRU, protocol.LRUCrawler,
		protocol.Stats, protocol.Watch, protocol.Extstore:
		return true
	}
	return false
}
