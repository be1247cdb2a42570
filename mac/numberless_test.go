package mac

import (
	"testing"

	"sememcached/avc"
)

// TestFreedNumber: a question about a number that stands for nothing is denied,
// and the denial is not remembered, so that it is not taken for an answer about
// the next context that gets the number.
func TestFreedNumber(t *testing.T) {
	m := open(t, Config{Mode: PolicyFile})
	sids := m.SIDs()
	client, err := sids.Intern("system_u:system_r:kv_plain_t:s0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := avc.SID(sids.Len() + 10)
	if sids.String(nobody) != "" {
		t.Fatal("the number is in use")
	}
	g := m.Generation()
	for _, q := range []Question{
		{Kind: AskAccess, Class: avc.ClassItem, Source: client, Target: nobody},
		{Kind: AskAccess, Class: avc.ClassItem, Source: nobody, Target: client},
		{Kind: AskCreate, Class: avc.ClassItem, Source: nobody},
		{Kind: AskTransition, Class: avc.ClassItem, Source: client, Target: nobody, Task: client},
	} {
		if a := m.Decide(g, q); a.Err == nil || a.Decision.Allowed != 0 || a.SID != 0 {
			t.Errorf("%+v: %+v", q, a)
		}
		if a, ok := m.Cached(g, q); ok {
			t.Errorf("%+v was remembered: %+v", q, a)
		}
	}
}
