package bench_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// TestSyscallsPerRequest: a request at depth one costs a recv and a send. The
// waits for events are shared by the connections that are ready together.
func TestSyscallsPerRequest(t *testing.T) {
	server := buildServer(t)
	for _, c := range []struct {
		name  string
		depth int
		most  float64
	}{
		{"50 connections, depth 1", 1, 2.2},
		{"50 connections, depth 16", 16, 2.2 / 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := rig.Start(rig.Kind{Name: "sememcached", Argv: []string{server}}, rig.Place{Threads: 1, MemoryMB: 64})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			cfg := load.Config{Keys: keys, Depth: c.depth, Conns: 50, Seed: 1}
			if err := rig.Fill(s, cfg); err != nil {
				t.Fatal(err)
			}
			n, calls, err := rig.SyscallsPerRequest(s, cfg, 20_000*c.depth)
			if errors.Is(err, rig.ErrNoStrace) {
				missing(t, err.Error())
			}
			if err != nil {
				t.Fatal(err)
			}
			if n > c.most {
				t.Errorf("expected at most %.2f system calls per request, found %.3f: %v", c.most, n, calls)
			}
			t.Logf("%.3f system calls per request: %v", n, calls)
		})
	}
}

// missing skips a test for want of a tool; where CI is set it fails it.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// buildServer builds the program of the module's root.
func buildServer(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sememcached")
	cmd := exec.Command("go", "build", "-o", bin, "sememcached")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}
