package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
)

// TestDeniedUploadEvictsNobody: a client that may not create anything takes no
// memory from others, however large the values are that it sends.
func TestDeniedUploadEvictsNobody(t *testing.T) {
	file, peer := people(t)
	s := setup{mac: mac.Config{ContextsFile: file}, store: storage.Config{Limit: 4 << 20, Shards: 16}}
	eng, _, _ := s.open(t)
	owner := enginetest.NewDriver(t, eng, peer(1))
	defer owner.Close()
	value := bytes.Repeat([]byte("v"), 100_000)
	for i := range 200 {
		owner.Upload(engine.OpSet, fmt.Sprint("k", i), value)
	}
	before := eng.Storage().Stats()
	const large = 1_000_000
	for i := range 20 {
		d := enginetest.NewDriver(t, eng, peer(2))
		defer d.Close()
		d.Call(engine.OpSet, fmt.Sprint("other", i))
		if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.Reserve(w, c, large) }); st != engine.Denied {
			t.Fatalf("reserve: %d", st)
		}
		if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.StoreRefused(w, c, engine.Denied) }); st != engine.Denied {
			t.Fatalf("store: %d", st)
		}
		// An item that has to be there and is not is no way to memory either.
		d.Call(engine.OpAppend, "none")
		if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.Reserve(w, c, large) }); st != engine.Denied {
			t.Fatalf("reserve: %d", st)
		}
	}
	after := eng.Storage().Stats()
	if after.Evictions != before.Evictions || after.CurrItems != before.CurrItems {
		t.Errorf("denied uploads: %d items and %d evictions before, %d and %d after",
			before.CurrItems, before.Evictions, after.CurrItems, after.Evictions)
	}
}

// TestAddWhoseItemGoes: an item that is there when the value of an add begins to
// arrive, and not any more when it is complete, does not refuse it.
func TestAddWhoseItemGoes(t *testing.T) {
	file, peer := people(t)
	s := setup{mac: mac.Config{ContextsFile: file}}
	eng, _, _ := s.open(t)
	d, other := enginetest.NewDriver(t, eng, peer(1)), enginetest.NewDriver(t, eng, peer(1))
	defer d.Close()
	defer other.Close()
	other.Store(engine.OpSet, "k", "old")
	value := bytes.Repeat([]byte("v"), 100_000)
	c := d.Call(engine.OpAdd, "k")
	if st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return eng.Reserve(w, c, len(value)) }); st != engine.OK {
		t.Fatalf("reserve: %d", st)
	}
	copy(c.Upload.Value(), value)
	other.Call(engine.OpDelete, "k")
	if st := other.Run(eng.Delete); st != engine.OK {
		t.Fatalf("delete: %d", st)
	}
	if st := d.Run(eng.Store); st != engine.Stored {
		t.Fatalf("add: %d", st)
	}
	if got := d.Get("k"); !bytes.Contains([]byte(got), value) {
		t.Errorf("%d bytes are stored", len(got))
	}
}
