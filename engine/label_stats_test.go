package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestLabelStatisticsEndWithTheLabel: a number that is given to another context
// brings no counts of the old one along.
func TestLabelStatisticsEndWithTheLabel(t *testing.T) {
	s := &scripted{access: all}
	eng, mon, _ := s.setup(mac.Config{MaxLabels: 8}).open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	use := func(i int) {
		t.Helper()
		if st := createContext(eng, d, fmt.Sprintf("%s:c%d", itemContext, i)); st != engine.OK {
			t.Fatalf("mac create c%d: %d", i, st)
		}
		d.Store(engine.OpSet, "k", "v")
	}
	use(0)
	for range 5 {
		d.Get("k")
	}
	d.Call(engine.OpDelete, "k")
	d.Run(eng.Delete)
	d.Call(engine.OpCreateContext, "").Context = []byte("-")
	d.Run(eng.CreateContext)
	if n := mon.Collect(); n == 0 {
		t.Fatal("no number was freed")
	}
	for i := 1; i < 4; i++ {
		use(i)
		d.Call(engine.OpDelete, "k")
		d.Run(eng.Delete)
	}
	d.Call(engine.OpStatsLabels, "")
	d.Run(eng.Authorize)
	c := d.Call(engine.OpStatsLabels, "")
	eng.StatsLabels(c, func(name, value string) {
		if strings.HasSuffix(name, ":hits") && value != "0" {
			t.Errorf("%s is %s", name, value)
		}
	})
}
