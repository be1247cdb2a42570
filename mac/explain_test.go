package mac

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sememcached/avc"
	"sememcached/policy"
)

// explained asks as the engine does, on a goroutine with an epoch.
func explained(t *testing.T, m *Monitor, source, target string, perms avc.Perms) policy.Explanation {
	t.Helper()
	e := m.NewEpoch()
	defer e.Close()
	g := e.Begin()
	return m.Explain(g, m.sid2(source), m.sid2(target), avc.ClassItem, perms)
}

// note is what an explanation says of who decided.
func note(t *testing.T, e policy.Explanation) string {
	t.Helper()
	i := slices.IndexFunc(e.Reasons, func(r policy.Reason) bool { return r.Kind == policy.KindDecider })
	if i < 0 {
		t.Fatalf("expected who decided, found\n%s", e)
	}
	return e.Reasons[i].Text
}

// TestExplainByKernel: the kernel's policy is read and explained, word for word as
// a server with that policy file would.
func TestExplainByKernel(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m, file := k.open(Config{}), open(t, Config{})
	for _, c := range []struct {
		source, target string
		perms          avc.Perms
	}{
		{client1, item1, avc.Read | avc.Write},
		{client2, item1, avc.Read},
		{reader, item, avc.Read | avc.Write | avc.Calculate},
		{nobody, item, avc.Read},
	} {
		have, want := explained(t, m, c.source, c.target, c.perms), explained(t, file, c.source, c.target, c.perms)
		text := note(t, have)
		if !strings.Contains(text, "the kernel decides; the reasons are those of its policy, "+k.root) || !strings.HasSuffix(text, "the kernel's own answer is the same") {
			t.Errorf("expected who decided and by what, found %q", text)
		}
		have.Reasons = have.Reasons[:len(have.Reasons)-1]
		if have.String() != want.String() {
			t.Errorf("expected what a policy file explains\n%s\nfound\n%s", want, have)
		}
	}
}

// TestExplainByKernelFollows: booleans, loads and modes are those of the moment.
func TestExplainByKernelFollows(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	ask := func() policy.Explanation { return explained(t, m, client2, item1, avc.Read) }
	if e := ask(); e.Allowed || e.Permissive {
		t.Errorf("expected a denial, found\n%s", e)
	}
	k.setenforce(0)
	if e := ask(); e.Allowed || !e.Permissive || !strings.Contains(e.String(), "SELinux is permissive on this machine") {
		t.Errorf("expected that nothing is enforced, found\n%s", e)
	}
	k.setenforce(1)
	// A policy in which the same question has another answer.
	k.load(kindsPolicy(t))
	if e := ask(); e.Allowed || !strings.Contains(e.Source, "u:object_r:") {
		t.Errorf("expected unlabeled of the new policy, found\n%s", e)
	}
	k.load(policy.Default())
	if e := ask(); e.Source != client2 {
		t.Errorf("expected the old policy again, found\n%s", e)
	}
	// The policy in force is no longer the one that was read.
	moved := false
	k.before = func(name, _ string) {
		if name == "access" && !moved {
			moved = true
			k.load(policy.Default())
		}
	}
	if e := ask(); e.Failed || !moved {
		t.Errorf("expected an answer of the new generation, found\n%s", e)
	}
}

// TestExplainByKernelUnread: the kernel's answer, and what to do for more.
func TestExplainByKernelUnread(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	file := filepath.Join(k.root, "policy")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	e := explained(t, m, client2, item1, avc.Read)
	if e.Failed || e.Allowed || len(e.Denied) != 1 || len(e.Reasons) != 1 {
		t.Errorf("expected the kernel's denial, found\n%s", e)
	}
	for _, want := range []string{file, "read_policy", "explain --line"} {
		if !strings.Contains(note(t, e), want) {
			t.Errorf("expected %q in what is to be done, found\n%s", want, e)
		}
	}
	if e := explained(t, m, client1, item1, avc.Read); !e.Allowed {
		t.Errorf("expected the kernel's grant, found\n%s", e)
	}
	k.write("policy", "not a policy")
	if e := explained(t, m, client1, item1, avc.Read); !e.Allowed || !strings.Contains(note(t, e), "offset 0x") {
		t.Errorf("expected why it cannot be read, found\n%s", e)
	}
	k.breakIt(os.ErrPermission)
	if e := explained(t, m, client1, item1, avc.Read); !e.Failed || e.Allowed || !strings.Contains(note(t, e), "everything is denied") {
		t.Errorf("expected that nothing can be decided, found\n%s", e)
	}
}

// TestExplainByKernelDiffers: where the engine and the kernel disagree, the kernel's
// answer is told, and that they do.
func TestExplainByKernelDiffers(t *testing.T) {
	k := newFakeKernel(t, policy.Default())
	m := k.open(Config{})
	k.write("policy", string(kindsPolicy(t)))
	e := explained(t, m, client1, item1, avc.Read)
	if !e.Allowed || e.Failed || len(e.Denied) != 0 || !strings.Contains(note(t, e), "the kernel itself answers otherwise") {
		t.Errorf("expected the kernel's grant, found\n%s", e)
	}
}

// TestExplainPermissive: a server with --permissive says that it enforces nothing.
func TestExplainPermissive(t *testing.T) {
	m := open(t, Config{Permissive: true})
	e := explained(t, m, client2, item1, avc.Read)
	if e.Allowed || !e.Permissive || !strings.HasPrefix(e.String(), "denied, not enforced: ") || !strings.Contains(e.String(), "--permissive") {
		t.Errorf("expected that nothing is enforced, found\n%s", e)
	}
}
