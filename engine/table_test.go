package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// masked is a decider that takes permissions away from what the policy allows.
type masked struct {
	mac.Decider
	item, server *atomic.Uint32
}

func (m masked) Access(s, t string, c avc.Class) (avc.Decision, error) {
	d, err := m.Decider.Access(s, t, c)
	d.Allowed = c.All()
	if c == avc.ClassItem {
		d.Allowed &^= avc.Perms(m.item.Load())
	} else {
		d.Allowed &^= avc.Perms(m.server.Load())
	}
	d.AuditDeny = c.All()
	return d, err
}

// lines collects audit records about accesses; loads of a policy are records of
// another type.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []string
	for line := range strings.Lines(l.b.String()) {
		if strings.HasPrefix(line, "type=USER_AVC ") {
			got = append(got, line)
		}
	}
	l.b.Reset()
	return got
}

// state is everything of an item that somebody could see.
func state(eng *engine.Secured, key string) string {
	st := eng.Storage()
	h := st.Hash(0, []byte(key))
	sh := st.Lock(h)
	defer sh.Unlock()
	it, _ := sh.Find(h, 0, []byte(key), eng.Clock())
	if it.Nil() {
		return "absent"
	}
	return fmt.Sprintf("%q label %d cas %d exptime %d stored %d access %d fetched %v stale %v token %v",
		it.Text(), it.Label(), it.CAS(), it.Exptime(), it.StoreTime(), it.LastAccess(), it.Fetched(), it.Stale(), it.TokenSent())
}

// TestTable generates its cases from the command table: every operation on an
// item, without each of the permissions that it needs, on an item that is there
// and on one that is not. A denial has the status that its row promises, that of
// an absent item where it hides; it is audited once, counted as what it resembles,
// and leaves no trace on the item.
func TestTable(t *testing.T) {
	var item, server atomic.Uint32
	log := &lines{}
	eng, mon, now := setup{mac: mac.Config{
		AuditWriter: log, AuditRate: -1,
		Decider: func(d mac.Decider) mac.Decider { return masked{d, &item, &server} },
	}}.open(t)
	lack := func(i, s avc.Perms) {
		item.Store(uint32(i))
		server.Store(uint32(s))
		if err := mon.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	owner := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer owner.Close()
	defer d.Close()
	audited := func(name string, want avc.Perms, class avc.Class) {
		t.Helper()
		mon.SyncAudit()
		got := log.take()
		if len(got) != 1 || !strings.Contains(got[0], "denied  { "+strings.Join(class.PermNames(want), " ")+" }") {
			t.Errorf("%s: want one audit line about %v, got:\n%s", name, class.PermNames(want), strings.Join(got, "\n"))
		}
	}
	cases := 0
	rows := optionRows
	for op := range engine.Op(len(engine.Table)) {
		rows = append(rows, optionRow{op: op, Row: engine.Table[op]})
	}
	for _, x := range rows {
		op, row := x.op, x.Row
		execute := func(key string) engine.Status { return execute(t, eng, d, op, x.opt, key) }
		for p := avc.Perms(1); p <= row.Exists; p <<= 1 {
			if row.Exists&p == 0 {
				continue
			}
			cases++
			name := row.Name + " without " + avc.ClassItem.PermNames(p)[0]
			lack(0, 0)
			owner.Store(engine.OpSet, "k", "10", func(c *engine.Call) { c.Exptime = 1000 })
			now.Add(1)
			before := state(eng, "k")
			lack(p, 0)
			log.take()
			n := eng.Counters(nil)
			denied := execute("k")
			n1 := eng.Counters(nil)
			audited(name, p, avc.ClassItem)
			if denied != row.Denial {
				t.Errorf("%s: status %d, the row says %d", name, denied, row.Denial)
			}
			if after := state(eng, "k"); after != before {
				t.Errorf("%s changed the item:\n  %s\n  %s", name, before, after)
			}
			if row.Denial == engine.Denied {
				continue
			}
			absent := execute("none")
			if absent != denied {
				t.Errorf("%s: status %d, and %d where there is no item", name, denied, absent)
			}
			if a, b := visible(n, n1), visible(n1, eng.Counters(nil)); a != b {
				t.Errorf("%s: counted as\n  %s\nand where there is no item\n  %s", name, a, b)
			}
		}
		if row.Absent != 0 {
			cases++
			name := row.Name + " without create"
			lack(avc.Create, 0)
			log.take()
			if st := execute("new"); st != engine.Denied {
				t.Errorf("%s: status %d", name, st)
			}
			audited(name, avc.Create, avc.ClassItem)
			if s := state(eng, "new"); s != "absent" {
				t.Errorf("%s left %s", name, s)
			}
		}
		if row.Server != 0 {
			cases++
			lack(0, row.Server)
			log.take()
			d.Call(op, "")
			if st := d.Run(eng.Authorize); st != engine.Denied {
				t.Errorf("%s: status %d", row.Name, st)
			}
			audited(row.Name, row.Server, avc.ClassServer)
		}
	}
	const planned = 63
	if cases != planned {
		t.Errorf("%d cases, the plan is %d", cases, planned)
	}
}

// optionRow is a row widened by options of the meta and binary protocols: what
// was promised about them, which the engine works out by itself.
type optionRow struct {
	op  engine.Op
	opt engine.Options
	engine.Row
}

func withOptions(name string, op engine.Op, opt engine.Options, exists, absent avc.Perms, denial engine.Status) optionRow {
	return optionRow{op, opt, engine.Row{Name: name, Exists: exists, Absent: absent, Denial: denial}}
}

var optionRows = []optionRow{
	withOptions("mg v", engine.OpMetaGet, engine.Options{Value: true}, avc.Read, 0, engine.Miss),
	withOptions("mg h l t", engine.OpMetaGet, engine.Options{Attrs: true}, avc.Getattr, 0, engine.Miss),
	withOptions("mg v t", engine.OpMetaGet, engine.Options{Value: true, Attrs: true}, avc.Read|avc.Getattr, 0, engine.Miss),
	withOptions("mg T", engine.OpMetaGet, engine.Options{Touch: true}, avc.Getattr|avc.Setattr, 0, engine.Miss),
	withOptions("mg v T", engine.OpMetaGet, engine.Options{Value: true, Touch: true}, avc.Read|avc.Setattr, 0, engine.Miss),
	withOptions("mg v N", engine.OpMetaGet, engine.Options{Value: true, Vivify: true}, avc.Read, avc.Create, engine.Denied),
	withOptions("ma T", engine.OpIncr, engine.Options{Touch: true}, avc.Calculate|avc.Setattr, 0, engine.Miss),
	withOptions("ma t", engine.OpDecr, engine.Options{Attrs: true}, avc.Calculate|avc.Getattr, 0, engine.Miss),
	withOptions("ma N", engine.OpIncr, engine.Options{Vivify: true}, avc.Calculate, avc.Create, engine.Denied),
	withOptions("ms MA N", engine.OpAppend, engine.Options{Vivify: true}, avc.Append, avc.Create, engine.Denied),
	withOptions("ms MP N", engine.OpPrepend, engine.Options{Vivify: true}, avc.Append, avc.Create, engine.Denied),
	withOptions("ms C I", engine.OpCAS, engine.Options{Invalidate: true}, avc.Write, 0, engine.Miss),
	withOptions("md", engine.OpDelete, engine.Options{}, avc.Remove, 0, engine.Miss),
	withOptions("md I", engine.OpDelete, engine.Options{Invalidate: true}, avc.Setattr, 0, engine.Miss),
	withOptions("md I T", engine.OpDelete, engine.Options{Invalidate: true, Touch: true}, avc.Setattr, 0, engine.Miss),
	withOptions("md T", engine.OpDelete, engine.Options{Touch: true}, avc.Setattr|avc.Remove, 0, engine.Miss),
	withOptions("md x", engine.OpDelete, engine.Options{Clear: true}, avc.Write, 0, engine.Miss),
	withOptions("md x I", engine.OpDelete, engine.Options{Clear: true, Invalidate: true}, avc.Write|avc.Setattr, 0, engine.Miss),
}

// headOnly is a Composer that shows nothing.
type headOnly struct{}

func (headOnly) Compose(dst []byte, _ *engine.View) ([]byte, engine.Tail) {
	return dst, engine.TailNone
}

// execute runs one operation of the table.
func execute(t *testing.T, eng *engine.Secured, d *enginetest.Driver, op engine.Op, opt engine.Options, key string) engine.Status {
	t.Helper()
	c := d.Call(op, key)
	if opt != (engine.Options{}) || op == engine.OpMetaGet || op == engine.OpMetaDebug {
		c.Opt, c.Composer = &opt, headOnly{}
	}
	c.Value, c.Delta, c.Exptime, c.CAS = []byte("5"), 1, 7, 1
	c.Form = engine.FormText
	switch op {
	case engine.OpGet, engine.OpGat, engine.OpMetaGet, engine.OpMetaDebug:
		return d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
			_, st := eng.Get(w, c, nil)
			return st
		})
	case engine.OpTouch:
		return d.Run(eng.Touch)
	case engine.OpSet, engine.OpAdd, engine.OpReplace, engine.OpAppend, engine.OpPrepend, engine.OpCAS:
		return d.Run(eng.Store)
	case engine.OpIncr, engine.OpDecr:
		return d.Run(eng.Arith)
	case engine.OpDelete:
		return d.Run(eng.Delete)
	case engine.OpDeletePrefix:
		return d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
			eng.Known(w, c)
			if n, _ := eng.DeletePrefix(c, []byte(key)); n > 0 {
				return engine.OK
			}
			return engine.Miss
		})
	case engine.OpLabel:
		return d.Run(eng.Label)
	case engine.OpCheck:
		c.Context = []byte("read")
		return d.Run(eng.Check)
	case engine.OpRelabel:
		c.Context = []byte("system_u:object_r:kv_session_t:s0")
		return d.Run(eng.Relabel)
	case engine.OpCreateContext:
		c.Context = []byte("system_u:object_r:kv_session_t:s0")
		return d.Run(eng.CreateContext)
	}
	t.Fatalf("%q has permissions on items and no case here", engine.Table[op].Name)
	return engine.Failed
}

// visible is the difference of two counter states that "stats" shows.
func visible(a, b engine.Counters) string {
	return fmt.Sprint(b.CmdGet-a.CmdGet, b.CmdSet-a.CmdSet, b.CmdTouch-a.CmdTouch, b.GetHits-a.GetHits, b.GetMisses-a.GetMisses,
		b.GetExpired-a.GetExpired, b.DeleteHits-a.DeleteHits, b.DeleteMisses-a.DeleteMisses, b.IncrHits-a.IncrHits, b.IncrMisses-a.IncrMisses,
		b.DecrHits-a.DecrHits, b.DecrMisses-a.DecrMisses, b.CasHits-a.CasHits, b.CasMisses-a.CasMisses, b.CasBadval-a.CasBadval,
		b.TouchHits-a.TouchHits, b.TouchMisses-a.TouchMisses)
}

// TestSplitPermissions: where two permissions are needed and both are missing,
// one line names both.
func TestSplitPermissions(t *testing.T) {
	var item, server atomic.Uint32
	log := &lines{}
	eng, mon, _ := setup{mac: mac.Config{
		AuditWriter: log, AuditRate: -1,
		Decider: func(d mac.Decider) mac.Decider { return masked{d, &item, &server} },
	}}.open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Store(engine.OpSet, "k", "v")
	item.Store(uint32(avc.Read | avc.Setattr))
	if err := mon.Reload(); err != nil {
		t.Fatal(err)
	}
	log.take()
	if st := execute(t, eng, d, engine.OpGat, engine.Options{}, "k"); st != engine.Miss {
		t.Errorf("status %d", st)
	}
	mon.SyncAudit()
	if got := log.take(); len(got) != 1 || !strings.Contains(got[0], "{ setattr read }") {
		t.Errorf("audit: %q", got)
	}
}
