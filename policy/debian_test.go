package policy_test

import (
	"compress/bzip2"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/policy"
)

var debianQueries = flag.Int("queries", 10_000, "access vectors to ask about each of Debian's policies; a soak asks for more")

// debianModules unpacks the modules of selinux-policy-FLAVOR into dir.
func debianModules(t testing.TB, flavor, dir string) (modules []string) {
	t.Helper()
	files, err := filepath.Glob("/usr/share/selinux/" + flavor + "/*.pp.bz2")
	if err != nil || len(files) == 0 {
		missing(t, "selinux-policy-%s is not installed", flavor)
	}
	for _, f := range files {
		in, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		name := strings.TrimSuffix(filepath.Base(f), ".bz2")
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, bzip2.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		modules = append(modules, name)
	}
	return modules
}

// cached is a file in the user's cache, made on first use. Its name holds the
// version of the Debian package it is made from.
func cached(t testing.TB, flavor, name string, build func(dir string) (file string)) string {
	t.Helper()
	root, err := os.UserCacheDir()
	if err != nil {
		missing(t, "no cache directory: %v", err)
	}
	version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "selinux-policy-"+flavor).Output()
	if err != nil {
		missing(t, "selinux-policy-%s is not installed", flavor)
	}
	file := filepath.Join(root, "sememcached-policy-test", flavor+"_"+strings.ReplaceAll(string(version), ":", "_"), name)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	// Into the same file system, so that the rename is atomic.
	dir, err := os.MkdirTemp(filepath.Dir(file), "build")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Rename(build(dir), file); err != nil {
		t.Fatal(err)
	}
	return file
}

// debianPolicy is Debian's policy of a flavor (default or mls) with our
// classes, compiled from its modules by way of CIL.
func debianPolicy(t testing.TB, flavor string) []byte {
	t.Helper()
	const hll = "/usr/libexec/selinux/hll/pp"
	kv, err := os.ReadFile("testdata/debian/kv.cil")
	if err != nil {
		t.Fatal(err)
	}
	file := cached(t, flavor, "kv.v33.bin", func(dir string) string {
		tools(t, "secilc", hll)
		args := []string{"-M", "true", "-c", "33", "-o", "kv.v33.bin", "-f", "/dev/null", "kv.cil"}
		for _, m := range debianModules(t, flavor, dir) {
			run(t, dir, hll, m, m+".cil")
			args = append(args, m+".cil")
		}
		if err := os.WriteFile(filepath.Join(dir, "kv.cil"), kv, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "secilc", args...)
		return filepath.Join(dir, "kv.v33.bin")
	})
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawer makes up questions from the rules of a large policy: a random rule,
// a type for each of its sides, and a valid context for each type.
type drawer struct {
	p           *policy.Policy
	r           *rand.Rand
	rules       []policy.RuleForTest
	constrained []policy.RuleForTest // allow rules that a constraint looks at
	uncond      int
	types       map[string][]string // of an attribute
	users       map[string][]string // user:role of a type, cached
	ranges      []string
}

func newDrawer(p *policy.Policy, r *rand.Rand) *drawer {
	d := &drawer{p: p, r: r, types: map[string][]string{}, users: map[string][]string{}, ranges: ranges(p, r, 200)}
	d.rules, d.uncond = p.RulesForTest()
	for _, r := range d.rules {
		if c, _ := p.Class(r.Class); r.Allow && p.ConstrainedForTest(c, r.Perms) {
			d.constrained = append(d.constrained, r)
		}
	}
	for _, t := range p.Types() {
		attrs, _ := p.AttributesOf(t)
		for _, a := range append(attrs, t) {
			d.types[a] = append(d.types[a], t)
		}
	}
	return d
}

// context is a random context of one of the types of name, a type or an
// attribute; ok is false where it found none.
func (d *drawer) context(name string) (c policy.Context, ok bool) {
	if len(d.types[name]) == 0 {
		return c, false
	}
	typ := pick(d.r, d.types[name])
	if _, ok := d.users[typ]; !ok {
		for _, u := range d.p.Users() {
			for _, r := range d.p.Roles() {
				if _, err := d.p.ParseContext(u + ":" + r + ":" + typ + ":s0"); err == nil {
					d.users[typ] = append(d.users[typ], u+":"+r)
				}
			}
		}
	}
	for range 8 {
		c, err := d.p.ParseContext(pick(d.r, d.users[typ]) + ":" + typ + pick(d.r, d.ranges))
		if err == nil {
			return c, true
		}
	}
	return c, false
}

// draw is one question: two contexts and a class. Of ten questions three come
// from any rule, two from a conditional one, four from one of a class under
// constraints and one from nowhere.
func (d *drawer) draw() (s, o policy.Context, c policy.Class) {
	for {
		rule := pick(d.r, d.rules)
		switch d.r.IntN(10) {
		case 0:
			rule = policy.RuleForTest{Source: pick(d.r, d.rules).Source, Target: pick(d.r, d.rules).Target, Class: pick(d.r, d.rules).Class}
		case 1, 2:
			rule = pick(d.r, d.rules[d.uncond:])
		case 3, 4, 5, 6:
			rule = pick(d.r, d.constrained)
		}
		c, _ = d.p.Class(rule.Class)
		var ok1, ok2 bool
		s, ok1 = d.context(rule.Source)
		o, ok2 = d.context(rule.Target)
		if ok1 && ok2 {
			return s, o, c
		}
	}
}

// TestDebianAgainstSepol asks about Debian's policies, booleans flipped on the
// way, and counts what the questions were worth.
func TestDebianAgainstSepol(t *testing.T) {
	asked := 0
	for _, flavor := range []string{"default", "mls"} {
		t.Run(flavor, func(t *testing.T) {
			b := debianPolicy(t, flavor)
			p, err := policy.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			r := seeded(t, 2)
			d := newDrawer(p, r)
			var qs []question
			full, cut, boolean := 0, 0, 0
			n := *debianQueries
			for i := range n {
				if i%500 == 499 {
					b := pick(r, p.Booleans())
					q, err := p.WithBooleans(map[string]bool{b.Name: !b.Active})
					if err != nil {
						t.Fatal(err)
					}
					p, d.p = q, q
					qs = append(qs, question{"bool " + b.Name + " " + map[bool]string{true: "0", false: "1"}[b.Active], "ok"})
					boolean++
				}
				s, o, c := d.draw()
				av := p.ComputeAV(s, o, c)
				if av.Allowed != 0 {
					full++
				}
				if p.TypeEnforcementForTest(s, o, c)&^av.Allowed != 0 {
					cut++
				}
				qs = append(qs, askAV(p, s, o, c))
				if i%5 == 0 {
					qs = append(qs, askSIDs(p, s, o, c)...)
					if x, ok := d.context("domain"); ok {
						qs = append(qs, askValidateTrans(p, o, s, x, c))
					}
				}
			}
			t.Logf("%d questions; %d of %d access vectors not empty, %d with bits removed by a constraint or a role, %d booleans flipped", len(qs), full, n, cut, boolean)
			if full < n/2 {
				t.Errorf("expected at least %d access vectors that are not empty, found %d", n/2, full)
			}
			if cut < n/10 {
				t.Errorf("expected at least %d access vectors with bits removed, found %d", n/10, cut)
			}
			compare(t, b, qs)
			asked += n
		})
	}
	if !t.Failed() && !t.Skipped() && asked < 20_000 {
		t.Errorf("expected at least 20,000 access vectors drawn from rules, found %d", asked)
	}
}
