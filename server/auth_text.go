package server

import (
	"bytes"

	"sememcached/protocol"
)

// Authentication in the text protocol (-Y; proto_text.c, asciiauth):
//
//	set <anything> <anything> <anything> <bytes> CR LF
//	<user> <password> CR LF
//
// Until it has succeeded every other line is answered ReplyUnauthenticated, and
// nothing is dispatched; afterwards a set is a set.

const (
	maxAuthLine  = 2048  // bytes of a line that no LF ends
	maxAuthToken = 16384 // bytes of user, password and what is between them
)

// stepLocked is step for a connection that has to authenticate in the text
// protocol. Its input is not empty.
func (l *loop) stepLocked(c *conn) (o outcome, again bool) {
	end := bytes.IndexByte(c.input, '\n')
	if end < 0 {
		if len(c.input) > maxAuthLine {
			return hang, true
		}
		return done, false
	}
	size, ok := authLine(c.input[:end])
	if !ok {
		c.input = c.input[end+1:]
		l.out = append(l.out, protocol.ReplyUnauthenticated...)
		return done, true
	}
	if size > maxAuthToken {
		l.out = append(l.out, protocol.ReplyAuthTooLong...)
		return hang, true
	}
	total := end + 1 + size + 2
	if len(c.input) < total {
		c.need = total
		return done, false
	}
	token := c.input[end+1 : total]
	c.input, c.need = c.input[total:], 0
	if !bytes.HasSuffix(token, crlfBytes) {
		l.out = append(l.out, protocol.ReplyAuthTermination...)
		return done, true
	}
	user, rest := authWord(token[:size])
	secret, _ := authWord(rest)
	if len(user) == 0 || len(secret) == 0 {
		l.out = append(l.out, protocol.ReplyBadAuthToken...)
		return done, true
	}
	c.lastCmd = l.worker.Now()
	l.attempt(c, user, secret)
	return done, true
}

var crlfBytes = []byte("\r\n")

// authLine reads the length out of a set line.
func authLine(line []byte) (size int, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	word, rest := authWord(line)
	if string(word) != "set" {
		return 0, false
	}
	for range 4 {
		word, rest = authWord(rest)
	}
	if len(word) == 0 {
		return 0, false
	}
	for _, d := range word {
		if d < '0' || d > '9' || size > 1<<32 {
			return 0, false
		}
		size = size*10 + int(d-'0')
	}
	return size, size < 1<<32
}

// authWord takes the first word off a line; words are separated by spaces.
func authWord(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " ")
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}

// dialect is what clients speak where they authenticate.
func (a *authService) dialect() dialect {
	if a.sasl {
		return speaksBinary
	}
	return speaksText
}

// checkDialect refuses a listener whose clients could not authenticate.
func (a *authService) checkDialect(l *listener) error {
	switch {
	case a == nil || l.dialect == a.dialect():
		return nil
	case a.sasl:
		return authErrorf("ERROR: You cannot allow the ASCII protocol while using SASL.")
	}
	return authErrorf("ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.")
}
