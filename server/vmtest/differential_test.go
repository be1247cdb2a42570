//go:build vm && linux

package vmtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/policy"
)

// twin is a policy that is loaded into the kernel and into our own engine.
type twin struct {
	t         *testing.T
	p         *policy.Policy
	rnd       *rand.Rand
	classes   []string
	index     map[string]int
	contexts  []string
	questions int
	allowed   int // questions with something allowed
	differ    int
}

func newTwin(t *testing.T, file string, rnd *rand.Rand) *twin {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	p, err := policy.Read(b)
	must(t, err)
	w := &twin{t: t, p: p, rnd: rnd, index: map[string]int{}}
	for _, c := range p.Classes() {
		if n := classIndex(c); n > 0 {
			w.classes = append(w.classes, c)
			w.index[c] = n
		}
	}
	return w
}

// some makes contexts of random parts; most are invalid to both, and are left out.
func (w *twin) some(n int) []string {
	pick := func(l []string) string { return l[w.rnd.IntN(len(l))] }
	users, roles, types := w.p.Users(), w.p.Roles(), w.p.Types()
	cats, sens := w.p.Categories(), w.p.Sensitivities()
	level := func() string {
		s := pick(sens)
		if len(cats) == 0 || w.rnd.IntN(3) == 0 {
			return s
		}
		cats := cats[:min(len(cats), 6)]
		s += ":" + pick(cats)
		if w.rnd.IntN(2) == 0 {
			s += "," + pick(cats)
		}
		return s
	}
	var out []string
	bad := 0
	for tries := 0; len(out) < n && tries < 40*n; tries++ {
		c := pick(users) + ":" + pick(roles) + ":" + pick(types)
		if w.p.MLS() {
			c += ":" + level()
			if w.rnd.IntN(3) == 0 {
				c += "-" + level()
			}
		}
		ours, err := w.p.CanonicalContext(c)
		theirs, kerr := ask("context", c)
		switch {
		case (err == nil) != (kerr == nil) || err == nil && ours != theirs:
			w.differs("context %s: ours %q %v, the kernel's %q %v", c, ours, err, theirs, kerr)
		case err == nil:
			out = append(out, ours)
		default:
			bad++
		}
	}
	if len(out) == 0 {
		w.t.Logf("none of %d contexts is valid", bad)
	}
	return out
}

func (w *twin) differs(format string, args ...any) {
	w.t.Helper()
	if w.differ++; w.differ <= 10 {
		w.t.Errorf(format, args...)
	}
}

// run asks n random questions of each kind.
func (w *twin) run(n int) {
	w.t.Helper()
	if len(w.contexts) == 0 || len(w.classes) == 0 {
		return
	}
	for range n {
		w.question(w.contexts[w.rnd.IntN(len(w.contexts))], w.contexts[w.rnd.IntN(len(w.contexts))], w.classes[w.rnd.IntN(len(w.classes))])
	}
}

// question asks of one pair of contexts and a class everything that can be asked.
func (w *twin) question(s, t, class string) {
	w.t.Helper()
	w.vectorAndLabel(s, t, class)
	w.labels(s, t, class)
}

// vectorAndLabel asks for the access vector and for the label of a new object.
func (w *twin) vectorAndLabel(s, t, class string) {
	w.t.Helper()
	w.questions++
	sc, tc, c := w.parsed(s, t, class)
	d := w.p.ComputeAV(sc, tc, c)
	flags := 0
	if d.Permissive {
		flags = 1
	}
	if d.Allowed != 0 {
		w.allowed++
	}
	theirs, err := ask("access", fmt.Sprintf("%s %s %d", s, t, w.index[class]))
	f := strings.Fields(theirs)
	if err != nil || len(f) != 6 {
		w.differs("access %s %s %s: %q %v", s, t, class, theirs, err)
		return
	}
	// Bits beyond the class's permissions mean nothing to either.
	all := w.p.Perms(c)
	mask := func(hex string) policy.AV {
		var v policy.AV
		_, _ = fmt.Sscanf(hex, "%x", &v)
		return v & all
	}
	ours := fmt.Sprintf("%x %x %x %x", d.Allowed&all, d.AuditAllow&all, d.AuditDeny&all, flags)
	if got := fmt.Sprintf("%x %x %x %s", mask(f[0]), mask(f[2]), mask(f[3]), f[5]); got != ours {
		w.differs("access %s %s %s: ours %s, the kernel's %s", s, t, class, ours, got)
	}
	n, err := w.p.ComputeCreate(sc, tc, c, "")
	w.label("create", s, t, class, "", n, err)
}

func (w *twin) parsed(s, t, class string) (policy.Context, policy.Context, policy.Class) {
	w.t.Helper()
	sc, err := w.p.ParseContext(s)
	must(w.t, err)
	tc, err := w.p.ParseContext(t)
	must(w.t, err)
	c, _ := w.p.Class(class)
	return sc, tc, c
}

// label compares a computed context, ours with the kernel's.
func (w *twin) label(kind, s, t, class, suffix string, n policy.Context, err error) {
	w.t.Helper()
	got, kerr := ask(kind, fmt.Sprintf("%s %s %d%s", s, t, w.index[class], suffix))
	want := ""
	if err == nil {
		want = w.p.ContextString(n)
	}
	if err != nil && kerr == nil && content("enforce") == "0" {
		// A permissive kernel gives a context that it knows to be invalid.
		if !strings.Contains(err.Error(), fmt.Sprintf("%q", got)) {
			w.differs("%s %s %s %s%s: ours %v, the kernel's %q", kind, s, t, class, suffix, err, got)
		}
		return
	}
	if (err == nil) != (kerr == nil) || got != want {
		w.differs("%s %s %s %s%s: ours %q %v, the kernel's %q %v", kind, s, t, class, suffix, want, err, got, kerr)
	}
}

// labels asks for every other computed context, and for a change of label.
func (w *twin) labels(s, t, class string) {
	w.t.Helper()
	sc, tc, c := w.parsed(s, t, class)
	if names := w.p.TransitionNames(c); len(names) > 0 {
		name := names[w.rnd.IntN(len(names))]
		n, err := w.p.ComputeCreate(sc, tc, c, name)
		var enc strings.Builder
		for _, b := range []byte(name) {
			fmt.Fprintf(&enc, "%%%02X", b)
		}
		w.label("create", s, t, class, " "+enc.String(), n, err)
	}
	n, err := w.p.ComputeMember(sc, tc, c)
	w.label("member", s, t, class, "", n, err)
	n, err = w.p.ComputeRelabel(sc, tc, c)
	w.label("relabel", s, t, class, "", n, err)
	task := w.contexts[w.rnd.IntN(len(w.contexts))]
	kc, err := w.p.ParseContext(task)
	must(w.t, err)
	kerr := write("validatetrans", fmt.Appendf(nil, "%s %s %d %s", s, t, w.index[class], task))
	if kerr != nil && !errors.Is(kerr, unix.EPERM) || w.p.ValidateTrans(sc, tc, kc, c) != (kerr == nil) {
		w.differs("validatetrans %s %s %s %s: the kernel says %v", s, t, class, task, kerr)
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestGuestEngine: our policy engine and the kernel give the same answers of
// every kind to random questions about the policies of this suite.
func TestGuestEngine(t *testing.T) {
	inGuest(t)
	rnd := seeded(t)
	for name, n := range map[string]int{"main": 800, "moved": 200, "nogone": 200} {
		load(t, name)
		w := newTwin(t, "/policy/"+name+".bin", rnd)
		w.contexts = w.some(60)
		w.run(n)
		w.classes = []string{"kv_item", "kv_server"}
		w.contexts = append(w.contexts, domain("bound_child_t", "s0"), domain("bound_parent_t", "s0"), domain("kv_client_t", "s0:c1"), domain("kv_admin_t", "s0-s0:c0.c1023"))
		w.run(n)
		w.question(domain("bound_child_t", "s0"), object("kv_item_t", "s0"), "kv_item")
		w.question(domain("bound_parent_t", "s0"), object("kv_item_t", "s0"), "kv_item")
		t.Logf("%s: %d questions of each kind, %d with something allowed, %d differences", name, w.questions, w.allowed, w.differ)
		if w.questions < 2*n || w.allowed < n/10 {
			t.Errorf("%s: too few questions to mean anything", name)
		}
	}
	// With the boolean on.
	load(t, "main")
	setBoolean(t, "vm_reader_writes", true)
	w := newTwin(t, "/policy/main.bin", rnd)
	w.contexts = w.some(60)
	var err error
	w.p, err = w.p.WithBooleans(map[string]bool{"vm_reader_writes": true})
	must(t, err)
	w.classes = []string{"kv_item"}
	w.run(500)
}

// TestGuestMicro: the same for the small policies that the engine's own tests
// use, each about one feature, bounds that no compiler accepts among them. They
// know nothing of processes and files: the kernel is permissive meanwhile.
func TestGuestMicro(t *testing.T) {
	inGuest(t)
	rnd := seeded(t)
	files, err := filepath.Glob("/micro/*.bin")
	must(t, err)
	must(t, write("enforce", []byte("0")))
	ran, total := 0, 0
	for _, file := range files {
		if err := loadFile(file); err != nil {
			t.Logf("%s: the kernel does not load it: %v", filepath.Base(file), err)
			continue
		}
		w := newTwin(t, file, rnd)
		w.contexts = w.some(60)
		w.run(100)
		if w.differ > 0 {
			t.Errorf("%s: %d differences in %d questions", filepath.Base(file), w.differ, w.questions)
		}
		if w.questions == 0 {
			t.Logf("%s: no questions", filepath.Base(file))
			continue
		}
		ran++
		total += w.questions
	}
	must(t, loadPolicy("main"))
	t.Logf("%d policies of %d, %d questions of each kind", ran, len(files), total)
	if ran < 20 {
		t.Errorf("%d policies only", ran)
	}
}
