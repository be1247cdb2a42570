package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/internal/debpolicy"
	"sememcached/policy"
)

// TestExplain runs testdata/explain: policy as in TestDecide, then explain
// with a question a line, SOURCE TARGET CLASS PERM..., or json with the same.
func TestExplain(t *testing.T) {
	datadriven.Walk(t, "testdata/explain", func(t *testing.T, path string) {
		var p *policy.Policy
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "policy" {
				p = goldenPolicy(t, d)
				return ""
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				w := strings.Fields(line)
				e := p.ExplainQuery(policy.Query{Source: w[0], Target: w[1], Class: w[2], Perms: w[3:]})
				if d.Cmd == "json" {
					b, err := json.MarshalIndent(e, "", " ")
					if err != nil {
						t.Fatal(err)
					}
					var again policy.Explanation
					if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(e, again) {
						t.Errorf("expected JSON to hold all of it, lost some (%v)", err)
					}
					out.Write(b)
					out.WriteByte('\n')
				} else {
					out.WriteString(e.String())
				}
			}
			return out.String()
		})
	})
}

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

// TestExplainBooleansAreRight sets the booleans of conditional reasons: what
// was missing is then granted by a rule in force.
func TestExplainBooleansAreRight(t *testing.T) {
	n := 0
	for _, name := range []string{"conditional.v33", "cil_items.v33"} {
		base := micro(t, name)
		for _, set := range []map[string]bool{nil, {base.Booleans()[0].Name: false}, {base.Booleans()[0].Name: true}} {
			p, err := base.WithBooleans(set)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range denials(t, p, 1200) {
				for _, r := range p.ExplainQuery(q).Reasons {
					if r.Kind == policy.KindConditional && len(r.Booleans) == 0 {
						t.Errorf("%s: expected booleans that open it, found none:\n%s", name, p.ExplainQuery(q))
					}
					for _, setting := range r.Booleans {
						n++
						w, err := p.WithBooleans(setting)
						if err != nil {
							t.Fatal(err)
						}
						q := q
						q.Perms = r.Perms
						if e := w.ExplainQuery(q); has(e.Reasons, policy.KindMissingRule) {
							t.Errorf("%s: %v:\n%s", name, setting, e)
						}
					}
				}
			}
		}
	}
	t.Logf("%d settings", n)
	if n < 100 {
		t.Errorf("expected at least 100 settings, found %d", n)
	}
}

// TestExplainNearIsRight gives types the attributes that nearly fit: the rule is
// no longer missing, the constraint holds.
func TestExplainNearIsRight(t *testing.T) {
	tools(t, "checkpolicy", "secilc")
	n := 0
	for _, name := range []string{"attribute", "cil_items", "constraint"} {
		dir := t.TempDir()
		cil := asCIL(t, name, dir)
		p := compileCIL(t, dir, cil)
		for _, q := range denials(t, p, 150) {
			for _, r := range p.ExplainQuery(q).Reasons {
				for _, near := range r.Near {
					n++
					q := q
					q.Perms = near.Perms
					e := compileCIL(t, dir, cil, near.CIL).ExplainQuery(q)
					for _, after := range e.Reasons {
						if after.Kind == r.Kind && after.Expression == r.Expression {
							t.Errorf("%s: %s:\n%s", name, near.CIL, e)
						}
					}
				}
			}
		}
	}
	t.Logf("%d attributes", n)
	if n < 30 {
		t.Errorf("expected at least 30 attributes, found %d", n)
	}
}

// TestExplainAgreesWithComputeAV asks about every permission of many pairs.
func TestExplainAgreesWithComputeAV(t *testing.T) {
	n := 0
	for _, name := range microFiles(t) {
		p := micro(t, name)
		r := seeded(t, 10)
		cs := contexts(p, r, 6)
		for range 60 {
			s, o := pick(r, cs), pick(r, cs)
			c := mustClass(t, p, pick(r, p.Classes()))
			for bit := range 32 {
				av := policy.AV(1) << bit & p.Perms(c)
				if av == 0 {
					continue
				}
				n++
				d := p.ComputeAV(s, o, c)
				e := p.Explain(s, o, c, av)
				if e.Allowed != (d.Allowed&av != 0) || e.Allowed != has(e.Reasons, policy.KindAllow) || e.Failed || e.Permissive != d.Permissive {
					t.Fatalf("%s: expected the answer of ComputeAV, %+v, found\n%s", name, d, e)
				}
				blocked := has(e.Reasons, policy.KindMissingRule) || has(e.Reasons, policy.KindConstraint) || has(e.Reasons, policy.KindRole)
				if blocked == e.Allowed {
					t.Fatalf("%s: expected reasons that fit the answer, found\n%s", name, e)
				}
				if hidden := !e.Allowed && d.AuditDeny&av == 0; hidden != has(e.Reasons, policy.KindDontAudit) {
					t.Fatalf("%s: expected dontaudit %v, found\n%s", name, hidden, e)
				}
				if logged := e.Allowed && d.AuditAllow&av != 0; logged != has(e.Reasons, policy.KindAuditAllow) {
					t.Fatalf("%s: expected auditallow %v, found\n%s", name, logged, e)
				}
			}
		}
	}
	t.Logf("%d questions", n)
}

// TestExplainNonsense asks what cannot be asked.
func TestExplainNonsense(t *testing.T) {
	p, q := micro(t, "allow.v33"), micro(t, "allow.v33")
	s, foreign := mustContext(t, p, "u_u:a_r:a_t:s0"), mustContext(t, q, "u_u:a_r:a_t:s0")
	c := mustClass(t, p, "kv_item")
	for _, e := range []policy.Explanation{
		p.Explain(foreign, s, c, 1), p.Explain(s, foreign, c, 1), p.Explain(policy.Context{}, s, c, 1), p.Explain(s, s, c, 0), p.Explain(s, s, c, 1<<31),
	} {
		if !e.Failed || e.Allowed || len(e.Reasons) != 1 {
			t.Errorf("expected a failure with its reason, found\n%s", e)
		}
	}
	if e := p.Explain(s, s, 99, 1); e.Failed || e.Allowed || e.Reasons[0].Kind != policy.KindUnknownClass {
		t.Errorf("expected an unknown class, found\n%s", e)
	}
	if e := p.ExplainCreate(foreign, s, c, ""); e.Error == "" || e.Steps != nil {
		t.Errorf("expected an error and no steps, found\n%s", e)
	}
	if e := p.ExplainCreate(s, s, 99, ""); e.Error != "unknown class" || e.Steps != nil {
		t.Errorf("expected an error and no steps, found\n%s", e)
	}
	for _, rs := range [][]policy.Reason{p.ExplainValidateTrans(s, s, s, 99), p.ExplainValidateTrans(s, foreign, s, c)} {
		if len(rs) != 1 {
			t.Errorf("expected one reason, found %v", rs)
		}
	}
	b := microBytes(t, "permissive.v33")
	never := mustRead(t, newer(t, b, 35, 1, 2, 3, 4))
	e := never.ExplainQuery(policy.Query{Source: "u_u:a_r:b_t:s0", Target: "u_u:object_r:a_t:s0", Class: "kv_item", Perms: []string{"read"}})
	if !has(e.Reasons, policy.KindNeverAudit) {
		t.Errorf("expected neveraudit to be said, found\n%s", e)
	}
	if b, err := json.Marshal(micro(t, "handle_unknown_reject.v33").Info()); err != nil || !strings.Contains(string(b), `"HandleUnknown":"reject"`) {
		t.Errorf("expected handle_unknown as a word, found %s, %v", b, err)
	}
}

// debianWith is Debian's policy of a flavor with our classes and more CIL.
func debianWith(t *testing.T, flavor string, cil []string) *policy.Policy {
	t.Helper()
	more, out := filepath.Join(t.TempDir(), "more.cil"), filepath.Join(t.TempDir(), "out.bin")
	if err := os.WriteFile(more, []byte(strings.Join(cil, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	kv, err := filepath.Abs("testdata/debian/kv.cil")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(built(t, out, debpolicy.Compile(flavor, debpolicy.Version, out, kv, more)))
	if err != nil {
		t.Fatal(err)
	}
	return mustRead(t, b)
}

// TestExplainIsRightOnDebian repairs denials of kv_item with one compilation.
func TestExplainIsRightOnDebian(t *testing.T) {
	p := mustRead(t, debianPolicy(t, "default"))
	r := seeded(t, 11)
	d := newDrawer(p, r)
	perms := p.PermNames(mustClass(t, p, "kv_item"), ^policy.AV(0))
	var questions []policy.Query
	var cil []string
	for len(questions) < 20 {
		s, ok1 := d.context(pick(r, []string{"daemon", "userdomain", "domain"}))
		o, ok2 := d.context("kv_items")
		if !ok1 || !ok2 {
			continue
		}
		q := policy.Query{Source: s.String(), Target: o.String(), Class: "kv_item", Perms: []string{pick(r, perms)}}
		e := p.ExplainQuery(q)
		if e.Allowed {
			continue
		}
		cil = append(cil, added(e.Reasons)...)
		for _, reason := range e.Reasons {
			if reason.Side == "source" {
				q.Source = reason.Context
			}
		}
		questions = append(questions, q)
	}
	fixed := debianWith(t, "default", cil)
	for _, q := range questions {
		if e := fixed.ExplainQuery(q); !e.Allowed {
			t.Errorf("expected what was explained to be allowed, found\n%s", e)
		}
	}
	t.Log(fmt.Sprint(len(questions), " denials, ", len(cil), " statements"))
}
