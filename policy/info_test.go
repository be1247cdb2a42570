package policy_test

import (
	"reflect"
	"sync"
	"testing"

	"sememcached/policy"
)

func TestInfo(t *testing.T) {
	for name, want := range map[string]policy.Info{
		"infiniband.v33": {
			Version: 33, MLS: true, PolicyCaps: []string{"network_peer_controls", "open_perms"},
			Classes: 5, Permissions: 16, Types: 4, Roles: 3, Users: 2, Sensitivities: 1, Categories: 4, Allow: 1, Constraints: 1,
			InitialSIDs: 3, GenFS: 4, ObjectContexts: 13,
		},
		"nomls.v24": {
			Version: 24, Classes: 3, Permissions: 14, Types: 4, Roles: 3, Users: 2, Allow: 1, Constraints: 1,
			TypeTransition: 1, RoleAllows: 1, InitialSIDs: 3, ObjectContexts: 1,
		},
		"alias.v33": {
			Version: 33, MLS: true, Classes: 3, Permissions: 14, Types: 4, Aliases: 3, Roles: 3, Users: 2, Sensitivities: 1, Categories: 4,
			Allow: 1, Constraints: 1, InitialSIDs: 3, ObjectContexts: 1,
		},
		"xperms.v33": {
			Version: 33, MLS: true, Classes: 4, Permissions: 16, Types: 4, Roles: 3, Users: 2, Sensitivities: 1, Categories: 4,
			Allow: 1, AllowX: 3, AuditAllowX: 1, DontAuditX: 2, Constraints: 1, InitialSIDs: 3, ObjectContexts: 1,
		},
		"cil_items.v33": {
			Version: 33, MLS: true, HandleUnknown: policy.HandleAllow, PolicyCaps: []string{"open_perms"}, Classes: 4, Permissions: 20,
			Types: 6, Attributes: 2, Aliases: 1, Permissive: 1, Roles: 2, Users: 1, Booleans: 1, Sensitivities: 1, Categories: 5,
			Allow: 3, AuditAllow: 1, DontAudit: 1, TypeTransition: 1, TypeMember: 1, TypeChange: 1, NamedTransitions: 2,
			Conditionals: 2, ConditionalRules: 3, RangeTransitions: 1, Constraints: 2, ValidateTrans: 1, InitialSIDs: 3,
		},
	} {
		if have := micro(t, name).Info(); !reflect.DeepEqual(have, want) {
			t.Errorf("%s: expected\n%+v\nfound\n%+v", name, want, have)
		}
	}
}

func TestLists(t *testing.T) {
	p := micro(t, "cil_items.v33")
	for what, lists := range map[string][2][]string{
		"users":         {p.Users(), {"sys_u"}},
		"roles":         {p.Roles(), {"object_r", "sys_r"}},
		"types":         {p.Types(), {"batch_t", "item_t", "server_t", "session_t", "unlabeled_t", "web_t"}},
		"attributes":    {p.Attributes(), {"client", "item"}},
		"classes":       {p.Classes(), {"kv_item", "kv_server", "process", "security"}},
		"sensitivities": {p.Sensitivities(), {"s0"}},
		"categories":    {p.Categories(), {"c0", "c1", "c2", "c3", "c4"}},
	} {
		if !reflect.DeepEqual(lists[0], lists[1]) {
			t.Errorf("%s: expected %v, found %v", what, lists[1], lists[0])
		}
	}
	if have, err := p.TypesOf("client"); err != nil || !reflect.DeepEqual(have, []string{"batch_t", "web_t"}) {
		t.Errorf("types of client: found %v, %v", have, err)
	}
	if have, err := p.AttributesOf("store_t"); err != nil || !reflect.DeepEqual(have, []string{"item"}) {
		t.Errorf("attributes of store_t: found %v, %v", have, err)
	}
	if _, err := p.TypesOf("none"); err == nil {
		t.Error("expected no types of an unknown attribute")
	}
	if _, err := p.AttributesOf("none"); err == nil {
		t.Error("expected no attributes of an unknown type")
	}
}

// TestConcurrentUse asks one policy from many goroutines, for the race
// detector.
func TestConcurrentUse(t *testing.T) {
	p := micro(t, "conditional.v33")
	s, o := mustContext(t, p, "u_u:a_r:a_t:s0"), mustContext(t, p, "u_u:object_r:b_t:s0")
	c := mustClass(t, p, "kv_item")
	want := p.ComputeAV(s, o, c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				q, err := p.WithBooleans(map[string]bool{"one": i%2 == 0})
				if err != nil {
					t.Error(err)
				}
				if d := q.ComputeAV(s, o, c); (d == want) != (i%2 == 0) {
					t.Errorf("expected the decision to follow the boolean, found %+v", d)
				}
				if d := p.ComputeAV(s, o, c); d != want {
					t.Errorf("expected %+v, found %+v", want, d)
				}
				_, _ = p.ComputeCreate(s, o, c, "")
				_ = p.Explain(s, o, c, ^policy.AV(0)).String()
			}
		})
	}
	wg.Wait()
}
