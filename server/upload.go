package server

import (
	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/storage"
)

// startUpload begins a store whose value is above 16 KiB and not all there: its
// memory is reserved, and filled as the bytes come.
func (l *loop) startUpload(c *conn, r *protocol.Request) outcome {
	l.prepareStore(c, r)
	c.noreply = r.Noreply
	c.up.key = append(c.up.key[:0], r.Key...)
	c.call.Key = c.up.key
	switch st := l.eng.Reserve(l.worker, &c.call, r.NBytes); st {
	case engine.OK:
		c.up.value, c.up.off = c.call.Upload.Value(), 0
		c.phase = phaseUpload
	case engine.TooLarge:
		c.why = engine.TooLarge
	default:
		c.why = engine.NoMemory
	}
	if c.phase != phaseUpload {
		c.phase, c.swallow, c.after = phaseSwallow, r.NBytes+2, nil
	}
	return done
}

// fill moves input to the upload and reports whether it is complete, its CR LF
// included.
func (l *loop) fill(c *conn) bool {
	u := &c.up
	if u.off < len(u.value) {
		n := copy(u.value[u.off:], c.input)
		u.off += n
		c.input = c.input[n:]
	}
	if k := u.off - len(u.value); k >= 0 {
		n := copy(u.crlf[k:], c.input)
		u.off += n
		c.input = c.input[n:]
	}
	return u.off == len(u.value)+len(u.crlf)
}

// filled checks the end of a complete upload and stores it.
func (l *loop) filled(c *conn) outcome {
	if string(c.up.crlf[:]) != "\r\n" {
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
	st := l.eng.Store(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	l.replyStore(c.noreply, st)
	l.endUpload(c)
	return done
}

// refuse executes what remains of a store that memory has refused.
func (l *loop) refuse(c *conn) outcome {
	st := l.eng.StoreRefused(l.worker, &c.call, c.why)
	if st == engine.Pending {
		return park
	}
	l.replyStore(c.noreply, st)
	l.endUpload(c)
	return done
}

func (l *loop) endUpload(c *conn) {
	c.phase = phaseCommand
	c.why = engine.Failed
	c.call.Upload = storage.Item{}
	c.up.value, c.up.off = nil, 0
}
