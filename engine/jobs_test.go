package engine_test

import (
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestPrefixesLeaveRoom: deletions by prefix that take their time, as many as there are
// clients, do not keep others from statistics and flushes.
func TestPrefixesLeaveRoom(t *testing.T) {
	eng, _, _ := setup{}.open(t)
	release := make(chan struct{})
	const clients = 20
	ended := make(chan engine.Status, clients)
	begun := make(chan struct{}, clients)
	for range clients {
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		d.Call(engine.OpDeletePrefix, "k")
		go func() {
			ended <- d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
				st := eng.Background(w, c, func() { <-release })
				begun <- struct{}{}
				return st
			})
		}()
	}
	for range clients {
		<-begun
	}
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Call(engine.OpStats, "")
	ran := false
	if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
		return eng.Background(w, c, func() { ran = true })
	}); st != engine.OK || !ran {
		t.Errorf("status %d, ran %v", st, ran)
	}
	d.Call(engine.OpFlush, "")
	if st := d.Run(eng.Flush); st != engine.OK {
		t.Errorf("flush: %d", st)
	}
	close(release)
	for range clients {
		if st := <-ended; st != engine.OK {
			t.Errorf("status %d", st)
		}
	}
}
