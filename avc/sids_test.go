package avc_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sememcached/avc"
)

func intern(t *testing.T, s *avc.SIDs, ctx string) avc.SID {
	t.Helper()
	sid, err := s.Intern(ctx)
	if err != nil {
		t.Fatalf("Intern(%q): %v", ctx, err)
	}
	return sid
}

func nothingLive(avc.SID) bool { return false }

// sweep moves on with every worker at the newest generation.
func sweep(s *avc.SIDs, seq uint64) (freed, leaving int) { return s.Sweep(seq, seq, nothingLive) }

func TestOneNumberForOneContext(t *testing.T) {
	s := avc.NewSIDs(0)
	a, b, a2 := intern(t, s, "u:r:a:s0"), intern(t, s, "u:r:b:s0"), intern(t, s, "u:r:a:s0")
	if a == 0 || b == 0 || a == b || a != a2 {
		t.Fatalf("numbers %d %d %d", a, b, a2)
	}
	if s.String(a) != "u:r:a:s0" || s.String(b) != "u:r:b:s0" || s.Len() != 2 {
		t.Errorf("contexts %q %q, %d in the table", s.String(a), s.String(b), s.Len())
	}
}

func TestNobodyIsZero(t *testing.T) {
	s := avc.NewSIDs(10)
	if sid, err := s.Intern(""); sid != 0 || err != nil {
		t.Errorf("Intern of nothing = %d, %v", sid, err)
	}
	s.Retain(0)
	s.Release(0)
	for _, sid := range []avc.SID{0, 1, 255, 256, 1 << 31} {
		if got := s.String(sid); got != "" {
			t.Errorf("String(%d) = %q in an empty table", sid, got)
		}
	}
}

func TestInternDoesNotKeepTheCallersMemory(t *testing.T) {
	s := avc.NewSIDs(10)
	b := []byte("u:r:a:s0")
	sid := intern(t, s, string(b))
	copy(b, "x:x:x:xx")
	if s.String(sid) != "u:r:a:s0" {
		t.Errorf("context became %q", s.String(sid))
	}
}

func TestFullTable(t *testing.T) {
	const max = 300 // more than one chunk
	s := avc.NewSIDs(max)
	var pressed int
	s.SetPressure(func() { pressed++ })
	for i := range max {
		intern(t, s, fmt.Sprint("c", i))
		if want := i + 1 - max*3/4 + 1; i+1 >= max*3/4 && pressed != want {
			t.Fatalf("at %d of %d: pressure called %d times, want %d", i+1, max, pressed, want)
		}
	}
	if pressed == 0 {
		t.Error("pressure was never called")
	}
	sid, err := s.Intern("one more")
	if !errors.Is(err, avc.ErrFull) || sid != 0 {
		t.Fatalf("Intern into a full table = %d, %v", sid, err)
	}
	if got := intern(t, s, "c7"); s.String(got) != "c7" {
		t.Error("a context that is there can no longer be interned")
	}
	if s.Len() != max || s.Max() != max {
		t.Errorf("Len %d Max %d, want %d", s.Len(), s.Max(), max)
	}
}

// TestLongContextsPress: contexts as long as a page are collected long before their
// number is what matters.
func TestLongContextsPress(t *testing.T) {
	const max = 1024
	s := avc.NewSIDs(max)
	pressed := 0
	s.SetPressure(func() { pressed++ })
	long := strings.Repeat("x", 4000)
	n := 0
	for ; pressed == 0 && n < max/2; n++ {
		s.Release(intern(t, s, fmt.Sprint(long, n)))
	}
	if n < 100 || n > 150 {
		t.Errorf("pressed at %d contexts of 4000 bytes, of %d", n, max)
	}
	for seq := uint64(1); s.Len() > 0; seq++ {
		s.Sweep(seq, seq, func(avc.SID) bool { return false })
	}
	pressed = 0
	if s.Release(intern(t, s, "short")); pressed != 0 {
		t.Error("what is gone still presses")
	}
}

func TestReleaseWithoutReferencePanics(t *testing.T) {
	s := avc.NewSIDs(10)
	sid := intern(t, s, "a")
	s.Release(sid)
	defer func() {
		if recover() == nil {
			t.Error("a second Release of one reference went unnoticed")
		}
	}()
	s.Release(sid)
}

func TestNumberIsReusedAfterTwoPasses(t *testing.T) {
	s := avc.NewSIDs(1)
	old := intern(t, s, "old")
	s.Release(old)
	steps := []struct {
		now, passed    uint64
		freed, leaving int
		why            string
	}{
		{5, 5, 0, 1, "marked"},
		{5, 5, 0, 1, "no new generation: still marked"},
		{6, 5, 0, 1, "a worker is still in 5"},
		{6, 6, 0, 1, "doomed"},
		{6, 6, 0, 1, "no new generation: still doomed"},
		{8, 6, 0, 1, "a worker is still in 6"},
	}
	for _, st := range steps {
		freed, leaving := s.Sweep(st.now, st.passed, nothingLive)
		if freed != st.freed || leaving != st.leaving {
			t.Fatalf("%s: freed %d leaving %d, want %d %d", st.why, freed, leaving, st.freed, st.leaving)
		}
		if s.String(old) != "old" || s.Len() != 1 {
			t.Fatalf("%s: the number is gone", st.why)
		}
		if _, err := s.Intern("new"); !errors.Is(err, avc.ErrFull) {
			t.Fatalf("%s: the number was given away (%v)", st.why, err)
		}
	}
	if freed, leaving := s.Sweep(8, 8, nothingLive); freed != 1 || leaving != 0 {
		t.Fatalf("freed %d leaving %d, want 1 0", freed, leaving)
	}
	if s.String(old) != "" || s.Len() != 0 {
		t.Errorf("freed number still has %q", s.String(old))
	}
	if got := intern(t, s, "new"); got != old || s.String(got) != "new" {
		t.Errorf("number %d for %q, want %d again", got, s.String(got), old)
	}
}

// Whatever holds a SID at any stage puts it back to the start.
func TestSweepStartsAnewForWhatIsHeldAgain(t *testing.T) {
	holds := map[string]func(s *avc.SIDs, sid avc.SID) (undo func()){
		"interned": func(s *avc.SIDs, sid avc.SID) func() {
			got, err := s.Intern("x")
			if err != nil || got != sid {
				t.Fatalf("Intern = %d, %v", got, err)
			}
			s.Release(got)
			return func() {}
		},
		"retained": func(s *avc.SIDs, sid avc.SID) func() {
			s.Retain(sid)
			return func() { s.Release(sid) }
		},
		"live": nil,
	}
	for name, hold := range holds {
		for stage := 1; stage <= 2; stage++ {
			t.Run(fmt.Sprint(name, stage), func(t *testing.T) {
				s := avc.NewSIDs(10)
				sid := intern(t, s, "x")
				s.Release(sid)
				seq := uint64(1)
				for range stage {
					sweep(s, seq)
					seq++
				}
				if hold != nil {
					undo := hold(s, sid)
					if freed, _ := sweep(s, seq); freed != 0 {
						t.Fatal("freed while held")
					}
					undo()
				} else if freed, leaving := s.Sweep(seq, seq, func(avc.SID) bool { return true }); freed != 0 || leaving != 0 {
					t.Fatalf("live: freed %d leaving %d", freed, leaving)
				}
				seq++
				n := 0
				for ; s.String(sid) != ""; n++ {
					if n > 3 {
						t.Fatal("never freed")
					}
					sweep(s, seq)
					seq++
				}
				// "interned" was already marked again by the sweep above.
				want := 3
				if name == "interned" {
					want = 2
				}
				if n != want {
					t.Errorf("freed after %d more sweeps, want %d", n, want)
				}
			})
		}
	}
}

func TestSweepAsksTheStoreWithoutLocks(t *testing.T) {
	s := avc.NewSIDs(10)
	a := intern(t, s, "a")
	s.Release(a)
	s.Sweep(1, 1, func(sid avc.SID) bool {
		_, _ = s.Intern("b") // would deadlock
		return s.String(sid) == "a"
	})
	if s.String(a) != "a" {
		t.Error("freed")
	}
}

func TestSIDsHotPathDoesNotAllocate(t *testing.T) {
	s := avc.NewSIDs(1000)
	var sid avc.SID
	for i := range 600 {
		sid = intern(t, s, fmt.Sprint("u:r:t", i, ":s0"))
	}
	var n int
	if a := testing.AllocsPerRun(1000, func() {
		s.Retain(sid)
		n += len(s.String(sid))
		s.Release(sid)
		if x, err := s.Intern("u:r:t5:s0"); err == nil {
			s.Release(x)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// Workers take numbers from a shared generation cache, as the monitor's do, put
// them on items, and remember verdicts about them; a collector sweeps all the
// time. No verdict may ever be found for a number that now stands for another
// context.
func TestReuseUnderConcurrency(t *testing.T) {
	const (
		workers  = 4
		contexts = 40
		max      = 24      // fewer than contexts: numbers must come back
		enough   = 300     // numbers that came back
		turns    = 2000000 // at most
	)
	s := avc.NewSIDs(max)
	var seq atomic.Uint64
	seq.Store(1)
	var epochs [workers]atomic.Uint64
	for i := range epochs {
		epochs[i].Store(^uint64(0))
	}
	var items [max + 1]atomic.Int64 // by SID
	live := func(sid avc.SID) bool { return items[sid].Load() > 0 }
	passed := func() uint64 {
		p := seq.Load()
		for i := range epochs {
			p = min(p, epochs[i].Load())
		}
		return p
	}

	type created struct {
		sid avc.SID
		ctx string
	}
	shared := avc.NewCache[int, created](contexts)

	stop := make(chan struct{})
	var freed atomic.Int64
	var wg, sweeper sync.WaitGroup
	sweeper.Add(1)
	go func() {
		defer sweeper.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, leaving := s.Sweep(seq.Load(), passed(), live)
			freed.Add(int64(f))
			if leaving > 0 {
				seq.Add(1)
			}
		}
	}()
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			verdicts := avc.NewTable(64, 64)
			spelled := map[avc.SID]map[uint64]string{} // what the number stood for when the verdict was kept
			for turn := 0; turn < turns && freed.Load() < enough; turn++ {
				var g uint64
				for {
					g = seq.Load()
					epochs[w].Store(g)
					if seq.Load() == g {
						break
					}
				}
				for range 3 {
					k := rnd.IntN(contexts)
					c, ok := shared.Lookup(g, k)
					if !ok {
						ctx := fmt.Sprint("ctx", k)
						sid, err := s.Intern(ctx)
						if err != nil {
							continue // full for the moment
						}
						c = created{sid, ctx}
						shared.Insert(g, k, c)
						s.Release(sid)
					}
					if got := s.String(c.sid); got != c.ctx {
						t.Errorf("number %d of %s stands for %q", c.sid, c.ctx, got)
						return
					}
					items[c.sid].Add(1)
					if _, ok := verdicts.Lookup(g, 1, c.sid, avc.ClassItem); ok {
						if was := spelled[c.sid][g]; was != s.String(c.sid) {
							t.Errorf("generation %d: a verdict about %s was found for %s", g, was, s.String(c.sid))
							return
						}
					} else {
						verdicts.Insert(g, 1, c.sid, avc.ClassItem, avc.Decision{Allowed: 1})
						if spelled[c.sid] == nil {
							spelled[c.sid] = map[uint64]string{}
						}
						spelled[c.sid][g] = c.ctx
					}
					items[c.sid].Add(-1)
				}
				epochs[w].Store(^uint64(0))
				runtime.Gosched()
			}
		}()
	}
	wg.Wait()
	close(stop)
	sweeper.Wait()
	if n := freed.Load(); n < enough {
		t.Errorf("only %d numbers came back: the test proves little", n)
	}
}
