package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLongLines compares long lines with memcached. A line without its LF is given up
// after 2,048 bytes, but for get and gets; one that arrives whole is executed up to
// the 16 KiB of memcached's buffer, so that gat with many keys works in one packet.
func TestLongLines(t *testing.T) {
	ours, theirs := startServer(t, testConfig{}).tcp, startMemcached(t)
	line := func(verb string, n int) string {
		s := verb + strings.Repeat(" key", n/4)
		return s[:n-3] + "k\r\n" // never a blank before the end
	}
	// ask sends parts, each when the server has had time to read the one before it, and
	// returns the reply. What it has read cannot be seen from here.
	ask := func(addr string, parts []string) string {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		for i, p := range parts {
			if _, err := io.WriteString(c, p); err != nil {
				break // it is closed
			}
			if i < len(parts)-1 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
		return string(bytes.ReplaceAll(b, []byte("1.6.18"), []byte("1.6.45")))
	}
	const mark = "version\r\n"
	executed := 0
	for _, verb := range []string{"gat 10", "gats 10", "get", "bogus"} {
		for _, n := range []int{2047, 2049, 3000, 16384, 16386} {
			l := line(verb, n)
			for _, parts := range [][]string{{l + mark}, {l[:1000], l[1000:] + mark}, {l[:min(n-2, 2049)], l[min(n-2, 2049):] + mark}} {
				if n > 16<<10 && len(parts) == 1 && verb[:2] == "ge" {
					continue // it does not come in one piece, and is executed all the same
				}
				got, want := ask(ours, parts), ask(theirs, parts)
				// A loaded machine may cut what was sent in one piece.
				for try := 0; got != want && try < 3; try++ {
					got, want = ask(ours, parts), ask(theirs, parts)
				}
				if got != want {
					t.Errorf("%s of %d bytes, of which %d come first: %.80q, memcached %.80q", verb, n, len(parts[0]), got, want)
				}
				if n > 2100 && got != "" {
					executed++
				}
			}
		}
	}
	if executed < 14 {
		t.Errorf("%d long lines were executed", executed)
	}
}
