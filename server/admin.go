package server

import (
	"fmt"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/protocol"
)

// authorize asks once per request, after the key rules, for the kv_server
// permissions of the call's operation. ok is false when o has to be returned: the connection is parked, or
// the denial has been answered.
func (l *loop) authorize(c *conn, r *protocol.Request) (o outcome, ok bool) {
	if o, ok := l.admitKeyless(c, r); !ok {
		return o, false
	}
	if c.stage > 0 {
		return done, true
	}
	switch st := l.eng.Authorize(l.worker, &c.call); st {
	case engine.OK:
		c.stage = 1
		return done, true
	case engine.Pending:
		return park, false
	case engine.Denied:
		return l.refuseAdmin(r, protocol.StatusDenied, protocol.ReplyDenied), false
	}
	return l.refuseAdmin(r, protocol.StatusInternal, replyFailed), false
}

// refuseAdmin answers an administrative command that is not executed.
func (l *loop) refuseAdmin(r *protocol.Request, status protocol.Status, line string) outcome {
	if r.IsBinary {
		l.out = protocol.AppendBinaryError(l.out, r, status)
		return done
	}
	return l.answer(r, line)
}

// verbosity serves verbosity <level> [noreply].
func (l *loop) verbosity(c *conn, r *protocol.Request) outcome {
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	l.srv.verbose.set(int(min(r.Delta, 2)))
	return l.answer(r, protocol.ReplyOK)
}

func (l *loop) version(_ *conn, _ *protocol.Request) outcome {
	l.out = append(l.out, l.srv.version...)
	return done
}

func (l *loop) quit(c *conn, _ *protocol.Request) outcome {
	c.reason = closedNormal
	return hang
}

func (l *loop) metaNoop(_ *conn, r *protocol.Request) outcome {
	l.out = append(l.out, protocol.ReplyMetaNoop...)
	return done
}

// shutdown serves shutdown [graceful]: the switch first, then the argument, then
// the permission. noreply is a bad argument like any other.
func (l *loop) shutdown(c *conn, r *protocol.Request) outcome {
	r.Noreply = false
	if !l.srv.set.AllowShutdown {
		return l.answer(r, protocol.ReplyShutdownOff)
	}
	a, bad := protocol.ParseAdmin(r)
	if bad != "" {
		return l.answer(r, bad)
	}
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	who := clientName(c.client.Peer)
	l.srv.asked.Store(&who)
	l.srv.Shutdown(a.Action == protocol.ShutdownGraceful)
	c.reason = closedShutdown
	return hang
}

// clientName says who a client is, for the log: its address, or its ids.
func clientName(p *mac.Peer) string {
	switch {
	case p.Addr.IsValid():
		return p.Addr.String()
	case p.HasCred:
		return fmt.Sprintf("uid %d, gid %d, pid %d", p.UID, p.GID, p.PID)
	}
	return "unknown"
}
