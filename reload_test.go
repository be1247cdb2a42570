package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/internal/debpolicy"
)

// debianPolicy is Debian's policy with our classes and a few item types.
func debianPolicy(t testing.TB) string {
	t.Helper()
	file, err := debpolicy.Build("kv", "default", "policy/testdata/debian/kv.cil")
	if errors.Is(err, debpolicy.ErrMissing) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestReloadUnderLoad: a boolean is flipped a hundred times a second, and the
// policy file is loaded anew in between, while readers read at full speed. Every
// reply must be one that a generation visible between its request and its
// receipt gives.
func TestReloadUnderLoad(t *testing.T) {
	t.Run("built-in", func(t *testing.T) {
		reloadUnderLoad(t, testConfig{
			policy: compileCIL(t, `
(type flip_t)
(typeattributeset kv_domain (flip_t))
(boolean kv_open false)
(booleanif kv_open (true (allow flip_t kv_item_t (kv_item (read)))))
`),
			contexts: "client cidr:127.0.3.1/32 system_u:system_r:flip_t:s0\nclient * system_u:system_r:kv_plain_t:s0\n",
		}, 2500*time.Millisecond, 50)
	})
	t.Run("debian", func(t *testing.T) {
		cfg := testConfig{
			policy:   debianPolicy(t),
			contexts: "client cidr:127.0.3.1/32 staff_u:staff_r:staff_t:s0\nclient * system_u:system_r:httpd_t:s0\nkv_item * system_u:object_r:kv_item_t\n",
		}
		cfg.mac.ServerContext = "system_u:system_r:memcached_t:s0"
		reloadUnderLoad(t, cfg, 4*time.Second, 5)
	})
}

// reloadUnderLoad flips kv_open, which lets 127.0.3.1 read, and loads the policy
// file reloads times.
func reloadUnderLoad(t *testing.T, cfg testConfig, length time.Duration, reloads int) {
	ts := startServer(t, cfg)
	ts.dialFrom("127.0.0.1").want("set k 0 0 1\r\nx\r\n", "STORED\r\n")

	// state counts the beginnings and ends of flips: odd while one is under way,
	// and state/2 flips are complete when it is even.
	var state, hits, misses, sure atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		c := ts.dialFrom("127.0.3.1")
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				before := state.Load()
				hit := strings.HasPrefix(c.ask("get k\r\n"), "VALUE")
				after := state.Load()
				if hit {
					hits.Add(1)
				} else {
					misses.Add(1)
				}
				if before == after && before%2 == 0 {
					sure.Add(1)
					if want := before/2%2 == 1; hit != want {
						t.Errorf("after %d flips a get was answered as a hit: %v", before/2, hit)
						return
					}
				}
			}
		}()
	}
	flips, done := 0, 0
	every := int(length/(10*time.Millisecond))/(reloads+1) + 1
	for on := true; ctx.Err() == nil; on = !on {
		state.Add(1)
		if err := ts.mon.SetBooleans(map[string]bool{"kv_open": on}); err != nil {
			t.Fatal(err)
		}
		state.Add(1)
		if flips++; flips%every == 0 {
			// Booleans keep their values over a reload, by name.
			if err := ts.mon.Reload(); err != nil {
				t.Fatal(err)
			}
			done++
		}
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
	t.Logf("%d flips, %d reloads, %d hits, %d misses, %d of them between two flips", flips, done, hits.Load(), misses.Load(), sure.Load())
	if flips < 50 || done < 1 || hits.Load() < 100 || misses.Load() < 100 || sure.Load() < 100 {
		t.Error("too little happened to conclude anything")
	}
}

// TestReloadKeepsOld: a reload with anything wrong in it changes nothing, says
// what is wrong, and serving goes on.
func TestReloadKeepsOld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.bin")
	good, err := os.ReadFile("policy/default.bin")
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(good)
	ts := startServer(t, testConfig{policy: file})
	c := ts.dialFrom("127.0.0.1")
	c.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	for _, bad := range [][]byte{nil, []byte("no policy"), good[:len(good)/2], append(good[:len(good):len(good)], 0)} {
		put(bad)
		if err := ts.mon.Reload(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("a bad policy of %d bytes: %v", len(bad), err)
		}
		c.want("get k\r\nset k 0 0 1\r\nx\r\n", "VALUE k 0 1\r\nx\r\nEND\r\nSTORED\r\n")
	}
	put(good)
	if err := ts.mon.Reload(); err != nil {
		t.Error(err)
	}
}

// TestReloadMemory: the heap is flat over ten thousand reloads.
func TestReloadMemory(t *testing.T) {
	ts := startServer(t, testConfig{contexts: tenants})
	c := ts.dialFrom("127.0.2.1")
	heap := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	reload := func(n int) {
		for i := range n {
			if err := ts.mon.SetBooleans(map[string]bool{"kv_client_stats": i%2 == 0}); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				c.want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
				ts.takeAudit()
			}
		}
	}
	reload(1000)
	before, sids := heap(), ts.mon.SIDs().Len()
	reload(10_000)
	after := heap()
	t.Logf("heap %d KB before, %d KB after 10,000 reloads; %d labels before, %d after", before>>10, after>>10, sids, ts.mon.SIDs().Len())
	if after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if n := ts.mon.SIDs().Len(); n != sids {
		t.Errorf("labels in use went from %d to %d", sids, n)
	}
}
