package policy_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/policy"
)

// TestMicroPoliciesAreUpToDate compiles the sources again and compares.
func TestMicroPoliciesAreUpToDate(t *testing.T) {
	tools(t, "checkpolicy", "secilc", "sh")
	if out, err := exec.Command("checkpolicy", "-V").CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("33 ")) {
		missing(t, "checkpolicy writes other versions than that of release 3.4: %s", out)
	}
	dir := t.TempDir()
	run(t, ".", "sh", "testdata/rebuild.sh", dir)
	for _, name := range microFiles(t) {
		want, err := os.ReadFile(filepath.Join(dir, name+".bin"))
		if err != nil {
			t.Error(err)
			continue
		}
		have, err := os.ReadFile(filepath.Join("testdata/micro", name+".bin"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, have) {
			t.Errorf("%s.bin differs from what its source compiles to", name)
		}
	}
	fresh, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err != nil || len(fresh) != micros {
		t.Errorf("expected %d policies from rebuild.sh, found %d", micros, len(fresh))
	}
}

// newer turns a compiled policy of version 33 into one of 34 or 35, which
// differ by the version word and, in 35, by a third bitmap after the
// permissive types.
func newer(t *testing.T, b []byte, version uint32, neveraudit ...uint32) []byte {
	t.Helper()
	bitmapLen := func(off int) int { return 12 + 12*int(binary.LittleEndian.Uint32(b[off+8:])) }
	caps := 32
	permissive := caps + bitmapLen(caps)
	end := permissive + bitmapLen(permissive)
	out := bytes.Clone(b[:end])
	binary.LittleEndian.PutUint32(out[16:], version)
	if version >= 35 {
		var word uint64
		for _, v := range neveraudit {
			word |= 1 << v
		}
		for _, v := range []uint32{64, 64, 1, 0} {
			out = binary.LittleEndian.AppendUint32(out, v)
		}
		out = binary.LittleEndian.AppendUint64(out, word)
	}
	return append(out, b[end:]...)
}

func TestVersions34And35(t *testing.T) {
	t.Log("no oracle: no tool of release 3.4 writes or reads these versions; the files are patched from version 33")
	b := microBytes(t, "permissive.v33")
	old := micro(t, "permissive.v33")
	value := binary.LittleEndian.Uint32(b[typeEntry(t, b, "b_t")+4:])
	for _, v := range []int{34, 35} {
		p, err := policy.Read(newer(t, b, uint32(v), value))
		if err != nil {
			t.Fatal(err)
		}
		if p.Version() != v {
			t.Errorf("expected version %d, found %d", v, p.Version())
		}
		for _, s := range contexts(old, seeded(t, 5), 2) {
			for _, o := range contexts(old, seeded(t, 5), 2) {
				for _, name := range old.Classes() {
					want := old.ComputeAV(s, o, mustClass(t, old, name))
					want.NeverAudit = v == 35 && strings.Contains(s.String(), ":b_t")
					have := p.ComputeAV(mustContext(t, p, s.String()), mustContext(t, p, o.String()), mustClass(t, p, name))
					if want != have {
						t.Fatalf("version %d: %s %s %s: expected %+v, found %+v", v, s, o, name, want, have)
					}
				}
			}
		}
	}
	if n := mustRead(t, newer(t, b, 35, value)).Info().NeverAudit; n != 1 {
		t.Errorf("expected 1 neveraudit type, found %d", n)
	}
	// A value beyond the types.
	_, err := policy.Read(newer(t, b, 35, 60))
	if err == nil || !strings.Contains(err.Error(), "neveraudit types: expected values up to") {
		t.Errorf("expected an error about neveraudit types, found %v", err)
	}
}

// TestConditionalExtendedPermissions moves a rule with extended permissions
// into a conditional, which only version 34 allows.
func TestConditionalExtendedPermissions(t *testing.T) {
	b := microBytes(t, "conditional.v33")
	// The conditional with type_change and type_member: its two items of 12
	// bytes become one plain and one of 8+2+32 bytes.
	p := micro(t, "conditional.v33")
	in := p.Info()
	if in.AllowX != 0 {
		t.Fatal("expected no extended permissions to begin with")
	}
	rule := conditionalRule(t, b)
	patched := bytes.Clone(b[:rule+6])
	patched = binary.LittleEndian.AppendUint16(patched, 0x0100|binary.LittleEndian.Uint16(b[rule+6:])&0x8000)
	patched = append(patched, 1, 0x89)
	patched = append(patched, make([]byte, 32)...)
	patched = append(patched, b[rule+12:]...)
	if _, err := policy.Read(patched); err == nil || !strings.Contains(err.Error(), "expected no extended permissions here in version 33") {
		t.Errorf("expected version 33 to refuse conditional extended permissions, found %v", err)
	}
	if _, err := policy.Read(newer(t, patched, 34)); err != nil {
		t.Error(err)
	}
}

// conditionalRule finds the first rule of a conditional: the first item with
// the mark that it was enabled, which no other rule has.
func conditionalRule(t *testing.T, b []byte) int {
	t.Helper()
	for i := 0; i+12 <= len(b); i++ {
		spec := binary.LittleEndian.Uint16(b[i+6:])
		if spec == 0x8001 && binary.LittleEndian.Uint16(b[i:]) < 16 && binary.LittleEndian.Uint16(b[i+2:]) < 16 && binary.LittleEndian.Uint16(b[i+4:]) < 16 && b[i] != 0 {
			return i
		}
	}
	t.Fatal("no conditional rule")
	return 0
}

func mustRead(t testing.TB, b []byte) *policy.Policy {
	t.Helper()
	p, err := policy.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
