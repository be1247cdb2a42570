package mac

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/policy"
)

// renamed is the built-in policy with a name changed to another of the same
// length: the name of a type, a class or a permission that is no longer there.
func renamed(t testing.TB, name, to string) []byte {
	t.Helper()
	if len(name) != len(to) {
		t.Fatalf("%q and %q have different lengths", name, to)
	}
	b := policy.Default()
	n := 0
	for i := 0; i+len(name) <= len(b); i++ {
		if string(b[i:i+len(name)]) == name && (i+len(name) == len(b) || b[i+len(name)] != '_') {
			copy(b[i:], to)
			n++
		}
	}
	if n == 0 {
		t.Fatalf("no %q in the built-in policy", name)
	}
	if _, err := policy.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKindsIsCompiledFromItsSource(t *testing.T) {
	secilc, err := exec.LookPath("secilc")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("secilc is missing: apt-get install secilc")
		}
		t.Skip("secilc is missing: the committed policy is not compared with its source")
	}
	out := filepath.Join(t.TempDir(), "kinds.bin")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, secilc, "-M", "true", "-c", "33", "-o", out, "-f", os.DevNull, "testdata/kinds.cil")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, msg)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/kinds.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("kinds.bin is not what %v makes", cmd)
	}
}

func openKinds(t testing.TB, cfg Config) *Monitor {
	cfg.PolicyFile = "testdata/kinds.bin"
	cfg.ServerContext = "u:r:server_t:s0"
	return open(t, cfg)
}

// Numbers are by name, whatever order a policy has them in.
func TestOtherNumbers(t *testing.T) {
	m := openKinds(t, Config{})
	g := m.NewEpoch().Begin()
	if !g.Usable || g.Calculate != avc.Read|avc.Write {
		t.Errorf("usable %v, incr needs %v", g.Usable, avc.ClassItem.PermNames(g.Calculate))
	}
	if g.Unlabeled != 0 {
		t.Errorf("unlabeled is %s", m.SIDs().String(g.Unlabeled))
	}
	a := m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid(t, "u:r:a_t:s0"), Target: m.sid(t, "u:object_r:item_t:s0")})
	want := avc.Decision{
		Allowed:    avc.Create | avc.Getattr | avc.Read | avc.Remove | avc.RelabelFrom,
		AuditAllow: avc.Remove,
		AuditDeny:  avc.ClassItem.All() &^ avc.Setattr &^ avc.Calculate,
	}
	if a.Decision != want {
		t.Errorf("decision %+v, want %+v", a.Decision, want)
	}
	a = m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassServer, Source: m.sid(t, "u:r:loose_t:s0"), Target: g.Server})
	if d := a.Decision; !d.Permissive || d.Allowed != 0 || !g.Judge(d, avc.ServerFlush).Allowed {
		t.Errorf("permissive domain: %+v", d)
	}
	// Nobody in particular, in a policy that has no unlabeled.
	if s := m.Subject(g, tcp("127.0.0.1")); s != 0 {
		t.Errorf("a client is %s", m.SIDs().String(s))
	}
}

func TestNamedTransitions(t *testing.T) {
	m := openKinds(t, Config{ContextsFile: writeFile(t, "c", "kv_item sess* u:object_r:item_t\n")})
	g := m.NewEpoch().Begin()
	src := m.sid(t, "u:r:a_t:s0-s0:c0")
	for key, want := range map[string]string{
		"session":     "u:object_r:item_t:s0", // a line of the file comes first
		"a%b":         "u:object_r:session_t:s0",
		"a%b ":        "u:object_r:item_t:s0",
		"a%b\x00":     "u:object_r:item_t:s0",
		"anything at": "u:object_r:item_t:s0",
	} {
		sel := g.Selector([]byte(key))
		if named := key == "a%b"; (sel < 0) != named {
			t.Errorf("%q: selector %d", key, sel)
		}
		a := m.Decide(g, Question{Kind: AskCreate, Source: src, Selector: sel})
		if got := m.SIDs().String(a.SID); got != want {
			t.Errorf("%q: %s (%v), want %s", key, got, a.Err, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { g.Selector([]byte("a%b")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidateTrans(t *testing.T) {
	m := openKinds(t, Config{})
	g := m.NewEpoch().Begin()
	it, se, a := m.sid(t, "u:object_r:item_t:s0"), m.sid(t, "u:object_r:session_t:s0"), m.sid(t, "u:r:a_t:s0")
	if r := m.Decide(g, Question{Kind: AskTransition, Source: it, Target: se, Task: a}); r.Err != nil {
		t.Errorf("item to session: %v", r.Err)
	}
	if r := m.Decide(g, Question{Kind: AskTransition, Source: se, Target: it, Task: a}); !errors.Is(r.Err, ErrRefused) {
		t.Errorf("session to item: %v", r.Err)
	}
}

func TestReloadWithABadPartKeepsEverything(t *testing.T) {
	pol := writeFile(t, "policy", string(policy.Default()))
	ctx := writeFile(t, "contexts", "client * "+client1+"\n")
	m := open(t, Config{PolicyFile: pol, ContextsFile: ctx})
	before := m.Generation()
	for name, spoil := range map[string]func(){
		"policy cut short":              func() { writeFile(t, pol, string(policy.Default()[:5000])) },
		"no policy":                     func() { _ = os.Remove(pol) },
		"contexts file with a bad line": func() { writeFile(t, ctx, "client * "+client2+"\nclient\n") },
		"a new context that is invalid": func() { writeFile(t, ctx, "client * "+client2+"\nclient * a:b:c:s0\n") },
		"no contexts file":              func() { _ = os.Remove(ctx) },
		"the server's context is gone": func() {
			writeFile(t, pol, string(renamed(t, "kv_server_t", "kv_servex_t")))
		},
		"good contexts, bad policy": func() {
			writeFile(t, ctx, "client * "+client2+"\n")
			writeFile(t, pol, "x")
		},
	} {
		sids := m.SIDs().Len()
		fails := m.n.reloadFailures.Load()
		spoil()
		if err := m.Reload(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if m.Generation() != before {
			t.Errorf("%s: another generation is in force", name)
		}
		if n := m.n.reloadFailures.Load(); n != fails+1 {
			t.Errorf("%s: %d failures counted", name, n-fails)
		}
		writeFile(t, pol, string(policy.Default()))
		writeFile(t, ctx, "client * "+client1+"\n")
		m.SetLive(nothing)
		m.Collect()
		if n := m.SIDs().Len(); n > sids {
			t.Errorf("%s: %d SIDs leaked", name, n-sids)
		}
		before = m.Generation() // Collect has published
	}
	if err := m.SetBooleans(map[string]bool{"nonesuch": true}); err == nil || m.Generation() != before {
		t.Errorf("an unknown boolean: %v", err)
	}
	if err := m.Reload(); err != nil || m.Generation() == before {
		t.Errorf("a good reload: %v", err)
	}
}

func nothing(avc.SID) bool { return false }

// A context that was valid when its line was read: a policy that does not know
// it any more makes clients unlabeled and denies new items. No line after it
// takes its place, and it comes back with its type.
func TestContextsThatALaterPolicyDoesNotKnow(t *testing.T) {
	pol := writeFile(t, "policy", string(policy.Default()))
	ctx := writeFile(t, "contexts", "client * "+reader+"\nclient * "+plain+"\nkv_item s* "+session+"\nkv_item * system_u:object_r:kv_item_t\n")
	m := open(t, Config{PolicyFile: pol, ContextsFile: ctx})
	check := func(when, wantClient, wantLabel string) {
		t.Helper()
		g := m.NewEpoch().Begin()
		s := m.Subject(g, tcp("127.0.0.1"))
		if got := m.SIDs().String(s); got != wantClient {
			t.Errorf("%s: client %s, want %s", when, got, wantClient)
		}
		m.SIDs().Release(s)
		a := m.Decide(g, Question{Kind: AskCreate, Source: m.sid(t, plain), Selector: g.Selector([]byte("s1"))})
		if got := m.SIDs().String(a.SID); got != wantLabel || (wantLabel == "") != errors.Is(a.Err, ErrInvalidContext) {
			t.Errorf("%s: label %q (%v), want %q", when, got, a.Err, wantLabel)
		}
	}
	reload := func(b []byte) {
		t.Helper()
		writeFile(t, pol, string(b))
		if err := m.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	check("at start", reader, session)
	reload(renamed(t, "kv_reader_t", "kv_readxx_t"))
	check("without kv_reader_t", nobody, session)
	reload(renamed(t, "kv_session_t", "kv_sessiox_t"))
	check("without kv_session_t", reader, "")
	reload(policy.Default())
	check("again", reader, session)
}

// A reload that loses a class or a permission is in force, and denies.
func TestReloadThatLosesAClass(t *testing.T) {
	pol := writeFile(t, "policy", string(policy.Default()))
	m := open(t, Config{PolicyFile: pol})
	for _, c := range []struct{ name, to, missing string }{
		{"kv_item", "kv_itex", "kv_item"},
		{"kv_server", "kv_servex", "kv_server"},
		{"relabelto", "relabelxx", "kv_item:relabelto"},
		{"shutdown", "shutdowx", "kv_server:shutdown"},
	} {
		writeFile(t, pol, string(renamed(t, c.name, c.to)))
		if err := m.Reload(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		g := m.NewEpoch().Begin()
		if g.Usable || strings.Join(g.missing, " ") != c.missing {
			t.Errorf("%s: usable %v, missing %v", c.name, g.Usable, g.missing)
		}
		for _, class := range avc.Classes() {
			q := Question{Kind: AskAccess, Class: class, Source: m.sid2(plain), Target: g.Server}
			a := m.Decide(g, q)
			if v := g.Judge(a.Decision, 1); v.Allowed || v.Audit == 0 {
				t.Errorf("%s: %v: %+v", c.name, class, v)
			}
		}
		if a := m.Decide(g, Question{Kind: AskCreate, Source: m.sid2(plain)}); a.Err == nil || a.SID != 0 {
			t.Errorf("%s: a new item is labelled: %+v", c.name, a)
		}
		if !strings.Contains(m.Describe(), "NOT USABLE (lacks "+c.missing+")") {
			t.Errorf("%s: %s", c.name, m.Describe())
		}
		// So is the start.
		if _, err := Open(Config{Mode: PolicyFile, PolicyFile: pol, Log: quiet(), AuditWriter: new(text)}); err == nil || !strings.Contains(err.Error(), "does not define "+c.missing) {
			t.Errorf("%s: start: %v", c.name, err)
		}
	}
	// Without calculate it is usable.
	writeFile(t, pol, string(renamed(t, "calculate", "calculatx")))
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	if g := m.Generation(); !g.Usable || g.Calculate != avc.Read|avc.Write {
		t.Errorf("without calculate: usable %v, incr needs %v", g.Usable, avc.ClassItem.PermNames(g.Calculate))
	}
	writeFile(t, pol, string(policy.Default()))
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	if g := m.Generation(); g.Calculate != avc.Calculate || !m.may(t, g, plain, item, avc.Read) {
		t.Errorf("after recovery incr needs %v", avc.ClassItem.PermNames(g.Calculate))
	}
}

// sid2 is a SID of a context that the policy in force may not know.
func (m *Monitor) sid2(ctx string) avc.SID {
	s, err := m.sids.Intern(ctx)
	if err != nil {
		panic(err)
	}
	return s
}

func TestBooleansStayOverAReload(t *testing.T) {
	m := open(t, Config{Booleans: map[string]bool{"kv_client_stats": false}})
	may := func(p avc.Perms) bool {
		g := m.NewEpoch().Begin()
		a := m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassServer, Source: m.sid(t, client1), Target: g.Server})
		return g.Judge(a.Decision, p).Allowed
	}
	if may(avc.ServerStats) || !may(avc.ServerFlush) {
		t.Error("the flag has no effect")
	}
	if err := m.SetBooleans(map[string]bool{"kv_client_flush": false}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"set", "after a reload"} {
		if may(avc.ServerStats) || may(avc.ServerFlush) {
			t.Errorf("%s: a boolean is lost", when)
		}
		if err := m.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SetBooleans(map[string]bool{"kv_client_stats": true, "kv_client_flush": true}); err != nil {
		t.Fatal(err)
	}
	if !may(avc.ServerStats) || !may(avc.ServerFlush) {
		t.Error("not set again")
	}
	if _, err := Open(Config{Mode: PolicyFile, Booleans: map[string]bool{"nonesuch": true}, Log: quiet(), AuditWriter: new(text)}); err == nil {
		t.Error("a start with an unknown boolean")
	}
}

// Booleans flip all the time; no reader gets an answer that is older than the
// state it could see when it began.
func TestReloadStorm(t *testing.T) {
	m := open(t, Config{})
	reader0, server := m.sid(t, reader), m.sid(t, session)
	var flips atomic.Uint64 // even: the boolean is on
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var answered atomic.Int64
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e := m.NewEpoch()
			defer e.Close()
			tab := avc.NewTable(64, 64)
			q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: reader0, Target: server}
			for {
				select {
				case <-stop:
					return
				default:
				}
				first := flips.Load()
				g := e.Begin()
				d, ok := tab.Lookup(g.Seq, q.Source, q.Target, q.Class)
				if !ok {
					var a Answer
					if a, ok = m.Cached(g, q); !ok {
						var w answers
						w.ask(m, g, q, 1)
						w.wg.Wait()
						a = w.got[0]
					}
					if a.Seq != g.Seq || a.Decision.Failed {
						t.Errorf("answer %+v in generation %d", a, g.Seq)
						return
					}
					d = a.Decision
					tab.Insert(g.Seq, q.Source, q.Target, q.Class, d)
				}
				got := g.Judge(d, avc.Read).Allowed
				last := flips.Load()
				// SetBooleans returns before the count goes up: what was in
				// force at the look is one of first to last+1.
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
	const enough = 400
	for i, deadline := 0, time.Now().Add(time.Minute); i < 400 || answered.Load() < enough && time.Now().Before(deadline) && !t.Failed(); i++ {
		if err := m.SetBooleans(map[string]bool{"kv_reader_sessions": i%2 == 1}); err != nil {
			t.Fatal(err)
		}
		flips.Add(1)
		if i%4 == 0 {
			time.Sleep(time.Millisecond) // or nobody reads
		}
	}
	close(stop)
	wg.Wait()
	if n := answered.Load(); n < enough {
		t.Errorf("only %d answers", n)
	}
}

// Ten thousand reloads leave nothing behind.
func TestReloadsDoNotGrowTheHeap(t *testing.T) {
	m := open(t, Config{ContextsFile: writeFile(t, "contexts", sampleContexts), AuditWriter: io.Discard})
	e := m.NewEpoch()
	heap := func() uint64 {
		m.SyncAudit()
		eventually(t, "replaced generations are let go", func() bool { return !m.letGo() })
		runtime.GC()
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	turn := func(i int) {
		if err := m.SetBooleans(map[string]bool{"kv_reader_sessions": i%2 == 0}); err != nil {
			t.Fatal(err)
		}
		g := e.Begin()
		m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sidOnce(g, client1), Target: m.sidOnce(g, item1)})
		m.SIDs().Release(m.Subject(g, tcp("10.1.2.3")))
		e.Rest()
		if i%100 == 0 {
			if err := m.Reload(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 500 {
		turn(i)
	}
	before, sids := heap(), m.SIDs().Len()
	for i := range 10_000 {
		turn(i)
	}
	after := heap()
	if after > before+256<<10 {
		t.Errorf("%d KiB before, %d KiB after", before>>10, after>>10)
	}
	if n := m.SIDs().Len(); n != sids {
		t.Errorf("%d SIDs before, %d after", sids, n)
	}
}

// sidOnce is a SID that nobody holds.
func (m *Monitor) sidOnce(g *Generation, ctx string) avc.SID {
	a := m.Decide(g, Question{Kind: AskContext, Text: ctx})
	m.sids.Release(a.SID)
	return a.SID
}

func TestOldGenerationsAreFreed(t *testing.T) {
	m := open(t, Config{})
	var freed atomic.Int64
	const n = 20
	for i := range n {
		runtime.AddCleanup(m.Generation(), func(int) { freed.Add(1) }, 0)
		if i%2 == 0 {
			if err := m.Reload(); err != nil {
				t.Fatal(err)
			}
		} else {
			m.SetPermissive(i%4 == 1)
		}
	}
	eventually(t, "all generations but the last are freed", func() bool {
		runtime.GC()
		return freed.Load() == n
	})
}
