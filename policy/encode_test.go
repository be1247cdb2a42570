package policy_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"sememcached/internal/debpolicy"
	"sememcached/policy"
)

var everyVersion = flag.Bool("everyversion", false, "expand Debian's modules to every version, ten seconds each")

// roundTrip reads b, destroys it and writes it again. It returns the version, or
// 0 for a failure.
func roundTrip(t *testing.T, name string, b []byte) (version int) {
	t.Helper()
	want := bytes.Clone(b)
	p, err := policy.Read(b)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return 0
	}
	for i := range b {
		b[i] ^= 0xff
	}
	have := p.AppendBinary([]byte("kept"))
	if !bytes.HasPrefix(have, []byte("kept")) {
		t.Errorf("%s: expected the bytes to be appended", name)
	}
	have = have[4:]
	if bytes.Equal(want, have) {
		return p.Version()
	}
	at := 0
	for at < min(len(want), len(have)) && want[at] == have[at] {
		at++
	}
	t.Errorf("%s: expected the same %d bytes, found %d, which differ from offset %#x on", name, len(want), len(have), at)
	return 0
}

func TestMicroRoundTrip(t *testing.T) {
	n, versions := 0, map[int]bool{}
	whole := func(name string, b []byte) {
		if v := roundTrip(t, name, b); v != 0 {
			n++
			versions[v] = true
		}
	}
	for _, name := range microFiles(t) {
		whole(name, microBytes(t, name))
	}
	for _, v := range []uint32{34, 35} {
		whole(fmt.Sprint("version ", v), newer(t, microBytes(t, "permissive.v33"), v, 2, 3))
	}
	t.Logf("%d policies", n)
	for v := 24; v <= 35; v++ {
		if !versions[v] {
			t.Errorf("expected a policy of version %d, found none", v)
		}
	}
	if n < 60 {
		t.Errorf("expected at least 60 policies, found %d", n)
	}
}

// TestFlippedRoundTrip: whatever Read accepts is written as it was, not only
// what compilers write.
func TestFlippedRoundTrip(t *testing.T) {
	r := seeded(t, 8)
	n := 0
	for _, name := range []string{"conditional.v33", "infiniband.v33", "validatetrans.v33", "named_transition.v33", "xperms.v33", "defaults.v28"} {
		b := microBytes(t, name)
		for range 3000 {
			c := bytes.Clone(b)
			i := r.IntN(len(c) * 8)
			c[i/8] ^= 1 << (i % 8)
			if _, err := policy.Read(c); err == nil {
				n++
				roundTrip(t, fmt.Sprintf("%s with bit %d flipped", name, i), c)
			}
		}
	}
	t.Logf("%d policies", n)
}

// TestDebianRoundTrip takes Debian's policies with our classes, by way of CIL, and
// without them, by way of the module linker and expander, at the versions that these
// tools write.
func TestDebianRoundTrip(t *testing.T) {
	versions := []int{24, 33}
	if *everyVersion {
		versions = []int{24, 25, 26, 27, 28, 29, 30, 31, 32, 33}
	}
	n := 0
	whole := func(name string, version int, b []byte) {
		if v := roundTrip(t, name, b); v == version {
			n++
		} else if v != 0 {
			t.Errorf("%s: expected version %d, found %d", name, version, v)
		}
	}
	for _, flavor := range []string{"default", "mls"} {
		for _, v := range versions {
			whole(fmt.Sprintf("%s with our classes, version %d", flavor, v), v, debianPolicyAt(t, v, flavor))
			b, err := os.ReadFile(expanded(t, flavor, v))
			if err != nil {
				t.Fatal(err)
			}
			whole(fmt.Sprintf("%s, version %d", flavor, v), v, b)
		}
	}
	t.Logf("%d policies (-everyversion takes all)", n)
	if want := 4 * len(versions); n != want && !t.Failed() {
		t.Errorf("expected %d policies, found %d", want, n)
	}
}

// linked is the modules of a flavor, linked.
func linked(t testing.TB, flavor string) string {
	t.Helper()
	file, err := debpolicy.File(flavor, "linked.mod", func(dir string) error {
		tools(t, "semodule_link")
		modules, err := debpolicy.Unpack(flavor, dir)
		if err != nil {
			return err
		}
		args := []string{"-o", "linked.mod", "base.pp"}
		for _, m := range modules {
			if m != "base.pp" {
				args = append(args, m)
			}
		}
		run(t, dir, "semodule_link", args...)
		return nil
	})
	return built(t, file, err)
}

// expanded is Debian's policy of a flavor as the expander writes it.
func expanded(t testing.TB, flavor string, version int) string {
	t.Helper()
	name := fmt.Sprintf("expanded.v%d.bin", version)
	file, err := debpolicy.File(flavor, name, func(dir string) error {
		tools(t, "semodule_expand")
		run(t, dir, "semodule_expand", "-c", fmt.Sprint(version), linked(t, flavor), name)
		return nil
	})
	return built(t, file, err)
}

// TestWriteAddedRule writes policies with one more rule than they were read
// with, and has libsepol read and judge them.
func TestWriteAddedRule(t *testing.T) {
	n := 0
	for _, name := range microFiles(t) {
		p := micro(t, name)
		c, ok := p.Class("kv_item")
		if !ok || !slices.Contains(p.Types(), "x_t") {
			continue
		}
		n++
		// No micro policy has a rule with this key.
		b := p.WithAllowForTest("x_t", "x_t", c, 1<<2)
		q, err := policy.Read(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := "u_u:object_r:x_t"
		if p.MLS() {
			text += ":" + q.Sensitivities()[0]
		}
		s := mustContext(t, q, text)
		before := p.ComputeAV(mustContext(t, p, text), mustContext(t, p, text), c)
		after := q.ComputeAV(s, s, c)
		if before.Allowed == after.Allowed && !p.ConstrainedForTest(c, 1<<2) {
			t.Errorf("%s: expected the rule to allow more than %#x, found %#x", name, before.Allowed, after.Allowed)
		}
		compare(t, b, []question{askAV(q, s, s, c)})
	}
	t.Logf("%d policies", n)
	if n < 100 {
		t.Errorf("expected at least 100 policies with a rule added, found %d", n)
	}
}

// TestVersion25RoleTransitions: checkpolicy 3.4 writes no role transitions
// before version 26, so that our writer does.
func TestVersion25RoleTransitions(t *testing.T) {
	b := micro(t, "role_transition.v26").AsVersion25ForTest()
	p := mustRead(t, b)
	if n := p.Info().RoleTransitions; n != 1 {
		t.Fatalf("expected 1 role transition, found %d", n)
	}
	s, o := mustContext(t, p, "u_u:a_r:a_t:s0"), mustContext(t, p, "u_u:a_r:b_t:s0")
	c, err := p.ComputeCreate(s, o, mustClass(t, p, "process"), "")
	if err != nil || c.String() != "u_u:b_r:b_t:s0" {
		t.Errorf("expected u_u:b_r:b_t:s0, found %v, %v", c, err)
	}
	var qs []question
	for _, name := range p.Classes() {
		qs = append(qs, askSIDs(p, s, o, mustClass(t, p, name))...)
	}
	compare(t, b, qs)
}
