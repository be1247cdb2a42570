package policy_test

import (
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
)

// TestReplayDenials reads a log with lines of every kind and asks it again.
func TestReplayDenials(t *testing.T) {
	p := micro(t, "allow.v33")
	log := `type=SYSCALL msg=audit(1.0:1): nothing
type=AVC msg=audit(1.0:1): avc:  denied  { read } for scontext=u_u:a_r:a_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=0
[    1.0] avc:  denied  { read } for scontext=u_u:a_r:a_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=1
type=AVC msg=audit(1.0:1): avc:  granted  { create } for scontext=u_u:a_r:a_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item
type=AVC msg=audit(1.0:1): avc:  denied  { read create } for scontext=u_u:a_r:a_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=0
type=AVC msg=audit(1.0:1): avc:  denied  { read } for scontext=u_u:a_r:gone_t:s0 tcontext=u_u:object_r:b_t:s0 tclass=kv_item permissive=0
`
	denials, lines := policy.Denials(strings.Lines(log))
	if lines != 6 || len(denials) != 3 {
		t.Fatalf("expected 6 lines and 3 questions, found %d and %v", lines, denials)
	}
	p.Replay(denials)
	for i, want := range []struct {
		count   int
		granted bool
		failed  bool
	}{{2, true, false}, {1, false, false}, {1, false, true}} {
		if d := denials[i]; d.Count != want.count || d.Granted != want.granted || (d.Outcome.Error != "") != want.failed {
			t.Errorf("%s: expected %+v, found %+v", d.Query, want, d)
		}
	}
}

// TestInteresting: the levels of constraints are among what is compared, and
// types that one of the policies lacks.
func TestInteresting(t *testing.T) {
	p := mustRead(t, policy.Default())
	sources, targets := policy.Interesting(p, p, "kv_item")
	for _, want := range []string{
		"system_u:system_r:kv_client_t:s0-s0:c0.c1023", "system_u:system_r:kv_client_t:s0", "system_u:system_r:kv_client_t:s0:c0.c1023",
	} {
		if !slices.Contains(sources, want) {
			t.Errorf("expected %s among the sources, found %v", want, sources)
		}
	}
	for _, want := range []string{"system_u:object_r:kv_item_t:s0", "system_u:object_r:kv_item_t:s0:c0.c1023"} {
		if !slices.Contains(targets, want) {
			t.Errorf("expected %s among the targets, found %v", want, targets)
		}
	}
	other := micro(t, "nomls.v33")
	both, _ := policy.Interesting(other, p, "kv_item")
	only, _ := policy.Interesting(other, other, "kv_item")
	if len(only) == 0 || len(both) != len(only)+len(sources) {
		t.Errorf("expected the sources of both policies, found %v", both)
	}
}
