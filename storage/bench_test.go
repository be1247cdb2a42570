package storage_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"sememcached/storage"
)

const benchItems = 1_000_000

func benchKey(b []byte, i uint32) []byte {
	copy(b, "key:00000000")
	for j := len("key:00000000") - 1; i > 0; j-- {
		b[j] = byte('0' + i%10)
		i /= 10
	}
	return b[:len("key:00000000")]
}

// fill stores n items of size bytes in random order.
func fill(tb testing.TB, s *storage.Store, n, size int) {
	tb.Helper()
	value := make([]byte, size)
	var key [16]byte
	for i := range uint64(n) { // every key once, in no order: the factor is a prime
		i = i * 2654435761 % uint64(n)
		if err := set(s, storage.Spec{Key: benchKey(key[:], uint32(i)), Label: 1, Now: 1}, value); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	s := newStore(b, storage.Config{Limit: 1 << 30})
	fill(b, s, benchItems, 32)
	reply := make([]byte, 0, 4096)

	b.Run("get/hit", func(b *testing.B) {
		b.ReportAllocs()
		r := rand.New(rand.NewPCG(3, 4))
		var buf [16]byte
		for b.Loop() {
			key := benchKey(buf[:], r.Uint32N(benchItems))
			h := s.Hash(0, key)
			sh := s.Lock(h)
			it, _ := sh.Find(h, 0, key, 1)
			sh.Hit(it, 1)
			reply = append(reply[:0], it.Text()...)
			sh.Unlock()
		}
	})
	b.Run("get/hit/prefetched", func(b *testing.B) {
		b.ReportAllocs()
		r := rand.New(rand.NewPCG(3, 4))
		const batch = 24
		var buf [batch][16]byte
		var keys [batch][]byte
		var hashes [batch]uint64
		for range b.N / batch {
			for i := range keys {
				keys[i] = benchKey(buf[i][:], r.Uint32N(benchItems))
				hashes[i] = s.Hash(0, keys[i])
			}
			s.Prefetch(hashes[:])
			for i, h := range hashes {
				sh := s.Lock(h)
				it, _ := sh.Find(h, 0, keys[i], 1)
				sh.Hit(it, 1)
				reply = append(reply[:0], it.Text()...)
				sh.Unlock()
			}
		}
	})
	b.Run("get/miss", func(b *testing.B) {
		r := rand.New(rand.NewPCG(3, 4))
		var buf [16]byte
		for b.Loop() {
			key := benchKey(buf[:], benchItems+r.Uint32N(benchItems))
			h := s.Hash(0, key)
			sh := s.Lock(h)
			sh.Find(h, 0, key, 1)
			sh.Unlock()
		}
	})
	b.Run("overwrite", func(b *testing.B) {
		b.ReportAllocs()
		r := rand.New(rand.NewPCG(3, 4))
		var buf [16]byte
		value := make([]byte, 32)
		for b.Loop() {
			if err := set(s, storage.Spec{Key: benchKey(buf[:], r.Uint32N(benchItems)), Label: 1, Now: 2}, value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	for _, mode := range []string{"growing", "evicting"} {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			limit := int64(8 << 30)
			if mode == "evicting" {
				limit = 64 << 20
			}
			s := newStore(b, storage.Config{Limit: limit})
			if mode == "evicting" {
				fill(b, s, benchItems, 32)
			}
			value := make([]byte, 32)
			var buf [16]byte
			x := uint32(1)
			for b.Loop() {
				x = x*1664525 + 1013904223 // every key once, in no order
				binary.LittleEndian.PutUint32(buf[:], x)
				if err := set(s, storage.Spec{Key: buf[:12], Label: 1, Now: 2}, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// anonymous returns the anonymous resident memory of the process in bytes.
func anonymous(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skipf("no smaps_rollup: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "Anonymous:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// BenchmarkMemory reports what an item costs, all indexes included.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ n, size int }{{1_000_000, 32}, {1_000_000, 100}, {3_000_000, 32}} {
		b.Run(fmt.Sprintf("%d of %d B", c.n, c.size), func(b *testing.B) {
			var heap, rss, index float64
			for b.Loop() {
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				anon := anonymous(b)
				s, err := storage.New(storage.Config{Limit: 2 << 30})
				if err != nil {
					b.Fatal(err)
				}
				fill(b, s, c.n, c.size)
				rss += float64(anonymous(b)-anon) / float64(c.n)
				runtime.GC()
				runtime.ReadMemStats(&after)
				heap += float64(after.HeapAlloc-before.HeapAlloc) / float64(c.n)
				index += float64(s.Stats().HashBytes) / float64(c.n)
				s.Close()
			}
			n := float64(b.N)
			b.ReportMetric(rss/n, "rss-B/item")
			b.ReportMetric(heap/n, "heap-B/item")
			b.ReportMetric(index/n, "hash-B/item")
		})
	}
}
