package cnp_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// TestNothingIsAllocated: whatever the rules, a verdict costs no memory.
func TestNothingIsAllocated(t *testing.T) {
	for _, kind := range []string{"prefix", "exact", "regex", "mixed"} {
		s, err := compile(manyRules(2000, kind), client, cnp.Input{})
		if err != nil {
			t.Fatal(err)
		}
		m := s.Identity(0, cnp.Listener{})
		for _, key := range []string{"svc001999:key", "svc000000:key", "t1999/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxyz", "nowhere"} {
			k := []byte(key)
			many, spans := cnp.Join(key, key, key)
			if n := testing.AllocsPerRun(100, func() {
				m.Lacks(cnp.Get|cnp.Gat, k)
				m.LacksKeys(cnp.Get, many, spans)
				m.LacksUnder(cnp.Delete, k)
				m.LacksKeyless(cnp.Stats)
			}); n != 0 {
				t.Errorf("%s rules, %s: %v allocations", kind, key, n)
			}
		}
	}
}

// BenchmarkVerdict is one allowed key among n rules; the keys go over all rules.
func BenchmarkVerdict(b *testing.B) {
	for _, kind := range []string{"prefix", "exact", "regex", "mixed"} {
		for _, n := range []int{1, 10, 100, 1000, 10000, 100000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				s, err := compile(manyRules(n, kind), client, cnp.Input{})
				if err != nil {
					b.Fatal(err)
				}
				m := s.Identity(0, cnp.Listener{})
				keys := make([][]byte, 4096)
				for i := range keys {
					k := i * 7919 % n
					keys[i] = fmt.Appendf(nil, "svc%06d:key", k)
					if kind == "mixed" {
						keys[i] = fmt.Appendf(nil, "t%d/%040d", k, 0)
						for j := range k % 40 {
							keys[i][len(keys[i])-40+j] = 'x'
						}
					}
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if m.Lacks(cnp.Get, keys[i&4095]) != 0 {
						b.Fatal(string(keys[i&4095]))
					}
					i++
				}
			})
		}
	}
}

// TestKeysAtAnyPlace: a request with many keys is refused for a single one, wherever it
// stands, and allowed without it.
func TestKeysAtAnyPlace(t *testing.T) {
	for _, kind := range []string{"prefix", "exact", "regex", "mixed"} {
		s, err := compile(manyRules(300, kind), client, cnp.Input{})
		if err != nil {
			t.Fatal(err)
		}
		m := s.Identity(0, cnp.Listener{})
		var good []string
		for k := range 300 {
			for _, key := range []string{fmt.Sprintf("svc%06d:key", k), fmt.Sprintf("t%d/%0*d", k, 10+k%40, 0)} {
				if m.Lacks(cnp.Get, []byte(key)) == 0 {
					good = append(good, key)
				}
			}
		}
		if len(good) < 5 {
			t.Fatalf("%s: only %d keys are allowed", kind, len(good))
		}
		for len(good) < 100 {
			good = append(good, good...)
		}
		for _, n := range []int{1, 2, 23, 24, 25, 48, 49, 100} {
			if lacksKeys(m, cnp.Get, good[:n]...) != 0 {
				t.Errorf("%s: %d allowed keys are refused", kind, n)
			}
			for _, bad := range []string{"x", "svc", "svc999999:key", "nobody's", strings.Repeat("k", 251)} {
				for at := range n {
					keys := slices.Clone(good[:n])
					keys[at] = bad
					if lacksKeys(m, cnp.Get, keys...) == 0 {
						t.Fatalf("%s: %d keys with %q at %d are allowed", kind, n, bad, at)
					}
				}
			}
		}
	}
}

// BenchmarkKeys judges multi-gets of 24 random keys, which are spread over all rules.
func BenchmarkKeys(b *testing.B) {
	for _, n := range []int{1, 4096, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := compile(manyRules(n, "prefix"), client, cnp.Input{})
			if err != nil {
				b.Fatal(err)
			}
			m := s.Identity(0, cnp.Listener{})
			r := rand.New(rand.NewPCG(1, 2))
			lines, keys := make([][]byte, 1024), make([][]cnp.Span, 1024)
			for i := range lines {
				var names [24]string
				for k := range names {
					names[k] = fmt.Sprintf("svc%06d:key ", r.IntN(n))
				}
				lines[i], keys[i] = cnp.Join(names[:]...)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if m.LacksKeys(cnp.Get, lines[i&1023], keys[i&1023]) != 0 {
					b.Fatalf("%s", lines[i&1023])
				}
				i++
			}
		})
	}
}
