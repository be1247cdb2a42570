package storage_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"sememcached/storage"
)

// TestHolds measures how long locks are held while the index grows, pages move, items are
// evicted, a crawler and a scan run, and 10,000 labels are flushed. A hold is
// what every other request for the shard waits for. Processor time is measured, yet interrupts and cold caches
// of a busy machine are in it, so that one in 1,000 holds may take longer than 256 µs. STORAGE_ITEMS
// says how many items, 200,000 if not set.
func TestHolds(t *testing.T) {
	if !storage.Invariants || storage.RaceEnabled {
		t.Skip("needs -tags invariants, which times locks, without -race, which slows them")
	}
	n := 200_000
	if v := os.Getenv("STORAGE_ITEMS"); v != "" {
		n, _ = strconv.Atoi(v)
	}
	s := newStore(t, storage.Config{Limit: int64(n) * 90})
	s.TimeHolds()
	value := make([]byte, 900)
	var last storage.Holds
	phase := func(name string, fn func()) {
		fn()
		h := s.Holds()
		var total, long uint64
		line := ""
		for i := range h {
			if d := h[i] - last[i]; d > 0 {
				line += fmt.Sprintf(" <%dµs:%d", 1<<i, d)
				total += d
				if i > 8 {
					long += d
				}
			}
		}
		last = h
		t.Logf("%-22s%s", name, line)
		if long*1000 > total+1000 {
			t.Errorf("%s: %d of %d holds took 256 µs or more", name, long, total)
		}
	}
	now := uint32(1)
	store := func(prefix string, n, size int) {
		for i := range n {
			if i%10_000 == 0 {
				now++
			}
			spec := storage.Spec{Key: fmt.Appendf(nil, "%s:%d", prefix, i), Label: uint32(i % 10_000), Now: now}
			if err := set(s, spec, value[:size]); err != nil {
				t.Fatal(err)
			}
		}
	}
	phase("insert, evict", func() { store("a", n, 32) })
	phase("overwrite", func() { store("a", n/2, 32) })
	phase("pages move", func() { now += 100; store("b", n, 400) })
	phase("mixed sizes", func() {
		for i := range n {
			spec := storage.Spec{Key: fmt.Appendf(nil, "c:%d", i%(n/8)), Label: 1, Now: now}
			if err := set(s, spec, value[:i*7919%900]); err != nil {
				t.Fatal(err)
			}
		}
	})
	phase("scan", func() {
		var c storage.Cursor
		for s.Scan(&c, func(storage.Item) bool { return true }) {
		}
	})
	phase("flush 10,000 labels", func() {
		for label := range uint32(10_000) {
			s.FlushLabel(label, now)
		}
	})
	phase("crawl", func() {
		var c storage.Crawl
		for more := true; more; {
			_, _, more = s.CrawlStep(&c, now)
		}
	})
	phase("statistics", func() {
		s.Stats()
		s.ClassStats(func(int, storage.ClassStats) {})
		s.Labels(func(uint32, storage.LabelStats) bool { return true })
		s.LabelItems(3)
	})
	check(t, s)
}
