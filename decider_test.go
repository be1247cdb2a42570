package main

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/mac"
)

// hooked is a decider of the tests: the real one behind hooks.
type hooked struct {
	mac.Decider
	before func(s, t string, c avc.Class) error
}

func (h *hooked) Access(s, t string, c avc.Class) (avc.Decision, error) {
	if err := h.before(s, t, c); err != nil {
		return avc.Decision{}, err
	}
	return h.Decider.Access(s, t, c)
}

func hook(before func(s, t string, c avc.Class) error) func(mac.Decider) mac.Decider {
	return func(d mac.Decider) mac.Decider { return &hooked{d, before} }
}

// TestSlowDecider: a security server that takes a second delays nobody whose
// verdicts are cached, and a thousand connections that miss the same entry ask
// it once.
func TestSlowDecider(t *testing.T) {
	var slow, queries atomic.Int64
	cfg := testConfig{contexts: tenants}
	cfg.mac.Decider = hook(func(s, _ string, _ avc.Class) error {
		if strings.Contains(s, ":c2") && slow.Load() == 1 {
			queries.Add(1)
			time.Sleep(time.Second)
		}
		return nil
	})
	cfg.server.Threads = 2
	cfg.server.MaxConns = 2000
	ts := startServer(t, cfg)
	one := ts.dialFrom("127.0.2.1")
	one.want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
	const crowd = 1000
	cs := make([]*client, crowd)
	for i := range cs {
		cs[i] = ts.dialFrom("127.0.2.2")
		cs[i].ask("") // accepted
	}
	slow.Store(1)
	began := time.Now()
	for _, c := range cs {
		if _, err := c.Write([]byte("get k\r\nversion\r\nmn\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	var worst time.Duration
	n := 0
	for time.Since(began) < 800*time.Millisecond {
		at := time.Now()
		one.want("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n")
		worst = max(worst, time.Since(at))
		n++
	}
	t.Logf("%d cached requests while the decider slept, the slowest took %v", n, worst)
	if worst > 500*time.Millisecond || n < 100 {
		t.Errorf("cached requests were delayed: %d served, the slowest took %v", n, worst)
	}
	for _, c := range cs {
		if got := c.ask(""); got != "END\r\nVERSION 1.6.45\r\n" {
			// ask's own no-op ends the first read early: the crowd's is read here.
			t.Fatalf("a parked connection was answered %q", got)
		}
		c.Close()
	}
	if q := queries.Load(); q != 1 {
		t.Errorf("%d connections missed one entry and asked %d times", crowd, q)
	}
}

// TestUndecided: a decider that fails or panics denies, is logged and counted;
// in permissive mode it allows and is logged too.
func TestUndecided(t *testing.T) {
	for _, fault := range []func(string, string, avc.Class) error{
		func(string, string, avc.Class) error { return errors.New("no answer") },
		func(string, string, avc.Class) error { panic("a mistake in the decider") },
	} {
		for _, permissive := range []bool{false, true} {
			cfg := testConfig{contexts: tenants}
			cfg.mac.Decider = hook(fault)
			cfg.mac.Permissive = permissive
			ts := startServer(t, cfg)
			one := ts.dialFrom("127.0.2.1")
			if permissive {
				one.want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
			} else {
				one.want("set k 0 0 1\r\nx\r\nget k\r\n", accessDenied+"END\r\n")
				one.want("flush_all\r\nstats\r\n", accessDenied+accessDenied)
			}
			if lines := ts.takeAudit(); len(lines) == 0 {
				t.Errorf("permissive=%v: nothing was logged", permissive)
			}
		}
	}
}

// TestDisconnectWhileParked: clients that leave while their verdict is being
// asked for leave nothing behind.
func TestDisconnectWhileParked(t *testing.T) {
	gate := make(chan struct{})
	var on atomic.Bool
	cfg := testConfig{contexts: tenants}
	cfg.mac.Decider = hook(func(s, _ string, _ avc.Class) error {
		if on.Load() && strings.Contains(s, ":c2") {
			<-gate
		}
		return nil
	})
	ts := startServer(t, cfg)
	one := ts.dialFrom("127.0.2.1")
	one.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	on.Store(true)
	for range 100 {
		c := ts.dialFrom("127.0.2.2")
		if _, err := c.Write([]byte("get k\r\nset k 0 0 1\r\ny\r\n")); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	stay := ts.dialFrom("127.0.2.2")
	if _, err := stay.Write([]byte("get k\r\nmn\r\n")); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if got := stay.ask(""); got != "END\r\n" {
		t.Errorf("got %q", got)
	}
	one.want("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n")
}
