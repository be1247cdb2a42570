package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// run executes at most budget requests of c's input and reports whether more
// can be executed at once. Input that is left then has its first byte at the
// start of a request, or of what c.phase says.
func (l *loop) run(c *conn, budget int) (more bool) {
	if c.blocked || c.fd < 0 {
		c.runnable = true // replies to an earlier round would not leave
		return false
	}
	l.begin()
	l.hint, l.hints = int(c.hint), int(c.hints)
	for ; budget > 0; budget-- {
		if c.pin && !l.flushNow(c) {
			c.runnable = true
			return false
		}
		o, again := l.step(c)
		if !again {
			l.commit(c)
			return false
		}
		switch o {
		case park:
			c.parked = true
			l.keepBorrowed(c)
			l.commit(c)
			return false
		case block:
			c.runnable = true
			return false
		case hang:
			c.hanging = true
			l.commit(c)
			return false
		}
	}
	l.commit(c)
	return len(c.input) > 0 || c.phase == phaseReserve || c.phase == phaseStore || c.phase == phaseRefuse || c.phase == phaseLogin
}

// step takes the next thing from c's input. again is false when the input does
// not hold enough for it.
func (l *loop) step(c *conn) (o outcome, again bool) {
	switch c.phase {
	case phaseSwallow:
		n := min(c.swallow, len(c.input))
		c.input = c.input[n:]
		if c.swallow -= n; c.swallow > 0 {
			return done, false
		}
		return l.swallowed(c), true
	case phaseReserve:
		return l.reserve(c), true
	case phaseUpload:
		if !l.fill(c) && !(c.readable && len(c.input) == 0 && c.up.value != nil && l.pull(c)) {
			return done, false
		}
		return l.filled(c), true
	case phaseStore:
		return l.storeUpload(c), true
	case phaseRefuse:
		return l.refuse(c), true
	case phaseLogin:
		return l.finishLogin(c), true
	}
	if c.phase == phaseWatch {
		return l.goOnWatch(c), false
	}
	if len(c.input) == 0 || len(c.input) < c.need {
		return done, false
	}
	if c.locked && c.dialect == speaksText {
		return l.stepLocked(c)
	}
	n, out, reply := l.parse(c, c.scanned)
	r := &l.req
	c.need, c.scanned = 0, 0
	if out != protocol.Ready && out != protocol.NeedMore && l.srv.verbose.on() {
		l.srv.verbose.notDispatched(c, out)
	}
	switch out {
	case protocol.Ready:
		o = l.dispatch(c, r)
		if o == block || o == park && c.phase != phaseStore {
			c.resuming = true
			return o, true
		}
		c.resuming = false
		c.stage, c.nkeys = 0, 0
		c.input = c.input[n:]
		return o, true
	case protocol.Reply:
		c.input = c.input[n:]
		return l.parserReply(c, r, reply), true
	case protocol.Upload:
		c.input = c.input[n:]
		if r.Command == protocol.SASLAuth || r.Command == protocol.SASLStep {
			return l.saslTooLong(c, r), true
		}
		return l.startUpload(c, r), true
	case protocol.Close:
		return hang, true
	}
	c.need, c.scanned = r.Need, r.Scanned
	return done, false
}

// parserReply answers a request that the parser has ended, after its data block.
func (l *loop) parserReply(c *conn, r *protocol.Request, reply []byte) outcome {
	switch {
	case r.IsBinary:
		return l.binaryReject(c, r)
	case r.BadChunk:
		l.prepareStore(c, r)
		if l.eng.TooLarge(&c.call, r.NBytes) {
			l.refuseStore(c, r, engine.TooLarge)
			c.phase = phaseRefuse
			return done
		}
		l.worker.CountSet()
	case r.Command == protocol.FlushAll:
		l.worker.CountFlush()
	}
	if r.Swallow > 0 {
		l.swallow(c, r.Swallow, reply)
		return done
	}
	l.out = append(l.out, reply...)
	return done
}

// swallow discards the next n bytes of input and then sends reply.
func (l *loop) swallow(c *conn, n int, reply []byte) {
	c.swallow, c.after, c.why = n, reply, engine.Failed
	c.phase = phaseSwallow
}

// swallowed is the end of a data block that nobody wanted.
func (l *loop) swallowed(c *conn) outcome {
	if c.why != engine.Failed {
		c.phase = phaseRefuse
		return l.refuse(c)
	}
	c.phase = phaseCommand
	l.out = append(l.out, c.after...)
	c.after = nil
	return done
}

// keepBorrowed makes the slices that a parked call borrows survive the turn:
// the rest of the input moves to the connection's own buffer first, and the
// request is parsed there again. (An upload's key is owned already.)
func (l *loop) keepBorrowed(c *conn) {
	l.hint, l.hints = 0, 0 // the input moves
	if c.phase != phaseCommand {
		return
	}
	if !c.owned {
		c.in = append(l.buffers.get(len(c.input)), c.input...)
	} else if len(c.input) < len(c.in) {
		c.in = c.in[:copy(c.in, c.input)]
	}
	c.input, c.owned = c.in, true
	r := &l.req
	if _, out, _ := l.parse(c, 0); out != protocol.Ready {
		panic("server: a parked request does not parse again")
	}
	l.bind(c, r)
}
