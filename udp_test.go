package main

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/server"
)

// overUDP sends one datagram from a socket of its own and returns what comes back
// within a while after the last of it: datagrams, and bytes in all.
func overUDP(t *testing.T, addr, request string) (reply string, datagrams, size int) {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return "", 0, 0
	}
	defer c.Close()
	if _, err := io.WriteString(c, "\x00\x07\x00\x00\x00\x01\x00\x00"+request); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	buf := make([]byte, 2048)
	wait := 2 * time.Second
	for {
		c.SetReadDeadline(time.Now().Add(wait))
		n, err := c.Read(buf)
		if err != nil {
			return b.String(), datagrams, size
		}
		b.Write(buf[8:n])
		datagrams++
		size += n
		wait = 300 * time.Millisecond
	}
}

// TestUDPAmplification compares with memcached: whoever forges a source gets no more
// bytes sent to it by this server than by memcached, and the same ones where the
// releases agree.
func TestUDPAmplification(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	theirsUDP := l.LocalAddr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(theirsUDP)
	theirs := startMemcached(t, "-U", port)
	ts := startServer(t, testConfig{contexts: "client * system_u:system_r:kv_plain_t:s0\nclient udp:* system_u:system_r:kv_plain_t:s0\n", server: server.Settings{UDPPort: -1}})
	one := ts.dialFrom("127.0.0.1")
	m := regexp.MustCompile(`addr udp:(\S+)`).FindStringSubmatch(one.ask("stats conns\r\n"))
	if m == nil {
		t.Fatal("no UDP port")
	}
	for _, addr := range []string{ts.tcp, theirs} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, c).want(fmt.Sprintf("set big 0 0 30000\r\n%s\r\nset a 0 0 1\r\nz\r\n", strings.Repeat("v", 30000)), "STORED\r\nSTORED\r\n")
	}
	var all sync.WaitGroup
	for _, x := range []struct {
		request string
		same    bool // to the byte
	}{
		{"get a\r\n", true},
		{"get none\r\n", true},
		{"get big\r\n", true},
		{strings.Repeat("get a\r\n", 25), true},
		{"get big\r\nget a\r\n", true},
		{"get big a big\r\n", false}, // one message; memcached sends one for each item
		{"set u 0 0 1\r\nx\r\n", true},
		{"set u 0 0 1 noreply\r\nx\r\n", true},
		{"mg big v\r\n", true},
		{"bogus\r\n", true},
		{"get a", true},
		{"", true},
		{"set u 0 0 100\r\nabc", true},
		{frame(0x00, 1, 0, "", "big", ""), false},  // cas
		{frame(0x09, 1, 0, "", "none", ""), false}, // a quiet miss: memcached sends a frame around nothing
		{frame(0x00, 1, 0, "abc", "a", ""), true},
		{"\x81" + frame(0x00, 1, 0, "", "a", "")[1:], true},
	} {
		all.Go(func() {
			// Either server may lose datagrams when it is busy: what comes again and again counts.
			fault := ""
			for range 5 {
				got, n, size := overUDP(t, m[1], x.request)
				want, theirN, theirSize := overUDP(t, theirsUDP, x.request)
				switch {
				case x.same && (got != want || n != theirN):
					fault = fmt.Sprintf("%d datagrams %.60q, memcached sends %d: %.60q", n, got, theirN, want)
				case size > theirSize || n > theirN:
					fault = fmt.Sprintf("%d bytes in %d datagrams, memcached sends %d in %d", size, n, theirSize, theirN)
				default:
					return
				}
			}
			t.Errorf("%.40q: %s", x.request, fault)
		})
	}
	all.Wait()
}
