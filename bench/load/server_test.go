package load_test

import (
	"testing"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
	"sememcached/mac"
)

// TestAgainstServer runs every preset, with few keys, against our server and
// compares every byte.
func TestAgainstServer(t *testing.T) {
	srv, err := rig.StartInProcess(mac.Config{Mode: mac.Off}, 128, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	for _, p := range load.Presets {
		t.Run(p.Name, func(t *testing.T) {
			c := p.Config
			c.Network, c.Addr, c.Verify, c.Keys = "tcp", srv.Addr, true, 200
			c.Conns = min(c.Conns, 200)
			g, err := load.New(c)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if r, err := g.Fill(); err != nil || r.Err() != nil || r.Requests != 200 {
				t.Fatalf("fill: %d requests, %v, %v", r.Requests, err, r.Err())
			}
			r, err := g.Run(100 * time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if r.Misses > 0 || c.Sets == 0 && r.Hits < r.Gets || r.Latency.Count() != r.Requests {
				t.Errorf("%d gets: %d hits, %d misses; %d latencies of %d requests", r.Gets, r.Hits, r.Misses, r.Latency.Count(), r.Requests)
			}
		})
	}
}
