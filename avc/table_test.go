package avc_test

import (
	"math/rand/v2"
	"testing"

	"sememcached/avc"
)

var someDecision = avc.Decision{Allowed: avc.Read, AuditAllow: avc.Write, AuditDeny: avc.Append, Permissive: true}

func TestTableFindsWhatWasInserted(t *testing.T) {
	tab := avc.NewTable(64, 64)
	if _, ok := tab.Lookup(1, 2, 3, avc.ClassItem); ok {
		t.Error("an empty table found something")
	}
	tab.Insert(1, 2, 3, avc.ClassItem, someDecision)
	if d, ok := tab.Lookup(1, 2, 3, avc.ClassItem); !ok || d != someDecision {
		t.Errorf("Lookup = %+v, %v", d, ok)
	}
	for _, miss := range []struct {
		seq        uint64
		ssid, tsid avc.SID
		class      avc.Class
	}{
		{2, 2, 3, avc.ClassItem}, // a newer generation
		{0, 2, 3, avc.ClassItem}, // no generation
		{1, 3, 2, avc.ClassItem},
		{1, 2, 4, avc.ClassItem},
		{1, 2, 3, avc.ClassServer},
	} {
		if d, ok := tab.Lookup(miss.seq, miss.ssid, miss.tsid, miss.class); ok {
			t.Errorf("%+v found %+v", miss, d)
		}
	}
	tab.Insert(2, 2, 3, avc.ClassItem, avc.Decision{})
	if d, ok := tab.Lookup(2, 2, 3, avc.ClassItem); !ok || d != (avc.Decision{}) {
		t.Errorf("after a reload: %+v, %v", d, ok)
	}
	if _, ok := tab.Lookup(1, 2, 3, avc.ClassItem); ok {
		t.Error("the entry of the old generation is still found")
	}
}

func TestTableDeniesNobody(t *testing.T) {
	tab := avc.NewTable(64, 64)
	tab.Insert(1, 0, 3, avc.ClassItem, avc.Decision{Allowed: ^avc.Perms(0)})
	tab.Insert(1, 3, 0, avc.ClassItem, avc.Decision{Allowed: ^avc.Perms(0)})
	for _, p := range [][2]avc.SID{{0, 3}, {3, 0}, {0, 0}} {
		if d, ok := tab.Lookup(1, p[0], p[1], avc.ClassItem); !ok || d != avc.Nobody() {
			t.Errorf("Lookup%v = %+v, %v; want a denial that is found", p, d, ok)
		}
	}
}

func TestTableDoesNotKeepFailures(t *testing.T) {
	tab := avc.NewTable(64, 64)
	tab.Insert(1, 2, 3, avc.ClassItem, avc.Decision{Failed: true})
	if d, ok := tab.Lookup(1, 2, 3, avc.ClassItem); ok {
		t.Errorf("found %+v", d)
	}
}

func TestTableSizes(t *testing.T) {
	for _, c := range [][2]int{{-1, 4}, {0, 4}, {1, 4}, {4, 4}, {5, 8}, {4096, 4096}, {4097, 8192}} {
		tab := avc.NewTable(c[0], c[0])
		if tab.Len() != c[1] {
			t.Errorf("NewTable(%d) holds %d, want %d", c[0], tab.Len(), c[1])
		}
		tab.Insert(1, 1, 1, avc.ClassItem, someDecision)
		if _, ok := tab.Lookup(1, 1, 1, avc.ClassItem); !ok {
			t.Errorf("NewTable(%d) loses its only entry", c[0])
		}
	}
}

// TestTableGrows: a table that loses what is asked for again and again grows until it
// holds it, but no further than it may, and no table grows for what is of older generations.
func TestTableGrows(t *testing.T) {
	const pairs = 2000
	for _, c := range []struct{ most, want int }{{8, 8}, {512, 512}, {1 << 16, 4096}} {
		tab := avc.NewTable(8, c.most)
		hits := 0
		for range 20 {
			hits = 0
			for i := range pairs {
				ssid, tsid := avc.SID(1+i/50), avc.SID(1+i%50)
				if _, ok := tab.Lookup(1, ssid, tsid, avc.ClassItem); ok {
					hits++
				} else {
					tab.Insert(1, ssid, tsid, avc.ClassItem, someDecision)
				}
			}
		}
		if tab.Len() > c.most || tab.Len() < c.want || tab.Len() > 4*pairs {
			t.Errorf("most %d: %d entries for %d pairs", c.most, tab.Len(), pairs)
		}
		if c.most > pairs && hits < pairs*9/10 {
			t.Errorf("most %d: %d of %d are found in the end", c.most, hits, pairs)
		}
	}
	tab := avc.NewTable(64, 1<<16)
	for seq := range uint64(1000) {
		for i := range 40 {
			tab.Insert(seq+1, 1, avc.SID(1+i), avc.ClassItem, someDecision)
		}
	}
	if tab.Len() > 256 {
		t.Errorf("40 pairs at a time make a table of %d", tab.Len())
	}
}

// Whatever is found is the last thing inserted for that key and generation, also in a table that
// grows.
func TestTableAgainstMap(t *testing.T) {
	t.Run("fixed", func(t *testing.T) { againstMap(t, avc.NewTable(32, 32)) })
	t.Run("growing", func(t *testing.T) { againstMap(t, avc.NewTable(4, 64)) })
}

func againstMap(t *testing.T, tab *avc.Table) {
	type key struct {
		s, t avc.SID
		c    avc.Class
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	model := map[key]avc.Decision{}
	seq := uint64(1)
	hits := 0
	for i := range 200_000 {
		if i%1000 == 999 {
			seq++
			clear(model)
		}
		k := key{avc.SID(1 + rnd.IntN(6)), avc.SID(1 + rnd.IntN(12)), avc.Class(1 + rnd.IntN(2))}
		if rnd.IntN(2) == 0 {
			d := avc.Decision{Allowed: avc.Perms(rnd.Uint32()), AuditDeny: avc.Perms(rnd.Uint32())}
			tab.Insert(seq, k.s, k.t, k.c, d)
			model[k] = d
			if got, ok := tab.Lookup(seq, k.s, k.t, k.c); !ok || got != d {
				t.Fatalf("%v: just inserted %+v, found %+v, %v", k, d, got, ok)
			}
			continue
		}
		if got, ok := tab.Lookup(seq, k.s, k.t, k.c); ok {
			hits++
			if want, inserted := model[k]; !inserted || got != want {
				t.Fatalf("%v: found %+v, inserted %+v (%v)", k, got, want, inserted)
			}
		}
	}
	if hits < 10_000 {
		t.Errorf("only %d hits", hits)
	}
}

// A working set of half the table's size stays in it.
func TestTableKeepsAWorkingSet(t *testing.T) {
	tab := avc.NewTable(4096, 4096)
	const n = 2048
	for range 4 {
		for i := range n {
			if _, ok := tab.Lookup(1, avc.SID(i%16+1), avc.SID(i/16+1), avc.ClassItem); !ok {
				tab.Insert(1, avc.SID(i%16+1), avc.SID(i/16+1), avc.ClassItem, someDecision)
			}
		}
	}
	hits := 0
	for i := range n {
		if _, ok := tab.Lookup(1, avc.SID(i%16+1), avc.SID(i/16+1), avc.ClassItem); ok {
			hits++
		}
	}
	if hits < n*95/100 {
		t.Errorf("%d of %d entries are found", hits, n)
	}
}

func TestTableDoesNotAllocate(t *testing.T) {
	tab := avc.NewTable(1024, 1024)
	var i avc.SID
	if a := testing.AllocsPerRun(10_000, func() {
		i++
		tab.Lookup(1, i%50, i%70, avc.ClassItem)
		tab.Insert(1, i%50, i%70, avc.ClassItem, someDecision)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkTable(b *testing.B) {
	tab := avc.NewTable(4096, 4096)
	for i := avc.SID(1); i <= 64; i++ {
		tab.Insert(1, 1, i, avc.ClassItem, someDecision)
	}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		var i avc.SID
		var p avc.Perms
		for b.Loop() {
			i++
			d, _ := tab.Lookup(1, 1, i%64+1, avc.ClassItem)
			p |= d.Allowed
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		var i avc.SID
		for b.Loop() {
			i++
			tab.Lookup(2, 1, i%64+1, avc.ClassItem)
		}
	})
}
