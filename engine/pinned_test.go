package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
)

// TestPinnedBytesStay: whatever happens to an item while it is being sent, the
// bytes that are sent are those of the hit.
func TestPinnedBytesStay(t *testing.T) {
	number := "1" + strings.Repeat(" ", 20_000)
	same := func(c byte) string { return strings.Repeat(string(c), len(number)) }
	for _, x := range []struct {
		name string
		run  func(eng *engine.Secured, d *enginetest.Driver) engine.Status
		want engine.Status
	}{
		{"set", func(_ *engine.Secured, d *enginetest.Driver) engine.Status {
			return d.Store(engine.OpSet, "k", same('y'))
		}, engine.Stored},
		{"upload", func(_ *engine.Secured, d *enginetest.Driver) engine.Status {
			return d.Upload(engine.OpSet, "k", []byte(same('y')))
		}, engine.Stored},
		{"append", func(_ *engine.Secured, d *enginetest.Driver) engine.Status { return d.Store(engine.OpAppend, "k", "y") }, engine.Stored},
		{"prepend upload", func(_ *engine.Secured, d *enginetest.Driver) engine.Status {
			return d.Upload(engine.OpPrepend, "k", []byte(same('y')))
		}, engine.Stored},
		{"incr", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			d.Call(engine.OpIncr, "k").Delta = 8
			return d.Run(eng.Arith)
		}, engine.OK},
		{"delete", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			d.Call(engine.OpDelete, "k")
			return d.Run(eng.Delete)
		}, engine.OK},
		{"relabel", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			return relabel(eng, d, "k", sessionContext)
		}, engine.OK},
		{"flush", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			d.Call(engine.OpFlush, "")
			return d.Run(eng.Flush)
		}, engine.OK},
		{"md x", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			d.Call(engine.OpDelete, "k").Opt = &engine.Options{Clear: true}
			return d.Run(eng.Delete)
		}, engine.OK},
		{"refused set", func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
			d.Call(engine.OpSet, "k")
			return d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.StoreRefused(w, c, engine.TooLarge) })
		}, engine.TooLarge},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &scripted{access: all}
			st := s.setup(mac.Config{})
			st.store = storage.Config{Limit: 2 << 20, Shards: 4}
			eng, _, _ := st.open(t)
			d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
			defer d.Close()
			d.Upload(engine.OpSet, "k", []byte(number))
			c := d.Call(engine.OpGet, "k")
			c.Form = engine.FormText
			var head []byte
			d.Run(func(w *engine.Worker, c *engine.Call) (st engine.Status) {
				head, st = eng.Get(w, c, nil)
				return st
			})
			if c.Pinned.Nil() {
				t.Fatal("a large hit was copied")
			}
			pinned, body := c.Pinned, c.Body
			if st := x.run(eng, d); st != x.want {
				t.Fatalf("status %d, want %d", st, x.want)
			}
			// Others want the memory.
			for i := range 300 {
				d.Upload(engine.OpSet, fmt.Sprint("other", i), []byte(same('z')))
			}
			if want := fmt.Sprintf("VALUE k 0 %d\r\n%s\r\n", len(number), number); string(head)+string(body) != want {
				t.Error("the pinned bytes have changed")
			}
			eng.Storage().Unpin(pinned)
			for i := range 300 {
				d.Upload(engine.OpSet, fmt.Sprint("other", i), []byte(same('z')))
			}
		})
	}
}
