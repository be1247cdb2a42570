package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// The commands about access control. With access control off they do not exist.

var macReplies = [...]string{
	engine.OK:         protocol.ReplyOK,
	engine.Miss:       protocol.ReplyNotFound,
	engine.Denied:     protocol.ReplyDenied,
	engine.BadContext: protocol.ReplyBadContext,
	engine.NoMemory:   protocol.ReplyOutOfMemory,
	engine.TooLarge:   protocol.ReplyTooLarge,
	engine.BadPerm:    "CLIENT_ERROR unknown permission\r\n",
	engine.Disabled:   protocol.ReplyError,
}

// macText answers with the call's text, or with what st means.
func (l *loop) macText(c *conn, r *protocol.Request, st engine.Status) outcome {
	switch st {
	case engine.Pending:
		return park
	case engine.OK:
		l.out = append(append(l.out, c.call.Text...), "\r\n"...)
		return done
	}
	return l.answer(r, statusText(macReplies[:], st))
}

func (l *loop) macWhoami(c *conn, r *protocol.Request) outcome {
	return l.macText(c, r, l.eng.Whoami(l.worker, &c.call))
}

func (l *loop) macLabel(c *conn, r *protocol.Request) outcome {
	return l.macText(c, r, l.eng.Label(l.worker, &c.call))
}

func (l *loop) macCheck(c *conn, r *protocol.Request) outcome {
	return l.macText(c, r, l.eng.Check(l.worker, &c.call))
}

func (l *loop) macExplain(c *conn, r *protocol.Request) outcome {
	return l.macText(c, r, l.eng.Explain(l.worker, &c.call))
}

func (l *loop) macRelabel(c *conn, r *protocol.Request) outcome {
	st := l.eng.Relabel(l.worker, &c.call)
	switch st {
	case engine.Pending:
		return park
	case engine.OK:
		return l.answer(r, protocol.ReplyRelabeled)
	}
	return l.answer(r, statusText(macReplies[:], st))
}

func (l *loop) macCreate(c *conn, r *protocol.Request) outcome {
	st := l.eng.CreateContext(l.worker, &c.call)
	if st == engine.Pending {
		return park
	}
	return l.answer(r, statusText(macReplies[:], st))
}
