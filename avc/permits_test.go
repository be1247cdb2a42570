package avc_test

import (
	"math/rand/v2"
	"testing"

	"sememcached/avc"
)

// TestPermits: it says yes exactly where Lookup finds a grant without audit.
func TestPermits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := avc.NewTable(64, 64)
	yes := 0
	for range 200_000 {
		s, o := avc.SID(r.IntN(6)), avc.SID(r.IntN(6))
		c, seq := avc.ClassItem+avc.Class(r.IntN(2)), uint64(1+r.IntN(3))
		if r.IntN(4) == 0 {
			tab.Insert(seq, s, o, c, avc.Decision{Allowed: avc.Perms(r.IntN(16)), AuditAllow: avc.Perms(r.IntN(16) & r.IntN(16)), Failed: r.IntN(9) == 0})
		}
		need := avc.Perms(1 + r.IntN(15))
		d, ok := tab.Lookup(seq, s, o, c)
		want := ok && need&^d.Allowed == 0 && need&d.AuditAllow == 0
		if got := tab.Permits(seq, s, o, c, need); got != want {
			t.Fatalf("Permits(%d, %d, %d, %v, %#x) = %v, Lookup found %+v, %v", seq, s, o, c, need, got, d, ok)
		}
		if want {
			yes++
		}
	}
	if yes < 100 {
		t.Errorf("only %d grants were met", yes)
	}
}
