package bench_test

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sememcached/bench/load"
	"sememcached/bench/rig"
	"sememcached/mac"
)

const (
	allocRequests = 1_000_000
	allocPerReq   = 0.001
	keys          = 10_000
)

// TestAllocationsPerRequest counts the allocations of the whole process, server
// and generator, which allocates nothing, over a million requests of each kind.
func TestAllocationsPerRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	contexts := filepath.Join(t.TempDir(), "contexts")
	writeFile(t, contexts, "client cidr:127.0.9.1/32 system_u:system_r:kv_client_t:s0:c1\n"+
		"client cidr:127.0.9.2/32 system_u:system_r:kv_client_t:s0:c2\n")
	srv, err := rig.StartInProcess(mac.Config{Mode: mac.PolicyFile, ContextsFile: contexts, AuditWriter: io.Discard}, 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	base := load.Config{Network: "tcp", Addr: srv.Addr, Source: "127.0.9.1", Depth: 16, Keys: keys, Seed: 1}
	owner, err := load.New(base)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()

	for _, c := range []struct {
		name         string
		sets, gets   int
		source       string
		fill         bool
		hits, misses bool
	}{
		{name: "miss", gets: 1, source: "127.0.9.1", misses: true},
		{name: "hit", gets: 1, source: "127.0.9.1", fill: true, hits: true},
		{name: "denied", gets: 1, source: "127.0.9.2", misses: true},
		{name: "overwrite", sets: 1, source: "127.0.9.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.fill {
				if _, err := owner.Fill(); err != nil {
					t.Fatal(err)
				}
			}
			cfg := base
			cfg.Sets, cfg.Gets, cfg.Source = c.sets, c.gets, c.source
			g, err := load.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if _, err := g.RunRequests(allocRequests / 20); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := g.RunRequests(allocRequests)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if c.hits && r.Misses > 0 || c.misses && r.Hits > 0 {
				t.Fatalf("expected hits only (%v) or misses only (%v), found %d hits, %d misses", c.hits, c.misses, r.Hits, r.Misses)
			}
			n := after.Mallocs - before.Mallocs
			if per := float64(n) / float64(r.Requests); per >= allocPerReq {
				t.Errorf("%d allocations in %d requests: expected fewer than %g each, found %g", n, r.Requests, allocPerReq, per)
			} else {
				t.Logf("%d allocations in %d requests", n, r.Requests)
			}
		})
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
