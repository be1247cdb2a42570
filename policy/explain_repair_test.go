package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sememcached/internal/debpolicy"
	"sememcached/policy"
)

// added collects the statements that an explanation says to add.
func added(rs []policy.Reason) (cil []string) {
	for _, r := range rs {
		if r.Add {
			cil = append(cil, r.CIL)
		}
		cil = append(cil, added(r.Parent)...)
	}
	return cil
}

// has reports whether reasons of a kind are among rs or those of parents.
func has(rs []policy.Reason, kind policy.Kind) bool {
	for _, r := range rs {
		if r.Kind == kind || has(r.Parent, kind) {
			return true
		}
	}
	return false
}

// asCIL is the source of a micro policy in CIL.
func asCIL(t *testing.T, name, dir string) string {
	t.Helper()
	src := filepath.Join("testdata/micro", name)
	if b, err := os.ReadFile(src + ".cil"); err == nil {
		return string(b)
	}
	abs, err := filepath.Abs(src + ".conf")
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, "checkpolicy", "-M", "-C", "-o", "micro.cil", abs)
	b, err := os.ReadFile(filepath.Join(dir, "micro.cil"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compileCIL compiles CIL with more statements.
func compileCIL(t *testing.T, dir, cil string, more ...string) *policy.Policy {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "in.cil"), []byte(cil+"\n"+strings.Join(more, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "secilc", "-c", "33", "-o", "out.bin", "-f", "/dev/null", "in.cil")
	b, err := os.ReadFile(filepath.Join(dir, "out.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return mustRead(t, b)
}

// denials makes up n questions that p denies.
func denials(t *testing.T, p *policy.Policy, n int) []policy.Query {
	r := seeded(t, 9)
	cs := contexts(p, r, 8)
	classes := p.Classes()
	var out []policy.Query
	for range 100 * n {
		s, o, class := pick(r, cs), pick(r, cs), pick(r, classes)
		c, _ := p.Class(class)
		a, b := r.Uint32(), r.Uint32()
		want := policy.AV(a&b) & p.Perms(c)
		if want&^p.ComputeAV(s, o, c).Allowed != 0 {
			out = append(out, policy.Query{Source: s.String(), Target: o.String(), Class: class, Perms: p.PermNames(c, want)})
			if len(out) == n {
				return out
			}
		}
	}
	t.Fatalf("expected %d denied questions, found %d", n, len(out))
	return nil
}

// exempting collects the first exemption of each constraint that fails, which
// explanations say work together where they do not say that nothing does.
func exempting(t *testing.T, rs []policy.Reason) (cil []string) {
	t.Helper()
	for _, r := range rs {
		if r.Kind == policy.KindConstraint {
			if len(r.Near) == 0 {
				t.Errorf("expected an exemption or a change for every constraint, found none for %s", r.Expression)
				return nil
			}
			cil = append(cil, r.Near[0].CIL)
		}
		cil = append(cil, exempting(t, r.Parent)...)
	}
	return cil
}

// everyContext is every valid context of a type: all users, roles and ranges.
func everyContext(t *testing.T, p *policy.Policy, typ string) (out []policy.Context) {
	t.Helper()
	spans := []string{""}
	if p.MLS() {
		cats := p.Categories()
		if len(cats) > 5 {
			t.Fatalf("expected a policy with 5 categories at most, found %d", len(cats))
		}
		var levels []string
		for _, s := range p.Sensitivities() {
			for set := range 1 << len(cats) {
				var has []string
				for i, c := range cats {
					if set>>i&1 != 0 {
						has = append(has, c)
					}
				}
				levels = append(levels, strings.TrimSuffix(s+":"+strings.Join(has, ","), ":"))
			}
		}
		spans = nil
		for _, l := range levels {
			for _, h := range levels {
				spans = append(spans, ":"+l+"-"+h)
			}
		}
	}
	for _, span := range spans {
		for _, u := range p.Users() {
			for _, r := range p.Roles() {
				if c, err := p.ParseContext(u + ":" + r + ":" + typ + span); err == nil {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// repairer applies what explanations of a micro policy say, and compiles it again.
type repairer struct {
	t        *testing.T
	dir, cil string
	compiled map[string]*policy.Policy   // by what was added
	contexts map[string][]policy.Context // by type, and whether they are of objects
}

func (r *repairer) with(cil []string) *policy.Policy {
	slices.Sort(cil)
	more := strings.Join(slices.Compact(cil), "\n")
	if r.compiled[more] == nil {
		r.compiled[more] = compileCIL(r.t, r.dir, r.cil, more)
	}
	return r.compiled[more]
}

// repair reports whether an explanation says how to repair a denial. What it says
// must be right: the repair repairs, each if there are several, or there is none
// indeed.
func (r *repairer) repair(q policy.Query, e policy.Explanation) bool {
	t := r.t
	t.Helper()
	allowed := func(p *policy.Policy, q policy.Query) {
		t.Helper()
		if after := p.ExplainQuery(q); !after.Allowed {
			t.Errorf("before:\n%safter:\n%s", e, after)
		}
	}
	fixed := r.with(added(e.Reasons))
	if has(e.Reasons, policy.KindContrary) {
		r.contrary(fixed, q, e)
		return false
	}
	changes := 0
	for _, reason := range e.Reasons {
		changed := q
		switch reason.Side {
		case "source":
			changed.Source = reason.Context
		case "target":
			changed.Target = reason.Context
		default:
			continue
		}
		changes++
		allowed(fixed, changed)
	}
	if !has(e.Reasons, policy.KindConstraint) {
		allowed(fixed, q)
	} else if changes == 0 {
		allowed(r.with(append(added(e.Reasons), exempting(t, e.Reasons)...)), q)
	}
	return true
}

// contrary proves that no context of the same type, on one side, is allowed all of
// it even with every rule added.
func (r *repairer) contrary(fixed *policy.Policy, q policy.Query, e policy.Explanation) {
	t := r.t
	t.Helper()
	s, o := mustContext(t, fixed, q.Source), mustContext(t, fixed, q.Target)
	c := mustClass(t, fixed, q.Class)
	var want policy.AV
	for _, name := range q.Perms {
		av, _ := fixed.Perm(c, name)
		want |= av
	}
	// object_r stays with objects.
	of := func(context string) []policy.Context {
		part := strings.Split(context, ":")
		typ, object := part[2], part[1] == "object_r"
		key := fmt.Sprint(typ, object)
		if r.contexts[key] == nil {
			r.contexts[key] = slices.DeleteFunc(everyContext(t, fixed, typ), func(c policy.Context) bool {
				return strings.Contains(c.String(), ":object_r:") != object
			})
		}
		return r.contexts[key]
	}
	// Contexts belong to one policy; those of another are told by their text.
	in := func(c policy.Context) policy.Context { return mustContext(t, fixed, c.String()) }
	for _, other := range of(q.Source) {
		if other = in(other); fixed.ComputeAV(other, o, c).Allowed&want == want {
			t.Errorf("expected that nothing helps; a source of %s does:\n%s", other, e)
			return
		}
	}
	for _, other := range of(q.Target) {
		if other = in(other); fixed.ComputeAV(s, other, c).Allowed&want == want {
			t.Errorf("expected that nothing helps; a target of %s does:\n%s", other, e)
			return
		}
	}
}

// TestExplainIsRight applies what explanations say, compiles the policy again
// and asks again: the answer must then be allowed. Where an explanation says that
// nothing of one side alone would help, every context is tried.
func TestExplainIsRight(t *testing.T) {
	tools(t, "checkpolicy", "secilc")
	total, repaired := 0, 0
	for _, name := range []string{
		"allow", "attribute", "conditional", "constraint", "mlsconstrain", "mls_dominance", "typebounds", "role_allow",
		"dontaudit", "common", "cil_items", "cil_bounds",
	} {
		t.Run(name, func(t *testing.T) {
			r := &repairer{t: t, dir: t.TempDir(), compiled: map[string]*policy.Policy{}, contexts: map[string][]policy.Context{}}
			r.cil = asCIL(t, name, r.dir)
			p := r.with(nil)
			for _, q := range denials(t, p, 95) {
				e := p.ExplainQuery(q)
				if e.Allowed || e.Failed || len(e.Reasons) == 0 {
					t.Fatalf("expected reasons for a denial, found\n%s", e)
				}
				total++
				if r.repair(q, e) {
					repaired++
				}
			}
		})
	}
	t.Logf("%d denials, %d repaired, for %d of them it is true that no change of one side repairs them", total, repaired, total-repaired)
	if !t.Failed() && repaired < 1000 {
		t.Errorf("expected at least 1,000 denials repaired, found %d of %d", repaired, total)
	}
}

// debianWith is Debian's policy of a flavor with our classes and more CIL, not
// checked against its neverallow rules: any rule may be what is missing.
func debianWith(t *testing.T, flavor string, cil []string) *policy.Policy {
	t.Helper()
	dir := t.TempDir()
	more, out := filepath.Join(dir, "more.cil"), filepath.Join(dir, "out.bin")
	if err := os.WriteFile(more, []byte(strings.Join(cil, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	kv, err := filepath.Abs("testdata/debian/kv.cil")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(built(t, out, debpolicy.Compile(flavor, "-N", "-c", "33", "-o", out, kv, more)))
	if err != nil {
		t.Fatal(err)
	}
	return mustRead(t, b)
}

// denied draws n questions that p denies: about items, about whatever there are
// rules for, and many of those where a constraint is what denies.
func (d *drawer) denied(t *testing.T, n int) (out []policy.Explanation) {
	for len(out) < n {
		s, o, c := d.draw()
		if d.r.IntN(4) == 0 {
			var ok1, ok2 bool
			s, ok1 = d.context(pick(d.r, []string{"daemon", "userdomain", "domain"}))
			o, ok2 = d.context("kv_items")
			if c = mustClass(t, d.p, "kv_item"); !ok1 || !ok2 {
				continue
			}
		}
		av := d.p.ComputeAV(s, o, c)
		of := d.p.Perms(c) &^ av.Allowed
		if lost := d.p.TypeEnforcementForTest(s, o, c) &^ av.Allowed; lost != 0 && d.r.IntN(3) > 0 {
			of = lost
		}
		var want policy.AV
		for bit := range 32 {
			if of>>bit&1 != 0 && d.r.IntN(2) == 0 {
				want |= 1 << bit
			}
		}
		if want != 0 {
			out = append(out, d.p.Explain(s, o, c, want))
		}
	}
	return out
}

// TestExplainIsRightOnDebian repairs denials by Debian's policies, all of a policy
// with one compilation.
func TestExplainIsRightOnDebian(t *testing.T) {
	for _, flavor := range []string{"default", "mls"} {
		t.Run(flavor, func(t *testing.T) {
			p := mustRead(t, debianPolicy(t, flavor))
			var cil []string
			var repaired []policy.Query
			var was []policy.Explanation
			for _, e := range newDrawer(p, seeded(t, 11)).denied(t, 60) {
				if has(e.Reasons, policy.KindContrary) {
					continue
				}
				cil = append(cil, added(e.Reasons)...)
				q := e.Query
				if i := slices.IndexFunc(e.Reasons, func(r policy.Reason) bool { return r.Kind == policy.KindChange }); i >= 0 {
					if r := e.Reasons[i]; r.Side == "source" {
						q.Source = r.Context
					} else {
						q.Target = r.Context
					}
				} else {
					cil = append(cil, exempting(t, e.Reasons)...)
				}
				repaired, was = append(repaired, q), append(was, e)
			}
			fixed := debianWith(t, flavor, cil)
			for i, q := range repaired {
				if e := fixed.ExplainQuery(q); !e.Allowed {
					t.Errorf("before:\n%safter:\n%s", was[i], e)
				}
			}
			t.Logf("%d denials repaired by %d statements", len(repaired), len(cil))
			if len(repaired) < 40 {
				t.Errorf("expected at least 40 denials repaired, found %d", len(repaired))
			}
		})
	}
}
