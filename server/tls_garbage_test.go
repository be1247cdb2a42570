package server_test

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"sememcached/server"
)

// TestTLSGarbage: with the runtime's own cycles turned off, handshakes have their
// garbage collected, and all the while others are served, those with TLS too.
func TestTLSGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	// What earlier tests have left in use counts too.
	runtime.GC()
	runtime.GC() // what the first has moved to the second chance of a pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	limit := 16<<20 + 4*m.HeapAlloc
	r := startTLS(t, plan{set: server.Settings{Threads: 2}}, func(set *server.TLS) { set.Garbage = limit })
	over := make(chan struct{})
	var others sync.WaitGroup
	c := r.secure(r.config(nil))
	c.ask("set k 0 0 1\r\nv\r\n", "STORED\r\n")
	others.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				c.ask("get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n")
			}
		}
	})
	config := r.config(nil)
	for n := 0; r.srv.GarbageCycles() < 2; n++ {
		if n > 20_000 {
			t.Fatalf("expected 2 cycles of %d bytes after %d handshakes, found %d", limit, n, r.srv.GarbageCycles())
		}
		k, err := r.connect(config)
		if err != nil {
			t.Fatal(err)
		}
		k.ask("get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n")
		k.Conn.Close()
	}
	close(over)
	others.Wait()
}

// TestTLSGarbageLeft: what is in use is not garbage. A heap that is full of it is left
// to the runtime: every look would find it above the limit.
func TestTLSGarbageLeft(t *testing.T) {
	runtime.GC()                                                        // before the first cycle nothing is known to be in use
	r := startTLS(t, plan{}, func(set *server.TLS) { set.Garbage = 1 }) // more than that is always in use
	config := r.config(nil)
	for range 3 * server.GarbageEvery {
		k, err := r.connect(config)
		if err != nil {
			t.Fatal(err)
		}
		k.Conn.Close()
	}
	if n := r.srv.GarbageCycles(); n != 0 {
		t.Errorf("expected no cycle, found %d", n)
	}
}
