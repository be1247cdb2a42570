package server

import (
	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/storage"
)

// bindBinary gives the call the parts of a binary request. A cas other than 0
// makes a set, add or replace a compare and swap, as memcached has it.
func (l *loop) bindBinary(k *engine.Call, r *protocol.Request) {
	l.opt = engine.Options{}
	k.Opt, k.CAS, k.WithCAS = &l.opt, r.CAS, r.CAS != 0
	switch r.Command {
	case protocol.Get, protocol.Gat:
		l.binary.req = r
		k.Form, k.Composer, k.WithCAS = engine.FormView, &l.binary, false
	case protocol.Set, protocol.Add, protocol.Replace:
		k.Flags, k.Value = r.Flags, r.Data
		l.opt.BinaryKey = !engine.Speakable(r.Key)
		if k.WithCAS {
			k.Op = engine.OpCAS
		}
	case protocol.Append, protocol.Prepend:
		k.Value = r.Data
		l.opt.BinaryKey = true
	case protocol.Incr, protocol.Decr:
		k.Delta = r.Delta
		l.opt.BinaryKey = true
		l.opt.Vivify, l.opt.VivifyTTL, l.opt.Initial = r.Binary.Create, r.Exptime, r.Binary.Initial
	}
}

// binaryHead composes the replies of get and gat. One serves all requests of a
// loop.
type binaryHead struct{ req *protocol.Request }

// Compose implements engine.Composer.
func (h *binaryHead) Compose(dst []byte, v *engine.View) ([]byte, engine.Tail) {
	return protocol.AppendBinaryValueHeader(dst, h.req, v.Flags, v.Size, v.CAS), engine.TailValue
}

// binaryReject answers a request that the parser has ended, after its data.
func (l *loop) binaryReject(c *conn, r *protocol.Request) outcome {
	switch {
	case r.Hangup:
		l.out = protocol.AppendBinaryError(l.out, r, l.status)
		return hang
	case r.Swallow > 0:
		l.swallow(c, r.Swallow, protocol.AppendBinaryError(nil, r, l.status))
	default:
		l.out = protocol.AppendBinaryError(l.out, r, l.status)
	}
	return done
}

// binaryStatuses are the statuses of replies; what is not listed is a failure.
var binaryStatuses = [...]protocol.Status{
	engine.OK:         protocol.StatusOK,
	engine.Stored:     protocol.StatusOK,
	engine.Miss:       protocol.StatusNotFound,
	engine.NotStored:  protocol.StatusNotStored,
	engine.Exists:     protocol.StatusExists,
	engine.NonNumeric: protocol.StatusNonNumeric,
	engine.TooLarge:   protocol.StatusTooLarge,
	engine.NoMemory:   protocol.StatusOutOfMemory,
	engine.Denied:     protocol.StatusDenied,
}

func binaryStatus(st engine.Status) protocol.Status {
	if st == engine.Failed || int(st) >= len(binaryStatuses) {
		return protocol.StatusInternal
	}
	return binaryStatuses[st]
}

// binaryError answers with a status other than success, unless the opcode is
// quiet about it.
func (l *loop) binaryError(r *protocol.Request, status protocol.Status) outcome {
	if !protocol.BinaryQuiet(r, status) {
		l.out = protocol.AppendBinaryError(l.out, r, status)
	}
	return done
}

// binaryOK answers a success that tells no more than the new unique.
func (l *loop) binaryOK(r *protocol.Request, cas uint64) outcome {
	if !protocol.BinaryQuiet(r, protocol.StatusOK) {
		l.out = protocol.AppendBinaryOK(l.out, r, cas)
	}
	return done
}

// binaryGet serves get and gat, quiet and with the key in the reply.
func (l *loop) binaryGet(c *conn, r *protocol.Request) outcome {
	// One large item at a time, and a bounded amount of replies, wait for the kernel.
	if (c.pin || len(l.out) > outFlush) && !l.flushNow(c) {
		return block
	}
	k := &c.call
	var st engine.Status
	l.out, st = l.eng.Get(l.worker, k, l.out)
	if st != engine.Pending {
		l.noteGet(c, st == engine.OK)
	}
	switch st {
	case engine.OK:
		if k.Body != nil {
			l.pinned(c, k.Pinned, k.Body)
			k.Body, k.Pinned = nil, storage.Item{}
		}
		return done
	case engine.Miss:
		if !protocol.BinaryQuiet(r, protocol.StatusNotFound) {
			l.out = protocol.AppendBinaryMiss(l.out, r)
		}
		return done
	case engine.Pending:
		return park
	}
	return l.binaryError(r, binaryStatus(st))
}

// binaryStore serves the storing opcodes with a value that has arrived whole.
func (l *loop) binaryStore(c *conn, r *protocol.Request) outcome {
	st := l.storeInline(c, r)
	if st == engine.Pending {
		return park
	}
	l.noteStore(c, false, r.NBytes, st)
	l.replyBinaryStore(c, r, st)
	return done
}

func (l *loop) replyBinaryStore(c *conn, r *protocol.Request, st engine.Status) {
	status := binaryStatus(st)
	if st == engine.NotStored {
		switch r.Command {
		case protocol.Add:
			status = protocol.StatusExists
		case protocol.Replace:
			status = protocol.StatusNotFound
		}
	}
	if status == protocol.StatusOK {
		l.binaryOK(r, c.call.NewCAS)
		return
	}
	l.binaryError(r, status)
}

func (l *loop) binaryDelete(c *conn, r *protocol.Request) outcome {
	st := l.eng.Delete(l.worker, &c.call)
	if st != engine.Pending {
		l.noteDelete(c, "delete", st)
	}
	return l.binaryDone(r, st)
}

// binaryDone answers what has no more to tell than its status.
func (l *loop) binaryDone(r *protocol.Request, st engine.Status) outcome {
	switch st {
	case engine.Pending:
		return park
	case engine.OK:
		return l.binaryOK(r, 0)
	}
	return l.binaryError(r, binaryStatus(st))
}

func (l *loop) binaryTouch(c *conn, r *protocol.Request) outcome {
	st := l.eng.Touch(l.worker, &c.call)
	if st != engine.Pending {
		l.noteLookup(c)
	}
	if st != engine.OK {
		return l.binaryDone(r, st)
	}
	v := &l.opt.View
	l.out = protocol.AppendBinaryValue(l.out, r, v.Flags, nil, v.CAS)
	return done
}

func (l *loop) binaryArith(c *conn, r *protocol.Request) outcome {
	k := &c.call
	st := l.eng.Arith(l.worker, k)
	if st != engine.Pending {
		l.noteArith(c, st)
	}
	if st != engine.OK {
		return l.binaryDone(r, st)
	}
	if !protocol.BinaryQuiet(r, protocol.StatusOK) {
		l.out = protocol.AppendBinaryUint(l.out, r, k.Number, k.NewCAS)
	}
	return done
}

// binaryFlush serves flush. memcached answers a switched off one with a failed
// authentication.
func (l *loop) binaryFlush(c *conn, r *protocol.Request) outcome {
	if l.srv.set.NoFlush {
		return l.binaryError(r, protocol.StatusAuthError)
	}
	if o, ok := l.admitKeyless(c, r); !ok {
		return o
	}
	return l.binaryDone(r, l.eng.Flush(l.worker, &c.call))
}

func (l *loop) binaryVersion(_ *conn, r *protocol.Request) outcome {
	l.out = protocol.AppendBinaryBody(l.out, r, protocol.StatusOK, l.srv.set.Version)
	return done
}

func (l *loop) binaryNoop(_ *conn, r *protocol.Request) outcome { return l.binaryOK(r, 0) }

func (l *loop) binaryQuit(c *conn, r *protocol.Request) outcome {
	c.reason = closedNormal
	l.binaryOK(r, 0)
	return hang
}

// binaryStats serves stat: a packet for each name, and an empty one.
func (l *loop) binaryStats(c *conn, r *protocol.Request) outcome {
	a, ok := protocol.ParseStatKey(r.Args)
	if !ok {
		return l.binaryError(r, protocol.StatusNotFound)
	}
	if l.srv.switchedOff(&a) != "" {
		return l.binaryError(r, protocol.StatusAuthError)
	}
	return l.serveStats(c, r, &a)
}
