package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/server"
	"sememcached/storage"
)

// value is n bytes that differ from place to place.
func value(n int, seed uint64) string {
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rnd.IntN(26))
	}
	return string(b)
}

// TestLargeValues moves values of many sizes up and down, alone and pipelined.
func TestLargeValues(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			p := plan{set: server.Settings{Threads: 2}, store: storage.Config{Limit: 256 << 20}}
			if network == "unix" {
				p.set.UnixPath = filepath.Join(t.TempDir(), "s")
			}
			r := start(t, p)
			c := r.dial()
			var all, gets, replies strings.Builder
			for i, n := range []int{0, 1, 16383, 16384, 16385, 16386, 65535, 65536, 65537, 500000, 1048000 - 200} {
				v := value(n, 1)
				c.ask(fmt.Sprintf("set k%d 7 0 %d\r\n%s\r\n", i, n, v), "STORED\r\n")
				hit := fmt.Sprintf("VALUE k%d 7 %d\r\n%s\r\n", i, n, v)
				c.ask(fmt.Sprintf("get k%d\r\n", i), hit+"END\r\n")
				fmt.Fprintf(&all, "set k%d 7 0 %d\r\n%s\r\n", i, n, v)
				fmt.Fprintf(&gets, " k%d", i)
				replies.WriteString(hit)
			}
			go func() {
				_, _ = io.WriteString(c.Conn, all.String()+"get"+gets.String()+" k3\r\nget"+gets.String()+"\r\nmn\r\n")
			}()
			c.expect(strings.Repeat("STORED\r\n", 11) + replies.String() + fmt.Sprintf("VALUE k3 7 16384\r\n%s\r\n", value(16384, 1)) + "END\r\n" + replies.String() + "END\r\nMN\r\n")
			c.send("gets k9\r\n")
			line, err := c.r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "VALUE k9 7 500000 ") {
				t.Fatalf("gets: %q %v", line, err)
			}
			c.expect(value(500000, 1) + "\r\nEND\r\n")
		})
	}
}

// TestPipeline sends 10,000 commands before it reads anything.
func TestPipeline(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	var in, want strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&in, "set k%d 0 0 3\r\nabc\r\nget k%d\r\nget none k%d\r\nincr none 1\r\n", i%50, i%50, i%50)
		hit := fmt.Sprintf("VALUE k%d 0 3\r\nabc\r\nEND\r\n", i%50)
		want.WriteString("STORED\r\n" + hit + hit + "NOT_FOUND\r\n")
	}
	go func() { _, _ = io.WriteString(c.Conn, in.String()) }()
	c.expect(want.String())
}

// TestManyKeys is a get line of 20,000 keys, in packets, with small and large hits.
func TestManyKeys(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	v := value(20000, 2)
	c.ask("set k 0 0 1\r\na\r\nset big 0 0 20000\r\n"+v+"\r\n", "STORED\r\nSTORED\r\n")
	line := "get" + strings.Repeat(" k none", 10000) + strings.Repeat(" big", 20) + "\r\n"
	go func() {
		for rest := line; len(rest) > 0; {
			k := min(1460, len(rest))
			if _, err := io.WriteString(c.Conn, rest[:k]); err != nil {
				return
			}
			rest = rest[k:]
		}
	}()
	c.expect(strings.Repeat("VALUE k 0 1\r\na\r\n", 10000) + strings.Repeat("VALUE big 0 20000\r\n"+v+"\r\n", 20) + "END\r\n")
}

// TestSlowReader: replies that nobody reads are bounded, and come in order when
// somebody does.
func TestSlowReader(t *testing.T) {
	for _, size := range []int{100, 10000, 600000} {
		r := start(t, plan{})
		c, other := r.dial(), r.dial()
		v := value(size, 3)
		c.ask(fmt.Sprintf("set k 0 0 %d\r\n%s\r\n", size, v), "STORED\r\n")
		n := 60_000_000 / (size + 100)
		var wg sync.WaitGroup
		wg.Go(func() {
			lines := strings.Repeat("get k k\r\n", 100)
			for i := 0; i < n; i += 100 {
				if _, err := io.WriteString(c.Conn, lines[:9*min(100, n-i)]); err != nil {
					t.Error(err)
				}
			}
		})
		until(t, "unsent replies", func() bool { _, _, unsent, pinned := r.srv.Held(); return unsent+pinned > 0 })
		for range 20 {
			other.ask("get none\r\n", "END\r\n")
			time.Sleep(time.Millisecond)
			if _, input, unsent, pinned := r.srv.Held(); unsent > 1<<20 || input > 128<<10 || pinned > 1 {
				t.Errorf("a slow reader costs %d bytes of replies, %d of input and %d pinned items", unsent, input, pinned)
			}
		}
		hit := fmt.Sprintf("VALUE k 0 %d\r\n%s\r\n", size, v)
		want := hit + hit + "END\r\n"
		for range n {
			c.expect(want)
		}
		wg.Wait()
		c.ask("mn\r\n", "MN\r\n")
	}
}

// TestGone: connections that vanish in the middle of things leave nothing behind.
func TestGone(t *testing.T) {
	r := start(t, plan{})
	watch := r.dial()
	v := value(900000, 4)
	watch.ask("set k 0 0 900000\r\n"+v+"\r\n", "STORED\r\n")
	before := r.store.Stats()
	for i := range 60 {
		c := r.dial()
		switch i % 6 {
		case 0: // a large value half sent
			c.send("set x 0 0 1000000\r\n" + v[:i*10000])
		case 1: // a small value half sent
			c.send("set x 0 0 1000\r\nabc")
		case 2: // replies unread
			c.send(strings.Repeat("get k\r\n", 20))
		case 3: // half a line
			c.send("get ")
		case 4: // a refused value half sent
			c.send("set x 0 0 3000000\r\n" + v)
		case 5: // everything sent, nothing read
			c.send("set x 0 0 17000 noreply\r\n" + v[:17000] + "\r\n")
		}
		if i%2 == 0 {
			time.Sleep(time.Millisecond)
		}
		if i%3 == 0 {
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
	r.remain(1)
	watch.ask("get k\r\n", "VALUE k 0 900000\r\n"+v+"\r\nEND\r\n")
	watch.ask("delete x\r\n", "DELETED\r\n")
	watch.ask("mn\r\n", "MN\r\n")
	if after := r.store.Stats(); after.TotalItems != before.TotalItems+10 || after.CurrItems != before.CurrItems || after.Bytes != before.Bytes {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if err := r.store.Check(0); err != nil {
		t.Error(err)
	}
}

// TestUploadRefused: no memory for a large value.
func TestUploadRefused(t *testing.T) {
	r := start(t, plan{store: storage.Config{Limit: 8 << 20, NoEvict: true, MaxItem: 1 << 20}})
	c := r.dial()
	v := value(1000000, 5)
	refused := 0
	for i := range 40 {
		c.send(fmt.Sprintf("set k%d 0 0 1000000\r\n%s\r\n", i, v))
		line, err := c.r.ReadString('\n')
		switch {
		case err != nil:
			t.Fatal(err)
		case line == "SERVER_ERROR out of memory storing object\r\n":
			refused++
		case line != "STORED\r\n":
			t.Fatalf("got %q", line)
		}
	}
	if refused == 0 {
		t.Error("40 MB fit in 8 MB without eviction")
	}
	c.ask("mn\r\n", "MN\r\n")
}

// TestMaxConns: the surplus client is told so and closed, and there is room again
// when another leaves.
func TestMaxConns(t *testing.T) {
	r := start(t, plan{set: server.Settings{MaxConns: 3}})
	var cs []*client
	for range 3 {
		c := r.dial()
		c.ask("mn\r\n", "MN\r\n")
		cs = append(cs, c)
	}
	c := r.dial()
	c.expect("ERROR Too many open connections\r\n")
	c.expectClosed()
	if got := cs[0].stat("", "rejected_connections"); got != "1" {
		t.Errorf("rejected_connections: got %s, want 1", got)
	}
	cs[1].Close()
	until(t, "room", func() bool {
		c := r.dial()
		defer c.Close()
		if _, err := io.WriteString(c.Conn, "mn\r\n"); err != nil {
			return false
		}
		line, _ := c.r.ReadString('\n')
		return line == "MN\r\n"
	})
}

// TestIdleConnections: one that waits costs less than 4 KiB of our memory.
func TestIdleConnections(t *testing.T) {
	const n = 1000
	r := start(t, plan{set: server.Settings{MaxConns: n + 10}})
	cs := make([]*client, n)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	// The clients' own buffers are not counted: they are made first.
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = r.dial().Conn
	}
	until(t, "connections", func() bool { k, _, _, _ := r.srv.Held(); return k == n })
	before := heap()
	for i := range cs {
		cs[i] = &client{conns[i], t, nil}
		cs[i].send("set k 0 0 3\r\nabc\r\nget k\r\n")
		want := "STORED\r\nVALUE k 0 3\r\nabc\r\nEND\r\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(cs[i].Conn, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	after := heap()
	if _, input, unsent, _ := r.srv.Held(); input != 0 || unsent != 0 {
		t.Errorf("idle connections hold %d bytes of input and %d of replies", input, unsent)
	}
	if size := server.ConnSize; size > 2048 {
		t.Errorf("a connection is %d bytes, want at most 2048", size)
	}
	if after > before && (after-before)/n > 1024 {
		t.Errorf("a connection that has been used costs %d bytes more", (after-before)/n)
	}
}

// TestAllocations: a request costs no allocation, whatever its result.
func TestAllocations(t *testing.T) {
	r := start(t, plan{})
	r.eng.answer("denied", engine.Miss)
	c := r.dial()
	batch := strings.Repeat("get k\r\nget none\r\nget denied\r\nset k 0 0 3\r\nabc\r\nget k none k\r\n", 20)
	reply := strings.Repeat("VALUE k 0 3\r\nabc\r\nEND\r\nEND\r\nEND\r\nSTORED\r\nVALUE k 0 3\r\nabc\r\nVALUE k 0 3\r\nabc\r\nEND\r\n", 20)
	c.ask("set k 0 0 3\r\nabc\r\n", "STORED\r\n")
	in, got := []byte(batch), make([]byte, len(reply))
	half := len(in)/2 + 3 // in the middle of a command, so that input is kept
	exchange := func() {
		if _, err := c.Write(in[:half]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(in[half:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != reply {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	for range 100 {
		exchange()
	}
	const rounds = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		exchange()
	}
	runtime.ReadMemStats(&after)
	perRequest := float64(after.Mallocs-before.Mallocs) / (rounds * 100)
	t.Logf("%.6f allocations and %.3f bytes a request", perRequest, float64(after.TotalAlloc-before.TotalAlloc)/(rounds*100))
	if perRequest >= 0.001 && !raceEnabled {
		t.Errorf("%.6f allocations a request, want less than 0.001", perRequest)
	}
}

// TestPrecedence: a client that never stops sending gets its replies, but those
// that ask one thing at a time come first.
func TestPrecedence(t *testing.T) {
	r := start(t, plan{})
	hog, other := r.dial(), r.dial()
	other.ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	lines, reply := strings.Repeat("get k\r\n", 2000), strings.Repeat("VALUE k 0 1\r\na\r\nEND\r\n", 2000)
	sent := 0
	// Unanswered batches: enough for the server hardly ever to be without one, and not all that
	// the sockets' buffers hold, which a starved machine may need minutes for.
	unanswered := make(chan struct{}, 20)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case unanswered <- struct{}{}:
				if _, err := io.WriteString(hog.Conn, lines); err != nil {
					t.Error(err)
					return
				}
				sent++
			}
		}
	})
	read := make(chan int)
	go func() {
		n := 0
		got := make([]byte, len(reply))
		for {
			if _, err := io.ReadFull(hog.r, got); err != nil || string(got) != reply {
				break
			}
			n++
			<-unanswered
		}
		read <- n
	}()
	until(t, "a yield", func() bool {
		for range 50 {
			other.ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
		}
		return other.stat("", "conn_yields") != "0"
	})
	close(stop)
	wg.Wait()
	if err := hog.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := <-read; n != sent {
		t.Errorf("%d batches of replies to %d of requests", n, sent)
	}
}
