package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// scripted is a decider whose answers a test replaces one kind at a time; nil
// leaves the policy's own.
type scripted struct {
	access     func(s, t string, c avc.Class, d avc.Decision) (avc.Decision, error)
	create     func(s, t, name, ctx string) (string, error)
	canonical  func(ctx string) (string, error)
	transition func(o, n, task string) error
}

type scriptedDecider struct {
	mac.Decider
	s *scripted
}

func (x scriptedDecider) Access(s, t string, c avc.Class) (avc.Decision, error) {
	d, err := x.Decider.Access(s, t, c)
	if err == nil && x.s.access != nil {
		return x.s.access(s, t, c, d)
	}
	return d, err
}

func (x scriptedDecider) Create(s, t string, c avc.Class, name string) (string, error) {
	ctx, err := x.Decider.Create(s, t, c, name)
	if err == nil && x.s.create != nil {
		return x.s.create(s, t, name, ctx)
	}
	return ctx, err
}

func (x scriptedDecider) Canonical(ctx string) (string, error) {
	if x.s.canonical != nil {
		if c, err := x.s.canonical(ctx); c != "" || err != nil {
			return c, err
		}
	}
	return x.Decider.Canonical(ctx)
}

func (x scriptedDecider) Transition(o, n, task string, c avc.Class) error {
	if x.s.transition != nil {
		return x.s.transition(o, n, task)
	}
	return x.Decider.Transition(o, n, task, c)
}

func (s *scripted) wrap(d mac.Decider) mac.Decider { return scriptedDecider{d, s} }

// all allows everything and wants every denial logged.
func all(_, _ string, c avc.Class, _ avc.Decision) (avc.Decision, error) {
	return avc.Decision{Allowed: c.All(), AuditDeny: c.All()}, nil
}

const (
	itemContext    = "system_u:object_r:kv_item_t:s0"
	sessionContext = "system_u:object_r:kv_session_t:s0"
)

func (s *scripted) setup(c mac.Config) setup {
	c.Decider = s.wrap
	return setup{mac: c}
}

func relabel(eng engine.Interface, d *enginetest.Driver, key, ctx string) engine.Status {
	d.Call(engine.OpRelabel, key).Context = []byte(ctx)
	return d.Run(eng.Relabel)
}

func createContext(eng engine.Interface, d *enginetest.Driver, ctx string) engine.Status {
	d.Call(engine.OpCreateContext, "").Context = []byte(ctx)
	return d.Run(eng.CreateContext)
}

// TestRelabelKeepsMarks: an item that was marked stale, and whose token is out,
// is so under its new label too: a reader must not take it for fresh.
func TestRelabelKeepsMarks(t *testing.T) {
	eng, _, _ := (&scripted{access: all}).setup(mac.Config{}).open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Store(engine.OpSet, "k", "v")
	st := eng.Storage()
	h := st.Hash(0, []byte("k"))
	marks := func(set bool) string {
		sh := st.Lock(h)
		defer sh.Unlock()
		it, _ := sh.Find(h, 0, []byte("k"), eng.Clock())
		if set {
			it.SetStale(true)
			it.SetTokenSent(true)
		}
		return fmt.Sprintf("stale %v token %v", it.Stale(), it.TokenSent())
	}
	before := marks(true)
	if st := relabel(eng, d, "k", sessionContext); st != engine.OK {
		t.Fatalf("relabel: %d", st)
	}
	if after := marks(false); after != before {
		t.Errorf("%s before relabel, %s after it", before, after)
	}
}

// TestFlushAfterRelabel: of two flushes in one second the later one covers an item
// that came between them and was given a label that the first one did not flush.
func TestFlushAfterRelabel(t *testing.T) {
	eng, _, _ := (&scripted{access: all}).setup(mac.Config{}).open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	flush := func() {
		t.Helper()
		d.Call(engine.OpFlush, "")
		if st := d.Run(eng.Flush); st != engine.OK {
			t.Fatalf("flush: %d", st)
		}
	}
	d.Store(engine.OpSet, "k", "v")
	flush()
	d.Store(engine.OpSet, "k", "v")
	if st := relabel(eng, d, "k", sessionContext); st != engine.OK {
		t.Fatalf("relabel: %d", st)
	}
	flush()
	if v, _, ok := d.Value("k"); ok {
		t.Errorf("expected the flush to cover it, found %q", v)
	}
}

// TestPermissiveAuditsTheSame: what only something other than an access vector
// refuses is let pass in permissive mode, and logged as it is logged when
// enforcing.
func TestPermissiveAuditsTheSame(t *testing.T) {
	for _, x := range []struct {
		name string
		s    scripted
		run  func(eng *engine.Secured, d *enginetest.Driver) engine.Status
		pass engine.Status
		perm string
	}{
		{
			"validatetrans",
			scripted{access: all, transition: func(string, string, string) error { return mac.ErrRefused }},
			func(eng *engine.Secured, d *enginetest.Driver) engine.Status {
				return relabel(eng, d, "k", sessionContext)
			},
			engine.OK, "relabelto",
		},
		{
			"no label",
			scripted{access: all, create: func(_, _, name, ctx string) (string, error) { return "", errors.New("no label") }},
			func(_ *engine.Secured, d *enginetest.Driver) engine.Status {
				return d.Store(engine.OpSet, "new", "v")
			},
			engine.Stored, "create",
		},
	} {
		for _, permissive := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s permissive=%v", x.name, permissive), func(t *testing.T) {
				log := &lines{}
				s := x.s
				var on atomic.Bool
				create := s.create
				s.create = func(src, tgt, name, ctx string) (string, error) {
					if on.Load() && create != nil {
						return create(src, tgt, name, ctx)
					}
					return ctx, nil
				}
				eng, mon, _ := s.setup(mac.Config{AuditWriter: log, AuditRate: -1, Permissive: permissive}).open(t)
				d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
				defer d.Close()
				d.Store(engine.OpSet, "k", "v")
				on.Store(true)
				if err := mon.Reload(); err != nil {
					t.Fatal(err)
				}
				log.take()
				want := engine.Denied
				if permissive {
					want = x.pass
				}
				if st := x.run(eng, d); st != want {
					t.Errorf("status %d, want %d", st, want)
				}
				mon.SyncAudit()
				mode := "permissive=0"
				if permissive {
					mode = "permissive=1"
				}
				got := log.take()
				if len(got) != 1 || !strings.Contains(got[0], "denied  { "+x.perm+" }") || !strings.Contains(got[0], mode) {
					t.Errorf("want one line about %s with %s, got %q", x.perm, mode, got)
				}
			})
		}
	}
}

// TestUndecidedContext: whether a context is valid is not known when nobody can
// say so, when there is no number for it, or when the policy is not usable. That
// is a denial and no statement about the context.
func TestUndecidedContext(t *testing.T) {
	both := func(t *testing.T, eng *engine.Secured, d *enginetest.Driver, ctx string, want engine.Status) {
		t.Helper()
		if st := createContext(eng, d, ctx); st != want {
			t.Errorf("mac create: status %d, want %d", st, want)
		}
		if st := relabel(eng, d, "k", ctx); st != want {
			t.Errorf("mac relabel: status %d, want %d", st, want)
		}
	}
	t.Run("failure", func(t *testing.T) {
		var on atomic.Bool
		s := &scripted{access: all, canonical: func(ctx string) (string, error) {
			if on.Load() && ctx == sessionContext {
				return "", errors.New("no answer")
			}
			return "", nil
		}}
		eng, _, _ := s.setup(mac.Config{}).open(t)
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		defer d.Close()
		d.Store(engine.OpSet, "k", "v")
		on.Store(true)
		both(t, eng, d, sessionContext, engine.Denied)
		both(t, eng, d, "nonsense", engine.BadContext)
	})
	t.Run("full table", func(t *testing.T) {
		eng, mon, _ := (&scripted{access: all}).setup(mac.Config{MaxLabels: 8}).open(t)
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		defer d.Close()
		if st := d.Store(engine.OpSet, "k", "v"); st != engine.Stored {
			t.Fatalf("set: %d", st)
		}
		var held []avc.SID
		for i := 0; ; i++ {
			s, err := mon.SIDs().Intern(fmt.Sprintf("%s:c%d", itemContext, i))
			if err != nil {
				break
			}
			held = append(held, s)
		}
		both(t, eng, d, itemContext+":c1023", engine.Denied)
		// Others go on: items that are there are read and written, and new ones
		// get labels that have a number.
		if st := d.Store(engine.OpSet, "k", "w"); st != engine.Stored {
			t.Errorf("overwrite: %d", st)
		}
		if st := d.Store(engine.OpSet, "other", "w"); st != engine.Stored {
			t.Errorf("set: %d", st)
		}
		for _, s := range held {
			mon.SIDs().Release(s)
		}
	})
}

// people is a contexts file with three subjects, told apart by user id, and the
// peers that they are.
func people(t testing.TB) (file string, peer func(uid uint32) *mac.Peer) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "contexts")
	text := "client uid:1 system_u:system_r:kv_client_t:s0\n" +
		"client uid:2 system_u:system_r:kv_reader_t:s0\n" +
		"client uid:3 system_u:system_r:kv_admin_t:s0\n" +
		"client uid:4 system_u:system_r:kv_client_t:s0:c4\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, func(uid uint32) *mac.Peer { return &mac.Peer{FD: -1, HasCred: true, UID: uid} }
}

// TestFlushIsNotLost: a flush that is due is executed, whatever delayed flush the
// same subject asks for on another connection before its turn comes.
func TestFlushIsNotLost(t *testing.T) {
	gate, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := &scripted{access: func(s, tt string, c avc.Class, d avc.Decision) (avc.Decision, error) {
		d, err := all(s, tt, c, d)
		if strings.Contains(s, "kv_reader_t") && c == avc.ClassItem {
			once.Do(func() {
				close(reached)
				<-gate
			})
			d.Allowed = 0
		}
		return d, err
	}}
	file, peer := people(t)
	eng, _, _ := s.setup(mac.Config{ContextsFile: file}).open(t)
	slow := enginetest.NewDriver(t, eng, peer(2))
	one := enginetest.NewDriver(t, eng, peer(1))
	two := enginetest.NewDriver(t, eng, peer(1))
	defer slow.Close()
	defer one.Close()
	defer two.Close()
	flush := func(d *enginetest.Driver, delay int64) engine.Status {
		d.Call(engine.OpFlush, "").Exptime = delay
		return d.Run(eng.Flush)
	}
	two.Store(engine.OpSet, "k", "v")
	done := make(chan engine.Status, 2)
	// The flush of somebody who may remove nothing waits for its verdict; another
	// one is listed behind it.
	go func() { done <- flush(slow, 0) }()
	<-reached
	go func() { done <- flush(one, 0) }()
	time.Sleep(50 * time.Millisecond)
	if st := flush(two, 1000); st != engine.OK {
		t.Fatalf("delayed flush: %d", st)
	}
	close(gate)
	for range 2 {
		if st := <-done; st != engine.OK {
			t.Errorf("flush: %d", st)
		}
	}
	if _, _, ok := two.Value("k"); ok {
		t.Error("an item outlived a flush that was answered OK")
	}
}

// TestDelayedFlushesAreBounded: a subject that asks for delayed flushes over and
// over has one, and leaves nothing else behind.
func TestDelayedFlushesAreBounded(t *testing.T) {
	eng, _, _ := setup{}.open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	flush := func() {
		d.Call(engine.OpFlush, "").Exptime = 1_000_000
		if st := d.Run(eng.Flush); st != engine.OK {
			t.Fatalf("flush: %d", st)
		}
	}
	flush()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 50_000
	before := heap()
	for range n {
		flush()
	}
	if grown := int64(heap()) - int64(before); grown > n*16 {
		t.Errorf("%d delayed flushes of one subject keep %d bytes", n, grown)
	}
}

// TestFailuresAreCounted: a verdict that nobody could give denies, and shows in
// the counters.
func TestFailuresAreCounted(t *testing.T) {
	var on atomic.Bool
	s := &scripted{access: func(s, tt string, c avc.Class, d avc.Decision) (avc.Decision, error) {
		if on.Load() {
			return avc.Decision{Allowed: c.All()}, errors.New("no answer")
		}
		return all(s, tt, c, d)
	}}
	eng, mon, _ := s.setup(mac.Config{}).open(t)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	d.Store(engine.OpSet, "k", "v")
	on.Store(true)
	if err := mon.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := d.Get("k"); got != "" {
		t.Errorf("read %q without a decision", got)
	}
	if n := eng.Counters(nil).Failures; n != 1 {
		t.Errorf("%d failures counted, want 1", n)
	}
}
