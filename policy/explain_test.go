package policy_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

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
