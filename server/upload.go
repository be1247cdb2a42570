package server

import (
	"bytes"

	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/storage"
)

// startUpload begins a store whose value is above 16 KiB and not all there: its
// memory is reserved, and filled as the bytes come.
func (l *loop) startUpload(c *conn, r *protocol.Request) outcome {
	c.up.tail = 2
	if r.IsBinary {
		c.up.tail = 0
		if routes[r.Command].op == engine.OpNone {
			l.swallow(c, r.NBytes, protocol.AppendBinaryError(nil, r, protocol.StatusUnknown))
			return done
		}
	}
	l.prepareStore(c, r)
	if !l.admitStore(c, r) {
		return done
	}
	l.hold(c, r)
	c.up.drops = dropsOld(r)
	c.phase = phaseReserve
	return l.reserve(c)
}

// reserve takes memory for the value, unless the client may not store it: then it
// is discarded as it comes, and its end looked at like that of any other.
func (l *loop) reserve(c *conn) outcome {
	u := &c.up
	u.value, u.off, u.skip = nil, 0, 0
	if l.srv.ruled {
		l.rules(c) // the newest generation: what was asked for was asked of that one
	}
	switch st := l.eng.Reserve(l.worker, &c.call, u.n); st {
	case engine.Pending:
		return park
	case engine.OK:
		u.value = c.call.Upload.Value()
		c.phase = phaseUpload
		return done
	case engine.Denied:
		u.skip, c.why = u.n, engine.Denied
		c.phase = phaseUpload
		return done
	case engine.TooLarge:
		c.why = engine.TooLarge
	default:
		c.why = engine.NoMemory
	}
	if u.drops {
		c.call.Op = engine.OpSet
	}
	c.phase, c.swallow, c.after = phaseSwallow, u.n+u.tail, nil
	return done
}

// refuseStore makes the call what remains of a store that memory has refused.
func (l *loop) refuseStore(c *conn, r *protocol.Request, why engine.Status) {
	l.holdRules(c, r)
	l.hold(c, r)
	c.why = why
	if dropsOld(r) {
		c.call.Op = engine.OpSet
	}
}

// dropsOld says whether memcached drops the old value when there is no memory
// for the new one: after every ms, and after a binary set with a cas too.
func dropsOld(r *protocol.Request) bool {
	return r.Command == protocol.MetaSet || r.Command == protocol.Set
}

// heldStore is the request of a store whose value comes later, for a reply that
// repeats parts of it.
type heldStore struct {
	req protocol.Request // Key and Meta.Flags are owned
	opt engine.Options
}

// hold makes the call, and what its reply needs, outlive the line it came in.
func (l *loop) hold(c *conn, r *protocol.Request) {
	c.noreply = r.Noreply
	c.up.key = append(c.up.key[:0], r.Key...)
	c.call.Key = c.up.key
	c.held, c.up.n = nil, r.NBytes
	if !r.IsBinary && r.Command != protocol.MetaSet {
		return
	}
	h := &heldStore{req: *r, opt: l.opt}
	h.req.Key, h.req.Data = c.up.key, nil
	h.req.Meta.Flags = bytes.Clone(r.Meta.Flags)
	c.held, c.call.Opt = h, &h.opt
}

// replyHeld answers a store of which the connection has kept the request.
func (l *loop) replyHeld(c *conn, st engine.Status) {
	l.noteStore(c, c.held != nil && !c.held.req.IsBinary, c.up.n, st)
	start := len(l.out)
	defer func() { l.logStored(c, start) }()
	switch {
	case c.held == nil:
		l.replyStore(c.noreply, st)
	case c.held.req.IsBinary:
		l.replyBinaryStore(c, &c.held.req, st)
	default:
		l.replyMetaSet(c, &c.held.req, st)
	}
}

// fill moves input to the upload and reports whether it is complete, its CR LF
// included.
func (l *loop) fill(c *conn) bool {
	u := &c.up
	if u.skip > 0 {
		n := min(u.skip, len(c.input))
		u.skip -= n
		c.input = c.input[n:]
		if u.skip > 0 {
			return false
		}
	}
	if u.off < len(u.value) {
		n := copy(u.value[u.off:], c.input)
		u.off += n
		c.input = c.input[n:]
	}
	if k := u.off - len(u.value); k >= 0 && u.tail > 0 {
		n := copy(u.crlf[k:], c.input)
		u.off += n
		c.input = c.input[n:]
	}
	return u.off == len(u.value)+u.tail
}

// filled checks the end of a complete upload and stores it.
func (l *loop) filled(c *conn) outcome {
	if c.up.tail > 0 && string(c.up.crlf[:]) != "\r\n" {
		l.worker.CountSet()
		l.eng.Abort(l.worker, &c.call)
		if !c.noreply {
			l.out = append(l.out, protocol.ReplyBadDataChunk...)
		}
		l.endUpload(c)
		return done
	}
	c.phase = phaseStore
	return l.storeUpload(c)
}

// storeUpload executes the store of a complete upload.
func (l *loop) storeUpload(c *conn) outcome {
	l.trace(&c.call) // others have been served since the request began
	if !l.admitHeld(c) {
		l.endUpload(c)
		return done
	}
	var st engine.Status
	if c.why == engine.Denied {
		st = l.eng.StoreRefused(l.worker, &c.call, engine.Denied)
	} else {
		st = l.eng.Store(l.worker, &c.call)
	}
	if st == engine.Pending {
		return park
	}
	l.replyHeld(c, st)
	l.endUpload(c)
	return done
}

// refuse executes what remains of a store that memory has refused.
func (l *loop) refuse(c *conn) outcome {
	l.trace(&c.call)
	if !l.admitHeld(c) {
		l.endUpload(c)
		return done
	}
	st := l.eng.StoreRefused(l.worker, &c.call, c.why)
	if st == engine.Pending {
		return park
	}
	l.replyHeld(c, st)
	l.endUpload(c)
	return done
}

func (l *loop) endUpload(c *conn) {
	c.phase = phaseCommand
	c.why = engine.Failed
	c.call.Upload = storage.Item{}
	c.up.value, c.up.off, c.up.skip = nil, 0, 0
	c.held, c.call.Opt = nil, nil
}
