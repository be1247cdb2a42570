//go:build vm && linux

package vmtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// world is one state of the kernel, as far as the clients of TestGuestUnderLoad
// can tell states apart.
type world struct {
	policy    string
	enforcing bool
	writes    bool // the boolean vm_reader_writes
}

func (w world) String() string {
	return fmt.Sprintf("%s enforcing=%t writes=%t", w.policy, w.enforcing, w.writes)
}

// loadClient is one that asks the same all the time. By the model, what is
// answered in a world, and whether that is a denial by the policy: one that is
// audited in every mode, and enforced or not.
type loadClient struct {
	context, request string
	model            func(w world) (answer string, denied bool)
}

var loadClients = []loadClient{
	// The boolean gives it the right; one policy has made its domain permissive.
	{domain("kv_reader_t", "s0"), "set k 0 0 1\r\n1\r\n", func(w world) (string, bool) {
		switch {
		case w.writes:
			return "STORED\r\n", false
		case !w.enforcing || w.policy == "tolerant":
			return "STORED\r\n", true
		}
		return accessDenied, true
	}},
	// Of a permissive domain in every policy.
	{domain("loose_t", "s0"), "set k 0 0 1\r\n1\r\n", func(world) (string, bool) { return "STORED\r\n", true }},
	// Its domain and its item's type come and go.
	{domain("gone_t", "s0"), "get gone\r\n", func(w world) (string, bool) {
		if w.policy != "nogone" || !w.enforcing {
			return "VALUE gone 0 1\r\ng\r\nEND\r\n", w.policy == "nogone"
		}
		return "END\r\n", true
	}},
	// Kept apart by category, under every policy.
	{domain("kv_client_t", "s0:c1"), "get c2\r\n", func(w world) (string, bool) {
		if w.enforcing {
			return "END\r\n", true
		}
		return "VALUE c2 0 1\r\n2\r\nEND\r\n", true
	}},
	// Allowed by every policy.
	{domain("kv_client_t", "s0:c2"), "get c2\r\n", func(world) (string, bool) { return "VALUE c2 0 1\r\n2\r\nEND\r\n", false }},
}

// history is the worlds that there have been. Whoever begins a request when world
// number settled was in force and has its answer when changing was under way sees
// one of those from the one to the other.
type history struct {
	mu                sync.Mutex
	worlds            []world
	settled, changing atomic.Int64
}

// to changes the kernel's state and says so, before and after.
func (h *history) to(t *testing.T, w world, change func() error) {
	t.Helper()
	h.mu.Lock()
	h.worlds = append(h.worlds, w)
	n := int64(len(h.worlds) - 1)
	h.mu.Unlock()
	h.changing.Store(n)
	must(t, change())
	h.settled.Store(n)
}

func (h *history) between(first, last int64) []world {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.worlds[first : last+1])
}

// TestGuestUnderLoad: the mode, booleans, class numbers, permissive domains and
// types change while clients of five kinds ask. A model says what each must be
// answered; every answer must be that of a world not older than the one in force
// when its request began. Each denial is logged once, in permissive mode and for
// permissive domains too.
func TestGuestUnderLoad(t *testing.T) {
	inGuest(t)
	startServer(t, "--audit-log", auditLog)
	dial(t, domain("kv_client_t", "s0")).want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	dial(t, domain("gone_t", "s0")).want("set gone 0 0 1\r\ng\r\n", "STORED\r\n")
	dial(t, domain("kv_client_t", "s0:c2")).want("set c2 0 0 1\r\n2\r\n", "STORED\r\n")
	admin := dial(t, domain("kv_admin_t", "s0-s0:c0.c1023"))

	h := &history{worlds: []world{{"main", true, false}}}
	const each = 2 // clients of a kind
	var done atomic.Bool
	var asking sync.WaitGroup
	answers := make([]atomic.Int64, len(loadClients)) // by kind
	refused := make([]atomic.Int64, len(loadClients)) // of those, "access denied"
	sure := make([]atomic.Int64, len(loadClients))    // how many records of denials there must be at least
	most := make([]atomic.Int64, len(loadClients))    // and at most: some worlds deny, some do not
	for i, kind := range loadClients {
		for range each {
			c := dial(t, kind.context)
			asking.Go(func() {
				for !done.Load() {
					first := h.settled.Load()
					got := c.ask(kind.request)
					last := h.changing.Load()
					ok, all, some := false, true, false
					for _, w := range h.between(first, last) {
						want, denied := kind.model(w)
						if want == got {
							ok = true
							all, some = all && denied, some || denied
						}
					}
					if !ok {
						t.Errorf("%s: %q was answered %q in worlds %v", kind.context, kind.request, got, h.between(first, last))
						return
					}
					if all {
						sure[i].Add(1)
					}
					if some {
						most[i].Add(1)
					}
					if got == accessDenied {
						refused[i].Add(1)
					}
					answers[i].Add(1)
				}
			})
		}
	}
	settle := func() {
		t.Helper()
		seen := make([]int64, len(answers))
		for i := range answers {
			seen[i] = answers[i].Load()
		}
		for deadline := time.Now().Add(patience); ; {
			behind := false
			for i := range answers {
				behind = behind || answers[i].Load() < seen[i]+each+1
			}
			if !behind || t.Failed() {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody is answered")
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 500_000}, nil) // let the others have the processor
		}
	}
	rnd := seeded(t)
	now := h.worlds[0]
	visited := map[string]int{}
	steps := 0
	for ; steps < 48 || len(visited) < 8 && steps < 200; steps++ {
		settle()
		if t.Failed() {
			break
		}
		switch n := rnd.IntN(8); {
		case n < 2:
			now.enforcing = !now.enforcing
			h.to(t, now, func() error { return write("enforce", []byte(map[bool]string{true: "1", false: "0"}[now.enforcing])) })
		case n < 4:
			now.writes = !now.writes
			must(t, write("booleans/vm_reader_writes", []byte(map[bool]string{true: "1", false: "0"}[now.writes])))
			h.to(t, now, func() error { return write("commit_pending_bools", []byte("1")) })
		default: // the booleans keep their values
			now.policy = []string{"main", "moved", "nogone", "tolerant"}[n-4]
			h.to(t, now, func() error { return loadPolicy(now.policy) })
		}
		visited[fmt.Sprint(now.policy, now.enforcing)]++
	}
	settle()
	done.Store(true)
	asking.Wait()
	if t.Failed() {
		return
	}
	must(t, write("enforce", []byte("1")))
	setBoolean(t, "vm_reader_writes", false)
	load(t, "main")
	if n := admin.stat("mac_audit_suppressed"); n != "0" {
		t.Fatalf("%s records suppressed", n)
	}
	b, err := os.ReadFile(auditLog)
	must(t, err)
	text := string(b)
	total := int64(0)
	for i, kind := range loadClients {
		total += answers[i].Load()
		key := strings.Fields(kind.request)[1]
		records, let := int64(0), int64(0)
		for line := range strings.Lines(text) {
			// The domain that comes and goes acts as unlabeled meanwhile.
			if !hasAll(line, []string{"denied", `key="` + key + `"`}) ||
				!strings.Contains(line, "scontext="+kind.context+" ") && (!strings.HasPrefix(kind.request, "get gone") || !strings.Contains(line, "scontext="+object("unlabeled_t", "s0"))) {
				continue
			}
			if records++; strings.Contains(line, "permissive=1") {
				let++
			}
		}
		if records < sure[i].Load() || records > most[i].Load() {
			t.Errorf("%s: %d denials logged, expected %d to %d of %d requests", kind.context, records, sure[i].Load(), most[i].Load(), answers[i].Load())
		}
		if strings.HasPrefix(kind.request, "set") && records-let != refused[i].Load() {
			t.Errorf("%s: %d requests refused, %d logged so", kind.context, refused[i].Load(), records-let)
		}
		t.Logf("%s: %d requests, %d denials logged, %d of them let pass", kind.context, answers[i].Load(), records, let)
	}
	t.Logf("%d answers judged over %d changes, worlds visited: %v", total, steps, visited)
}
