package server

import (
	"bytes"
	"strconv"

	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/storage"
)

// bindMeta gives the call the parts of a meta command. Which operation of the
// engine ms and ma are depends on their mode.
func (l *loop) bindMeta(k *engine.Call, r *protocol.Request) {
	m := &r.Meta
	l.opt = engine.Options{Meta: true, BinaryKey: m.Binary, SetCAS: m.Has('E'), NewCAS: m.NewCAS}
	o := &l.opt
	k.Opt, k.CAS, k.Flags = o, r.CAS, r.Flags
	switch r.Command {
	case protocol.MetaGet:
		o.Value, o.Attrs, o.NoBump = m.Has('v'), m.Has('h') || m.Has('l') || m.Has('t'), m.Has('u')
		o.DropEqual = o.Value && m.Has('C')
		o.Recache, o.RecacheTTL = m.Has('R'), m.Recache
		o.TouchFirst = m.Before('T', 'R')
		l.bindTimes(m)
		l.bindHead(k, r)
	case protocol.MetaDebug:
		l.bindHead(k, r)
	case protocol.MetaSet:
		k.Exptime, k.Value = m.TTL, r.Data
		o.Invalidate = m.Has('I')
		k.Op = metaSetOps[m.Mode]
		switch k.Op {
		case engine.OpAppend, engine.OpPrepend:
			k.WithCAS = m.Has('C')
			o.Vivify, o.VivifyTTL = m.Has('N'), m.Vivify
		case engine.OpSet, engine.OpReplace:
			if m.Has('C') {
				k.Op = engine.OpCAS
			}
		}
	case protocol.MetaDelete:
		k.WithCAS = m.Has('C')
		o.Invalidate, o.Clear = m.Has('I'), m.Has('x')
		o.Touch, o.TTL = m.Has('T'), m.TTL
	case protocol.MetaArithmetic:
		k.Delta = r.Delta
		k.WithCAS = m.Has('C') && r.CAS != 0
		o.Attrs, o.Initial = m.Has('t'), m.Initial
		if m.Mode == 'D' || m.Mode == '-' {
			k.Op = engine.OpDecr
		}
		l.bindTimes(m)
	}
}

var metaSetOps = [256]engine.Op{
	0: engine.OpSet, 'S': engine.OpSet, 'E': engine.OpAdd, 'R': engine.OpReplace,
	'A': engine.OpAppend, 'P': engine.OpPrepend,
}

// bindTimes sets what T and N ask for.
func (l *loop) bindTimes(m *protocol.Meta) {
	o := &l.opt
	o.Touch, o.TTL = m.Has('T'), m.TTL
	o.Vivify, o.VivifyTTL = m.Has('N'), m.Vivify
	o.TouchLast = m.Before('N', 'T')
}

// bindHead makes the reply be composed while the item is looked at.
func (l *loop) bindHead(k *engine.Call, r *protocol.Request) {
	l.meta.req = r
	k.Form, k.Composer = engine.FormView, &l.meta
}

// metaHead composes replies of mg and me. One serves all requests of a loop.
type metaHead struct {
	req  *protocol.Request
	item protocol.MetaItem
}

// Compose implements engine.Composer.
func (h *metaHead) Compose(dst []byte, v *engine.View) ([]byte, engine.Tail) {
	r := h.req
	if r.Command == protocol.MetaDebug {
		return protocol.AppendMetaDebug(dst, r.Key, &protocol.MetaDebugItem{
			TTL: v.TTL, LastAccess: uint64(v.LastAccess), CAS: v.CAS, Fetched: v.Fetched,
			Class: uint32(v.Class), Size: uint64(v.ItemSize), BinaryKey: v.BinaryKey,
		}), engine.TailNone
	}
	h.show(v)
	if r.Meta.Has('v') && !v.Equal {
		return protocol.AppendMetaLine(dst, r, protocol.MetaVA, &h.item), engine.TailText
	}
	return protocol.AppendMetaLine(dst, r, protocol.MetaHD, &h.item), engine.TailNone
}

// show is what a reply may tell of a view.
func (h *metaHead) show(v *engine.View) *protocol.MetaItem {
	h.item = protocol.MetaItem{
		Size: v.Size, TTL: v.TTL, AfterT: v.AfterTouch, AfterN: v.AfterVivify, Created: v.Created,
		CAS: v.CAS, Flags: v.Flags, LastAccess: v.LastAccess, Fetched: v.Fetched,
		Won: v.Won, Stale: v.Stale, Sent: v.Sent, BinaryKey: v.BinaryKey,
	}
	return &h.item
}

// metaGet serves mg and me.
func (l *loop) metaGet(c *conn, r *protocol.Request) outcome {
	// One large item at a time, and a bounded amount of replies, wait for the kernel.
	if (c.pin || len(l.out) > outFlush) && !l.flushNow(c) {
		return block
	}
	k := &c.call
	var st engine.Status
	l.out, st = l.eng.Get(l.worker, k, l.out)
	if st != engine.Pending {
		l.noteLookup(c)
	}
	switch st {
	case engine.OK:
		if k.Body != nil {
			l.pinned(c, k.Pinned, k.Body)
			k.Body, k.Pinned = nil, storage.Item{}
		}
		return done
	case engine.Miss:
		if r.Command == protocol.MetaDebug {
			return l.answer(r, "EN\r\n")
		}
		return l.metaLine(r, protocol.MetaEN, nil)
	}
	return l.metaFailure(r, st)
}

// metaLine answers with one line, unless q hides it.
func (l *loop) metaLine(r *protocol.Request, code protocol.MetaCode, it *protocol.MetaItem) outcome {
	if !protocol.MetaQuiet(r, code) {
		l.out = protocol.AppendMetaLine(l.out, r, code, it)
	}
	return done
}

// metaFailures are the answers that q never hides.
var metaFailures = [...]string{
	engine.NonNumeric: protocol.ReplyNonNumeric,
	engine.TooLarge:   protocol.ReplyTooLarge,
	engine.NoMemory:   protocol.ReplyOutOfMemory,
	engine.Denied:     protocol.ReplyDenied,
}

func (l *loop) metaFailure(r *protocol.Request, st engine.Status) outcome {
	switch {
	case st == engine.Pending:
		return park
	case st == engine.NoMemory && r.Command == protocol.MetaArithmetic:
		l.out = append(l.out, protocol.ReplyOutOfMemoryMa...)
		return done
	case st == engine.NoMemory && r.Command != protocol.MetaSet:
		l.out = append(l.out, protocol.ReplyOutOfMemoryIncr...)
		return done
	}
	l.out = append(l.out, statusText(metaFailures[:], st)...)
	return done
}

// metaSet serves ms with a value that has arrived whole.
func (l *loop) metaSet(c *conn, r *protocol.Request) outcome {
	st := l.storeInline(c, r)
	if st == engine.Pending {
		return park
	}
	l.noteStore(c, true, r.NBytes, st)
	l.replyMetaSet(c, r, st)
	return done
}

// replyMetaSet answers ms. Where nothing was stored the reply tells of the value
// that came.
func (l *loop) replyMetaSet(c *conn, r *protocol.Request, st engine.Status) {
	failed := protocol.MetaItem{Size: r.NBytes}
	switch st {
	case engine.Stored:
		l.metaLine(r, protocol.MetaHD, l.meta.show(&c.call.Opt.View))
	case engine.NotStored:
		l.metaLine(r, protocol.MetaNS, &failed)
	case engine.Exists:
		l.metaLine(r, protocol.MetaEX, &failed)
	case engine.Miss:
		l.metaLine(r, protocol.MetaNF, &failed)
	default:
		l.metaFailure(r, st)
	}
}

// metaDelete serves md.
func (l *loop) metaDelete(c *conn, r *protocol.Request) outcome {
	st := l.eng.Delete(l.worker, &c.call)
	if st != engine.Pending {
		l.noteDelete(c, "md", st)
	}
	switch st {
	case engine.OK:
		return l.metaLine(r, protocol.MetaHD, nil)
	case engine.Miss:
		return l.metaLine(r, protocol.MetaNF, nil)
	case engine.Exists:
		return l.metaLine(r, protocol.MetaEX, nil)
	default:
		return l.metaFailure(r, st)
	}
}

// metaArithmetic serves ma.
func (l *loop) metaArithmetic(c *conn, r *protocol.Request) outcome {
	k := &c.call
	st := l.eng.Arith(l.worker, k)
	if st != engine.Pending {
		l.noteArith(c, st)
	}
	switch st {
	case engine.OK:
	case engine.Miss:
		return l.metaLine(r, protocol.MetaNF, nil)
	case engine.NotStored:
		return l.metaLine(r, protocol.MetaNS, nil)
	case engine.Exists:
		return l.metaLine(r, protocol.MetaEX, nil)
	default:
		return l.metaFailure(r, st)
	}
	var digits [20]byte
	value := strconv.AppendUint(digits[:0], k.Number, 10)
	it := l.meta.show(&k.Opt.View)
	it.Size = len(value)
	if !r.Meta.Has('v') {
		return l.metaLine(r, protocol.MetaHD, it)
	}
	if !protocol.MetaQuiet(r, protocol.MetaVA) {
		l.out = protocol.AppendMetaValue(l.out, r, it, value)
	}
	return done
}

// notKept stands for the number of items removed when the disk has failed.
const notKept = ^uint64(0)

// deletePrefix serves mdp <prefix>, which is ours: HD and how many items it has
// removed. What the client may not remove stays, and is not told of.
func (l *loop) deletePrefix(c *conn, r *protocol.Request) outcome {
	if c.stage == 0 {
		// The helper may outlive the connection: it gets a client of its own.
		l.eng.Known(l.worker, &c.call)
		n, client, prefix := new(uint64), c.client, bytes.Clone(r.Key)
		call := &engine.Call{Client: &client, Op: engine.OpDeletePrefix, Removed: l.srv.hub.removed(c.fd)}
		fn := l.srv.helper(func() {
			var kept bool
			if *n, kept = l.eng.DeletePrefix(call, prefix); !kept {
				*n = notKept
			}
		})
		c.removed, c.stage = n, 1
		if st := l.eng.Background(l.worker, &c.call, fn); st == engine.Pending {
			return park
		}
	} else if st := l.eng.Background(l.worker, &c.call, nil); st == engine.Pending {
		return park
	}
	if *c.removed == notKept {
		c.removed = nil
		return l.answer(r, replyFailed)
	}
	l.worker.CountDeletes(*c.removed)
	l.out = append(l.out, "HD "...)
	l.out = strconv.AppendUint(l.out, *c.removed, 10)
	l.out = append(l.out, "\r\n"...)
	c.removed = nil
	return done
}
