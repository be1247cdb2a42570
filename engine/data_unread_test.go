package engine_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// TestUnreadIsNotReplaced: while a file is loaded, nobody replaces an item that has
// not been read yet and that it may not write.
func TestUnreadIsNotReplaced(t *testing.T) {
	const theirs = "system_u:object_r:kv_item_t:s0:c5"
	type operation = func(w *engine.Worker, c *engine.Call) engine.Status
	store := func(eng *engine.Secured) operation { return eng.Store }
	for _, x := range []struct {
		name string
		op   engine.Op
		opt  *engine.Options
		run  func(eng *engine.Secured) operation
		want engine.Status
	}{
		{"set", engine.OpSet, nil, store, engine.Denied},
		{"add", engine.OpAdd, nil, store, engine.Denied},
		{"ms MA N", engine.OpAppend, &engine.Options{Meta: true, Vivify: true}, store, engine.Denied},
		{"ma N", engine.OpIncr, &engine.Options{Meta: true, Vivify: true}, func(eng *engine.Secured) operation { return eng.Arith }, engine.Denied},
		{"mg N", engine.OpMetaGet, &engine.Options{Meta: true, Vivify: true}, func(eng *engine.Secured) operation {
			return func(w *engine.Worker, c *engine.Call) engine.Status {
				_, st := eng.Get(w, c, nil)
				return st
			}
		}, engine.Denied},
		{"set too large", engine.OpSet, nil, func(eng *engine.Secured) operation {
			return func(w *engine.Worker, c *engine.Call) engine.Status { return eng.StoreRefused(w, c, engine.TooLarge) }
		}, engine.TooLarge},
	} {
		t.Run(x.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			write(t, path, theirs, "k")
			eng, step, shut := slowLoad(t, path)
			d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
			// What is to be asked has been asked: the first execution does it, or waits.
			d.Call(engine.OpSet, "other")
			if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.Reserve(w, c, 1) }); st != engine.OK {
				t.Fatalf("reserve: %d", st)
			}
			d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
				eng.Abort(w, c)
				return engine.OK
			})
			c := d.Call(x.op, "k")
			c.Opt, c.Value, c.Form, c.Composer = x.opt, []byte("mine"), engine.FormView, headless{}
			op, begun, st := x.run(eng), make(chan struct{}), make(chan engine.Status)
			var once sync.Once
			go func() {
				st <- d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
					defer once.Do(func() { close(begun) })
					return op(w, c)
				})
			}()
			<-begun
			close(step)
			if got := <-st; got != x.want {
				t.Errorf("status %d, want %d", got, x.want)
			}
			d.Close()
			shut()
			eng, _, _ = openKept(t, setup{}, engine.DataConfig{Path: path})
			sh := eng.Storage().Lock(eng.Hash([]byte("k")))
			defer sh.Unlock()
			it, _ := sh.Find(eng.Hash([]byte("k")), 0, []byte("k"), eng.Clock())
			if it.Nil() || string(it.Value()) != "secret" {
				t.Error("the item of somebody else is gone")
			}
		})
	}
}

// TestUnreadOfOneLabel: where all items of the file have the label that new ones get,
// and the client may write it, nothing waits.
func TestUnreadOfOneLabel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, itemContext, "k")
	eng, step, shut := slowLoad(t, path)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	if st := d.Store(engine.OpSet, "k", strings.Repeat("v", 10)); st != engine.Stored {
		t.Errorf("set: %d", st)
	}
	if st := dataStat(eng, "state"); st != "loading" {
		t.Errorf("expected loading, found %s", st)
	}
	close(step)
	d.Close()
	shut()
}

// headless composes nothing.
type headless struct{}

func (headless) Compose(dst []byte, _ *engine.View) ([]byte, engine.Tail) {
	return dst, engine.TailNone
}
