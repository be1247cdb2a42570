package engine_test

import (
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestClose: a delayed flush whose time comes after the engine was closed does not
// look at the store.
func TestClose(t *testing.T) {
	s := &scripted{access: all}
	eng, _, now := s.setup(mac.Config{}).open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d.Store(engine.OpSet, "k", "v")
	d.Call(engine.OpFlush, "").Exptime = 2
	if st := d.Run(eng.Flush); st != engine.OK {
		t.Fatalf("flush: %d", st)
	}
	d.Close()
	eng.Close()
	before := state(eng, "k")
	now.Add(1)
	eng.RunFlushes()
	if after := state(eng, "k"); after != before || before == "absent" {
		t.Errorf("flushed after the end: %s", after)
	}
}
