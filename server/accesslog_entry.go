package server

import (
	"encoding/binary"
	"strconv"

	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// logRefused tells of a request that the key rules refused, and of its reply.
func (l *loop) logRefused(c *conn, r *protocol.Request, lacks cnp.Mask, reply []byte) {
	if a := l.srv.access; a != nil {
		if e := a.take(true); e != nil {
			e.lacks = lacks
			l.describe(e, c, r)
			e.replied(reply)
			a.queue <- e
		}
	}
}

// told is what the log will say of the reply to a request that is being served. It
// grows as the reply leaves, and stays with the connection while that waits.
type told struct {
	result  [accessResult]byte
	nresult int
	status  int // of a binary reply; -1
	bytes   int
	binary  bool
}

// tell adds what has been appended to out for the request that is being served since
// it was last called.
func (l *loop) tell(c *conn) {
	if !l.telling {
		return
	}
	p := l.out[l.untold:]
	l.untold = len(l.out)
	c.told.add(p)
}

// add adds a part of the reply.
func (t *told) add(p []byte) {
	first := t.bytes == 0
	t.bytes += len(p)
	switch {
	case !first:
	case t.binary:
		if len(p) >= 8 {
			t.status = int(binary.BigEndian.Uint16(p[6:]))
		}
	default:
		for t.nresult < min(len(p), accessResult) && p[t.nresult] > ' ' {
			t.result[t.nresult] = p[t.nresult]
			t.nresult++
		}
	}
}

// logServed tells of a request that has been served, and of the reply that the
// connection was told.
func (l *loop) logServed(c *conn, r *protocol.Request) {
	if a := l.srv.access; a != nil {
		if e := a.take(false); e != nil {
			l.describe(e, c, r)
			if m := c.rules.matcher; l.srv.ruled && m != nil {
				e.rule = m.Why(l.srv.need(r).mask, r.Key)
			}
			e.told = c.told
			a.queue <- e
		}
	}
}

// logStored is logServed for a store whose value came after its line. Its reply is
// in out from start on.
func (l *loop) logStored(c *conn, start int) {
	a := l.srv.access
	if a == nil {
		return
	}
	r := protocol.Request{Command: c.rules.command, Key: c.call.Key, NBytes: c.up.n, IsBinary: c.rules.binary}
	if c.held != nil {
		r = c.held.req
	}
	if e := a.take(false); e != nil {
		l.describe(e, c, &r)
		if m := c.rules.matcher; l.srv.ruled && m != nil {
			e.rule = m.Why(c.rules.need.mask, r.Key)
		}
		e.replied(l.out[start:])
		a.queue <- e
	}
}

// logPanic tells of a connection that is closed because its input made the server
// panic.
func (l *loop) logPanic(c *conn, what string) {
	if a := l.srv.access; a != nil {
		if e := a.take(true); e != nil {
			e.panicked, e.peer = what, c.client.Peer
			a.queue <- e
		}
	}
}

// describe fills in what was asked, and by whom.
func (l *loop) describe(e *accessEntry, c *conn, r *protocol.Request) {
	e.command, e.peer, e.reqBytes = r.Command, c.client.Peer, r.NBytes
	switch {
	case r.IsBinary:
		e.opcode = int16(r.Binary.Opcode)
	case r.Command >= protocol.MetaNoop && r.Command <= protocol.MetaDeletePrefix:
		e.meta = true
	}
	if m := c.rules.matcher; m != nil {
		e.identity = m.Name
	}
	if r.Keys == nil || r.IsBinary {
		if r.Key != nil {
			e.key(r.Key)
		}
		return
	}
	for key, rest := protocol.NextKey(r.Keys); key != nil; key, rest = protocol.NextKey(rest) {
		e.key(key)
	}
}

func (e *accessEntry) key(k []byte) {
	if e.nkeys++; len(e.keys)+1+len(k) <= accessKeys && e.nkeys <= accessKeys {
		e.keys = append(append(e.keys, byte(len(k))), k...)
	}
}

// replied fills in an answer that is there whole.
func (e *accessEntry) replied(p []byte) {
	e.told.binary = e.opcode >= 0
	e.told.add(p)
}

// append appends the entry as JSON:
//
//	timestamp          RFC 3339, microseconds
//	is_ingress         true
//	entry_type         Request or Denied
//	policy_name        of the rule that allowed it
//	cilium_rule_ref    FILE:LINE of that rule
//	source_identity    the labels of the client's identity, world, or unknown
//	source_address     ADDRESS:PORT, unix:uid=UID,pid=PID, udp:ADDRESS:PORT
//	destination_address
//	verdict            Forwarded or Denied
//	missing            Denied: the commands that no rule allows
//	l7                 proto textmemcached, metamemcached or binarymemcached; command;
//	                   opcode (binary); keys; key_count where keys were left out
//	result             the first word of the reply; binary: status, a number
//	request_bytes      of the value
//	reply_bytes
//
// A key is a string in which every byte is one character, U+0000 to U+00FF, so that
// any key comes back from it.
func (e *accessEntry) append(b []byte) []byte {
	str := func(name, value string) {
		b = append(b, ',', '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = appendLatin1(b, value)
	}
	num := func(name string, n int) {
		b = append(b, ',', '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	b = append(b, `{"timestamp":"`...)
	b = e.at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","is_ingress":true`...)
	verdict, kind := "Forwarded", "Request"
	if e.denied {
		verdict, kind = "Denied", "Denied"
	}
	str("entry_type", kind)
	if r := e.rule; r != nil {
		str("policy_name", r.Policy)
		str("cilium_rule_ref", r.At.String())
	}
	if e.identity != "" {
		str("source_identity", e.identity)
	}
	if p := e.peer; p != nil {
		switch {
		case p.UDP:
			str("source_address", "udp:"+p.Addr.String())
		case p.Addr.IsValid():
			str("source_address", p.Addr.String())
		case p.HasCred:
			str("source_address", "unix:uid="+strconv.Itoa(int(p.UID))+",pid="+strconv.Itoa(int(p.PID)))
		}
		if p.Local.IsValid() {
			str("destination_address", p.Local.String())
		} else if p.Path != "" {
			str("destination_address", "unix:"+p.Path)
		}
	}
	str("verdict", verdict)
	if e.lacks != 0 {
		str("missing", e.lacks.String())
	}
	if e.panicked != "" {
		b = append(b, `,"l7":{"proto":"memcache"`...)
		str("status", "Panic: "+e.panicked)
		return append(b, "}}\n"...)
	}
	proto := "textmemcached"
	switch {
	case e.opcode >= 0:
		proto = "binarymemcached"
	case e.meta:
		proto = "metamemcached"
	}
	b = append(b, `,"l7":{"proto":"`...)
	b = append(b, proto...)
	b = append(b, '"')
	str("command", e.command.String())
	if e.opcode >= 0 {
		num("opcode", int(e.opcode))
	}
	if e.nkeys > 0 {
		b = append(b, `,"keys":[`...)
		n := 0
		for k := e.keys; len(k) > 0; n++ {
			if n > 0 {
				b = append(b, ',')
			}
			b = appendLatin1(b, k[1:1+k[0]])
			k = k[1+k[0]:]
		}
		b = append(b, ']')
		if n < e.nkeys {
			num("key_count", e.nkeys)
		}
	}
	b = append(b, '}')
	if e.told.nresult > 0 {
		str("result", string(e.told.result[:e.told.nresult]))
	}
	if e.told.status >= 0 {
		num("status", e.told.status)
	}
	num("request_bytes", e.reqBytes)
	num("reply_bytes", e.told.bytes)
	return append(b, "}\n"...)
}

// appendLatin1 appends a JSON string with one character for each byte.
func appendLatin1[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
