package policy_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sememcached/policy"
)

// TestWithBooleansAgainstSepol sets every combination of the booleans, ours by
// WithBooleans and libsepol's in its database.
func TestWithBooleansAgainstSepol(t *testing.T) {
	for _, name := range []string{"conditional.v24", "conditional.v33", "cil_items.v33"} {
		b := microBytes(t, name)
		base := mustRead(t, b)
		bools := base.Booleans()
		cs := contexts(base, seeded(t, 6), 1)
		var qs []question
		for state := range 1 << len(bools) {
			set := map[string]bool{}
			for i, v := range bools {
				set[v.Name] = state>>i&1 != 0
				qs = append(qs, question{"bool " + v.Name + " " + string('0'+rune(state>>i&1)), "ok"})
			}
			p, err := base.WithBooleans(set)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range cs {
				for _, o := range cs {
					c := mustClass(t, p, "kv_item")
					qs = append(qs, askAV(p, s, o, c))
					qs = append(qs, askSIDs(p, s, o, c)...)
				}
			}
		}
		t.Logf("%s: %d questions", name, len(qs))
		compare(t, b, qs)
	}
}

// TestWithBooleansAgainstCheckpolicy compiles the policy with the booleans set
// in its source.
func TestWithBooleansAgainstCheckpolicy(t *testing.T) {
	tools(t, "checkpolicy")
	source, err := os.ReadFile("testdata/micro/conditional.conf")
	if err != nil {
		t.Fatal(err)
	}
	base := micro(t, "conditional.v33")
	dir := t.TempDir()
	text := strings.NewReplacer("bool one true", "bool one false", "bool two false", "bool two true").Replace(string(source))
	if err := os.WriteFile(filepath.Join(dir, "in.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "checkpolicy", "-M", "-c", "33", "-o", "out.bin", "in.conf")
	b, err := os.ReadFile(filepath.Join(dir, "out.bin"))
	if err != nil {
		t.Fatal(err)
	}
	want := mustRead(t, b)
	have, err := base.WithBooleans(map[string]bool{"one": false, "two": true})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want.Booleans(), have.Booleans()) {
		t.Errorf("expected booleans %v, found %v", want.Booleans(), have.Booleans())
	}
	differs := 0
	cs := contexts(base, seeded(t, 7), 1)
	for _, s := range cs {
		for _, o := range cs {
			c := mustClass(t, base, "kv_item")
			w := want.ComputeAV(mustContext(t, want, s.String()), mustContext(t, want, o.String()), c)
			if h := have.ComputeAV(s, o, c); h != w {
				t.Errorf("%s %s: expected %+v, found %+v", s, o, w, h)
			}
			if base.ComputeAV(s, o, c) != w {
				differs++
			}
		}
	}
	if differs == 0 {
		t.Error("expected the booleans to make a difference, found none")
	}
}

func TestWithBooleansLeavesThePolicyAlone(t *testing.T) {
	p := micro(t, "conditional.v33")
	before := p.Booleans()
	want := []policy.Boolean{{Name: "one", Active: true}, {Name: "three", Active: true}, {Name: "two", Active: false}}
	if !reflect.DeepEqual(before, want) {
		t.Errorf("expected %v, found %v", want, before)
	}
	s, o, c := mustContext(t, p, "u_u:a_r:a_t:s0"), mustContext(t, p, "u_u:object_r:b_t:s0"), mustClass(t, p, "kv_item")
	d := p.ComputeAV(s, o, c)
	q, err := p.WithBooleans(map[string]bool{"one": false})
	if err != nil {
		t.Fatal(err)
	}
	if e := q.ComputeAV(s, o, c); e == d {
		t.Error("expected another decision with another boolean, found the same")
	}
	if p.ComputeAV(s, o, c) != d || !reflect.DeepEqual(p.Booleans(), before) {
		t.Error("expected p to stay as it was")
	}
	if again, err := q.WithBooleans(map[string]bool{"one": true}); err != nil || again.ComputeAV(s, o, c) != d {
		t.Errorf("expected the first decision after setting the boolean back, found another (%v)", err)
	}
	_, err = p.WithBooleans(map[string]bool{"one": true, "four": true})
	if err == nil || err.Error() != `policy: expected the name of a boolean, found "four"` {
		t.Errorf("expected an error about the boolean four, found %v", err)
	}
}
