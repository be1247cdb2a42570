package load_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
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

// TestAgainstRedis: gets and sets of one key, against Debian's redis-server, with every byte compared.
func TestAgainstRedis(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "redis") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := dir + "/s"
	var log strings.Builder
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%v\n%s", err, log.String())
		}
	}
	for _, depth := range []int{1, 8} {
		g, err := load.New(load.Config{
			Network: "unix", Addr: socket, Protocol: load.Redis, Verify: true,
			Keys: 200, Conns: 20, Depth: depth, Sets: 1, Gets: 4, ValueSize: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		before, err := g.Run(20 * time.Millisecond)
		if err != nil || before.Wrong+before.Errors > 0 || depth == 1 && before.Misses == 0 {
			t.Errorf("depth %d: expected misses and nothing wrong, found %d misses, %v, %v", depth, before.Misses, err, before.Err())
		}
		if r, err := g.Fill(); err != nil || r.Err() != nil || r.Requests != 200 {
			t.Fatalf("depth %d: fill: %d requests, %v, %v", depth, r.Requests, err, r.Err())
		}
		r, err := g.Run(100 * time.Millisecond)
		if err != nil || r.Err() != nil || r.Misses > 0 || r.Hits != r.Gets || r.Hits == 0 {
			t.Errorf("depth %d: %d gets, %d hits, %d misses, %v, %v", depth, r.Gets, r.Hits, r.Misses, err, r.Err())
		}
	}
}
