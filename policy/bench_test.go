package policy_test

import (
	"runtime"
	"testing"
	"time"

	"sememcached/policy"
)

// loadMemory is what Debian's policy of 2.3 MB may take once it is loaded.
const loadMemory = 40 << 20

func TestComputeAVDoesNotAllocate(t *testing.T) {
	p := micro(t, "conditional.v33")
	s, o := mustContext(t, p, "u_u:a_r:a_t:s0-s0:c0.c3"), mustContext(t, p, "u_u:object_r:b_t:s0:c1")
	c := mustClass(t, p, "kv_item")
	for _, q := range []*policy.Policy{p, micro(t, "mlsconstrain.v33"), micro(t, "bounds_unchecked.v33")} {
		s, o := mustContext(t, q, s.String()), mustContext(t, q, o.String())
		if n := testing.AllocsPerRun(100, func() { q.ComputeAV(s, o, c) }); n != 0 {
			t.Errorf("ComputeAV: expected no allocation, found %v", n)
		}
		if n := testing.AllocsPerRun(100, func() { q.ComputeXperm(s, o, c, policy.XpermIoctl, 1) }); n != 0 {
			t.Errorf("ComputeXperm: expected no allocation, found %v", n)
		}
		if n := testing.AllocsPerRun(100, func() { q.ValidateTrans(o, o, s, c) }); n != 0 {
			t.Errorf("ValidateTrans: expected no allocation, found %v", n)
		}
	}
}

// loadCost reads b a few times and returns the best processor time, and what
// stays in memory.
func loadCost(t testing.TB, b []byte, rounds int) (best time.Duration, live uint64) {
	for range rounds {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		from := processorTime(t)
		p, err := policy.Read(b)
		took := processorTime(t) - from
		if err != nil {
			t.Fatal(err)
		}
		if best == 0 || took < best {
			best = took
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		live = after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
		runtime.KeepAlive(p)
	}
	return best, live
}

func TestDebianMemory(t *testing.T) {
	for _, flavor := range []string{"default", "mls"} {
		b := debianPolicy(t, flavor)
		_, live := loadCost(t, b, 1)
		t.Logf("%s: %d bytes of policy, %.1f MB stay", flavor, len(b), float64(live)/1e6)
		if live > loadMemory {
			t.Errorf("%s: expected at most %d bytes in use, found %d", flavor, loadMemory, live)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"micro", "default", "mls"} {
		b.Run(name, func(b *testing.B) {
			data := benchPolicy(b, name)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Read(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchPolicy(b *testing.B, name string) []byte {
	if name == "micro" {
		return microBytes(b, "cil_items.v33")
	}
	return debianPolicy(b, name)
}

func BenchmarkDecide(b *testing.B) {
	for _, name := range []string{"default", "mls"} {
		b.Run(name, func(b *testing.B) {
			p, err := policy.Read(debianPolicy(b, name))
			if err != nil {
				b.Fatal(err)
			}
			d := newDrawer(p, seeded(b, 3))
			type query struct {
				s, o policy.Context
				c    policy.Class
			}
			list := make([]query, 1000)
			for i := range list {
				list[i].s, list[i].o, list[i].c = d.draw()
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := &list[i%len(list)]
				p.ComputeAV(q.s, q.o, q.c)
				i++
			}
		})
	}
}

func BenchmarkWithBooleans(b *testing.B) {
	for _, name := range []string{"micro", "default"} {
		b.Run(name, func(b *testing.B) {
			p, err := policy.Read(benchPolicy(b, name))
			if err != nil {
				b.Fatal(err)
			}
			set := map[string]bool{p.Booleans()[0].Name: true}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.WithBooleans(set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
