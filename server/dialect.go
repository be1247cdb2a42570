package server

import (
	"fmt"

	"sememcached/protocol"
)

// dialect is the protocol that a connection speaks: text, which includes the
// meta commands, or binary.
type dialect uint8

const (
	negotiating dialect = iota // the first byte will tell
	speaksText
	speaksBinary
)

// dialects are the names of -B and of proto[...] in -l.
var dialects = map[string]dialect{
	"": negotiating, "auto": negotiating, "negotiating": negotiating, "ascii": speaksText, "binary": speaksBinary,
}

// parseDialect reads a name of dialects.
func parseDialect(name string) (dialect, error) {
	d, ok := dialects[name]
	if name == "proxy" {
		return 0, fmt.Errorf("server: Server not built with proxy: %q", name)
	}
	if !ok {
		return 0, fmt.Errorf("server: protocol: expected auto, ascii or binary, found %q", name)
	}
	return d, nil
}

// String is the name that "stats settings" shows.
func (d dialect) String() string {
	switch d {
	case speaksText:
		return "ascii"
	case speaksBinary:
		return "binary"
	}
	return "auto-negotiate"
}

// maybeTLS says whether a connection begins as those of TLS do: a handshake record
// of version 3.x (RFC 8446, 5.1). Nobody who speaks TLS to a plain port would
// understand the answer, or would stop waiting for one.
func maybeTLS(input []byte) bool {
	return input[0] == 0x16 && (len(input) == 1 || input[1] == 3)
}

// parse reads one request from c's input, which is not empty, into l.req, in the
// protocol that c speaks. The outcomes are those of protocol.ParseFrom; on Reply
// to a binary request the status is in l.status.
func (l *loop) parse(c *conn, scanned int) (n int, out protocol.Outcome, reply []byte) {
	if c.dialect == negotiating {
		if maybeTLS(c.input) {
			if len(c.input) == 1 {
				l.req.Need, l.req.Scanned = 2, 0
				return 0, protocol.NeedMore, nil
			}
			return 0, protocol.Close, nil
		}
		if c.dialect = speaksText; c.input[0] == protocol.MagicRequest {
			c.dialect = speaksBinary
		}
	}
	if c.dialect == speaksBinary {
		l.limits.Unauthenticated = c.locked
		n, out, l.status = protocol.ParseBinary(c.input, &l.limits, &l.req)
		return n, out, nil
	}
	return protocol.ParseFrom(c.input, scanned, &l.limits, &l.req)
}
