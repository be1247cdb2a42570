package avc_test

import (
	"testing"

	"sememcached/avc"
)

func TestCacheBelongsToAGeneration(t *testing.T) {
	c := avc.NewCache[string, int](10)
	c.Insert(5, "k", 50)
	if v, ok := c.Lookup(5, "k"); !ok || v != 50 {
		t.Errorf("Lookup = %d, %v", v, ok)
	}
	for _, seq := range []uint64{4, 6} {
		if v, ok := c.Lookup(seq, "k"); ok || v != 0 {
			t.Errorf("generation %d found %d of generation 5", seq, v)
		}
	}
	c.Insert(6, "k", 60)
	c.Insert(5, "k", 51) // late: asked before a reload, answered after it
	c.Insert(5, "other", 52)
	if v, ok := c.Lookup(6, "k"); !ok || v != 60 {
		t.Errorf("a late answer replaced a newer one: %d, %v", v, ok)
	}
	if _, ok := c.Lookup(5, "other"); ok {
		t.Error("a late answer was kept")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := avc.NewCache[int, int](10)
	for i := range 100 {
		c.Insert(1, i, i)
		c.Lookup(1, 0) // in use: stays
	}
	if c.Len() != 10 {
		t.Errorf("%d entries, want 10", c.Len())
	}
	if _, ok := c.Lookup(1, 0); !ok {
		t.Error("the entry in use was dropped")
	}
	lookups, hits := c.Counts()
	if lookups != 101 || hits != 101 {
		t.Errorf("%d look-ups, %d hits; want 101 of each", lookups, hits)
	}
	c.Purge()
	if _, ok := c.Lookup(1, 0); ok || c.Len() != 0 {
		t.Error("something survived Purge")
	}
	if lookups, _ := c.Counts(); lookups != 102 {
		t.Errorf("Purge reset the counts to %d", lookups)
	}
}

func TestSmallestCache(t *testing.T) {
	c := avc.NewCache[int, int](0)
	c.Insert(1, 1, 1)
	if _, ok := c.Lookup(1, 1); !ok || c.Len() != 1 {
		t.Error("a cache of one entry holds none")
	}
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	type key struct {
		s, t avc.SID
		c    avc.Class
	}
	c := avc.NewCache[key, avc.Decision](100)
	c.Insert(1, key{1, 2, 1}, someDecision)
	if a := testing.AllocsPerRun(1000, func() { c.Lookup(1, key{1, 2, 1}) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
