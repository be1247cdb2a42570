package cnp_test

import (
	"fmt"
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
			many := []byte(key + " " + key + " " + key)
			if n := testing.AllocsPerRun(100, func() {
				m.Lacks(cnp.Get|cnp.Gat, k)
				m.LacksKeys(cnp.Get, many, space)
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
