package engine_test

import (
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestClockBeforeTheStart: a clock that is set back beyond the start of the server stands
// still at its beginning; nothing expires by it.
func TestClockBeforeTheStart(t *testing.T) {
	eng, _, now := setup{}.open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Store(engine.OpSet, "k", "v", func(c *engine.Call) { c.Exptime = 1000 })
	for _, back := range []int64{100, 1_000_000} {
		now.Add(-back)
		if c := eng.Clock(); c != 1 {
			t.Errorf("%d seconds back: expected 1, found %d", back, c)
		}
		if _, _, ok := d.Value("k"); !ok {
			t.Errorf("%d seconds back: the item is gone", back)
		}
		now.Add(back)
	}
	if _, _, ok := d.Value("k"); !ok {
		t.Error("the item is gone")
	}
}
