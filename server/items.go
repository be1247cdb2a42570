package server

import (
	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/storage"
)

// replyFailed answers what nobody could decide or do.
const replyFailed = "SERVER_ERROR internal error\r\n"

// get serves get, gets, gat and gats: a VALUE for every key that is there and
// that the client may read, and END. Where denials are shown as such, one ends
// the request.
func (l *loop) get(c *conn, r *protocol.Request) outcome {
	k := &c.call
	for k.Key != nil {
		// One large item at a time, and a bounded amount of replies, wait for the
		// kernel.
		if c.pin || len(l.out) > outFlush {
			if !l.flushNow(c) {
				return block
			}
		}
		if c.nkeys >= hintKeys && c.nkeys%hintGroup == 0 {
			l.prefetchKeys(r.Keys)
		}
		var st engine.Status
		l.out, st = l.eng.Get(l.worker, k, l.out)
		switch st {
		case engine.OK:
			if k.Body != nil {
				l.pinned(c, k.Pinned, k.Body)
				k.Body, k.Pinned = nil, storage.Item{}
			}
		case engine.Miss:
		case engine.Pending:
			return park
		case engine.Denied:
			l.out = append(l.out, protocol.ReplyDenied...)
			return done
		default:
			l.out = append(l.out, replyFailed...)
			return done
		}
		l.noteGet(c, st == engine.OK)
		if c.resuming {
			// What one key was told is of no use to the next.
			op, form, exptime, gen := k.Op, k.Form, k.Exptime, k.Gen
			k.Reset()
			k.Op, k.Form, k.Exptime, k.Gen = op, form, exptime, gen
		}
		l.trace(k)
		c.nkeys++
		k.Key, r.Keys, k.Hash = l.nextKey(r.Keys)
	}
	l.out = append(l.out, protocol.ReplyEnd...)
	return done
}

// prepareStore makes the call a store of r, but for its value.
func (l *loop) prepareStore(c *conn, r *protocol.Request) {
	c.call.Reset()
	l.bind(c, r)
}

// store serves set, add, replace, append, prepend and cas with a value that has
// arrived whole.
func (l *loop) store(c *conn, r *protocol.Request) outcome {
	st := l.storeInline(c, r)
	if st == engine.Pending {
		if c.call.Executed() && c.udp == nil && !l.srv.gated {
			// It waits for the disk, and only its answer is left: that needs neither the value
			// nor another look at the line.
			l.hold(c, r)
			c.phase = phaseStore
		}
		return park
	}
	l.noteStore(c, false, r.NBytes, st)
	l.replyStore(r.Noreply, st)
	return done
}

// smallItems is an -I up to which a value that arrives with its line can be too large.
const smallItems = 32 << 10

// storeInline stores a value that has arrived with its line. Where that can be too
// large, it is refused before anything is looked up, as larger ones are.
func (l *loop) storeInline(c *conn, r *protocol.Request) engine.Status {
	if l.tight && l.eng.TooLarge(&c.call, r.NBytes) {
		return l.eng.StoreRefused(l.worker, &c.call, engine.TooLarge)
	}
	return l.eng.Store(l.worker, &c.call)
}

// storeReplies are the answers to a store. Failed is the zero Status.
var storeReplies = [...]string{
	engine.Failed:    replyFailed,
	engine.OK:        protocol.ReplyStored,
	engine.Stored:    protocol.ReplyStored,
	engine.NotStored: protocol.ReplyNotStored,
	engine.Exists:    protocol.ReplyExists,
	engine.Miss:      protocol.ReplyNotFound,
	engine.TooLarge:  protocol.ReplyTooLarge,
	engine.NoMemory:  protocol.ReplyOutOfMemory,
	engine.Denied:    protocol.ReplyDenied,
}

func (l *loop) replyStore(noreply bool, st engine.Status) {
	if noreply {
		return
	}
	l.out = append(l.out, statusText(storeReplies[:], st)...)
}

// statusText is the text of a status in a table of replies; statuses without
// one are failures.
func statusText(texts []string, st engine.Status) string {
	if int(st) < len(texts) && texts[st] != "" {
		return texts[st]
	}
	return replyFailed
}

var deleteReplies = [...]string{
	engine.OK:     protocol.ReplyDeleted,
	engine.Miss:   protocol.ReplyNotFound,
	engine.Exists: protocol.ReplyExists,
	engine.Denied: protocol.ReplyDenied,
}

func (l *loop) delete(c *conn, r *protocol.Request) outcome {
	st := l.eng.Delete(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	l.noteDelete(c, "delete", st)
	return l.answer(r, statusText(deleteReplies[:], st))
}

var touchReplies = [...]string{
	engine.OK:     protocol.ReplyTouched,
	engine.Miss:   protocol.ReplyNotFound,
	engine.Denied: protocol.ReplyDenied,
}

func (l *loop) touch(c *conn, r *protocol.Request) outcome {
	st := l.eng.Touch(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	l.noteLookup(c)
	return l.answer(r, statusText(touchReplies[:], st))
}

var arithReplies = [...]string{
	engine.Miss:       protocol.ReplyNotFound,
	engine.NonNumeric: protocol.ReplyNonNumeric,
	engine.NoMemory:   protocol.ReplyOutOfMemoryIncr,
	engine.Denied:     protocol.ReplyDenied,
}

// arith serves incr and decr.
func (l *loop) arith(c *conn, r *protocol.Request) outcome {
	st := l.eng.Arith(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	l.noteLookup(c)
	if st == engine.OK {
		if !r.Noreply {
			l.out = protocol.AppendUint(l.out, c.call.Number)
		}
		return done
	}
	return l.answer(r, statusText(arithReplies[:], st))
}

var flushReplies = [...]string{
	engine.OK:     protocol.ReplyOK,
	engine.Denied: protocol.ReplyDenied,
}

// flushItems serves flush_all. The engine asks for the permission itself.
func (l *loop) flushItems(c *conn, r *protocol.Request) outcome {
	if l.srv.set.NoFlush {
		return l.answer(r, protocol.ReplyFlushOff)
	}
	if o, ok := l.admitKeyless(c, r); !ok {
		return o
	}
	st := l.eng.Flush(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	return l.answer(r, statusText(flushReplies[:], st))
}
