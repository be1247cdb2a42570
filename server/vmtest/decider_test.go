//go:build vm && linux

package vmtest

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	"sememcached/avc"
	"sememcached/mac"
)

// TestGuestDeciders: the reference monitor itself gives the same answers over the
// kernel and over the policy file that the kernel has loaded, to every kind of
// question that it can be asked.
func TestGuestDeciders(t *testing.T) {
	inGuest(t)
	open := func(cfg mac.Config) *mac.Monitor {
		t.Helper()
		cfg.ServerContext, cfg.AuditWriter, cfg.Log = serverContext, io.Discard, slog.New(slog.DiscardHandler)
		m, err := mac.Open(cfg)
		must(t, err)
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	kernel := open(mac.Config{Mode: mac.Kernel})
	file := open(mac.Config{Mode: mac.PolicyFile, PolicyFile: "/policy/main.bin"})
	contexts := []string{
		domain("kv_client_t", "s0"), domain("kv_client_t", "s0:c1"), domain("kv_client_t", "s0-s0:c0.c9"), domain("kv_reader_t", "s0"),
		domain("kv_admin_t", "s0-s0:c0.c1023"), domain("loose_t", "s0:c2"), domain("gone_t", "s0"), domain("kv_server_t", "s0"), domain("bound_child_t", "s0"),
		object("kv_item_t", "s0"), object("kv_item_t", "s0:c1"), object("kv_session_t", "s0:c1.c3"), object("gone_item_t", "s0"), object("unlabeled_t", "s0"),
		"system_u:system_r:no_such_t:s0", // acts as unlabeled
	}
	intern := func(m *mac.Monitor) []avc.SID {
		var out []avc.SID
		for _, c := range contexts {
			s, err := m.SIDs().Intern(c)
			must(t, err)
			out = append(out, s)
		}
		return out
	}
	ks, fs := intern(kernel), intern(file)
	ke, fe := kernel.NewEpoch(), file.NewEpoch()
	// ask is the answer as text, its label named.
	ask := func(m *mac.Monitor, e *mac.Epoch, q mac.Question) string {
		e.Begin()
		defer e.Rest()
		_, a := m.DecideNow(q)
		d := a.Decision
		text := fmt.Sprintf("%v %v %v permissive=%t failed=%t label=%s error=%t",
			q.Class.PermNames(d.Allowed), q.Class.PermNames(d.AuditAllow), q.Class.PermNames(d.AuditDeny), d.Permissive, d.Failed, m.SIDs().String(a.SID), a.Err != nil)
		if q.Kind == mac.AskContext && a.SID != 0 {
			m.SIDs().Release(a.SID)
		}
		return text
	}
	asked := map[mac.Kind]int{}
	answers := map[string]int{}
	compare := func(k, f mac.Question) {
		t.Helper()
		asked[k.Kind]++
		a, b := ask(kernel, ke, k), ask(file, fe, f)
		if a != b {
			t.Errorf("kind %d: %s %s %v %q: the kernel %s, the file %s", k.Kind, kernel.SIDs().String(k.Source), kernel.SIDs().String(k.Target), k.Class, k.Text, a, b)
		}
		answers[fmt.Sprint(k.Kind, a)]++
	}
	for i := range contexts {
		for j := range contexts {
			for _, class := range avc.Classes() {
				for _, kind := range []mac.Kind{mac.AskAccess, mac.AskMember, mac.AskRelabel} {
					compare(mac.Question{Kind: kind, Class: class, Source: ks[i], Target: ks[j]}, mac.Question{Kind: kind, Class: class, Source: fs[i], Target: fs[j]})
				}
			}
			task := (i + j) % len(contexts)
			compare(mac.Question{Kind: mac.AskTransition, Source: ks[i], Target: ks[j], Task: ks[task]}, mac.Question{Kind: mac.AskTransition, Source: fs[i], Target: fs[j], Task: fs[task]})
		}
		for _, key := range []string{"k", "secret", "gone", "a+b%20/c"} {
			gk, gf := ke.Begin(), fe.Begin()
			compare(mac.Question{Kind: mac.AskCreate, Source: ks[i], Selector: gk.Selector([]byte(key))}, mac.Question{Kind: mac.AskCreate, Source: fs[i], Selector: gf.Selector([]byte(key))})
		}
		for _, text := range []string{contexts[i], contexts[i] + ":c5,c4,c6", "x", contexts[i] + "-s0:c3,c2"} {
			compare(mac.Question{Kind: mac.AskContext, Text: text}, mac.Question{Kind: mac.AskContext, Text: text})
		}
	}
	t.Logf("questions by kind: %v; %d different answers", asked, len(answers))
	for kind, label := range map[mac.Kind]string{mac.AskMember: object("kv_session_t", "s0:c1"), mac.AskRelabel: object("kv_session_t", "s0")} {
		found := false
		for a := range answers {
			found = found || a == fmt.Sprintf("%d[] [] [] permissive=false failed=false label=%s error=false", kind, label)
		}
		if !found {
			t.Errorf("kind %d: no answer is the label that a rule gives, %s", kind, label)
		}
	}
	if len(asked) != 6 || len(answers) < 40 {
		t.Error("too few to mean anything")
	}
}
