package server_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"sememcached/server"
)

// TestTLSHandshakesUnderway: a handshake counts from its beginning to its end, however it
// ends.
func TestTLSHandshakesUnderway(t *testing.T) {
	defer server.SetHandshakeTime(5 * time.Minute)() // the silent ones stay
	r := startTLS(t, plan{}, nil)
	expect := func(n int64) {
		t.Helper()
		until(t, "the handshakes under way are those expected", func() bool { return r.srv.HandshakesUnderway() == n })
	}
	var silent []net.Conn
	for range 3 {
		c, err := net.Dial(r.addr.Network(), r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	expect(3)
	r.secure(r.config(nil))
	r.secure(r.config(nil)).Close()
	expect(3)
	if _, err := silent[0].Write([]byte("get a\r\n")); err != nil { // no TLS
		t.Fatal(err)
	}
	silent[1].Close()
	expect(1)
	old := r.config(nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := r.connect(old); err == nil {
		t.Error("a version that is refused was accepted")
	}
	expect(1)
	r.srv.Shutdown(false)
	expect(0)
}

// TestTLSHandshakesAtOnce: of many clients that come together each is served.
func TestTLSHandshakesAtOnce(t *testing.T) {
	defer server.SetHandshakeTime(5 * time.Minute)() // that of a starved machine
	r := startTLS(t, plan{}, nil)
	const clients = 300
	cfg := r.config(nil)
	var come []net.Conn
	for range clients {
		c, err := net.Dial(r.addr.Network(), r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		come = append(come, c)
	}
	failed := make(chan error, clients)
	for _, c := range come {
		go func() {
			c.SetDeadline(time.Now().Add(time.Minute))
			tc := tls.Client(c, cfg)
			_, err := tc.Write([]byte("mn\r\n"))
			var b [4]byte
			if err == nil {
				_, err = io.ReadFull(tc, b[:])
			}
			if err == nil && string(b[:]) != "MN\r\n" {
				err = fmt.Errorf("got %q, want MN", b)
			}
			failed <- err
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}
