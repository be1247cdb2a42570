package policy_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
)

// exercise asks p everything, with contexts that p has and names it has not:
// whatever Read accepts must be safe to ask.
func exercise(p *policy.Policy) {
	p.Info()
	names := []string{"kernel", "security", "unlabeled", "devnull", "nobody"}
	var cs []policy.Context
	for _, n := range names {
		if c, ok := p.InitialContext(n); ok {
			cs = append(cs, c)
		}
	}
	plain := !strings.ContainsAny(strings.Join(append(p.Sensitivities(), p.Categories()...), ""), "-,.")
	users, roles, types, sens, cats := p.Users(), p.Roles(), p.Types(), p.Sensitivities(), p.Categories()
	for i := range min(len(types), 4) {
		s := users[i%max(len(users), 1):]
		if len(s) == 0 || len(roles) == 0 {
			break
		}
		text := s[0] + ":" + roles[i%len(roles)] + ":" + types[i]
		if p.MLS() && len(sens) > 0 {
			text += ":" + sens[0] + "-" + sens[len(sens)-1]
			if len(cats) > 1 {
				text += ":" + cats[0] + "." + cats[len(cats)-1]
			}
		}
		if c, err := p.ParseContext(text); err == nil {
			cs = append(cs, c)
		}
	}
	classes := []policy.Class{0, 0xffff}
	for _, n := range p.Classes() {
		c, _ := p.Class(n)
		classes = append(classes, c)
		p.TransitionNames(c)
		p.PermNames(c, ^policy.AV(0))
	}
	flip := map[string]bool{}
	for _, b := range p.Booleans() {
		flip[b.Name] = !b.Active
	}
	for i := range min(len(cs), 3) {
		for _, c := range classes[:min(len(classes), 5)] {
			if e := p.Explain(cs[i], cs[len(cs)-1-i], c, ^policy.AV(0)); e.String() == "" {
				panic("no explanation")
			}
		}
	}
	q, err := p.WithBooleans(flip)
	if err != nil {
		panic(err)
	}
	for _, p := range []*policy.Policy{p, q} {
		for _, s := range cs {
			for _, o := range cs {
				for _, c := range classes {
					p.ComputeAV(s, o, c)
					p.ValidateTrans(s, o, s, c)
					p.ComputeXperm(s, o, c, policy.XpermIoctl, 0x8901)
					for _, made := range []func() (policy.Context, error){
						func() (policy.Context, error) { return p.ComputeCreate(s, o, c, "session") },
						func() (policy.Context, error) { return p.ComputeMember(s, o, c) },
						func() (policy.Context, error) { return p.ComputeRelabel(s, o, c) },
					} {
						// Levels with names like s-0 have no readable form; the
						// kernel takes such a policy all the same.
						if c, err := made(); err == nil && plain {
							if again, err := p.CanonicalContext(c.String()); err != nil || again != c.String() {
								panic("computed a context that does not parse: " + c.String())
							}
						}
					}
				}
			}
		}
	}
}

// wantRefusal checks that an error says where, or which entry.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("expected an error, found none")
	}
	if s := err.Error(); !strings.HasPrefix(s, "policy: ") || !strings.Contains(s, "expected ") || !strings.Contains(s, "found ") {
		t.Fatalf("expected an error with place, expected and found, found %q", s)
	}
}

func TestReadRefusesEveryTruncation(t *testing.T) {
	for _, name := range []string{"conditional.v24", "defaults.v33", "infiniband.v33", "xperms.v33", "validatetrans.v29", "named_transition.v33", "named_transition.v32"} {
		b := microBytes(t, name)
		for n := range b {
			_, err := policy.Read(b[:n])
			wantRefusal(t, err)
		}
		_, err := policy.Read(append(slices.Clone(b), 0))
		wantRefusal(t, err)
	}
}

// TestReadSurvivesEveryFlippedBit flips each bit of policies that between them
// have all sections. Many flips leave a policy that is as good as the first.
func TestReadSurvivesEveryFlippedBit(t *testing.T) {
	for _, name := range []string{"conditional.v33", "infiniband.v33", "xperms.v33", "validatetrans.v33", "named_transition.v33", "role_transition.v26", "bounds_unchecked.v24", "range_transition.v33"} {
		b := microBytes(t, name)
		refused := 0
		for i := range len(b) * 8 {
			c := slices.Clone(b)
			c[i/8] ^= 1 << (i % 8)
			p, err := policy.Read(c)
			if err != nil {
				wantRefusal(t, err)
				refused++
			} else if i%20 == 0 {
				exercise(p)
			}
		}
		t.Logf("%s: %d of %d flips refused", name, refused, len(b)*8)
		if refused < len(b)*8/4 {
			t.Errorf("%s: expected a quarter of all flips to be refused, found %d", name, refused)
		}
	}
}

// TestReadBoundsMemory puts huge numbers everywhere and allows Read no more
// than a small multiple of its input.
func TestReadBoundsMemory(t *testing.T) {
	for _, name := range []string{"conditional.v33", "infiniband.v33", "defaults.v33", "named_transition.v33"} {
		b := microBytes(t, name)
		// Values with gaps may cost up to half a megabyte for each of seven
		// kinds of symbols.
		limit := uint64(4<<20 + 64*len(b))
		for _, v := range []uint32{0xffffffff, 0x7fffffff, 0x01000000, 0xffc0, 0xffff, 0x4000} {
			for i := 0; i+4 <= len(b); i++ {
				c := slices.Clone(b)
				binary.LittleEndian.PutUint32(c[i:], v)
				if used := allocated(func() { _, _ = policy.Read(c) }); used > limit {
					t.Fatalf("%s: %#x at offset %#x: expected at most %d bytes allocated, found %d", name, v, i, limit, used)
				}
			}
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestReadSurvivesGarbage feeds random bytes behind a good header, and random
// splices of two policies.
func TestReadSurvivesGarbage(t *testing.T) {
	r := seeded(t, 4)
	names := microFiles(t)
	for range 20_000 {
		b := microBytes(t, pick(r, names[:12]))
		switch r.IntN(3) {
		case 0:
			splice(r, b[16:], 8)
		case 1:
			splice(r, b[16:], 64)
		default:
			o := microBytes(t, pick(r, names[:12]))
			i, j := r.IntN(len(b)), r.IntN(len(o))
			b = append(b[:i], o[j:]...)
		}
		if p, err := policy.Read(b); err == nil {
			exercise(p)
		}
	}
}

func splice(r *rand.Rand, b []byte, n int) {
	i := r.IntN(len(b) - n)
	for j := range n {
		b[i+j] = byte(r.Uint32())
	}
}

func TestReadDoesNotKeepItsInput(t *testing.T) {
	for _, name := range microFiles(t) {
		b := microBytes(t, name)
		p, err := policy.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		before := p.Types()
		clear(b)
		if !slices.Equal(before, p.Types()) {
			t.Fatalf("%s: the policy changed with its input", name)
		}
		exercise(p)
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	b := microBytes(t, "allow.v33")
	put := func(off int, v uint32) []byte {
		c := slices.Clone(b)
		binary.LittleEndian.PutUint32(c[off:], v)
		return c
	}
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{nil, "policy: offset 0x0: expected 4 bytes of magic number, found 0 before the end"},
		{put(0, 0xf97cff8d), "policy: offset 0x0: expected magic number 0xf97cff8c, found 0xf97cff8d"},
		{put(4, 7), "policy: offset 0x4: expected a target of 8 bytes, found 7"},
		{bytes.Replace(b, []byte("SE Linux"), []byte("XenFlask"), 1), `policy: offset 0x8: expected target "SE Linux", found "XenFlask"`},
		{put(16, 36), "policy: offset 0x10: expected version 24 to 35, found 36"},
		{put(16, 23), "policy: offset 0x10: expected version 24 to 35, found 23"},
		{put(24, 7), "policy: offset 0x18: expected 8 symbol tables, found 7"},
		{put(28, 7), "policy: offset 0x1c: expected 9 kinds of object contexts in version 33, found 7"},
		{put(32, 32), "policy: offset 0x20: expected 64 bits in a word of policy capabilities, found 32"},
		{append(slices.Clone(b), 1, 2), "expected the end, found 2 more bytes"},
		{bytes.Replace(b, []byte("process"), []byte("proceed"), 1), "policy: expected class process, found none"},
		{bytes.ReplaceAll(bytes.Replace(b, []byte("dyntransition"), []byte("dyntransitiom"), 1), []byte("\x01\x00\x00\x00transition"), []byte("\x01\x00\x00\x00transitiom")), "policy: class process: expected permission transition or dyntransition, found neither"},
		{bytes.Replace(b, []byte("c_t"), []byte("a_t"), 1), `policy: type "a_t": expected one definition, found two`},
		{bytes.Replace(b, []byte("c_t"), []byte("c:t"), 1), `policy: type "c:t": expected a name without colons, blanks and control characters, found ':'`},
		{bytes.Replace(b, []byte("object_r"), []byte("objects_"), 1), `policy: role "objects_": expected value 1 for object_r and no other, found 1`},
	} {
		_, err := policy.Read(c.b)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("expected error %q\nfound %v", c.want, err)
		}
	}
}

// TestReadRefusesContradictions reads a sound policy with one thing spoilt, a
// different one each time.
func TestReadRefusesContradictions(t *testing.T) {
	n := 0
	for want, b := range micro(t, "contradictions.v33").ContradictionsForTest() {
		n++
		_, err := policy.Read(b)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected error %q, found %v", want, err)
		}
		wantRefusal(t, err)
	}
	t.Logf("%d contradictions", n)
}
