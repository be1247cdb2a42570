package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestNothingHoldsLabels: when all clients have gone and all items are deleted,
// every number that they used is free again: those of clients that went while
// they waited for an answer, of contexts named and refused, of creation contexts,
// and of flushes.
func TestNothingHoldsLabels(t *testing.T) {
	file, peer := people(t)
	eng, mon, now := setup{mac: mac.Config{ContextsFile: file, AVCSize: 8}, entries: 4}.open(t)
	mon.Collect()
	base := mon.SIDs().Len()
	wake := make(chan struct{}, 1)
	w := eng.NewWorker(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	// Clients come, ask one thing, and leave in the midst of it or after it.
	left := 0
	for i := range 2000 {
		cl := &engine.Client{Peer: peer(uint32(1 + i%4))}
		c := &engine.Call{Client: cl, Tag: uint64(i + 1)}
		c.Key, c.Value = fmt.Append(nil, "k", i%7), []byte("v")
		context := fmt.Sprintf("%s:c%d", itemContext, i%500)
		var run func() engine.Status
		switch i % 5 {
		case 0:
			c.Op, c.Context = engine.OpCreateContext, []byte(context)
			run = func() engine.Status { return eng.CreateContext(w, c) }
		case 1:
			c.Op, c.Context = engine.OpRelabel, []byte(context)
			run = func() engine.Status { return eng.Relabel(w, c) }
		case 2:
			c.Op = engine.OpSet
			run = func() engine.Status { return eng.Store(w, c) }
		case 3:
			c.Op, c.Exptime = engine.OpFlush, int64(i%3)*1000
			run = func() engine.Status { return eng.Flush(w, c) }
		case 4:
			c.Op = engine.OpGet
			run = func() engine.Status {
				_, st := eng.Get(w, c, nil)
				return st
			}
		}
		patience := i % 4 // answers that this client waits for
		for here := true; here; {
			w.Begin()
			st := run()
			if st != engine.Pending || patience == 0 {
				if st == engine.Pending {
					left++
				}
				eng.Disconnect(w, cl, c)
				here = false
			}
			w.End(true)
			if !here {
				break
			}
			patience--
			for got := false; !got; {
				select {
				case <-wake:
				case <-time.After(10 * time.Second):
					t.Fatal("no answer")
				}
				w.Begin()
				w.Drain(func(tag uint64) *engine.Call {
					if tag == c.Tag {
						return c
					}
					return nil
				}, func(uint64) { got = true })
				w.End(true)
			}
		}
		if i%100 == 0 {
			if err := mon.Reload(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left == 0 {
		t.Error("nobody left while an answer was due")
	}
	now.Add(5000)
	eng.RunFlushes() // the last ones
	for _, uid := range []uint32{1, 4} {
		d := enginetest.NewDriver(t, eng, peer(uid))
		for i := range 7 {
			d.Call(engine.OpDelete, fmt.Sprint("k", i))
			d.Run(eng.Delete)
		}
		d.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		w.Begin()
		w.Drain(func(uint64) *engine.Call { return nil }, func(uint64) {})
		w.End(true)
		if mon.Collect(); mon.SIDs().Len() == base {
			break
		}
		if time.Now().After(deadline) {
			var names []string
			for s := avc.SID(1); int(s) <= mon.SIDs().Max(); s++ {
				if ctx := mon.SIDs().String(s); ctx != "" {
					names = append(names, fmt.Sprintf("%s (%d items)", ctx, eng.Storage().LabelItems(uint32(s))))
				}
			}
			t.Fatalf("%d contexts are in use, %d were at the start:\n%s", mon.SIDs().Len(), base, strings.Join(names, "\n"))
		}
	}
}
