package policy_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sememcached/policy"
)

var everyVersion = flag.Bool("everyversion", false, "expand Debian's modules to every version, ten seconds each")

// roundTrip reads b, destroys it and writes it again.
func roundTrip(t *testing.T, name string, b []byte) {
	t.Helper()
	want := bytes.Clone(b)
	p, err := policy.Read(b)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
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
		return
	}
	at := 0
	for at < min(len(want), len(have)) && want[at] == have[at] {
		at++
	}
	t.Errorf("%s: expected the same %d bytes, found %d, which differ from offset %#x on", name, len(want), len(have), at)
}

func TestMicroRoundTrip(t *testing.T) {
	for _, name := range microFiles(t) {
		roundTrip(t, name, microBytes(t, name))
	}
	for _, v := range []uint32{34, 35} {
		roundTrip(t, fmt.Sprint("version ", v), newer(t, microBytes(t, "permissive.v33"), v, 2, 3))
	}
	t.Logf("%d policies", micros+2)
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

// TestDebianRoundTrip takes Debian's policies by way of CIL, with our classes,
// and by way of the module linker and expander, at the versions it writes.
func TestDebianRoundTrip(t *testing.T) {
	n := 0
	for _, flavor := range []string{"default", "mls"} {
		roundTrip(t, flavor+" kv", debianPolicy(t, flavor))
		linked := cached(t, flavor, "linked.mod", func(dir string) string {
			tools(t, "semodule_link")
			args := []string{"-o", "linked.mod", "base.pp"}
			for _, m := range debianModules(t, flavor, dir) {
				if m != "base.pp" {
					args = append(args, m)
				}
			}
			run(t, dir, "semodule_link", args...)
			return filepath.Join(dir, "linked.mod")
		})
		versions := []int{24, 33}
		if *everyVersion {
			versions = []int{24, 25, 26, 27, 28, 29, 30, 31, 32, 33}
		}
		for _, v := range versions {
			name := fmt.Sprintf("expanded.v%d.bin", v)
			file := cached(t, flavor, name, func(dir string) string {
				tools(t, "semodule_expand")
				run(t, dir, "semodule_expand", "-c", fmt.Sprint(v), linked, name)
				return filepath.Join(dir, name)
			})
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, flavor+" "+name, b)
			n++
		}
	}
	t.Logf("%d policies (-everyversion takes all)", n+2)
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
