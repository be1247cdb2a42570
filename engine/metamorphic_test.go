package engine_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of the metamorphic test; 0 takes a new one")
	opsFlag  = flag.Int("ops", 3000, "operations of the metamorphic test")
)

// step is one operation of the metamorphic test, complete before it is executed
// anywhere, so that every engine gets the same.
type step struct {
	who     int // which client
	op      engine.Op
	key     string
	value   string
	flags   uint32
	exptime int64
	delta   uint64
	large   bool   // by reservation
	bycas   int    // of cas: 0 what gets showed last, 1 a wrong one
	context string // mac create, mac relabel
	advance int64  // seconds that pass before it
	reload  bool   // the policy is read again before it
}

func (s step) String() string {
	return fmt.Sprintf("client %d %s %s %d bytes flags %d exptime %d delta %d large %v cas %d %q +%d s reload %v",
		s.who, engine.Table[s.op].Name, s.key, len(s.value), s.flags, s.exptime, s.delta, s.large, s.bycas, s.context, s.advance, s.reload)
}

// steps invents a list of operations: few keys, so that clients of different
// labels meet, and values of every kind.
func steps(r *rand.Rand, n int) []step {
	ops := []engine.Op{
		engine.OpGet, engine.OpGet, engine.OpGet, engine.OpGat, engine.OpTouch, engine.OpSet, engine.OpSet, engine.OpSet, engine.OpAdd,
		engine.OpReplace, engine.OpAppend, engine.OpPrepend, engine.OpCAS, engine.OpCAS, engine.OpIncr, engine.OpDecr, engine.OpDelete,
		engine.OpLabel, engine.OpCheck, engine.OpRelabel, engine.OpCreateContext, engine.OpFlush,
	}
	contexts := []string{itemContext, sessionContext, itemContext + ":c4", "-", "nonsense", "system_u:object_r:no_such_t:s0"}
	values := []func() string{
		func() string { return "" },
		func() string { return fmt.Sprint(r.IntN(1000)) },
		func() string { return "18446744073709551615" },
		func() string { return strings.Repeat("v", 1+r.IntN(200)) },
		func() string { return strings.Repeat("w", 1+r.IntN(6000)) },
	}
	list := make([]step, n)
	for i := range list {
		s := &list[i]
		*s = step{
			who: r.IntN(4), op: ops[r.IntN(len(ops))], key: fmt.Sprint("key", r.IntN(20)), value: values[r.IntN(len(values))](),
			delta: uint64(r.IntN(20)), bycas: r.IntN(2), context: contexts[r.IntN(len(contexts))],
		}
		if s.op == engine.OpFlush && r.IntN(4) != 0 {
			s.op = engine.OpGet
		}
		switch r.IntN(8) {
		case 0:
			s.exptime = int64(1 + r.IntN(20))
		case 1:
			s.flags = r.Uint32()
		case 2:
			s.advance = int64(r.IntN(4))
		case 3:
			s.large = true
			s.value = strings.Repeat("x", 16<<10+r.IntN(60_000))
		}
		s.reload = r.IntN(200) == 0
	}
	return list
}

// world is one engine with its clients.
type world struct {
	eng     *engine.Secured
	face    engine.Interface
	mon     *mac.Monitor
	advance func(int64)
	clients []*enginetest.Driver
	cas     map[string]uint64
}

// execute is what one step shows to its client.
func (w *world) execute(t *testing.T, s *step) string {
	if s.advance > 0 {
		w.advance(s.advance)
		w.eng.RunFlushes()
	}
	if s.reload {
		if err := w.mon.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	d := w.clients[s.who]
	mod := func(c *engine.Call) {
		c.Flags, c.Exptime, c.Delta, c.Context = s.flags, s.exptime, s.delta, []byte(s.context)
		c.CAS = w.cas[s.key] + uint64(s.bycas)
	}
	switch s.op {
	case engine.OpGet, engine.OpGat:
		c := d.Call(s.op, s.key)
		mod(c)
		c.Form = engine.FormTextCAS
		var out []byte
		st := d.Run(func(x *engine.Worker, c *engine.Call) (st engine.Status) {
			out, st = w.face.Get(x, c, out[:0])
			return st
		})
		if !c.Pinned.Nil() {
			out = append(out, c.Body...)
			w.eng.Storage().Unpin(c.Pinned)
		}
		var k string
		var fl, n int
		var cas uint64
		if _, err := fmt.Sscanf(string(out), "VALUE %s %d %d %d", &k, &fl, &n, &cas); err == nil {
			w.cas[s.key] = cas
		}
		return fmt.Sprintf("%d %q", st, out)
	case engine.OpSet, engine.OpAdd, engine.OpReplace, engine.OpAppend, engine.OpPrepend, engine.OpCAS:
		c := d.Call(s.op, s.key)
		mod(c)
		if s.large {
			st := d.Run(func(x *engine.Worker, c *engine.Call) engine.Status { return w.face.Reserve(x, c, len(s.value)) })
			switch st {
			case engine.OK:
			case engine.Denied:
				st = d.Run(func(x *engine.Worker, c *engine.Call) engine.Status { return w.face.StoreRefused(x, c, engine.Denied) })
				return fmt.Sprintf("%d refused", st)
			default:
				return fmt.Sprintf("reserve %d", st)
			}
			copy(c.Upload.Value(), s.value)
		} else {
			c.Value = []byte(s.value)
		}
		st := d.Run(w.face.Store)
		return fmt.Sprintf("%d cas %d", st, c.NewCAS)
	}
	c := d.Call(s.op, s.key)
	mod(c)
	var st engine.Status
	switch s.op {
	case engine.OpTouch:
		st = d.Run(w.face.Touch)
	case engine.OpIncr, engine.OpDecr:
		st = d.Run(w.face.Arith)
	case engine.OpDelete:
		c.WithCAS = s.bycas == 1 && s.delta%2 == 0
		st = d.Run(w.face.Delete)
	case engine.OpLabel:
		st = d.Run(w.face.Label)
	case engine.OpCheck:
		c.Context = []byte("read write remove")
		st = d.Run(w.face.Check)
	case engine.OpRelabel:
		st = d.Run(w.face.Relabel)
	case engine.OpCreateContext:
		st = d.Run(w.face.CreateContext)
	case engine.OpFlush:
		st = d.Run(w.face.Flush)
	default:
		t.Fatalf("no case for %s", engine.Table[s.op].Name)
	}
	return fmt.Sprintf("%d %d %q cas %d", st, c.Number, c.Text, c.NewCAS)
}

// TestMetamorphic: the same operations by the same clients show the same, however
// many shards there are, however small the caches of decisions, and however late
// the answers.
func TestMetamorphic(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay: go test ./engine -run TestMetamorphic -seed=%d -ops=%d", seed, *opsFlag)
	list := steps(rand.New(rand.NewPCG(seed, 0)), *opsFlag)
	var first []string
	var counted string
	for _, shards := range []int{256, 1} {
		for _, entries := range []int{65536, 8} {
			for _, late := range []bool{false, true} {
				name := fmt.Sprintf("shards=%d entries=%d late=%v", shards, entries, late)
				got, counters, worked := transcript(t, list, shards, entries, late)
				if first == nil {
					first, counted = got, counters
					ok := 0
					for _, line := range got {
						if !strings.HasPrefix(line, "3 ") && !strings.HasPrefix(line, "10 ") {
							ok++
						}
					}
					t.Logf("%d operations, of which %d were not denied and no miss", len(list), ok)
					continue
				}
				if !worked {
					t.Errorf("%s: nothing came late", name)
				}
				for i := range got {
					if got[i] != first[i] {
						t.Fatalf("%s: operation %d (%v) shows\n  %.300s\nwhere others show\n  %.300s", name, i, list[i], got[i], first[i])
					}
				}
				if counters != counted {
					t.Errorf("%s: counters\n  %s\nwhere others have\n  %s", name, counters, counted)
				}
			}
		}
	}
}

// transcript executes the list in a fresh engine. worked is false if late answers
// were asked for and none came.
func transcript(t *testing.T, list []step, shards, entries int, late bool) (got []string, counters string, worked bool) {
	t.Helper()
	file, peer := people(t)
	eng, mon, now := setup{
		mac: mac.Config{ContextsFile: file, AVCSize: entries}, entries: entries, store: storage.Config{Shards: shards},
	}.open(t)
	w := &world{eng: eng, face: eng, mon: mon, advance: func(s int64) { now.Add(s) }, cas: map[string]uint64{}}
	flaky := &enginetest.Flaky{Interface: eng, PendingEvery: 7}
	if late {
		w.face = flaky
	}
	for uid := uint32(1); uid <= 4; uid++ {
		d := enginetest.NewDriver(t, w.face, peer(uid))
		defer d.Close()
		w.clients = append(w.clients, d)
	}
	for i := range list {
		got = append(got, w.execute(t, &list[i]))
	}
	n := eng.Counters(nil)
	// What is counted of access control is how often it was asked, and differs.
	n.AVCLookups, n.AVCHits, n.AVCMisses, n.Parked = 0, 0, 0, 0
	return got, fmt.Sprintf("%+v", n), !late || flaky.Pendings.Load() > 0
}
