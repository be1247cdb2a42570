package server_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/server"
)

// TestParkedOrder: a verdict that is not there delays one connection, which keeps
// the order of its replies, and no other.
func TestParkedOrder(t *testing.T) {
	r := start(t, plan{})
	slow, other := r.dial(), r.dial()
	other.ask("set slow 0 0 1\r\ns\r\nset k 0 0 1\r\na\r\n", "STORED\r\nSTORED\r\n")
	open := r.eng.gate("slow")
	slow.send("get k\r\nget k slow k\r\nget k\r\nmn\r\n")
	slow.expect("VALUE k 0 1\r\na\r\nEND\r\nVALUE k 0 1\r\na\r\n") // what came before has been sent
	slow.quiet()
	for range 100 {
		other.ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
	}
	slow.send("version\r\n") // arrives while parked
	slow.quiet()
	open()
	slow.expect("VALUE slow 0 1\r\ns\r\nVALUE k 0 1\r\na\r\nEND\r\nVALUE k 0 1\r\na\r\nEND\r\nMN\r\nVERSION 1.6.45\r\n")
}

// TestParkedEveryCommand parks each command that touches an item.
func TestParkedEveryCommand(t *testing.T) {
	r := start(t, plan{})
	big := strings.Repeat("b", 40000)
	for _, x := range [][2]string{
		{"set k 0 0 2\r\n10\r\n", "STORED\r\n"},
		{"incr k 5\r\n", "15\r\n"},
		{"touch k 0\r\n", "TOUCHED\r\n"},
		{"get k\r\n", "VALUE k 0 2\r\n15\r\nEND\r\n"},
		{"gat 0 x k y k\r\n", "VALUE k 0 2\r\n15\r\nVALUE k 0 2\r\n15\r\nEND\r\n"},
		{"append k 0 0 1\r\n0\r\n", "STORED\r\n"},
		{"delete k\r\n", "DELETED\r\n"},
		{"set k 0 0 40000\r\n" + big + "\r\n", "STORED\r\n"},
		{"get k\r\n", "VALUE k 0 40000\r\n" + big + "\r\nEND\r\n"},
		{"set k 0 0 2000000\r\n" + strings.Repeat("x", 2000000) + "\r\n", "SERVER_ERROR object too large for cache\r\n"},
	} {
		c := r.dial()
		open := r.eng.gate("k")
		c.ask("mn\r\n", "MN\r\n")
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(5 * time.Millisecond)
			open()
		}()
		c.ask(x[0]+"mn\r\n", x[1]+"MN\r\n")
		<-done
		c.Close()
	}
}

// TestParkedDisconnect: a reset while parked ends the connection at once, and the
// answer that comes later harms nobody, not even the next user of the slot.
func TestParkedDisconnect(t *testing.T) {
	r := start(t, plan{})
	seed := r.dial()
	seed.ask("set slow 0 0 1\r\ns\r\n", "STORED\r\n")
	for i := range 20 {
		open := r.eng.gate("slow")
		c := r.dial()
		c.send("get slow\r\nget slow\r\n")
		// The connection that asks is parked as well, for its statistics.
		until(t, "parked", func() bool { return strings.Count(seed.stats(" conns"), "conn_io_pending") == 2 })
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
		r.remain(1)
		next := r.dial()
		next.ask("mn\r\n", "MN\r\n")
		if i%2 == 0 {
			next.send("get slow\r\n") // parked in the same slot
		}
		open()
		if i%2 == 0 {
			next.expect("VALUE slow 0 1\r\ns\r\nEND\r\n")
		}
		next.ask("mn\r\n", "MN\r\n")
		next.Close()
		r.remain(1)
	}
}

// TestParkedHalfClosed: a client that has said all and only listens is answered.
func TestParkedHalfClosed(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		var p plan
		if network == "unix" {
			p.set.UnixPath = filepath.Join(t.TempDir(), "s")
		}
		r := start(t, p)
		open := r.eng.gate("k")
		c := r.dial()
		c.send("set k 0 0 1\r\na\r\nget k\r\nget k")
		if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.quiet()
		open()
		c.expect("STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n")
		c.expectClosed()
	}
}

// TestParkedThousand parks a thousand connections at once.
func TestParkedThousand(t *testing.T) {
	r := start(t, plan{set: server.Settings{Threads: 2, MaxConns: 1100}})
	one := r.dial()
	one.ask("set slow 0 0 1\r\ns\r\n", "STORED\r\n")
	open := r.eng.gate("slow")
	clients := make([]*client, 1000)
	for i := range clients {
		clients[i] = r.dial()
		clients[i].send(fmt.Sprintf("get slow k%d\r\nversion\r\n", i))
	}
	one.ask("get none\r\n", "END\r\n")
	open()
	for _, c := range clients {
		c.expect("VALUE slow 0 1\r\ns\r\nEND\r\nVERSION 1.6.45\r\n")
	}
}

// TestParkedInputIsBounded: a parked connection is not read.
func TestParkedInputIsBounded(t *testing.T) {
	r := start(t, plan{})
	open := r.eng.gate("slow")
	c := r.dial()
	c.send("get slow\r\n")
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		line := strings.Repeat("get none\r\n", 1000)
		for range 300 {
			if _, err := io.WriteString(c.Conn, line); err != nil {
				t.Error(err)
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	if _, input, _, _ := r.srv.Held(); input > 128<<10 {
		t.Errorf("a parked connection holds %d bytes of input, want at most 128 KiB", input)
	}
	open()
	want := []byte(strings.Repeat("END\r\n", 1000))
	c.expect("END\r\n")
	for range 300 {
		c.expect(string(want))
	}
}
