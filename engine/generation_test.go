package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestCreateIsJudgedInItsGeneration: the label of a new item and the permission
// to create it are of one generation. Each state here allows creating with the
// label that it gives and refuses the other's, so that every store succeeds,
// unless the two are mixed.
func TestCreateIsJudgedInItsGeneration(t *testing.T) {
	var flip atomic.Int64
	decider := func(d mac.Decider) mac.Decider {
		label, other := itemContext, sessionContext
		if flip.Add(1)%2 == 0 {
			label, other = other, label
		}
		return scriptedDecider{d, &scripted{
			access: func(_, tt string, c avc.Class, d avc.Decision) (avc.Decision, error) {
				d.Allowed = c.All()
				if tt == other {
					d.Allowed &^= avc.Create
				}
				return d, nil
			},
			create: func(string, string, string, string) (string, error) { return label, nil },
		}}
	}
	eng, mon, _ := setup{mac: mac.Config{Decider: decider}, entries: 4}.open(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
				if err := mon.Reload(); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	began := time.Now()
	n, denied := 0, 0
	for time.Since(began) < time.Second {
		n++
		switch st := d.Store(engine.OpAdd, "k", "v"); st {
		case engine.Stored:
		case engine.Denied:
			denied++
		default:
			t.Fatalf("add: %d", st)
		}
		d.Call(engine.OpDelete, "k")
		d.Run(eng.Delete)
	}
	close(stop)
	<-done
	c := eng.Counters(nil)
	t.Logf("%d stores, %d denied, %d pending, %d gave up", n, denied, d.Pendings, c.GaveUp)
	if d.Pendings == 0 || n < 50 {
		t.Error("nothing was asked")
	}
	if uint64(denied) > c.GaveUp {
		t.Errorf("%d stores were denied, of which %d gave up", denied, c.GaveUp)
	}
}

// TestPermissionsAreOfOneGeneration: gat needs two permissions, and no state
// gives both.
func TestPermissionsAreOfOneGeneration(t *testing.T) {
	var flip atomic.Int64
	decider := func(d mac.Decider) mac.Decider {
		lacks := avc.Read
		if flip.Add(1)%2 == 0 {
			lacks = avc.Setattr
		}
		return scriptedDecider{d, &scripted{access: func(_, _ string, c avc.Class, d avc.Decision) (avc.Decision, error) {
			d.Allowed = c.All() &^ lacks
			return d, nil
		}}}
	}
	eng, mon, _ := setup{mac: mac.Config{Decider: decider}, entries: 4}.open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	if st := d.Store(engine.OpSet, "k", "v"); st != engine.Stored {
		t.Fatalf("set: %d", st)
	}
	before := state(eng, "k")
	for range 300 {
		if err := mon.Reload(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c := d.Call(engine.OpGat, "k")
			c.Form, c.Exptime = engine.FormText, 50
			if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
				_, st := eng.Get(w, c, nil)
				return st
			}); st != engine.Miss {
				t.Fatalf("gat: %d", st)
			}
		}
	}
	if after := state(eng, "k"); after != before {
		t.Errorf("a denied gat changed the item:\n  %s\n  %s", before, after)
	}
}

// TestGivesUp: a request whose generation passes each time that it has an answer
// is denied in the end, and counted.
func TestGivesUp(t *testing.T) {
	var mon *mac.Monitor
	var on atomic.Bool
	s := &scripted{}
	s.access = func(src, tgt string, c avc.Class, d avc.Decision) (avc.Decision, error) {
		if on.Load() && c == avc.ClassItem {
			if err := mon.Reload(); err != nil {
				return d, err
			}
		}
		return all(src, tgt, c, d)
	}
	eng, m, _ := s.setup(mac.Config{}).open(t)
	mon = m
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Store(engine.OpSet, "k", "v")
	on.Store(true)
	if err := mon.Reload(); err != nil {
		t.Fatal(err)
	}
	pendings := d.Pendings
	if got := d.Get("k"); got != "" {
		t.Errorf("read %q", got)
	}
	if n := d.Pendings - pendings; n != 8 {
		t.Errorf("retried %d times, want 8", n)
	}
	if n := eng.Counters(nil).GaveUp; n != 1 {
		t.Errorf("%d requests gave up, want 1", n)
	}
	on.Store(false)
	if got := d.Get("k"); got == "" {
		t.Error("the next request is denied too")
	}
}
