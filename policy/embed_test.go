package policy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
)

// The committed binary is what Debian's secilc makes of the source.
func TestDefaultIsCompiledFromItsSource(t *testing.T) {
	secilc, err := exec.LookPath("secilc")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("secilc is missing: apt-get install secilc")
		}
		t.Skip("secilc is missing: the committed policy is not compared with its source")
	}
	out := filepath.Join(t.TempDir(), "default.bin")
	cmd := exec.Command(secilc, "-M", "true", "-c", "33", "-o", out, "-f", os.DevNull, "default.cil")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, policy.Default()) {
		t.Errorf("default.bin (%d bytes) is not what secilc makes of default.cil (%d bytes): %v", len(policy.Default()), len(b), cmd)
	}
}

func defaultPolicy(t *testing.T) *policy.Policy {
	t.Helper()
	p, err := policy.Read(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultBytesAreTheCallers(t *testing.T) {
	clear(policy.Default())
	defaultPolicy(t)
}

// asked answers questions about the built-in policy in words.
type asked struct {
	t *testing.T
	p *policy.Policy
}

func (a asked) context(s string) policy.Context {
	a.t.Helper()
	c, err := a.p.ParseContext(s)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a asked) allowed(s, t, class string) []string {
	a.t.Helper()
	c, ok := a.p.Class(class)
	if !ok {
		a.t.Fatalf("no class %s", class)
	}
	return a.p.PermNames(c, a.p.ComputeAV(a.context(s), a.context(t), c).Allowed)
}

const (
	plain     = "system_u:system_r:kv_plain_t:s0"
	client    = "system_u:system_r:kv_client_t:"
	reader    = "system_u:system_r:kv_reader_t:"
	admin     = "system_u:system_r:kv_admin_t:s0-s0:c0.c1023"
	item      = "system_u:object_r:kv_item_t:"
	session   = "system_u:object_r:kv_session_t:"
	unlabeled = "system_u:object_r:unlabeled_t:s0"
	server    = "system_u:system_r:kv_server_t:s0"
)

const (
	use     = "append calculate create getattr read remove setattr write"
	all     = "append calculate create getattr read relabelfrom relabelto remove setattr write"
	looking = "getattr read"
	operate = "config dump flush shutdown stats watch"
)

func TestDefaultAccess(t *testing.T) {
	a := asked{t, defaultPolicy(t)}
	for _, c := range []struct{ s, t, class, want string }{
		// Without tenants.
		{plain, item + "s0", "kv_item", use},
		{plain, session + "s0", "kv_item", use},
		{plain, server, "kv_server", operate},
		{plain, item + "s0:c1", "kv_item", ""},
		{plain, unlabeled, "kv_item", ""},
		// A tenant and its own items.
		{client + "s0", item + "s0", "kv_item", use},
		{client + "s0:c1", item + "s0:c1", "kv_item", use},
		{client + "s0:c1,c2", session + "s0:c1,c2", "kv_item", use},
		{client + "s0:c1023", item + "s0:c1023", "kv_item", use},
		{client + "s0:c1", server, "kv_server", "flush stats"},
		// Another tenant's: nothing. Fewer categories than one's own: to be read.
		{client + "s0:c1", item + "s0:c2", "kv_item", ""},
		{client + "s0:c1", item + "s0:c1,c2", "kv_item", ""},
		{client + "s0:c1,c2", item + "s0:c1", "kv_item", looking},
		{client + "s0:c1", item + "s0", "kv_item", looking},
		{client + "s0", item + "s0:c1", "kv_item", ""},
		// A range: works at its low level, sees up to its high one.
		{client + "s0-s0:c1", item + "s0", "kv_item", use},
		{client + "s0-s0:c1", item + "s0:c1", "kv_item", looking},
		{client + "s0:c1", unlabeled, "kv_item", ""},
		// Readers.
		{reader + "s0", item + "s0", "kv_item", looking},
		{reader + "s0", session + "s0", "kv_item", looking},
		{reader + "s0:c1", item + "s0:c1", "kv_item", looking},
		{reader + "s0:c1", item + "s0:c2", "kv_item", ""},
		{reader + "s0", server, "kv_server", ""},
		// Administrators.
		{admin, item + "s0", "kv_item", all},
		{admin, item + "s0:c1,c2", "kv_item", all},
		{admin, session + "s0:c0.c1023", "kv_item", all},
		{admin, server, "kv_server", operate},
		{admin, unlabeled, "kv_item", "getattr relabelfrom remove"},
		// but within their clearance.
		{"system_u:system_r:kv_admin_t:s0", item + "s0:c1", "kv_item", ""},
		// Nobody in particular, and the server itself.
		{unlabeled, item + "s0", "kv_item", ""},
		{unlabeled, unlabeled, "kv_item", ""},
		{unlabeled, server, "kv_server", ""},
		{server, item + "s0", "kv_item", ""},
	} {
		got := a.allowed(c.s, c.t, c.class)
		slices.Sort(got)
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s on %s %s: allowed { %s }, want { %s }", c.s, c.t, c.class, g, c.want)
		}
	}
}

// h1 dom h2 for every access and l2 eq l1 for whatever changes or creates, on
// clearances and levels of three categories.
func TestDefaultMCS(t *testing.T) {
	a := asked{t, defaultPolicy(t)}
	level := func(set int) string {
		var cats []string
		for i := range 3 {
			if set&(1<<i) != 0 {
				cats = append(cats, fmt.Sprint("c", 100+i))
			}
		}
		if len(cats) == 0 {
			return "s0"
		}
		return "s0:" + strings.Join(cats, ",")
	}
	n := 0
	for low := range 8 {
		for high := range 8 {
			if low&^high != 0 {
				continue // not a range
			}
			for it := range 8 {
				clearance := level(low) + "-" + level(high)
				want := ""
				switch {
				case it&^high != 0:
				case it == low:
					want = use
				default:
					want = looking
				}
				got := a.allowed(client+clearance, item+level(it), "kv_item")
				slices.Sort(got)
				if g := strings.Join(got, " "); g != want {
					t.Errorf("client %s on item %s: { %s }, want { %s }", clearance, level(it), g, want)
				}
				wantAdmin := all
				if it&^high != 0 {
					wantAdmin = ""
				}
				got = a.allowed("system_u:system_r:kv_admin_t:"+clearance, item+level(it), "kv_item")
				slices.Sort(got)
				if g := strings.Join(got, " "); g != wantAdmin {
					t.Errorf("administrator %s on item %s: { %s }, want { %s }", clearance, level(it), g, wantAdmin)
				}
				n++
			}
		}
	}
	if n != 27*8 {
		t.Errorf("%d cases, want %d", n, 27*8)
	}
}

func TestDefaultLabelsOfNewItems(t *testing.T) {
	a := asked{t, defaultPolicy(t)}
	c, _ := a.p.Class("kv_item")
	for _, l := range []struct{ s, want string }{
		{plain, item + "s0"},
		{client + "s0:c1,c2", item + "s0:c1,c2"},
		{client + "s0:c1-s0:c1.c5", item + "s0:c1"},
		{reader + "s0:c7", item + "s0:c7"},
		{admin, item + "s0"},
	} {
		got, err := a.p.ComputeCreate(a.context(l.s), a.context(server), c, "")
		if err != nil || got.String() != l.want {
			t.Errorf("%s makes items %s (%v), want %s", l.s, got, err, l.want)
		}
	}
	if names := a.p.TransitionNames(c); len(names) != 0 {
		t.Errorf("named transitions on %q", names)
	}
}

func TestDefaultContexts(t *testing.T) {
	p := defaultPolicy(t)
	for _, s := range []string{
		plain, admin, server, unlabeled,
		client + "s0:c1,c2", item + "s0", session + "s0:c0,c1023", reader + "s0-s0:c0.c1023",
	} {
		if got, err := p.CanonicalContext(s); err != nil || got != s {
			t.Errorf("CanonicalContext(%s) = %s, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "system_u:system_r:kv_plain_t", "system_u:system_r:kv_item_t:s0", "system_u:system_r:kv_plain_t:s1",
		"system_u:system_r:kv_plain_t:s0:c1024", "root:system_r:kv_plain_t:s0", "system_u:system_r:kv_item_type:s0",
	} {
		if got, err := p.CanonicalContext(s); err == nil {
			t.Errorf("CanonicalContext(%s) = %s, want an error", s, got)
		}
	}
	u, ok := p.InitialContext("unlabeled")
	if !ok || u.String() != unlabeled {
		t.Errorf("the unlabeled context is %s, %v", u, ok)
	}
	if h := p.HandleUnknown(); h != policy.HandleDeny {
		t.Errorf("unknown classes and permissions: %v", h)
	}
}

// Each switch takes or gives exactly what its comment says.
func TestDefaultBooleans(t *testing.T) {
	p := defaultPolicy(t)
	for _, b := range []struct{ name, s, t, class, on, off string }{
		{"kv_client_stats", client + "s0:c1", server, "kv_server", "flush stats", "flush"},
		{"kv_client_flush", client + "s0:c1", server, "kv_server", "flush stats", "stats"},
		{"kv_reader_sessions", reader + "s0", session + "s0", "kv_item", looking, ""},
	} {
		for v, want := range map[bool]string{true: b.on, false: b.off} {
			q, err := p.WithBooleans(map[string]bool{b.name: v})
			if err != nil {
				t.Fatal(err)
			}
			got := asked{t, q}.allowed(b.s, b.t, b.class)
			slices.Sort(got)
			if g := strings.Join(got, " "); g != want {
				t.Errorf("%s=%v: { %s }, want { %s }", b.name, v, g, want)
			}
		}
	}
	if n := len(p.Booleans()); n != 3 {
		t.Errorf("%d booleans, 3 are tested", n)
	}
	for _, b := range p.Booleans() {
		if !b.Active {
			t.Errorf("%s is off", b.Name)
		}
	}
}
