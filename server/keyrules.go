package server

import (
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// Key rules are asked after parse errors and memcached's own switches, and
// before anything else: the engine is not called for a request that they
// refuse. Every key of a request is judged before the first byte of its reply, by
// the rules of one generation, which is also that of the engine's decisions: a
// request that was parked is judged again when it goes on. A refusal tells of the
// policy and not of items, so it is the same whether they are there.

// connRules is what a connection remembers of its rules.
type connRules struct {
	matcher *cnp.Matcher // nil: not asked yet
	seq     uint64       // the generation it is of
	peer    *mac.Peer    // the subject it is of

	// Of the store whose value comes later.
	command protocol.Command
	need    need
	binary  bool
}

// rules is the matcher of the connection in the generation that is in force,
// which becomes that of the connection's call.
func (l *loop) rules(c *conn) *cnp.Matcher {
	g := l.srv.mon.Generation()
	c.call.Gen = g
	m := &c.rules
	if m.matcher != nil && m.seq == g.Seq && m.peer == c.client.Peer {
		return m.matcher
	}
	m.seq, m.peer = g.Seq, c.client.Peer
	context := ""
	if g.Rules.NeedsContext() {
		l.eng.Known(l.worker, &c.call)
		context = l.srv.mon.SIDs().String(c.client.SID())
	}
	m.matcher = g.Rules.Matcher(c.client.Peer, context)
	return m.matcher
}

// admit asks the rules about a request of which no part has been executed, or
// that goes on after it was parked. ok is false when it has been refused, and o
// is to be returned. Administrative commands are asked about later, by
// admitKeyless, behind the switches of the command line.
func (l *loop) admit(c *conn, r *protocol.Request) (o outcome, ok bool) {
	if !l.srv.ruled || c.resuming && c.stage > 0 {
		c.call.Gen = nil // what is asked from here on is asked of the generation in force
		return done, true
	}
	n := l.srv.need(r)
	m := l.rules(c)
	var lacks cnp.Mask
	switch {
	case n.late || n.mask == 0:
		return done, true
	case n.keyless:
		lacks = m.LacksKeyless(n.mask)
	case n.under:
		lacks = m.LacksUnder(n.mask, r.Key)
	case r.Keys != nil && !r.IsBinary: // a binary key is one, whatever is in it
		lacks = l.lacksKeys(m, n.mask, r.Keys)
	default:
		lacks = m.Lacks(n.mask, r.Key)
	}
	if lacks == 0 {
		return done, true
	}
	if c.resuming {
		l.eng.Known(l.worker, &c.call) // lets go of what was asked in the generation before
	}
	return l.refuseByRules(c, r, lacks), false
}

// admitKeyless asks the rules about an administrative command.
func (l *loop) admitKeyless(c *conn, r *protocol.Request) (o outcome, ok bool) {
	if !l.srv.ruled || c.stage > 0 {
		c.call.Gen = nil
		return done, true
	}
	if lacks := l.rules(c).LacksKeyless(l.srv.need(r).mask); lacks != 0 {
		return l.refuseByRules(c, r, lacks), false
	}
	return done, true
}

// statusNotMine is the status that Cilium's parser gave to a denial. No memcached
// has it.
const (
	statusNotMine = protocol.Status(0x08)
	bodyNotMine   = "access denied"
)

// refuseByRules answers a request that the rules refuse. Only a classic noreply
// is silent: the quiet forms hide misses and successes, and this is neither.
func (l *loop) refuseByRules(c *conn, r *protocol.Request, lacks cnp.Mask) outcome {
	l.n.ruleDenials++
	start := len(l.out)
	if !r.IsBinary {
		l.answer(r, protocol.ReplyDenied)
	} else {
		l.out = l.appendRuleDenial(l.out, r)
	}
	l.logRefused(c, r, lacks, l.out[start:])
	return done
}

func (l *loop) appendRuleDenial(dst []byte, r *protocol.Request) []byte {
	if l.srv.compat {
		return protocol.AppendBinaryBody(dst, r, statusNotMine, bodyNotMine)
	}
	return protocol.AppendBinaryError(dst, r, protocol.StatusDenied)
}

// admitStore asks the rules about a store of which the line has come and the
// value has not. A refused one is discarded as it comes, and answered then.
func (l *loop) admitStore(c *conn, r *protocol.Request) (ok bool) {
	if !l.srv.gated {
		return true
	}
	m := &c.rules
	m.command, m.need, m.binary = r.Command, l.srv.need(r), r.IsBinary
	if !l.srv.ruled {
		return true
	}
	lacks := l.lacksStore(c, r.Key)
	if lacks == 0 {
		return true
	}
	l.n.ruleDenials++
	var reply []byte
	n := r.NBytes
	switch {
	case r.IsBinary:
		reply = l.appendRuleDenial(nil, r)
	case !r.Noreply:
		reply = replyDenied
	}
	if !r.IsBinary {
		n += 2
	}
	l.logRefused(c, r, lacks, reply)
	l.swallow(c, n, reply)
	return false
}

var replyDenied = []byte(protocol.ReplyDenied)

// lacksStore is what the rules refuse of the store that the connection has begun.
func (l *loop) lacksStore(c *conn, key []byte) cnp.Mask {
	if n := c.rules.need; n.keyless {
		return l.rules(c).LacksKeyless(n.mask)
	}
	return l.rules(c).Lacks(c.rules.need.mask, key)
}

// admitHeld asks the rules again about a store whose value has come, or that goes
// on after it was parked. It reports false when the store has been answered.
func (l *loop) admitHeld(c *conn) (ok bool) {
	if !l.srv.ruled {
		return true
	}
	m := &c.rules
	lacks := l.lacksStore(c, c.call.Key)
	if lacks == 0 {
		return true
	}
	l.n.ruleDenials++
	start := len(l.out)
	r := protocol.Request{Command: m.command, Key: c.call.Key, NBytes: c.up.n, IsBinary: m.binary, Noreply: c.noreply}
	if c.held != nil {
		r = c.held.req
	}
	switch {
	case r.IsBinary:
		l.out = l.appendRuleDenial(l.out, &r)
	case !c.noreply:
		l.out = append(l.out, protocol.ReplyDenied...)
	}
	l.logRefused(c, &r, lacks, l.out[start:])
	l.eng.Abort(l.worker, &c.call)
	return false
}

// holdRules notes a store that memory has refused before the rules were asked at
// its end.
func (l *loop) holdRules(c *conn, r *protocol.Request) {
	if l.srv.gated {
		c.rules.command, c.rules.need, c.rules.binary = r.Command, l.srv.need(r), r.IsBinary
	}
}

// listed says whether a client with the matcher is shown a key in a listing or in
// the events of watch: one that it may get. nil, and Cilium's mode, show all.
func listed(m *cnp.Matcher, key []byte) bool {
	return m == nil || m.Lacks(cnp.Get, key) == 0
}

// listing is the matcher by which what the connection lists is filtered; nil for
// no filter.
func (l *loop) listing(c *conn) *cnp.Matcher {
	if !l.srv.ruled || l.srv.compat {
		return nil
	}
	return l.rules(c)
}

// mayWatch says whether the watcher may be shown an event about the key. It runs
// on the hub's goroutine.
func (s *Server) mayWatch(w *watcher, key []byte) bool {
	if !s.ruled || s.compat || len(key) == 0 {
		return true
	}
	g := s.mon.Generation()
	if w.matcher == nil || w.seq != g.Seq {
		context := ""
		if g.Rules.NeedsContext() {
			context = s.mon.SIDs().String(w.sees.Subject())
		}
		w.matcher, w.seq = g.Rules.Matcher(w.peer, context), g.Seq
	}
	return listed(w.matcher, key)
}
