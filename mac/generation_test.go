package mac

import (
	"testing"

	"sememcached/avc"
)

func TestJudge(t *testing.T) {
	const rw = avc.Read | avc.Write
	enforcing := &Generation{Enforcing: true, Usable: true}
	permissive := &Generation{Usable: true}
	all := ^avc.Perms(0)
	for _, c := range []struct {
		name string
		g    *Generation
		d    avc.Decision
		need avc.Perms
		want Verdict
	}{
		{"granted", enforcing, avc.Decision{Allowed: rw, AuditDeny: all}, rw, Verdict{Allowed: true, Granted: true}},
		{"granted, auditallow", enforcing, avc.Decision{Allowed: rw, AuditAllow: avc.Read | avc.Append}, rw, Verdict{Allowed: true, Granted: true, Audit: avc.Read}},
		{"denied", enforcing, avc.Decision{Allowed: avc.Read, AuditDeny: all}, rw, Verdict{Denied: avc.Write, Audit: avc.Write}},
		{"denied, dontaudit", enforcing, avc.Decision{Allowed: avc.Read, AuditDeny: all &^ avc.Write}, rw | avc.Append, Verdict{Denied: avc.Write | avc.Append, Audit: avc.Append}},
		{"denied, what is allowed is not audited", enforcing, avc.Decision{Allowed: avc.Read, AuditAllow: all}, rw, Verdict{Denied: avc.Write}},
		{"permissive mode", permissive, avc.Decision{Allowed: avc.Read, AuditDeny: all}, rw, Verdict{Allowed: true, Denied: avc.Write, Audit: avc.Write}},
		{"permissive mode, granted", permissive, avc.Decision{Allowed: rw}, rw, Verdict{Allowed: true, Granted: true}},
		{"permissive domain", enforcing, avc.Decision{Permissive: true, AuditDeny: all}, rw, Verdict{Allowed: true, Denied: rw, Audit: rw}},
		{"failed", enforcing, avc.Decision{Failed: true}, rw, Verdict{Denied: rw, Audit: rw}},
		{"failed whatever it says", enforcing, avc.Decision{Failed: true, Allowed: all, Permissive: true}, rw, Verdict{Denied: rw, Audit: rw}},
		{"failed, permissive mode", permissive, avc.Decision{Failed: true}, rw, Verdict{Allowed: true, Denied: rw, Audit: rw}},
		{"not usable", &Generation{Enforcing: true}, avc.Decision{Allowed: all}, rw, Verdict{Denied: rw, Audit: rw}},
		{"not usable, permissive mode", &Generation{}, avc.Decision{Allowed: all}, rw, Verdict{Denied: rw, Audit: rw}},
		{"not usable and failed, permissive mode", &Generation{}, avc.Decision{Failed: true}, rw, Verdict{Denied: rw, Audit: rw}},
		{"no need", permissive, avc.Decision{Allowed: all}, 0, Verdict{}},
		{"nobody", enforcing, avc.Nobody(), rw, Verdict{Denied: rw, Audit: rw}},
		{"zero decision", enforcing, avc.Decision{}, rw, Verdict{Denied: rw}},
	} {
		if got := c.g.Judge(c.d, c.need); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if (Verdict{}).Allowed {
		t.Error("the zero verdict allows")
	}
}

func TestPermissiveModeIsNeverStored(t *testing.T) {
	m := open(t, Config{Permissive: true})
	g := m.NewEpoch().Begin()
	q := Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid(t, client1), Target: m.sid(t, "system_u:object_r:kv_item_t:s0:c2")}
	for range 3 {
		a := m.Decide(g, q)
		v := g.Judge(a.Decision, avc.Read)
		if a.Decision.Allowed != 0 || !v.Allowed || v.Audit != avc.Read || v.Granted {
			t.Errorf("decision %+v, verdict %+v", a.Decision, v)
		}
	}
	m.SetPermissive(false)
	if g = m.Generation(); m.may(t, g, client1, "system_u:object_r:kv_item_t:s0:c2", avc.Read) {
		t.Error("still permissive")
	}
	m.SetPermissive(true)
	if g = m.Generation(); !m.may(t, g, client1, "system_u:object_r:kv_item_t:s0:c2", avc.Read) {
		t.Error("still enforcing")
	}
}

func TestGenerationIsOneLoad(t *testing.T) {
	m := open(t, Config{})
	if a := testing.AllocsPerRun(1000, func() {
		g := m.Generation()
		g.Judge(avc.Decision{Allowed: avc.Read}, avc.Read)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
