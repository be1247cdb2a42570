package server

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"

	"sememcached/protocol"
)

// verbose prints what memcached prints with -vv: connections that come and go,
// and the commands of clients. Loops only leave a line in a bounded queue; a
// goroutine writes. Lines that find the queue full are counted and dropped.
type verbose struct {
	level   atomic.Int32
	lines   chan string
	dropped atomic.Uint64
	ended   chan struct{}
}

func newVerbose(level int) *verbose {
	v := &verbose{lines: make(chan string, 1024), ended: make(chan struct{})}
	v.set(level)
	return v
}

// start starts the writing goroutine, once; close ends it.
func (v *verbose) start(w io.Writer) { go v.write(w) }

func (v *verbose) write(w io.Writer) {
	defer close(v.ended)
	for line := range v.lines {
		if n := v.dropped.Swap(0); n > 0 {
			_, _ = fmt.Fprintf(w, "suppressed %d lines\n", n)
		}
		_, _ = io.WriteString(w, line)
	}
}

// close writes what is queued and ends the goroutine. No line may be printed
// after it.
func (v *verbose) close() {
	close(v.lines)
	<-v.ended
}

// set changes the level, 0 to 2.
func (v *verbose) set(level int) { v.level.Store(int32(level)) }

// on says whether commands are printed.
func (v *verbose) on() bool { return v.level.Load() > 1 }

func (v *verbose) printf(format string, args ...any) {
	select {
	case v.lines <- fmt.Sprintf(format, args...):
	default:
		v.dropped.Add(1)
	}
}

func (v *verbose) opened(c *conn) {
	if v.on() {
		v.printf("<%d new auto-negotiating client connection\n", c.fd)
	}
}

func (v *verbose) closed(c *conn) {
	if v.on() {
		v.printf("<%d connection closed.\n", c.fd)
	}
}

// notDispatched prints what c's input begins with where the parser has decided what becomes
// of it: a line that is no command, a value that comes later, or the end.
func (v *verbose) notDispatched(c *conn, out protocol.Outcome) {
	if out == protocol.Close && c.dialect == negotiating && maybeTLS(c.input) {
		v.printf("<%d a TLS handshake, and this port has no TLS\n", c.fd)
		return
	}
	v.command(c, nil)
}

// command prints the line of the request that c's input begins with. Bytes that
// could upset a terminal are quoted.
func (v *verbose) command(c *conn, _ *protocol.Request) {
	line, _, _ := bytes.Cut(c.input, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	const shown = 1024
	q := fmt.Sprintf("%q", line[:min(len(line), shown)])
	v.printf("<%d %s\n", c.fd, q[1:len(q)-1])
}
