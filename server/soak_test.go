package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/server"
	"sememcached/storage"
)

// model is what one client knows of its own keys.
type model struct {
	rnd    *rand.Rand
	name   string
	values map[string]string
}

// step appends one random command to in and its reply to want.
func (m *model) step(in, want *strings.Builder) {
	key := fmt.Sprintf("%s%d", m.name, m.rnd.IntN(8))
	old, there := m.values[key]
	size := m.rnd.IntN(50)
	switch m.rnd.IntN(40) {
	case 0:
		size = 16<<10 + m.rnd.IntN(60000)
	case 1:
		size = m.rnd.IntN(16 << 10)
	}
	text := strings.Repeat(string(rune('a'+m.rnd.IntN(26))), size)
	reply := func(s string) { want.WriteString(s) }
	switch m.rnd.IntN(10) {
	case 0, 1:
		fmt.Fprintf(in, "set %s 0 0 %d\r\n%s\r\n", key, size, text)
		m.values[key] = text
		reply("STORED\r\n")
	case 2:
		fmt.Fprintf(in, "set %s 0 0 %d noreply\r\n%s\r\n", key, size, text)
		m.values[key] = text
	case 3:
		fmt.Fprintf(in, "add %s 0 0 %d\r\n%s\r\n", key, size, text)
		if there {
			reply("NOT_STORED\r\n")
		} else {
			m.values[key] = text
			reply("STORED\r\n")
		}
	case 4:
		fmt.Fprintf(in, "append %s 0 0 %d\r\n%s\r\n", key, size, text)
		switch {
		case !there:
			reply("NOT_STORED\r\n")
		case len(old)+size > 500000:
			delete(m.values, key) // keep it small: see below
			fmt.Fprintf(in, "delete %s\r\n", key)
			reply("STORED\r\nDELETED\r\n")
		default:
			m.values[key] = old + text
			reply("STORED\r\n")
		}
	case 5:
		fmt.Fprintf(in, "delete %s\r\n", key)
		if there {
			reply("DELETED\r\n")
		} else {
			reply("NOT_FOUND\r\n")
		}
		delete(m.values, key)
	case 6:
		fmt.Fprintf(in, "set %s 0 0 %d\r\n%sxx", key, size, text)
		reply("CLIENT_ERROR bad data chunk\r\n")
	case 7:
		in.WriteString("mn\r\n")
		reply("MN\r\n")
	default:
		in.WriteString("get")
		for range 1 + m.rnd.IntN(6) {
			key := fmt.Sprintf("%s%d", m.name, m.rnd.IntN(8))
			in.WriteString(" " + key)
			if v, ok := m.values[key]; ok {
				fmt.Fprintf(want, "VALUE %s 0 %d\r\n%s\r\n", key, len(v), v)
			}
		}
		in.WriteString("\r\n")
		reply("END\r\n")
	}
}

// TestSoak lets clients do everything at once, in pieces, while verdicts are
// withheld and given and connections come and go; every reply is compared.
func TestSoak(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			// Room enough that nothing is evicted, which the model does not know.
			p := plan{set: server.Settings{Threads: 2}, store: storage.Config{Limit: 1 << 30}}
			if network == "unix" {
				p.set.UnixPath = filepath.Join(t.TempDir(), "s")
			}
			r := start(t, p)
			const clients = 6
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			stop := make(chan struct{})
			var wg, gates sync.WaitGroup
			gates.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, 1))
				for {
					select {
					case <-stop:
						return
					default:
					}
					open := r.eng.gate(fmt.Sprintf("c%d-%d", rnd.IntN(clients), rnd.IntN(8)))
					time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
					open()
				}
			})
			for i := range clients {
				wg.Go(func() {
					m := &model{rand.New(rand.NewPCG(seed, uint64(10+i))), fmt.Sprintf("c%d-", i), map[string]string{}}
					for end := time.Now().Add(time.Second); time.Now().Before(end); {
						soakConnection(r, m)
					}
				})
			}
			wg.Add(1)
			go func() { // connections that break off anywhere
				defer wg.Done()
				rnd := rand.New(rand.NewPCG(seed, 2))
				m := &model{rnd, "broken-", map[string]string{}}
				for range 100 {
					var in, want strings.Builder
					for range 5 {
						m.step(&in, &want)
					}
					c, err := net.Dial(r.addr.Network(), r.addr.String())
					if err != nil {
						t.Error(err)
						return
					}
					r.dials.Add(1)
					_ = c.SetDeadline(time.Now().Add(patience))
					_, _ = io.WriteString(c, in.String()[:rnd.IntN(in.Len())])
					time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
					if tcp, ok := c.(*net.TCPConn); ok && rnd.IntN(2) == 0 {
						_ = tcp.SetLinger(0)
					}
					c.Close()
				}
			}()
			wg.Wait()
			close(stop)
			gates.Wait()
			r.remain(0)
			if st := r.store.Stats(); st.Evictions > 0 {
				t.Errorf("%d items were evicted", st.Evictions)
			}
			if err := r.store.Check(0); err != nil {
				t.Error(err)
			}
		})
	}
}

// soakConnection is one connection of a client: some pipelines, whole or in
// pieces.
func soakConnection(r *rig, m *model) {
	nc, err := net.Dial(r.addr.Network(), r.addr.String())
	if err != nil {
		r.t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	for range 1 + m.rnd.IntN(20) {
		var in, want strings.Builder
		for range 1 + m.rnd.IntN(30) {
			m.step(&in, &want)
		}
		// Whatever wants no reply has to have happened before the next connection.
		in.WriteString("mn\r\n")
		want.WriteString("MN\r\n")
		size := in.Len()
		if m.rnd.IntN(3) == 0 {
			size = 1 + m.rnd.IntN(in.Len())
		}
		text := in.String()
		go func() {
			for len(text) > 0 {
				k := min(size, len(text))
				if _, err := io.WriteString(nc, text[:k]); err != nil {
					return
				}
				text = text[k:]
			}
		}()
		got := make([]byte, want.Len())
		if n, err := io.ReadFull(nc, got); err != nil || string(got) != want.String() {
			at := 0
			for at < n && got[at] == want.String()[at] {
				at++
			}
			r.t.Errorf("%v: after %d of %d bytes: got %.100q\nwant %.100q", err, at, len(got), got[at:n], want.String()[at:])
			return
		}
	}
}

// TestNothingIsLeft: a server that has ended leaves no goroutine and no file
// descriptor behind.
func TestNothingIsLeft(t *testing.T) {
	fds := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	once := func() {
		t.Run("", func(t *testing.T) {
			r := start(t, plan{set: server.Settings{Threads: 3}})
			open := r.eng.gate("slow")
			for i := range 20 {
				c := r.dial()
				c.ask("set k 0 0 1\r\na\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n")
				if i%3 == 0 {
					c.send("get slow\r\n")
				}
				if i%2 == 0 {
					c.Close()
				}
			}
			r.srv.Shutdown(false)
			open()
		})
	}
	once()
	goroutines, files := runtime.NumGoroutine(), fds()
	for range 3 {
		once()
	}
	until(t, "goroutines and descriptors to end", func() bool { return runtime.NumGoroutine() <= goroutines && fds() <= files })
}
