package mac

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
)

func accessQuestion(m *Monitor, t testing.TB, s, o string) Question {
	return Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid(t, s), Target: m.sid(t, o)}
}

// A thousand waiters for one answer ask once, and all get it.
func TestThousandWaitersOneQuery(t *testing.T) {
	var queries atomic.Int64
	release := make(chan struct{})
	m := open(t, Config{Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(s, o string, c avc.Class) (avc.Decision, error) {
			queries.Add(1)
			<-release
			return d.Access(s, o, c)
		}}
	}})
	g := m.NewEpoch().Begin()
	q := accessQuestion(m, t, client1, item1)
	var w answers
	for i := range uint64(1000) {
		w.ask(m, g, q, i)
	}
	close(release)
	w.wg.Wait()
	if n := queries.Load(); n != 1 {
		t.Errorf("%d queries", n)
	}
	for i, a := range w.got {
		if a.Seq != g.Seq || a.Decision.Allowed&avc.Read == 0 || a.Err != nil {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
	if len(w.got) != 1000 || len(w.tags) != 1000 {
		t.Errorf("%d answers to %d waiters", len(w.got), len(w.tags))
	}
	// And whoever comes later finds it.
	if a, ok := m.Cached(g, q); !ok || a.Decision != w.got[0].Decision {
		t.Errorf("remembered: %+v, %v", a, ok)
	}
	w.ask(m, g, q, 5000)
	w.wg.Wait()
	if n := queries.Load(); n != 1 {
		t.Errorf("%d queries after the answer was known", n)
	}
}

// Questions that differ do not wait for each other beyond the bound, and no
// more of them run than it allows.
func TestQueriesAreBounded(t *testing.T) {
	var running, most atomic.Int64
	m := open(t, Config{Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(s, o string, c avc.Class) (avc.Decision, error) {
			n := running.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(100 * time.Microsecond)
			running.Add(-1)
			return d.Access(s, o, c)
		}}
	}})
	g := m.NewEpoch().Begin()
	src := m.sid(t, client1)
	before := runtime.NumGoroutine()
	var w answers
	for i := range uint64(500) {
		o := m.sid(t, fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", i))
		w.ask(m, g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: src, Target: o}, i)
	}
	if n := runtime.NumGoroutine(); n > before+maxAskers {
		t.Errorf("%d goroutines more", n-before)
	}
	w.wg.Wait()
	if n := most.Load(); n > maxAskers || n < 2 {
		t.Errorf("%d queries at a time, want 2 to %d", n, maxAskers)
	}
	eventually(t, "idle goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// A decider that sleeps holds up nobody who asks something that is known.
func TestSlowDeciderDelaysOnlyItsWaiters(t *testing.T) {
	release := make(chan struct{})
	var slow atomic.Bool
	m := open(t, Config{Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(s, o string, c avc.Class) (avc.Decision, error) {
			if slow.Load() {
				<-release
			}
			return d.Access(s, o, c)
		}}
	}})
	g := m.NewEpoch().Begin()
	known, unknown := accessQuestion(m, t, client1, item1), accessQuestion(m, t, client2, item1)
	m.Decide(g, known)
	slow.Store(true)
	var w answers
	start := time.Now()
	w.ask(m, g, unknown, 1)
	for range 1000 {
		if _, ok := m.Cached(g, known); !ok {
			t.Fatal("the known answer is gone")
		}
		if _, ok := m.Cached(g, unknown); ok {
			t.Fatal("an answer from nowhere")
		}
	}
	m.Generation()
	m.Stats(func(string, string) {})
	m.Subject(g, tcp("127.0.0.1"))
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	w.mu.Lock()
	if len(w.got) != 0 {
		t.Error("answered before the decider did")
	}
	w.mu.Unlock()
	close(release)
	w.wg.Wait()
}

func TestFailuresDeny(t *testing.T) {
	boom := errors.New("boom")
	for name, access := range map[string]func(string, string, avc.Class) (avc.Decision, error){
		"error": func(string, string, avc.Class) (avc.Decision, error) {
			return avc.Decision{Allowed: ^avc.Perms(0)}, boom
		},
		"panic": func(string, string, avc.Class) (avc.Decision, error) { panic(boom) },
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			broken.Store(true)
			var queries atomic.Int64
			m := open(t, Config{Decider: func(d Decider) Decider {
				return &fake{Decider: d, access: func(s, o string, c avc.Class) (avc.Decision, error) {
					queries.Add(1)
					if broken.Load() {
						return access(s, o, c)
					}
					return d.Access(s, o, c)
				}}
			}})
			g := m.NewEpoch().Begin()
			q := accessQuestion(m, t, plain, item)
			var w answers
			w.ask(m, g, q, 7)
			w.wg.Wait()
			a := w.got[0]
			if !a.Decision.Failed || !errors.Is(a.Err, ErrUndecided) || !strings.Contains(a.Err.Error(), "boom") {
				t.Errorf("answer %+v", a)
			}
			if v := g.Judge(a.Decision, avc.Read); v.Allowed || v.Audit == 0 {
				t.Errorf("verdict %+v", v)
			}
			// For a moment everybody is told so without asking again.
			if b, ok := m.Cached(g, q); !ok || !b.Decision.Failed {
				t.Errorf("remembered: %+v, %v", b, ok)
			}
			m.Decide(g, q)
			if n := queries.Load(); n != 1 {
				t.Errorf("%d queries", n)
			}
			broken.Store(false)
			eventually(t, "the decider is asked again", func() bool { return !m.Decide(g, q).Decision.Failed })
			if v := g.Judge(m.Decide(g, q).Decision, avc.Read); !v.Allowed {
				t.Error("still denied after recovery")
			}
			if n := m.n.failures.Load(); n != 1 {
				t.Errorf("%d failures counted", n)
			}
		})
	}
}

func TestAskContext(t *testing.T) {
	m := open(t, Config{})
	g := m.NewEpoch().Begin()
	ask := func(text string) Answer { return m.Decide(g, Question{Kind: AskContext, Text: text}) }
	for _, bad := range []string{
		"", "x", "a:b:c", "system_u:object_r:kv_item_t", "system_u:object_r:kv_item_t:s0 ", "system_u:object_r:kv_item_t:s0\n",
		"system_u:object_r:kv_item_t:s0\x00", "system_u:object_r:kv_item_t:s0:c1024", strings.Repeat("a", 5000),
		"system_u:object_r:kv_item_t:\xff",
	} {
		if a := ask(bad); !errors.Is(a.Err, ErrInvalidContext) || a.SID != 0 || a.Decision.Failed {
			t.Errorf("%q: %+v", bad, a)
		}
	}
	a := ask("system_u:object_r:kv_item_t:s0:c3,c1,c2")
	if got := m.SIDs().String(a.SID); got != "system_u:object_r:kv_item_t:s0:c1.c3" || a.Err != nil {
		t.Fatalf("canonical form %q, %v", got, a.Err)
	}
	// Each receiver has a reference of its own: as many releases are due.
	const n = 20
	q := Question{Kind: AskContext, Text: "system_u:object_r:kv_item_t:s0:c1.c3"}
	var w answers
	for i := range uint64(n) {
		w.ask(m, g, q, i)
	}
	w.wg.Wait()
	// What a client writes is kept nowhere.
	if b, ok := m.Cached(g, q); ok {
		t.Errorf("found %+v", b)
	}
	if n := m.labels.Len(); n != 0 {
		t.Errorf("%d answers are remembered", n)
	}
	for range n + 1 {
		m.SIDs().Release(a.SID)
	}
	defer func() {
		if recover() == nil {
			t.Error("more references than receivers")
		}
	}()
	m.SIDs().Release(a.SID)
}

func TestAskTransition(t *testing.T) {
	m := open(t, Config{Decider: func(d Decider) Decider { return refusing{d} }})
	g := m.NewEpoch().Begin()
	q := Question{Kind: AskTransition, Source: m.sid(t, item), Target: m.sid(t, session), Task: m.sid(t, admin)}
	if a := m.Decide(g, q); a.Err != nil {
		t.Errorf("%+v", a)
	}
	q.Source, q.Target = q.Target, q.Source
	if a := m.Decide(g, q); !errors.Is(a.Err, ErrRefused) || a.Decision.Failed {
		t.Errorf("%+v", a)
	}
}

// refusing forbids to make sessions anything else.
type refusing struct{ Decider }

func (refusing) Transition(o, _, _ string, _ avc.Class) error {
	if o == session {
		return ErrRefused
	}
	return nil
}

func TestAboutNobodyNothingIsAsked(t *testing.T) {
	m := open(t, Config{Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(s, o string, _ avc.Class) (avc.Decision, error) {
			t.Errorf("asked about %q on %q", s, o)
			return avc.Decision{Allowed: ^avc.Perms(0)}, nil
		}, create: func(string, string, avc.Class, string) (string, error) {
			t.Error("asked for a label")
			return item, nil
		}}
	}})
	g := m.NewEpoch().Begin()
	s := m.sid(t, plain)
	for _, q := range []Question{
		{Kind: AskAccess, Class: avc.ClassItem, Source: s},
		{Kind: AskAccess, Class: avc.ClassItem, Target: s},
		{Kind: AskCreate, Target: s},
		{Kind: AskTransition, Source: s, Target: s},
	} {
		a, ok := m.Cached(g, q)
		if !ok || a.Decision != avc.Nobody() || a.SID != 0 || q.Kind != AskAccess && a.Err == nil {
			t.Errorf("%+v: %+v, %v", q, a, ok)
		}
		if b := m.Decide(g, q); b != a {
			t.Errorf("%+v: Decide %+v, Cached %+v", q, b, a)
		}
	}
	if a := m.Decide(g, Question{}); !a.Decision.Failed || !errors.Is(a.Err, ErrUndecided) {
		t.Errorf("the zero question: %+v", a)
	}
}

// Fields that a kind does not look at do not make another question.
func TestEqualQuestions(t *testing.T) {
	m := open(t, Config{})
	g := m.NewEpoch().Begin()
	s := m.sid(t, client1)
	q := Question{Kind: AskCreate, Source: s, Target: 99, Class: avc.ClassServer, Text: "x"}
	var w answers
	w.ask(m, g, q, 1)
	w.wg.Wait()
	if w.qs[1] != q {
		t.Errorf("answered %+v, asked %+v", w.qs[1], q)
	}
	if a, ok := m.Cached(g, Question{Kind: AskCreate, Source: s}); !ok || a != w.got[0] {
		t.Errorf("%+v, %v", a, ok)
	}
}

func TestSelectorOfAnotherGeneration(t *testing.T) {
	m := open(t, Config{})
	g := m.NewEpoch().Begin()
	for _, sel := range []Selector{1, 1000, -1, -1 << 31, 1<<31 - 1} {
		a := m.Decide(g, Question{Kind: AskCreate, Source: m.sid(t, plain), Selector: sel})
		if !errors.Is(a.Err, ErrStale) || a.SID != 0 {
			t.Errorf("selector %d: %+v", sel, a)
		}
	}
}

func TestFullTableOfLabelsDenies(t *testing.T) {
	m := open(t, Config{MaxLabels: 5}) // the server, unlabeled, the built-in client and two more
	g := m.NewEpoch().Begin()
	s := m.sid(t, client1)
	if a := m.Decide(g, Question{Kind: AskCreate, Source: s}); a.Err != nil {
		t.Fatal(a.Err)
	}
	a := m.Decide(g, Question{Kind: AskContext, Text: session})
	if !errors.Is(a.Err, avc.ErrFull) || a.SID != 0 || !a.Decision.Failed {
		t.Errorf("%+v", a)
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	release := make(chan struct{})
	m := open(t, Config{Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(s, o string, c avc.Class) (avc.Decision, error) {
			<-release
			return d.Access(s, o, c)
		}}
	}})
	g := m.NewEpoch().Begin()
	src := m.sid(t, client1)
	var w answers
	for i := range uint64(50) {
		w.ask(m, g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: src, Target: m.sid(t, fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", i))}, i)
	}
	go func() {
		m.asker.close()
		close(release)
	}()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	w.wg.Wait()
	if len(w.tags) != 50 {
		t.Errorf("%d answers", len(w.tags))
	}
	w.ask(m, g, accessQuestion(m, t, plain, item), 99)
	w.wg.Wait()
	if a := w.got[len(w.got)-1]; !a.Decision.Failed {
		t.Errorf("after Close: %+v", a)
	}
}

func TestCachedAnswerDoesNotAllocate(t *testing.T) {
	m := open(t, Config{})
	g := m.NewEpoch().Begin()
	q := accessQuestion(m, t, client1, item1)
	c := Question{Kind: AskCreate, Source: q.Source}
	m.Decide(g, q)
	m.Decide(g, c)
	if a := testing.AllocsPerRun(1000, func() {
		m.Cached(g, q)
		m.Cached(g, c)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// One question is asked by many goroutines in many generations at once.
func TestAskConcurrently(t *testing.T) {
	m := open(t, Config{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e := m.NewEpoch()
			defer e.Close()
			var got answers
			for i := range uint64(300) {
				g := e.Begin()
				q := accessQuestion(m, t, client1, item1)
				got.ask(m, g, q, i)
				got.wg.Wait()
				a := got.got[len(got.got)-1]
				if a.Seq != g.Seq || a.Decision.Failed || a.Decision.Allowed&avc.Read == 0 {
					t.Errorf("%+v in generation %d", a, g.Seq)
				}
				e.Rest()
				if w == 0 && i%3 == 0 {
					m.republish()
				}
			}
		}()
	}
	wg.Wait()
}
