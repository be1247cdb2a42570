package mac

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/avc"
	"sememcached/policy"
)

func kindsPolicy(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/kinds.bin")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The kernel and our own engine, over the same policies, give the same
// answers.
func TestKernelAndPolicyFileAgree(t *testing.T) {
	for _, c := range []struct {
		name     string
		b        []byte
		server   string
		ctx      []string
		computed []string // members and relabellings that must be among the answers
	}{
		{"built-in", policy.Default(), DefaultServerContext, []string{plain, client1, client2, reader, admin, item, item1, session, nobody, DefaultServerContext, "x:y:z:s0", "system_u:object_r:kv_item_t:s0:c1.c9"}, nil},
		{"kinds", kindsPolicy(t), "u:r:server_t:s0", []string{"u:r:a_t:s0", "u:r:a_t:s0-s0:c0", "u:r:loose_t:s0", "u:object_r:item_t:s0", "u:object_r:session_t:s0:c0", "u:r:server_t:s0"}, []string{"member u:object_r:session_t:s0false", "relabel u:object_r:item_t:s0:c0false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newFakeKernel(t, c.b)
			mk := k.open(Config{ServerContext: c.server})
			mf := open(t, Config{PolicyFile: writeFile(t, "p", string(c.b)), ServerContext: c.server})
			ek, ef := mk.NewEpoch(), mf.NewEpoch()
			gk, gf := ek.Begin(), ef.Begin()
			if gk.Calculate != gf.Calculate || fmt.Sprint(gk.names) != fmt.Sprint(gf.names) || !gk.Usable {
				t.Errorf("calculate %v %v, names %q %q", gk.Calculate, gf.Calculate, gk.names, gf.names)
			}
			n := 0
			computed := map[string]int{}
			for _, s := range c.ctx {
				for _, o := range c.ctx {
					for _, class := range avc.Classes() {
						ask := func(m *Monitor, e *Epoch) avc.Decision {
							_, a := m.ask(t, e, Question{Kind: AskAccess, Class: class, Source: m.sid2(s), Target: m.sid2(o)})
							return a.Decision
						}
						dk, df := ask(mk, ek), ask(mf, ef)
						if dk != df || dk.Failed {
							t.Errorf("%s %s %v: kernel %+v, file %+v", s, o, class, dk, df)
						}
						n++
					}
					ask := func(m *Monitor, e *Epoch) string {
						_, a := m.ask(t, e, Question{Kind: AskTransition, Source: m.sid2(s), Target: m.sid2(o), Task: m.sid2(c.ctx[0])})
						return fmt.Sprint(a.Err)
					}
					if a, b := ask(mk, ek), ask(mf, ef); a != b {
						t.Errorf("transition %s to %s: kernel %v, file %v", s, o, a, b)
					}
					for kind, name := range map[Kind]string{AskMember: "member", AskRelabel: "relabel"} {
						for _, class := range avc.Classes() {
							ask := func(m *Monitor, e *Epoch) string {
								_, a := m.ask(t, e, Question{Kind: kind, Class: class, Source: m.sid2(s), Target: m.sid2(o)})
								return m.SIDs().String(a.SID) + fmt.Sprint(a.Err != nil)
							}
							a, b := ask(mk, ek), ask(mf, ef)
							if a != b {
								t.Errorf("%s %s %s %v: kernel %s, file %s", name, s, o, class, a, b)
							}
							computed[name+" "+a]++
						}
					}
				}
				for _, key := range []string{"k", "session", "a%b"} {
					ask := func(m *Monitor, e *Epoch) string {
						g, a := m.ask(t, e, Question{Kind: AskCreate, Source: m.sid2(s), Selector: e.Begin().Selector([]byte(key))})
						_ = g
						return m.SIDs().String(a.SID) + fmt.Sprint(a.Err != nil)
					}
					if a, b := ask(mk, ek), ask(mf, ef); a != b {
						t.Errorf("%s makes %q: kernel %s, file %s", s, key, a, b)
					}
				}
				ask := func(m *Monitor, e *Epoch) string {
					_, a := m.ask(t, e, Question{Kind: AskContext, Text: s})
					return m.SIDs().String(a.SID) + fmt.Sprint(errors.Is(a.Err, ErrInvalidContext))
				}
				if a, b := ask(mk, ek), ask(mf, ef); a != b {
					t.Errorf("context %s: kernel %s, file %s", s, a, b)
				}
			}
			if n < 50 {
				t.Errorf("only %d questions", n)
			}
			for _, want := range c.computed {
				if computed[want] == 0 {
					t.Errorf("expected %s, found %v", want, computed)
				}
			}
			if c.name == "kinds" && fmt.Sprint(k.names[0]) != "session" && k.names[0] != "a%25b" {
				t.Errorf("object names arrive as %q", k.names)
			}
		})
	}
}

func TestKernelDescribes(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	want := "access control by the kernel (policy version up to 33, unknown denied), enforcing; clients without a kernel label are unlabeled; server " + DefaultServerContext
	if got := m.Describe(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	found := map[string]string{}
	m.Stats(func(n, v string) { found[n] = v })
	if found["mac_decider"] != "kernel" || found["mac_usable"] != "1" {
		t.Errorf("stats %v", found)
	}
	if err := m.SetBooleans(map[string]bool{"kv_client_flush": true}); err == nil {
		t.Error("a boolean of the kernel's can be set here")
	}
	seq := m.Generation().Seq
	m.SetPermissive(true)
	if g := m.Generation(); g.Seq != seq || !g.Enforcing {
		t.Error("the mode of the kernel can be set here")
	}
	// No built-in line: whom the kernel does not label is unlabeled.
	if got := m.SIDs().String(m.Subject(m.Generation(), tcp("127.0.0.1"))); got != nobody {
		t.Errorf("a client without a label is %s", got)
	}
}

// Each change is seen by the first request that begins after it.
func TestKernelChanges(t *testing.T) {
	var log text
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{AuditWriter: &log})
	e := m.NewEpoch()
	q := func() Question {
		return Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(reader), Target: m.sid2(session)}
	}
	may := func() (allowed, logged bool) {
		g, a := m.ask(t, e, q())
		v := g.Judge(a.Decision, avc.Read)
		return v.Allowed, v.Audit != 0
	}
	expect := func(when string, wantAllowed, wantLogged bool) {
		t.Helper()
		if a, l := may(); a != wantAllowed || l != wantLogged {
			t.Errorf("%s: allowed %v logged %v, want %v %v", when, a, l, wantAllowed, wantLogged)
		}
		n := k.asked("access")
		if a, _ := may(); a != wantAllowed || k.asked("access") != n {
			t.Errorf("%s: asked again for the same", when)
		}
	}
	expect("at start", true, false)
	k.setBool("kv_reader_sessions", false)
	expect("boolean off", false, true)
	k.setenforce(0)
	expect("permissive", true, true)
	k.setenforce(1)
	expect("enforcing", false, true)
	k.setBool("kv_reader_sessions", true)
	expect("boolean on", true, false)
	k.load(renamed(t, "kv_session_t", "kv_sessiox_t"))
	expect("without the item's type", false, true)
	k.load(policy.Default())
	expect("with it again", true, false)
	k.load(renamed(t, "kv_server", "kv_servex"))
	expect("without kv_server", false, true)
	k.setenforce(0)
	expect("without kv_server, permissive", false, true)
	k.load(policy.Default())
	expect("permissive, with it again", true, false)
	m.SyncAudit()
	var events []string
	for _, l := range log.lines() {
		if _, ev, ok := strings.Cut(l, "op="); ok {
			events = append(events, ev)
		}
	}
	want := []string{
		"load_policy lsm=selinux seqno=2 res=1", "setenforce lsm=selinux enforcing=0 res=1", "setenforce lsm=selinux enforcing=1 res=1",
		"load_policy lsm=selinux seqno=3 res=1", "load_policy lsm=selinux seqno=4 res=1", "load_policy lsm=selinux seqno=5 res=1",
		"setenforce lsm=selinux enforcing=0 res=1", "load_policy lsm=selinux seqno=7 res=1",
	}
	if fmt.Sprint(events) != fmt.Sprint(want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(want, "\n"))
	}
}

// Class and permission numbers move with a policy load.
func TestKernelNumbersMove(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	if g := e.Begin(); g.Calculate != avc.Calculate {
		t.Error("calculate is there")
	}
	b := kindsPolicy(t) // other numbers, another order
	m.cfg.ServerContext = "u:r:server_t:s0"
	k.load(b)
	g, a := m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2("u:r:a_t:s0"), Target: m.sid2("u:object_r:item_t:s0")})
	if want := avc.Create | avc.Getattr | avc.Read | avc.Remove | avc.RelabelFrom; a.Decision.Allowed != want || g.Calculate != avc.Read|avc.Write {
		t.Errorf("allowed %v, incr needs %v", avc.ClassItem.PermNames(a.Decision.Allowed), avc.ClassItem.PermNames(g.Calculate))
	}
	if a.Decision.AuditAllow != avc.Remove {
		t.Errorf("auditallow %v", avc.ClassItem.PermNames(a.Decision.AuditAllow))
	}
}

// The kernel puts a policy into force before the status page shows it. An
// answer of the new one is not taken for one of the old.
func TestKernelIsAheadOfItsStatusPage(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	g0 := e.Begin()
	s, o := m.sid2(reader), m.sid2(session)
	k.install(renamed(t, "kv_session_t", "kv_sessiox_t")) // and not announced
	q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: o}
	a := m.Decide(g0, q)
	if a.Seq != 0 || !errors.Is(a.Err, ErrStale) || a.Decision.Allowed != 0 {
		t.Errorf("answer %+v", a)
	}
	g, a := m.ask(t, e, q)
	if g.Seq == g0.Seq || g.seqno == g0.seqno || a.Decision.Allowed != 0 {
		t.Errorf("generation %d, %+v", g.Seq, a)
	}
	if m.n.stale.Load() == 0 {
		t.Error("not counted")
	}
	// So for questions whose replies have no sequence number.
	for _, q := range []Question{
		{Kind: AskContext, Text: item},
		{Kind: AskCreate, Source: s},
		{Kind: AskTransition, Source: o, Target: o, Task: s},
	} {
		_, _ = m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: s}) // settled
		g := e.Begin()
		k.install(policy.Default())
		if a := m.Decide(g, q); a.Seq != 0 || !errors.Is(a.Err, ErrStale) {
			t.Errorf("%+v: %+v", q, a)
		}
		if g2, a := m.ask(t, e, q); g2.Seq <= g.Seq || a.Err != nil {
			t.Errorf("%+v: %+v in %d", q, a, g2.Seq)
		}
	}
	// When the page follows, there is one more generation.
	before := e.Begin()
	k.announce()
	if g := e.Begin(); g.Seq <= before.Seq || !g.building {
		t.Errorf("generation %d after %d", g.Seq, before.Seq)
	}
	m.ask(t, e, q)
}

// Background work asks until the answer is of the generation in force.
func TestDecideNow(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	m.NewEpoch().Begin()
	q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(reader), Target: m.sid2(session)}
	for i := range 10 {
		on := i%2 == 1
		k.setBool("kv_reader_sessions", on)
		if i%3 == 0 {
			k.install(policy.Default()) // ahead of the page, and with the boolean on
			on = true
		}
		g, a := m.DecideNow(q)
		if a.Seq != g.Seq || g.Judge(a.Decision, avc.Read).Allowed != on {
			t.Errorf("step %d: %+v in generation %d", i, a, g.Seq)
		}
	}
	k.mu.Lock()
	k.seq++ // for ever being written
	k.status()
	k.mu.Unlock()
	if g, a := m.DecideNow(q); g.Judge(a.Decision, avc.Read).Allowed || !a.Decision.Failed {
		t.Errorf("%+v", a)
	}
}

// A policy that is loaded while a query is under way.
func TestKernelMovesUnderAQuery(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	g := e.Begin()
	s, o := m.sid2(plain), m.sid2(item)
	var once sync.Once
	k.mu.Lock()
	k.after = func(name, in string) {
		if name == "access" {
			once.Do(func() { k.load(renamed(t, "kv_item_t", "kv_itex_t")) })
		}
	}
	k.mu.Unlock()
	// The answer was computed by the old policy, and the page has moved since.
	if a := m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: o}); a.Seq != 0 || a.Decision.Allowed != 0 {
		t.Errorf("answer %+v", a)
	}
	if _, a := m.ask(t, e, Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: o}); a.Decision.Allowed != 0 || a.Decision.Failed {
		t.Errorf("answer %+v", a)
	}
}

// No worker waits while the new state is read, and none decides.
func TestKernelRebuildHoldsUpNobody(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(plain), Target: m.sid2(item)}
	m.ask(t, e, q)
	hold := make(chan struct{})
	k.mu.Lock()
	k.before = func(string, string) { <-hold }
	k.mu.Unlock()
	k.setenforce(0)
	start := time.Now()
	g := e.Begin()
	if !g.building || g.Enforcing {
		t.Errorf("building %v enforcing %v", g.building, g.Enforcing)
	}
	if _, ok := m.Cached(g, q); ok {
		t.Error("an answer without a state")
	}
	s := m.Subject(g, tcp("127.0.0.1"))
	m.SIDs().Release(s)
	g.Selector([]byte("k"))
	m.Stats(func(string, string) {})
	_ = m.Describe()
	var w answers
	w.ask(m, g, q, 1)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if m.Generation() != g {
		t.Error("a generation for every look")
	}
	close(hold)
	w.wg.Wait()
	if a := w.got[0]; a.Seq != 0 || !errors.Is(a.Err, ErrStale) {
		t.Errorf("answer %+v", a)
	}
	if g := e.Begin(); g.building {
		t.Error("answered before the state was there")
	}
}

// A selinuxfs that fails: denied, counted, and well again by itself.
func TestKernelFailsAndRecovers(t *testing.T) {
	for name, err := range map[string]error{"unmounted": unix.ENOENT, "not permitted": unix.EACCES, "no memory": unix.ENOMEM} {
		t.Run(name, func(t *testing.T) {
			k := newFakeKernel(t, policy.Default())
			m := k.open(Config{})
			e := m.NewEpoch()
			q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(plain), Target: m.sid2(item)}
			known := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(client1), Target: m.sid2(item1)}
			m.ask(t, e, known)

			// What is known goes on, what is not is denied.
			k.breakIt(err)
			g, a := m.ask(t, e, q)
			if v := g.Judge(a.Decision, avc.Read); v.Allowed || !a.Decision.Failed || v.Audit == 0 {
				t.Errorf("%+v: %+v", a, v)
			}
			if g, a := m.ask(t, e, known); !g.Judge(a.Decision, avc.Read).Allowed {
				t.Error("what was decided before is gone")
			}
			// The state moves, and cannot be read.
			k.announce()
			g, a = m.ask(t, e, known)
			if v := g.Judge(a.Decision, avc.Read); v.Allowed || !a.Decision.Failed {
				t.Errorf("%+v: %+v", a, v)
			}
			start := time.Now()
			for range 20 {
				m.ask(t, e, known)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("20 denials took %v", d)
			}
			// Known to be permissive, it allows.
			k.setenforce(0)
			if g, a := m.ask(t, e, known); !g.Judge(a.Decision, avc.Read).Allowed {
				t.Errorf("permissive: %+v", a)
			}
			k.setenforce(1)
			if g, a := m.ask(t, e, known); g.Judge(a.Decision, avc.Read).Allowed {
				t.Errorf("enforcing again: %+v", a)
			}
			if n := m.n.failures.Load(); n < 3 {
				t.Errorf("%d failures counted", n)
			}
			k.breakIt(nil)
			eventually(t, "it has recovered", func() bool {
				g, a := m.ask(t, e, q)
				return g.Judge(a.Decision, avc.Read).Allowed
			})
		})
	}
}

func TestKernelAnswersThatMakeNoSense(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	s, o := m.sid2(plain), m.sid2(item)
	for i, reply := range []string{
		"", "0", "ffffffff ffffffff 0 ffffffff 1", "ffffffff ffffffff 0 ffffffff 1 0 0", "x x x x x x",
		"fffffffff ffffffff 0 ffffffff 1 0", "-1 ffffffff 0 0 1 0", "ffffffff\x00ffffffff 0 0 1 0",
		"ffffffff 0 0 ffffffff 1 0", // allowed, but nothing of it decided
	} {
		k.mu.Lock()
		k.answer = func(name, _ string) ([]byte, bool) { return []byte(reply), name == "access" }
		k.mu.Unlock()
		g := e.Begin()
		a := m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: m.sid2(fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", i))})
		if a.Decision.Allowed != 0 || g.Judge(a.Decision, avc.Read).Allowed {
			t.Errorf("%q: %+v", reply, a)
		}
	}
	for i, reply := range []string{"", "\x00", "a", "a:b", "a:b:c d", "a:b:c\n", strings.Repeat("a:", 2500)} {
		k.mu.Lock()
		k.answer = func(name, _ string) ([]byte, bool) { return []byte(reply), name == "context" }
		k.mu.Unlock()
		a := m.Decide(e.Begin(), Question{Kind: AskContext, Text: fmt.Sprintf("system_u:object_r:kv_item_t:s0:c%d", i)})
		if a.SID != 0 || a.Err == nil {
			t.Errorf("%q: %+v", reply, a)
		}
	}
	_ = o
}

// The policy changes all the time; no answer is older than the state that the
// reader could see when it began.
func TestKernelReloadStorm(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{AuditRate: 1})
	s, o := m.sid2(reader), m.sid2(session)
	var flips, answered atomic.Uint64 // flips even: the boolean is on
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e := m.NewEpoch()
			defer e.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				first := flips.Load()
				g := e.Begin()
				q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: s, Target: o}
				a, ok := m.Cached(g, q)
				if !ok {
					var w answers
					w.ask(m, g, q, 1)
					w.wg.Wait()
					a = w.got[0]
				}
				if a.Seq != g.Seq {
					continue // as a worker does
				}
				got := g.Judge(a.Decision, avc.Read).Allowed
				last := flips.Load()
				if a.Decision.Failed {
					continue // a state that changed twenty times while it was read
				}
				ok = false
				for n := first; n <= last+1; n++ {
					ok = ok || got == (n%2 == 0)
				}
				if !ok {
					t.Errorf("between flips %d and %d the answer was %v", first, last, got)
					return
				}
				answered.Add(1)
				e.Rest()
				time.Sleep(50 * time.Microsecond) // others want the processor too
			}
		}()
	}
	const enough = 200
	for i, deadline := 0, time.Now().Add(time.Minute); i < 200 || answered.Load() < enough && time.Now().Before(deadline) && !t.Failed(); i++ {
		k.setBool("kv_reader_sessions", i%2 == 1)
		flips.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if n := answered.Load(); n < enough {
		t.Errorf("only %d answers", n)
	}
}

// With the same label of its socket, a client follows what the kernel says of
// it in each generation.
func TestKernelPeerIsAskedInEveryGeneration(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	label := client1
	m.label = func(int) (string, error) { return label, nil }
	p := &Peer{FD: 5}
	if got := m.SIDs().String(m.Subject(m.Generation(), p)); got != client1 {
		t.Errorf("%s", got)
	}
	label = nobody // so the kernel, when the type is gone
	if got := m.SIDs().String(m.Subject(m.Generation(), p)); got != nobody {
		t.Errorf("%s", got)
	}
}

func TestStatusPage(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	p, err := openStatusPage(k.root)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if on, ok := p.enforcing(0); !on || !ok {
		t.Errorf("enforcing %v, %v", on, ok)
	}
	k.setenforce(0)
	if s := p.sequence(); s != 2 {
		t.Errorf("sequence %d", s)
	}
	if on, ok := p.enforcing(0); !on || ok {
		t.Errorf("of a sequence that is over: %v, %v", on, ok)
	}
	if on, ok := p.enforcing(2); on || !ok {
		t.Errorf("permissive: %v, %v", on, ok)
	}
	k.mu.Lock()
	k.seq = 3 // being written
	k.status()
	k.mu.Unlock()
	if on, ok := p.enforcing(3); !on || ok {
		t.Errorf("while it is written: %v, %v", on, ok)
	}
	if n := testing.AllocsPerRun(100, func() { p.sequence() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for name, content := range map[string]string{"version": "\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00", "order": "\x00\x00\x00\x01"} {
		k.write("status", content+strings.Repeat("\x00", 20))
		if _, err := openStatusPage(k.root); err == nil || !strings.Contains(err.Error(), "expected version 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openStatusPage(filepath.Join(k.root, "nonesuch")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no page: %v", err)
	}
}

// A page that is always being written is of no state: nothing is decided.
func TestKernelThatIsAlwaysChanging(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	e := m.NewEpoch()
	q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid2(plain), Target: m.sid2(item)}
	m.ask(t, e, q)
	k.mu.Lock()
	k.seq++
	k.status()
	k.mu.Unlock()
	g, a := m.ask(t, e, q)
	if v := g.Judge(a.Decision, avc.Read); v.Allowed || !a.Decision.Failed {
		t.Errorf("%+v: %+v", a, v)
	}
	k.mu.Lock()
	k.seq++
	k.status()
	k.mu.Unlock()
	eventually(t, "it is decided again", func() bool {
		g, a := m.ask(t, e, q)
		return g.Judge(a.Decision, avc.Read).Allowed
	})
}
