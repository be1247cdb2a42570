// Package enginetest checks engines: a conformance suite that every
// engine.Interface must pass, and Flaky, a wrapper that injects faults into one.
package enginetest

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/mac"
)

// Env is one engine under test, and what it is run with.
type Env struct {
	Engine engine.Interface
	// Peer is a client that may do everything.
	Peer *mac.Peer
	// Advance moves the engine's clock.
	Advance func(seconds int64)
	// MaxItem is the largest item in bytes that the engine stores.
	MaxItem int
}

// Driver executes calls as an event loop does: it retries what is pending.
type Driver struct {
	t      testing.TB
	eng    engine.Interface
	w      *engine.Worker
	wake   chan struct{}
	client engine.Client
	call   engine.Call
	// Pendings counts the calls that were not answered at once.
	Pendings int
}

// NewDriver returns a driver with a worker of its own.
func NewDriver(t testing.TB, eng engine.Interface, peer *mac.Peer) *Driver {
	d := &Driver{t: t, eng: eng, wake: make(chan struct{}, 1)}
	d.w = eng.NewWorker(func() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	})
	d.client.Peer = peer
	d.call = engine.Call{Client: &d.client, Tag: 1}
	return d
}

// Close ends the driver's client.
func (d *Driver) Close() {
	d.w.Begin()
	d.eng.Disconnect(d.w, &d.client, &d.call)
	d.w.End(true)
}

// Run executes op on the driver's call until it is no longer pending.
func (d *Driver) Run(op func(w *engine.Worker, c *engine.Call) engine.Status) engine.Status {
	d.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		d.w.Begin()
		st := op(d.w, &d.call)
		d.w.End(true)
		if st != engine.Pending {
			return st
		}
		d.Pendings++
		for woken := false; !woken; {
			select {
			case <-d.wake:
			case <-deadline:
				d.t.Fatal("pending for more than 20 s")
			}
			d.w.Begin()
			d.w.Drain(func(tag uint64) *engine.Call {
				if tag != d.call.Tag {
					return nil
				}
				return &d.call
			}, func(uint64) { woken = true })
			d.w.End(true)
		}
	}
}

// Call prepares the driver's call for one operation on key.
func (d *Driver) Call(op engine.Op, key string) *engine.Call {
	d.call.Reset()
	d.call.Op, d.call.Key = op, []byte(key)
	return &d.call
}

// Get reads key as "gets" shows it; "" is a miss.
func (d *Driver) Get(key string) string {
	d.t.Helper()
	c := d.Call(engine.OpGet, key)
	c.Form = engine.FormTextCAS
	var out []byte
	if st := d.Run(func(w *engine.Worker, c *engine.Call) (st engine.Status) {
		out, st = d.eng.Get(w, c, out[:0])
		return st
	}); st != engine.OK {
		return ""
	}
	if !c.Pinned.Nil() {
		out = append(out, c.Body...)
		d.eng.Storage().Unpin(c.Pinned)
	}
	return string(out)
}

// Value is the data of key, and its cas.
func (d *Driver) Value(key string) (value string, cas uint64, ok bool) {
	d.t.Helper()
	line, rest, ok := strings.Cut(d.Get(key), "\r\n")
	if !ok {
		return "", 0, false
	}
	f := strings.Fields(line)
	if len(f) != 5 || f[1] != key {
		d.t.Fatalf("a hit on %q reads %q", key, line)
	}
	cas, err := strconv.ParseUint(f[4], 10, 64)
	if err != nil || strconv.Itoa(len(rest)-2) != f[3] {
		d.t.Fatalf("a hit on %q reads %q and has %d bytes", key, line, len(rest)-2)
	}
	return rest[:len(rest)-2], cas, true
}

// Store runs one of the store operations.
func (d *Driver) Store(op engine.Op, key, value string, mod ...func(*engine.Call)) engine.Status {
	d.t.Helper()
	c := d.Call(op, key)
	c.Value = []byte(value)
	for _, m := range mod {
		m(c)
	}
	return d.Run(d.eng.Store)
}

// Upload stores a value through a reservation, as a server does with what is
// too large for its buffers.
func (d *Driver) Upload(op engine.Op, key string, value []byte) engine.Status {
	d.t.Helper()
	c := d.Call(op, key)
	switch st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return d.eng.Reserve(w, c, len(value)) }); st {
	case engine.OK:
	case engine.Denied:
		return d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return d.eng.StoreRefused(w, c, engine.Denied) })
	default:
		return st
	}
	copy(c.Upload.Value(), value)
	return d.Run(d.eng.Store)
}

// Conformance checks what every engine must do for a client that may do
// everything. open returns a fresh engine for each part.
func Conformance(t *testing.T, open func(t *testing.T) *Env) {
	for _, part := range []struct {
		name string
		run  func(t *testing.T, e *Env, d *Driver)
	}{
		{"store modes", testStoreModes},
		{"cas", testCAS},
		{"arith", testArith},
		{"extend", testExtend},
		{"expiry", testExpiry},
		{"large", testLarge},
		{"refused", testRefused},
		{"flush", testFlush},
		{"counters", testCounters},
	} {
		t.Run(part.name, func(t *testing.T) {
			e := open(t)
			d := NewDriver(t, e.Engine, e.Peer)
			part.run(t, e, d)
			d.Close()
		})
	}
}

func wantStatus(t *testing.T, what string, got, want engine.Status) {
	t.Helper()
	if got != want {
		t.Errorf("%s: status %d, want %d", what, got, want)
	}
}

func wantValue(t *testing.T, d *Driver, key, want string) {
	t.Helper()
	if got, _, ok := d.Value(key); !ok || got != want {
		t.Errorf("%s holds %q (%v), want %q", key, got, ok, want)
	}
}

func testStoreModes(t *testing.T, _ *Env, d *Driver) {
	wantStatus(t, "replace absent", d.Store(engine.OpReplace, "k", "a"), engine.NotStored)
	wantStatus(t, "append absent", d.Store(engine.OpAppend, "k", "a"), engine.NotStored)
	wantStatus(t, "prepend absent", d.Store(engine.OpPrepend, "k", "a"), engine.NotStored)
	wantStatus(t, "add absent", d.Store(engine.OpAdd, "k", "a"), engine.Stored)
	wantStatus(t, "add present", d.Store(engine.OpAdd, "k", "b"), engine.NotStored)
	wantValue(t, d, "k", "a")
	wantStatus(t, "replace present", d.Store(engine.OpReplace, "k", "c"), engine.Stored)
	wantStatus(t, "set present", d.Store(engine.OpSet, "k", "a longer value than before, in another size class altogether", func(c *engine.Call) { c.Flags = 1<<32 - 1 }), engine.Stored)
	wantValue(t, d, "k", "a longer value than before, in another size class altogether")
	if line := d.Get("k"); !strings.HasPrefix(line, "VALUE k 4294967295 60 ") {
		t.Errorf("flags: %q", line)
	}
	wantStatus(t, "set empty", d.Store(engine.OpSet, "k", ""), engine.Stored)
	wantValue(t, d, "k", "")
	d.Call(engine.OpDelete, "k")
	wantStatus(t, "delete", d.Run(d.eng.Delete), engine.OK)
	d.Call(engine.OpDelete, "k")
	wantStatus(t, "delete again", d.Run(d.eng.Delete), engine.Miss)
	if _, _, ok := d.Value("k"); ok {
		t.Error("a deleted item is still there")
	}
}

func testCAS(t *testing.T, _ *Env, d *Driver) {
	with := func(cas uint64) func(*engine.Call) { return func(c *engine.Call) { c.CAS = cas } }
	wantStatus(t, "cas absent", d.Store(engine.OpCAS, "k", "a", with(1)), engine.Miss)
	d.Store(engine.OpSet, "k", "a")
	_, cas, _ := d.Value("k")
	wantStatus(t, "cas differs", d.Store(engine.OpCAS, "k", "b", with(cas+1)), engine.Exists)
	wantStatus(t, "cas fits", d.Store(engine.OpCAS, "k", "b", with(cas)), engine.Stored)
	_, next, _ := d.Value("k")
	if next <= cas {
		t.Errorf("cas went from %d to %d", cas, next)
	}
	wantStatus(t, "cas of before", d.Store(engine.OpCAS, "k", "c", with(cas)), engine.Exists)
	c := d.Call(engine.OpDelete, "k")
	c.WithCAS, c.CAS = true, cas
	wantStatus(t, "delete, cas differs", d.Run(d.eng.Delete), engine.Exists)
	wantValue(t, d, "k", "b")
}

func testArith(t *testing.T, _ *Env, d *Driver) {
	arith := func(op engine.Op, delta uint64) (engine.Status, uint64) {
		c := d.Call(op, "n")
		c.Delta = delta
		st := d.Run(d.eng.Arith)
		return st, c.Number
	}
	for _, x := range []struct {
		start  string
		op     engine.Op
		delta  uint64
		status engine.Status
		number uint64
		after  string
	}{
		{"10", engine.OpIncr, 1, engine.OK, 11, "11"},
		{"10", engine.OpDecr, 1, engine.OK, 9, "9 "},
		{"10", engine.OpDecr, 100, engine.OK, 0, "0 "},
		{"99", engine.OpIncr, 1, engine.OK, 100, "100"},
		{"18446744073709551615", engine.OpIncr, 1, engine.OK, 0, "0                   "},
		{"18446744073709551616", engine.OpIncr, 1, engine.NonNumeric, 0, "18446744073709551616"},
		{" 10", engine.OpIncr, 1, engine.OK, 11, "11 "},
		{"10 ", engine.OpIncr, 1, engine.OK, 11, "11 "},
		{"-1", engine.OpIncr, 1, engine.NonNumeric, 0, "-1"},
		{"1.5", engine.OpIncr, 1, engine.NonNumeric, 0, "1.5"},
		{"", engine.OpIncr, 1, engine.NonNumeric, 0, ""},
		{"000000000000000000000001", engine.OpIncr, 1, engine.OK, 2, "2                       "},
	} {
		d.Store(engine.OpSet, "n", x.start, func(c *engine.Call) { c.Flags = 7 })
		st, n := arith(x.op, x.delta)
		wantStatus(t, x.start, st, x.status)
		if st == engine.OK && n != x.number {
			t.Errorf("%q by %d is %d, want %d", x.start, x.delta, n, x.number)
		}
		wantValue(t, d, "n", x.after)
		if !strings.HasPrefix(d.Get("n"), "VALUE n 7 ") {
			t.Errorf("%q lost its flags: %q", x.start, d.Get("n"))
		}
	}
	d.Call(engine.OpDelete, "n")
	d.Run(d.eng.Delete)
	st, _ := arith(engine.OpIncr, 1)
	wantStatus(t, "incr absent", st, engine.Miss)
}

func testExtend(t *testing.T, _ *Env, d *Driver) {
	d.Store(engine.OpSet, "k", "b", func(c *engine.Call) { c.Flags = 5 })
	wantStatus(t, "append", d.Store(engine.OpAppend, "k", "c", func(c *engine.Call) { c.Flags = 9 }), engine.Stored)
	wantStatus(t, "prepend", d.Store(engine.OpPrepend, "k", "a"), engine.Stored)
	wantValue(t, d, "k", "abc")
	if !strings.HasPrefix(d.Get("k"), "VALUE k 5 3 ") {
		t.Errorf("append changed the flags: %q", d.Get("k"))
	}
	want := "abc"
	for i := range 300 {
		piece := strings.Repeat(string(rune('a'+i%26)), 100)
		if i%2 == 0 {
			d.Store(engine.OpAppend, "k", piece)
			want += piece
		} else {
			d.Store(engine.OpPrepend, "k", piece)
			want = piece + want
		}
	}
	wantValue(t, d, "k", want)
}

func testExpiry(t *testing.T, e *Env, d *Driver) {
	store := func(exptime int64) {
		d.Store(engine.OpSet, "k", "v", func(c *engine.Call) { c.Exptime = exptime })
	}
	alive := func(what string, want bool) {
		t.Helper()
		if _, _, ok := d.Value("k"); ok != want {
			t.Errorf("%s: there is %v, want %v", what, ok, want)
		}
	}
	store(-1)
	alive("negative", false)
	store(0)
	e.Advance(10_000_000)
	alive("never", true)
	store(100)
	e.Advance(99)
	alive("after 99 of 100 s", true)
	e.Advance(1)
	alive("after 100 of 100 s", false)
	store(60 * 60 * 24 * 30)
	alive("30 days", true)
	store(60*60*24*30 + 1)
	alive("an absolute time of 1970", false)
	store(100)
	c := d.Call(engine.OpTouch, "k")
	c.Exptime = 1000
	wantStatus(t, "touch", d.Run(d.eng.Touch), engine.OK)
	e.Advance(500)
	alive("touched", true)
	e.Advance(500)
	alive("touched, later", false)
	d.Call(engine.OpTouch, "k")
	wantStatus(t, "touch expired", d.Run(d.eng.Touch), engine.Miss)
	wantStatus(t, "add over expired", d.Store(engine.OpAdd, "k", "new"), engine.Stored)
}

func testLarge(t *testing.T, e *Env, d *Driver) {
	for _, n := range []int{16 << 10, 16<<10 + 1, 100_000, e.MaxItem - 1000} {
		v := bytes.Repeat([]byte{byte('a' + n%26)}, n)
		wantStatus(t, "set large", d.Store(engine.OpSet, "inline", string(v)), engine.Stored)
		wantValue(t, d, "inline", string(v))
		wantStatus(t, "upload", d.Upload(engine.OpSet, "upload", v), engine.Stored)
		wantValue(t, d, "upload", string(v))
	}
	half := bytes.Repeat([]byte("x"), 200_000)
	d.Upload(engine.OpSet, "k", half)
	wantStatus(t, "append upload", d.Upload(engine.OpAppend, "k", half), engine.Stored)
	wantValue(t, d, "k", string(half)+string(half))
	wantStatus(t, "add upload over", d.Upload(engine.OpAdd, "k", half), engine.NotStored)
	wantStatus(t, "replace upload absent", d.Upload(engine.OpReplace, "none", half), engine.NotStored)

	// A large hit stays what it was while it is being sent.
	c := d.Call(engine.OpGet, "k")
	c.Form = engine.FormText
	var head []byte
	d.Run(func(w *engine.Worker, c *engine.Call) (st engine.Status) {
		head, st = d.eng.Get(w, c, nil)
		return st
	})
	if c.Pinned.Nil() {
		t.Fatal("a hit of 400,000 bytes was copied")
	}
	pinned, body := c.Pinned, c.Body
	d.Upload(engine.OpSet, "k", bytes.Repeat([]byte("y"), 400_000))
	d.Call(engine.OpDelete, "k")
	d.Run(d.eng.Delete)
	if reply := append(head, body...); !bytes.HasPrefix(reply, []byte("VALUE k 0 400000\r\nxxxx")) || !bytes.HasSuffix(body, []byte("xxxx\r\n")) {
		t.Error("a pinned item changed")
	}
	d.eng.Storage().Unpin(pinned)
}

func testRefused(t *testing.T, e *Env, d *Driver) {
	d.Store(engine.OpSet, "k", "old")
	c := d.Call(engine.OpSet, "k")
	if !e.Engine.TooLarge(c, e.MaxItem) || e.Engine.TooLarge(c, 100) {
		t.Fatal("TooLarge is wrong")
	}
	wantStatus(t, "replace too large", d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
		c.Op = engine.OpReplace
		return d.eng.StoreRefused(w, c, engine.TooLarge)
	}), engine.TooLarge)
	wantValue(t, d, "k", "old")
	d.Call(engine.OpSet, "k")
	wantStatus(t, "set too large", d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
		return d.eng.StoreRefused(w, c, engine.TooLarge)
	}), engine.TooLarge)
	if _, _, ok := d.Value("k"); ok {
		t.Error("the old value outlived a set that was too large")
	}
}

func testFlush(t *testing.T, e *Env, d *Driver) {
	flush := func(delay int64) {
		t.Helper()
		c := d.Call(engine.OpFlush, "")
		c.Exptime = delay
		wantStatus(t, "flush", d.Run(d.eng.Flush), engine.OK)
	}
	for range 20 { // all within one second of the clock
		d.Store(engine.OpSet, "before", "v")
		flush(0)
		if _, _, ok := d.Value("before"); ok {
			t.Fatal("an item of before the flush is there after it")
		}
		d.Store(engine.OpSet, "after", "v")
		wantValue(t, d, "after", "v")
	}
}

func testCounters(t *testing.T, e *Env, d *Driver) {
	d.Store(engine.OpSet, "k", "1")
	d.Get("k")
	d.Get("none")
	c := d.Call(engine.OpIncr, "k")
	c.Delta = 1
	d.Run(d.eng.Arith)
	d.Call(engine.OpDelete, "none")
	d.Run(d.eng.Delete)
	n := e.Engine.Counters(nil)
	got := []uint64{n.CmdSet, n.CmdGet, n.GetHits, n.GetMisses, n.IncrHits, n.DeleteMisses}
	for i, want := range []uint64{1, 2, 1, 1, 1, 1} {
		if got[i] != want {
			t.Errorf("counters %v: number %d is not %d", got, i, want)
		}
	}
	e.Engine.ResetStats(nil)
	if n := e.Engine.Counters(nil); n.CmdGet != 0 || n.CmdSet != 0 {
		t.Errorf("after a reset: %+v", n)
	}
}
