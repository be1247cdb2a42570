package policy_test

import (
	"errors"
	"strings"
	"testing"

	"sememcached/policy"
)

func TestParseContext(t *testing.T) {
	for _, c := range []struct {
		policy, in, want string // want is the canonical form or a part of the error
		err              error
	}{
		{"alias.v33", "u_u:a_r:a_t:s0", "u_u:a_r:a_t:s0", nil},
		{"alias.v33", "u_u:a_r:client_t:systemlow", "u_u:a_r:a_t:s0", nil},
		{"alias.v33", "u_u:object_r:old_item_t:zero:first", "u_u:object_r:b_t:s0:c0", nil},
		{"alias.v33", "u_u:a_r:a_t:s0-zero:c0.drei", "u_u:a_r:a_t:s0-s0:c0.c2", nil},
		{"alias.v33", "u_u:a_r:a_t:s0:c2,c0", "u_u:a_r:a_t:s0:c0,c2", nil},
		{"alias.v33", "u_u:a_r:a_t:s0:c1,c0", "u_u:a_r:a_t:s0:c0,c1", nil},
		{"alias.v33", "u_u:a_r:a_t:s0:c3,c0.c1,c1", "u_u:a_r:a_t:s0:c0,c1,c3", nil},
		{"alias.v33", "u_u:a_r:a_t:s0:c1-s0:c1", "u_u:a_r:a_t:s0:c1", nil},
		{"alias.v33", "u_u:a_r:a_t:s0:c1-s0:c0.c3", "u_u:a_r:a_t:s0:c1-s0:c0.c3", nil},
		{"mls_dominance.v33", "u_u:a_r:a_t:lo-top:c3", "u_u:a_r:a_t:lo-hi:c3", nil},
		{"mls_dominance.v33", "v_u:object_r:a_t:lo", "v_u:object_r:a_t:lo", nil},
		{"nomls.v33", "u_u:a_r:b_t", "u_u:a_r:b_t", nil},

		{"alias.v33", "", "found 1 part", policy.ErrContextSyntax},
		{"alias.v33", "u_u:a_r", "found 2 part", policy.ErrContextSyntax},
		{"alias.v33", "u_u:a_r:a_t", "expected a range after the type", policy.ErrContextSyntax},
		{"nomls.v33", "u_u:a_r:b_t:s0", "expected no range", policy.ErrContextSyntax},
		{"nomls.v33", "u_u:a_r:b_t:", "expected no range", policy.ErrContextSyntax},
		{"alias.v33", "u_u:a_r:a_t:s0:c3.c1", `expected a run of categories to ascend, found "c3.c1"`, policy.ErrContextSyntax},
		{"alias.v33", "u_u:a_r:a_t:s0:c1.c1", "expected a run of categories to ascend", policy.ErrContextSyntax},
		{"alias.v33", "w_u:a_r:a_t:s0", `expected a user, found "w_u"`, policy.ErrContextName},
		{"alias.v33", "u_u:c_r:a_t:s0", `expected a role, found "c_r"`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:d_t:s0", `expected a type, found "d_t"`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0\x00", "expected a sensitivity", policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:", `expected a sensitivity, found ""`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0-", `expected a sensitivity, found ""`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0:", `expected a category, found ""`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0:c0,", `expected a category, found ""`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0:c0.", `expected a category, found ""`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:a_t:s0-s0-s0", `expected a sensitivity, found "s0-s0"`, policy.ErrContextName},
		{"attribute.v33", "u_u:a_r:client:s0", `expected a type, found the attribute "client"`, policy.ErrContextName},
		{"alias.v33", "u_u:a_r:x_t:s0", "role a_r may not have type x_t", policy.ErrContextInvalid},
		{"alias.v33", "v_u:b_r:a_t:s0", "user v_u may not have role b_r", policy.ErrContextInvalid},
		{"alias.v33", "v_u:a_r:a_t:s0:c3", "outside the range s0-s0:c0,c1 of user v_u", policy.ErrContextInvalid},
		{"alias.v33", "u_u:a_r:a_t:s0:c1-s0", "the high level does not dominate the low level", policy.ErrContextInvalid},
		{"mls_dominance.v33", "u_u:a_r:a_t:lo:c1", "sensitivity lo may not have all of its categories", policy.ErrContextInvalid},
		{"mls_dominance.v33", "u_u:object_r:a_t:hi-lo", "the high level does not dominate", policy.ErrContextInvalid},
		{"mls_dominance.v33", "v_u:a_r:a_t:lo-hi", "outside the range", policy.ErrContextInvalid},
	} {
		p := micro(t, c.policy)
		have, err := p.CanonicalContext(c.in)
		switch {
		case c.err == nil:
			if err != nil || have != c.want {
				t.Errorf("%s: %q: expected %q, found %q, %v", c.policy, c.in, c.want, have, err)
			}
			if again, err := p.CanonicalContext(have); err != nil || again != have {
				t.Errorf("%s: %q: expected the canonical form to be its own, found %q, %v", c.policy, have, again, err)
			}
		case !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %q: expected %v with %q, found %v", c.policy, c.in, c.err, c.want, err)
		}
	}
}

// TestContextsOfOtherPolicies: a context means nothing outside its policy, not
// even in a second reading of the same bytes.
func TestContextsOfOtherPolicies(t *testing.T) {
	p, q := micro(t, "allow.v33"), micro(t, "allow.v33")
	s, o := mustContext(t, p, "u_u:a_r:a_t:s0"), mustContext(t, p, "u_u:object_r:b_t:s0")
	c := mustClass(t, q, "kv_item")
	if d := p.ComputeAV(s, o, c); d.Allowed == 0 {
		t.Fatal("expected the policy of the contexts to allow something, found nothing")
	}
	none := policy.Context{}
	denied := policy.Decision{AuditDeny: ^policy.AV(0)}
	own := mustContext(t, q, "u_u:a_r:a_t:s0")
	for _, pair := range [][2]policy.Context{{s, o}, {own, o}, {s, own}, {none, own}, {own, none}, {none, none}} {
		if d := q.ComputeAV(pair[0], pair[1], c); d != denied {
			t.Errorf("%q %q: expected a denial, found %+v", pair[0], pair[1], d)
		}
		for _, f := range []func() (policy.Context, error){
			func() (policy.Context, error) { return q.ComputeCreate(pair[0], pair[1], c, "") },
			func() (policy.Context, error) { return q.ComputeMember(pair[0], pair[1], c) },
			func() (policy.Context, error) { return q.ComputeRelabel(pair[0], pair[1], c) },
		} {
			if _, err := f(); err != policy.ErrForeignContext {
				t.Errorf("%q %q: expected %v, found %v", pair[0], pair[1], policy.ErrForeignContext, err)
			}
		}
		if q.ValidateTrans(pair[0], pair[1], own, c) || q.ValidateTrans(own, pair[0], pair[1], c) {
			t.Errorf("%q %q: expected validatetrans to refuse", pair[0], pair[1])
		}
	}
	if got := q.ContextString(s) + q.ContextString(none) + none.String(); got != "" {
		t.Errorf("expected no text for foreign contexts, found %q", got)
	}
	if got := p.ContextString(s); got != s.String() || got != "u_u:a_r:a_t:s0" {
		t.Errorf("expected u_u:a_r:a_t:s0, found %q", got)
	}
	// Booleans do not make another policy.
	w, err := p.WithBooleans(nil)
	if err != nil || w.ComputeAV(s, o, c) != p.ComputeAV(s, o, c) {
		t.Errorf("expected the same decision with the same booleans (%v)", err)
	}
}

func TestInitialContext(t *testing.T) {
	p := micro(t, "allow.v33")
	for name, want := range map[string]string{"kernel": "u_u:a_r:a_t:s0", "security": "u_u:object_r:a_t:s0", "unlabeled": "u_u:object_r:x_t:s0"} {
		if c, ok := p.InitialContext(name); !ok || c.String() != want {
			t.Errorf("%s: expected %s, found %q, %v", name, want, c, ok)
		}
	}
	for _, name := range []string{"devnull", "nobody", ""} {
		if c, ok := p.InitialContext(name); ok || c != (policy.Context{}) {
			t.Errorf("%q: expected no initial context, found %q", name, c)
		}
	}
}

func TestClassesAndPermissions(t *testing.T) {
	p := micro(t, "common.v33")
	c := mustClass(t, p, "item")
	if got := strings.Join(p.PermNames(c, ^policy.AV(0)), " "); got != "get put drop rename" {
		t.Errorf("expected inherited permissions first, found %q", got)
	}
	if av, ok := p.Perm(c, "rename"); !ok || av != 8 {
		t.Errorf("expected bit 8 for rename, found %v, %v", av, ok)
	}
	if got := p.PermNames(c, 1|8|1<<20); len(got) != 2 || got[1] != "rename" {
		t.Errorf("expected get and rename, found %q", got)
	}
	if p.Perms(c) != 15 {
		t.Errorf("expected permissions 0xf, found %#x", p.Perms(c))
	}
	if _, ok := p.Perm(c, "read"); ok {
		t.Error("expected no permission read")
	}
	if _, ok := p.Perm(c, ""); ok {
		t.Error("expected no permission without a name")
	}
	if _, ok := p.Perm(0, "get"); ok || p.PermNames(0, 1) != nil || p.Perms(0) != 0 || p.ClassName(0) != "" || p.ClassName(0xffff) != "" {
		t.Error("expected nothing of class 0 and of unknown classes")
	}
	if _, ok := p.Class("file"); ok {
		t.Error("expected no class file")
	}
	if p.ClassName(c) != "item" {
		t.Errorf("expected item, found %q", p.ClassName(c))
	}
}

func TestHandleUnknown(t *testing.T) {
	for name, want := range map[string]policy.HandleUnknown{"deny": policy.HandleDeny, "allow": policy.HandleAllow, "reject": policy.HandleReject} {
		for _, v := range []string{"v24", "v33"} {
			p := micro(t, "handle_unknown_"+name+"."+v)
			if p.HandleUnknown() != want || p.HandleUnknown().String() != name {
				t.Errorf("%s: expected %v, found %v", name, want, p.HandleUnknown())
			}
			s := mustContext(t, p, "u_u:a_r:a_t:s0")
			var allowed policy.AV
			if want == policy.HandleAllow {
				allowed = ^policy.AV(0)
			}
			for _, c := range []policy.Class{0, 200} {
				if d := p.ComputeAV(s, s, c); d.Allowed != allowed || d.AuditDeny != ^policy.AV(0) {
					t.Errorf("%s: class %d: expected %#x, found %+v", name, c, allowed, d)
				}
				if _, err := p.ComputeCreate(s, s, c, ""); err != policy.ErrUnknownClass {
					t.Errorf("%s: class %d: expected %v, found %v", name, c, policy.ErrUnknownClass, err)
				}
				if p.ValidateTrans(s, s, s, c) {
					t.Errorf("%s: class %d: expected validatetrans to refuse", name, c)
				}
			}
		}
	}
	if s := policy.HandleUnknown(9).String(); s != "HandleUnknown(9)" {
		t.Errorf("expected HandleUnknown(9), found %s", s)
	}
}
