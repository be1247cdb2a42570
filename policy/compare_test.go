package policy_test

import (
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
)

func differences(before, after *policy.Policy, sources, targets, classes []string) string {
	var b strings.Builder
	for d := range policy.Compare(before, after, policy.AllPairs(sources, targets, classes)) {
		b.WriteString(d.String())
	}
	return b.String()
}

func TestCompareBooleans(t *testing.T) {
	p := micro(t, "conditional.v33")
	q, err := p.WithBooleans(map[string]bool{"one": false})
	if err != nil {
		t.Fatal(err)
	}
	have := differences(p, q, []string{"u_u:a_r:a_t:s0", "u_u:a_r:b_t:s0"}, []string{"u_u:object_r:a_t:s0", "u_u:object_r:b_t:s0"}, []string{"kv_item", "process"})
	want := `u_u:a_r:a_t:s0 -> u_u:object_r:b_t:s0 : kv_item
- { getattr read append } logged getattr silent remove
+ { getattr write append } logged getattr
u_u:a_r:b_t:s0 -> u_u:object_r:a_t:s0 : kv_item
- { create write append }
+ { read append }
`
	if have != want {
		t.Errorf("expected\n%sfound\n%s", want, have)
	}
	for d := range policy.Compare(p, q, policy.AllPairs([]string{"u_u:a_r:a_t:s0"}, []string{"u_u:object_r:b_t:s0"}, []string{"kv_item"})) {
		if !slices.Equal(d.Gained, []string{"write"}) || !slices.Equal(d.Lost, []string{"read"}) {
			t.Errorf("expected write gained and read lost, found %v and %v", d.Gained, d.Lost)
		}
	}
}

// TestComparePolicies: two policies whose class numbers, contexts and ways
// with unknown classes differ.
func TestComparePolicies(t *testing.T) {
	have := differences(micro(t, "allow.v33"), micro(t, "handle_unknown_allow.v24"), []string{"u_u:a_r:a_t:s0", "w_u:a_r:a_t:s0"}, []string{"u_u:object_r:b_t:s0"}, []string{"kv_item", "file", "process"})
	want := `u_u:a_r:a_t:s0 -> u_u:object_r:b_t:s0 : kv_item
- { read write }
+ read
u_u:a_r:a_t:s0 -> u_u:object_r:b_t:s0 : process
- fork
+ nothing
`
	if have != want {
		t.Errorf("expected\n%sfound\n%s", want, have)
	}
	queries := func(yield func(policy.Query) bool) {
		yield(policy.Query{Source: "u_u:a_r:a_t:s0", Target: "u_u:object_r:b_t:s0", Class: "file", Perms: []string{"read"}})
	}
	n := 0
	for d := range policy.Compare(micro(t, "allow.v33"), micro(t, "handle_unknown_allow.v24"), queries) {
		n++
		if !slices.Equal(d.Gained, []string{"read"}) {
			t.Errorf("expected handle_unknown to allow read, found %s", d)
		}
	}
	if n != 1 {
		t.Errorf("expected 1 difference, found %d", n)
	}
	have = differences(micro(t, "nomls.v33"), micro(t, "permissive.v33"), []string{"u_u:a_r:a_t:s0"}, []string{"u_u:object_r:b_t:s0"}, []string{"kv_item"})
	want = `u_u:a_r:a_t:s0 -> u_u:object_r:b_t:s0 : kv_item
- error: context "u_u:a_r:a_t:s0": malformed context: expected no range, as the policy is not an MLS policy, found "s0"
+ read permissive
`
	if have != want {
		t.Errorf("expected\n%sfound\n%s", want, have)
	}
}

func TestRuleTypesAndContexts(t *testing.T) {
	p := micro(t, "attribute.v33")
	sources, targets := p.RuleTypes(mustClass(t, p, "kv_item"))
	if !slices.Equal(sources, []string{"a_t", "b_t", "c_t"}) || !slices.Equal(targets, []string{"a_t", "b_t", "c_t", "x_t"}) {
		t.Errorf("found sources %v and targets %v", sources, targets)
	}
	for name, want := range map[string]string{"a_t": "u_u:a_r:a_t:s0-s0:c0.c3", "x_t": "u_u:object_r:x_t:s0"} {
		c, err := p.ContextOfType(name)
		if err != nil || c.String() != want {
			t.Errorf("%s: expected %s, found %q, %v", name, want, c, err)
		}
	}
	for _, name := range []string{"client", "nothing_t"} {
		if _, err := p.ContextOfType(name); err == nil {
			t.Errorf("%s: expected an error, found none", name)
		}
	}
}

// TestCompareDebian flips a boolean of Debian's policy and finds what it does
// to items.
func TestCompareDebian(t *testing.T) {
	p := mustRead(t, debianPolicy(t, "default"))
	q, err := p.WithBooleans(map[string]bool{"kv_open": true})
	if err != nil {
		t.Fatal(err)
	}
	all := func(types []string) (out []string) {
		for _, name := range types {
			if c, err := p.ContextOfType(name); err == nil {
				out = append(out, c.String())
			}
		}
		return out
	}
	sources, targets := p.RuleTypes(mustClass(t, p, "kv_item"))
	users, err := p.TypesOf("userdomain")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d := range policy.Compare(p, q, policy.AllPairs(all(sources), all(targets), []string{"kv_item", "file"})) {
		n++
		if !slices.Equal(d.Gained, []string{"getattr", "read"}) || d.Lost != nil {
			t.Errorf("expected getattr and read to be gained, found\n%s", d)
		}
	}
	t.Logf("%d sources, %d targets, %d differences", len(sources), len(targets), n)
	if want := 2 * len(users); n != want {
		t.Errorf("expected %d differences, found %d", want, n)
	}
}
