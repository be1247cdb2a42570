package engine_test

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
)

const maxItem = 1 << 20

// setup is one engine of the tests: the built-in policy, a clock that the test
// moves.
type setup struct {
	mac     mac.Config
	store   storage.Config
	entries int
}

func (s setup) open(t testing.TB) (*engine.Secured, *mac.Monitor, *atomic.Int64) {
	t.Helper()
	s.mac.Mode, s.mac.Log = mac.PolicyFile, slog.New(slog.DiscardHandler)
	if s.mac.AuditWriter == nil {
		s.mac.AuditWriter = io.Discard
	}
	mon, err := mac.Open(s.mac)
	if err != nil {
		t.Fatal(err)
	}
	s.store.MaxItem = maxItem
	if s.store.Limit == 0 {
		s.store.Limit = 64 << 20
	}
	store, err := storage.New(s.store)
	if err != nil {
		t.Fatal(err)
	}
	now := &atomic.Int64{}
	now.Store(1_800_000_000)
	eng := engine.New(engine.Config{Store: store, Monitor: mon, AVCEntries: s.entries, Clock: now.Load})
	t.Cleanup(func() {
		eng.Close()
		mon.Close()
		store.Close()
	})
	return eng, mon, now
}

func TestConformance(t *testing.T) {
	for _, x := range []struct {
		name string
		setup
		flaky bool
	}{
		{name: "default"},
		{name: "one shard", setup: setup{store: storage.Config{Shards: 1}}},
		{name: "small caches", setup: setup{entries: 8, mac: mac.Config{AVCSize: 8}}},
		{name: "late answers", flaky: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			enginetest.Conformance(t, func(t *testing.T) *enginetest.Env {
				eng, _, now := x.open(t)
				env := &enginetest.Env{Engine: eng, Peer: &mac.Peer{FD: -1}, MaxItem: maxItem, Advance: func(s int64) { now.Add(s) }}
				if x.flaky {
					f := &enginetest.Flaky{Interface: eng, PendingEvery: 3, Delay: time.Millisecond}
					env.Engine = f
					t.Cleanup(func() {
						if f.Pendings.Load() == 0 {
							t.Error("no fault was injected")
						}
					})
				}
				return env
			})
		})
	}
}

// TestOutOfMemory: a store for which there is no memory says so, and a set then
// leaves no stale value behind.
func TestOutOfMemory(t *testing.T) {
	eng, _, _ := setup{}.open(t)
	f := &enginetest.Flaky{Interface: eng, NoMemoryEvery: 2}
	d := enginetest.NewDriver(t, f, &mac.Peer{FD: -1})
	defer d.Close()
	stored, refused := 0, 0
	for range 10 {
		switch d.Store(engine.OpSet, "k", "v") {
		case engine.Stored:
			stored++
		case engine.NoMemory:
			refused++
		}
	}
	if stored+refused != 10 || stored == 0 || refused == 0 || uint64(refused) != f.Refused.Load() {
		t.Errorf("%d stored, %d refused, %d faults", stored, refused, f.Refused.Load())
	}
}

// TestNobody: the zero Client is denied everything, whatever it asks.
func TestNobody(t *testing.T) {
	eng, _, _ := setup{}.open(t)
	owner := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer owner.Close()
	owner.Store(engine.OpSet, "k", "10")
	d := enginetest.NewDriver(t, eng, nil)
	defer d.Close()
	if got := d.Get("k"); got != "" {
		t.Errorf("nobody reads %q", got)
	}
	for op, want := range map[engine.Op]engine.Status{
		engine.OpSet: engine.Denied, engine.OpAdd: engine.Denied, engine.OpReplace: engine.NotStored,
		engine.OpAppend: engine.NotStored, engine.OpPrepend: engine.NotStored, engine.OpCAS: engine.Miss,
		engine.OpNone: engine.Denied, engine.OpGet: engine.Miss, engine.OpStats: engine.Denied,
	} {
		if st := d.Store(op, "k", "x"); st != want {
			t.Errorf("store as %q: %d, want %d", engine.Table[op].Name, st, want)
		}
	}
	for op := range engine.Op(len(engine.Table)) {
		d.Call(op, "k")
		st := d.Run(eng.Authorize)
		if free := op == engine.OpFree; (st == engine.OK) != free {
			t.Errorf("%q: nobody is authorized: %v", engine.Table[op].Name, st)
		}
	}
	if v, _, _ := owner.Value("k"); v != "10" {
		t.Errorf("the item is %q now", v)
	}
}

// TestHotPathAllocatesNothing: a hit, a miss, a denied get and an overwrite, with
// their verdicts cached.
func TestHotPathAllocatesNothing(t *testing.T) {
	eng, _, _ := setup{}.open(t)
	owner := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer owner.Close()
	owner.Store(engine.OpSet, "k", "10")
	for _, x := range []struct {
		name string
		peer *mac.Peer
		key  string
		want engine.Status
	}{
		{"hit", &mac.Peer{FD: -1}, "k", engine.OK},
		{"miss", &mac.Peer{FD: -1}, "none", engine.Miss},
		{"denied", nil, "k", engine.Miss},
	} {
		w := eng.NewWorker(func() {})
		cl := &engine.Client{Peer: x.peer}
		c := &engine.Call{Client: cl}
		key, dst := []byte(x.key), make([]byte, 0, 4096)
		get := func() (st engine.Status) {
			w.Begin()
			defer w.End(true)
			c.Reset()
			c.Op, c.Form, c.Key = engine.OpGet, engine.FormText, key
			_, st = eng.Get(w, c, dst[:0])
			return st
		}
		if st := get(); st != x.want {
			t.Fatalf("%s: status %d", x.name, st)
		}
		if n := testing.AllocsPerRun(1000, func() { get() }); n != 0 {
			t.Errorf("%s: %v allocations", x.name, n)
		}
	}
	w := eng.NewWorker(func() {})
	c := &engine.Call{Client: &engine.Client{Peer: &mac.Peer{FD: -1}}}
	key, value := []byte("k"), []byte("20")
	set := func() (st engine.Status) {
		w.Begin()
		defer w.End(true)
		c.Reset()
		c.Op, c.Key, c.Value = engine.OpSet, key, value
		return eng.Store(w, c)
	}
	if st := set(); st != engine.Stored {
		t.Fatalf("set: status %d", st)
	}
	if n := testing.AllocsPerRun(1000, func() { set() }); n != 0 {
		t.Errorf("overwrite: %v allocations", n)
	}
}

// TestDelayedFlush: a newer flush by a subject that may not remove a label does
// not cancel an older one by a subject that may.
func TestDelayedFlush(t *testing.T) {
	eng, mon, now := setup{}.open(t)
	_ = mon
	owner := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer owner.Close()
	flush := func(delay int64) {
		c := owner.Call(engine.OpFlush, "")
		c.Exptime = delay
		if st := owner.Run(eng.Flush); st != engine.OK {
			t.Fatalf("flush: %d", st)
		}
	}
	there := func() bool { _, _, ok := owner.Value("k"); return ok }
	owner.Store(engine.OpSet, "k", "v")
	flush(10)
	now.Add(8)
	eng.RunFlushes()
	if !there() {
		t.Error("flushed before it was due")
	}
	now.Add(2)
	eng.RunFlushes()
	if there() {
		t.Error("not flushed when it was due")
	}
	owner.Store(engine.OpSet, "k", "v")
	eng.RunFlushes()
	if !there() {
		t.Error("an item stored after the flush has gone")
	}
	// The same subject's newer flush replaces its older one.
	flush(10)
	flush(100)
	now.Add(50)
	eng.RunFlushes()
	if !there() {
		t.Error("the replaced flush was executed")
	}
	now.Add(50)
	eng.RunFlushes()
	if there() {
		t.Error("the newer flush was not executed")
	}
}
