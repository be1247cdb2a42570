package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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
