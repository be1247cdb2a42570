package mac

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
)

func TestPassed(t *testing.T) {
	m := open(t, Config{})
	if p := m.passed(); p != 1 {
		t.Errorf("without workers: %d", p)
	}
	a, b := m.NewEpoch(), m.NewEpoch()
	if g := a.Begin(); g.Seq != 1 {
		t.Errorf("began in %d", g.Seq)
	}
	m.republish()
	if p := m.passed(); p != 1 {
		t.Errorf("one in 1, one at rest: %d", p)
	}
	if b.Observe(1) {
		t.Error("observed a generation that is over")
	}
	if !b.Observe(2) || m.passed() != 1 {
		t.Errorf("one in 1, one in 2: %d", m.passed())
	}
	a.Begin()
	if p := m.passed(); p != 2 {
		t.Errorf("both in 2: %d", p)
	}
	m.republish()
	a.Close()
	b.Rest()
	if p := m.passed(); p != 3 {
		t.Errorf("one gone, one at rest: %d", p)
	}
}

func TestCollect(t *testing.T) {
	m := open(t, Config{})
	e := m.NewEpoch()
	e.Begin()
	var live sync.Map
	m.SetLive(func(s avc.SID) bool { _, ok := live.Load(s); return ok })
	base := m.SIDs().Len()
	kept, stored, gone := m.sid(t, client1), m.sid(t, item1), m.sid(t, session)
	m.SIDs().Release(stored)
	m.SIDs().Release(gone)
	live.Store(stored, true)

	done := make(chan int)
	go func() { done <- m.Collect() }()
	eventually(t, "a new generation is published", func() bool { return m.Generation().Seq == 2 })
	select {
	case n := <-done:
		t.Fatalf("collected %d while a worker was in the old generation", n)
	case <-time.After(20 * time.Millisecond):
	}
	if m.SIDs().String(gone) != session {
		t.Error("freed under a worker")
	}
	e.Begin()
	eventually(t, "another one is published", func() bool { return m.Generation().Seq == 3 })
	if m.SIDs().String(gone) != session {
		t.Error("freed after one pass")
	}
	e.Rest()
	if n := <-done; n != 1 {
		t.Errorf("collected %d, want 1", n)
	}
	for s, want := range map[avc.SID]string{kept: client1, stored: item1, gone: ""} {
		if got := m.SIDs().String(s); got != want {
			t.Errorf("SID %d is %q, want %q", s, got, want)
		}
	}
	if n := m.SIDs().Len(); n != base+2 {
		t.Errorf("%d SIDs, want %d", n, base+2)
	}
	if n := m.Collect(); n != 0 {
		t.Errorf("a second collection freed %d", n)
	}
}

func TestNothingIsFreedWithoutAStore(t *testing.T) {
	m := open(t, Config{})
	m.SIDs().Release(m.sid(t, session))
	if n := m.Collect(); n != 0 {
		t.Errorf("freed %d before SetLive", n)
	}
	m.SetLive(nothing)
	if n := m.Collect(); n != 1 {
		t.Errorf("freed %d", n)
	}
}

func TestCollectEndsWithClose(t *testing.T) {
	m := open(t, Config{})
	m.SetLive(nothing)
	m.NewEpoch().Begin() // and never moves on
	m.SIDs().Release(m.sid(t, session))
	done := make(chan int)
	go func() { done <- m.Collect() }()
	eventually(t, "the collection has begun", func() bool { return m.Generation().Seq > 1 })
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	<-done
}

// A table that fills up is collected by itself, so that clients can go on
// making labels for ever as long as few are in use at a time.
func TestTableOfLabelsNeverStaysFull(t *testing.T) {
	m := open(t, Config{MaxLabels: 64})
	m.SetLive(nothing)
	e := m.NewEpoch()
	refused := 0
	for i := 0; i < 1000; {
		g := e.Begin()
		a := m.Decide(g, Question{Kind: AskContext, Text: fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", i)})
		e.Rest()
		if a.Err != nil {
			refused++
			time.Sleep(time.Millisecond)
			if refused > 20_000 {
				t.Fatalf("label %d: %v", i, a.Err)
			}
			continue
		}
		m.SIDs().Release(a.SID)
		i++
	}
	if n := m.n.freed.Load(); n < 900 {
		t.Errorf("%d SIDs freed", n)
	}
}

// Workers make labels, put them on items and judge by them, while SIDs are
// collected and booleans flip. A verdict must always be about the very context
// that the item shows.
func TestReuseOfSIDsUnderLoad(t *testing.T) {
	// The decider answers with the category in the label, so that an answer
	// about another context is noticed.
	m := open(t, Config{MaxLabels: 48, Decider: func(d Decider) Decider {
		return &fake{Decider: d, access: func(_, o string, _ avc.Class) (avc.Decision, error) {
			var n avc.Perms
			if _, err := fmt.Sscanf(o, "system_u:object_r:kv_item_t:s0:c%d", &n); err != nil {
				return avc.Decision{}, err
			}
			return avc.Decision{Allowed: n}, nil
		}}
	}})
	var items [49]atomic.Int64
	m.SetLive(func(s avc.SID) bool { return items[s].Load() > 0 })
	const categories = 100
	sources := [categories]string{}
	for i := range sources {
		sources[i] = fmt.Sprintf("system_u:system_r:kv_client_t:s0:c%d", i)
	}
	subject := m.sid(t, plain)
	var wg sync.WaitGroup
	var judged atomic.Int64
	deadline := time.Now().Add(2 * time.Second)
	for w := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e := m.NewEpoch()
			defer e.Close()
			tab := avc.NewTable(256, 256)
			for i := 0; time.Now().Before(deadline); i++ {
				n := (i*7 + w*31) % categories
				g := e.Begin()
				a := m.Decide(g, Question{Kind: AskContext, Text: fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", n)})
				if a.Err != nil { // full for the moment
					e.Rest()
					time.Sleep(100 * time.Microsecond)
					continue
				}
				items[a.SID].Add(1) // the item holds it from here
				m.SIDs().Release(a.SID)
				for range 3 {
					g = e.Begin()
					d, ok := tab.Lookup(g.Seq, subject, a.SID, avc.ClassItem)
					if !ok {
						q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: subject, Target: a.SID}
						ans, ok := m.Cached(g, q)
						if !ok {
							ans = m.Decide(g, q)
						}
						d = ans.Decision
						tab.Insert(g.Seq, subject, a.SID, avc.ClassItem, d)
					}
					if d.Failed || int(d.Allowed) != n {
						t.Errorf("label c%d (%s) got the verdict of c%d (failed %v)", n, m.SIDs().String(a.SID), d.Allowed, d.Failed)
						return
					}
					judged.Add(1)
					e.Rest()
				}
				items[a.SID].Add(-1)
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; time.Now().Before(deadline); i++ {
			m.Collect()
			if err := m.SetBooleans(map[string]bool{"kv_client_flush": i%2 == 0}); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	wg.Wait()
	if n, f := judged.Load(), m.n.freed.Load(); n < 1000 || f < 50 {
		t.Errorf("%d verdicts, %d SIDs freed: the test proves little", n, f)
	}
}

func TestEpochDoesNotAllocate(t *testing.T) {
	m := open(t, Config{})
	e := m.NewEpoch()
	if a := testing.AllocsPerRun(1000, func() {
		e.Begin()
		e.Rest()
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
