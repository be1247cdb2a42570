package main

import (
	"io"
	"testing"
	"time"

	"sememcached/bench/rig"
	"sememcached/mac"
	"sememcached/server"
)

// TestRobust puts every attacker beside ordinary clients for a moment: all of them
// are answered, and rightly. Times are not judged here.
func TestRobust(t *testing.T) {
	const idle = 1000
	p, err := rig.StartInProcess(mac.Config{Mode: mac.PolicyFile, AuditWriter: io.Discard}, 256, &server.Settings{Threads: 2, MaxConns: idle + 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop() }()
	if err := measure(p.Addr, 300*time.Millisecond, 1, idle, time.Hour, t.Logf); err != nil {
		t.Error(err)
	}
	// What every absurd request leaves behind it is a server that goes on.
	for _, request := range absurd() {
		if err := once(p.Addr, request); err != nil {
			t.Fatalf("%.60q: %v", request, err)
		}
	}
	if _, err := ordinary(p.Addr, 100*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := p.Store.Check(0); err != nil {
		t.Error(err)
	}
}
