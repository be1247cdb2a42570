package main

import (
	"io"
	"strings"
	"testing"
)

// TestVerboseShowsWhatIsNoCommand: -vv prints every line, also those that are none of the
// protocol's, stores of large values, and what ends a connection; a value is not printed.
func TestVerboseShowsWhatIsNoCommand(t *testing.T) {
	p := startProcess(t, "-u", whoami(t), "-vv")
	p.dial().want("bogus\r\nget k\r\n", "ERROR\r\nEND\r\n")
	large := strings.Repeat("v", 100_000)
	p.dial().want("set large 0 0 100000\r\n"+large+"\r\n", "STORED\r\n")
	for _, begin := range []string{"GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\x00\x01"} {
		c := p.dial()
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil {
			t.Errorf("%q: expected the end, found %q, %v", begin, b, err)
		}
	}
	for _, want := range []string{" bogus\n", " get k\n", " set large 0 0 100000\n", " GET / HTTP/1.1\n", " a TLS handshake, and this port has no TLS\n"} {
		waitFor(t, "the line "+want, func() bool { return strings.Count(p.stderr.String(), want) == 1 })
	}
	if strings.Contains(p.stderr.String(), "vvvv") {
		t.Error("a value is printed")
	}
}
