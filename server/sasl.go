package server

import (
	"bytes"
	"strings"

	"sememcached/protocol"
)

// SASL in the binary protocol (SASLAuthProtocol of memcached's documentation). The
// one mechanism is PLAIN (RFC 4616), by which the client sends its password as it
// is: over a network it belongs into TLS.
//
// A connection that has not authenticated may ask for the mechanisms and the
// version and may authenticate; everything else is refused by the parser with
// StatusAuthError, and the connection closed. A new attempt on a connection that
// has authenticated first makes it one that has not.

const (
	saslPlain     = "PLAIN"
	authenticated = "Authenticated"
)

// saslList serves the list of mechanisms.
func (l *loop) saslList(_ *conn, r *protocol.Request) outcome {
	if !l.srv.set.SASL {
		l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusUnknown)
		return done
	}
	l.out = protocol.AppendBinaryBody(l.out, r, protocol.StatusOK, saslPlain)
	return done
}

// saslAuth serves the begin of an authentication. A client may send its message
// at once, or wait until it is asked for it.
func (l *loop) saslAuth(c *conn, r *protocol.Request) outcome {
	if !l.srv.set.SASL {
		l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusUnknown)
		return done
	}
	l.logOut(c)
	c.challenged = false
	if !strings.EqualFold(string(r.Key), saslPlain) {
		return l.saslRefuse(c, r, "unknown-mechanism")
	}
	if len(r.Data) == 0 {
		c.challenged = true
		l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusAuthContinue)
		return done
	}
	return l.saslMessage(c, r)
}

// saslStep serves the message of a client that was asked for it.
func (l *loop) saslStep(c *conn, r *protocol.Request) outcome {
	if !l.srv.set.SASL {
		l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusUnknown)
		return done
	}
	l.logOut(c)
	asked := c.challenged
	c.challenged = false
	if !asked {
		return l.saslRefuse(c, r, "a step without a begin")
	}
	return l.saslMessage(c, r)
}

// saslMessage reads the message of PLAIN: [authzid] NUL authcid NUL passwd. To
// act for another user than oneself is not allowed.
func (l *loop) saslMessage(c *conn, r *protocol.Request) outcome {
	other, rest, ok1 := bytes.Cut(r.Data, []byte{0})
	user, secret, ok2 := bytes.Cut(rest, []byte{0})
	if !ok1 || !ok2 || len(user) == 0 || bytes.IndexByte(secret, 0) >= 0 || len(other) > 0 && !bytes.Equal(other, user) {
		return l.saslRefuse(c, r, "malformed-message")
	}
	l.attempt(c, user, secret)
	return done
}

// saslRefuse answers an attempt that no password belongs to.
func (l *loop) saslRefuse(c *conn, r *protocol.Request, why string) outcome {
	l.srv.auth.cmds.Add(1)
	l.srv.auth.fail(c.client.Peer, nil, why)
	l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusAuthError)
	return done
}

// saslTooLong refuses a message that is longer than any name and password.
func (l *loop) saslTooLong(c *conn, r *protocol.Request) outcome {
	if !l.srv.set.SASL {
		l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusUnknown)
		return hang
	}
	l.logOut(c)
	l.saslRefuse(c, r, "message too long")
	return hang
}

// answerLogin tells the client what came of its attempt.
func (l *loop) answerLogin(c *conn, g *login) outcome {
	if c.dialect != speaksBinary {
		if g.ok {
			l.out = append(l.out, protocol.ReplyStored...)
		} else {
			l.out = append(l.out, protocol.ReplyAuthFailure...)
		}
		return done
	}
	r := protocol.Request{IsBinary: true, Binary: protocol.Binary{Opcode: g.opcode, Opaque: g.opaque}}
	if g.ok {
		l.out = protocol.AppendBinaryBody(l.out, &r, protocol.StatusOK, authenticated)
	} else {
		l.out = protocol.AppendBinaryError(l.out, &r, protocol.StatusAuthError)
	}
	return done
}
