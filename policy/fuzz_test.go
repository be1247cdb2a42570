package policy_test

import (
	"testing"

	"sememcached/policy"
)

// FuzzReadPolicy: Read never panics and never takes much more memory than its
// input, and whatever it accepts can be asked anything.
func FuzzReadPolicy(f *testing.F) {
	for _, name := range microFiles(f) {
		f.Add(microBytes(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := policy.Read(b)
		if err != nil {
			if p != nil {
				t.Fatal("expected no policy beside an error")
			}
			return
		}
		exercise(p)
	})
}

// FuzzContext: what parses has a canonical form that parses to itself, and
// may be asked about.
func FuzzContext(f *testing.F) {
	policies := []*policy.Policy{micro(f, "alias.v33"), micro(f, "mls_dominance.v33"), micro(f, "nomls.v33")}
	for _, s := range []string{
		"u_u:a_r:a_t:s0", "u_u:a_r:a_t:s0:c0,c2.c3-s0:c0.c3", "v_u:object_r:item_t:zero-systemlow:first,drei",
		"u_u:a_r:a_t:lo-top:c0.c3", "v_u:a_r:b_t:mi:c1-hi:c1.c2", "u_u:a_r:b_t", "", ":::", "u_u:a_r:a_t:s0:c3.c1", "u_u:a_r:a_t:s0-",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range policies {
			c, err := p.ParseContext(s)
			if err != nil {
				if c != (policy.Context{}) {
					t.Fatal("expected no context beside an error")
				}
				continue
			}
			canonical := p.ContextString(c)
			again, err := p.ParseContext(canonical)
			if err != nil || p.ContextString(again) != canonical {
				t.Fatalf("%q: canonical form %q does not parse to itself: %v", s, canonical, err)
			}
			k := mustClass(t, p, "kv_item")
			if p.ComputeAV(c, c, k) != p.ComputeAV(again, again, k) {
				t.Fatalf("%q and %q are decided differently", s, canonical)
			}
		}
	})
}
