package policy_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"sememcached/internal/debpolicy"
	"sememcached/policy"
)

var debianQueries = flag.Int("queries", 10_000, "access vectors to ask about each of Debian's policies; a soak asks for more")

// built is the path of what debpolicy has made; an error ends the test, as a
// missing tool does.
func built(t testing.TB, file string, err error) string {
	t.Helper()
	if errors.Is(err, debpolicy.ErrMissing) {
		missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// debianPolicy is Debian's policy of a flavor (default or mls) with our
// classes, compiled from its modules by way of CIL.
func debianPolicy(t testing.TB, flavor string) []byte {
	t.Helper()
	return debianPolicyAt(t, debpolicy.Version, flavor)
}

func debianPolicyAt(t testing.TB, version int, flavor string) []byte {
	t.Helper()
	file, err := debpolicy.BuildAt(version, "kv", flavor, "testdata/debian/kv.cil")
	b, err := os.ReadFile(built(t, file, err))
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
