package storage_test

import (
	"testing"

	"sememcached/storage"
)

// TestClassTable: the classes that memcached 1.6.18 prints at -vv for some
// settings of -I, -o slab_chunk_max and -o slab_sizes.
func TestClassTable(t *testing.T) {
	for _, x := range []struct {
		name string
		cfg  storage.Config
		want map[int][2]int // class: chunk size, chunks in a page
		last int
	}{
		{"default", storage.Config{}, map[int][2]int{1: {96, 10922}, 2: {120, 8738}, 3: {152, 6898}, 38: {394840, 2}, 39: {524288, 2}}, 39},
		{"a whole page", storage.Config{ChunkMax: 1 << 20}, map[int][2]int{39: {493552, 2}, 40: {616944, 1}, 41: {771184, 1}, 42: {1048576, 1}}, 42},
		{"16 KiB", storage.Config{ChunkMax: 16 << 10}, map[int][2]int{22: {11104, 94}, 23: {16384, 64}}, 23},
		{"1 KiB", storage.Config{MaxItem: 1024, ChunkMax: 1024}, map[int][2]int{10: {752, 1394}, 11: {1024, 1024}}, 11},
		{"given sizes", storage.Config{ClassSizes: []int{100, 200, 301}}, map[int][2]int{1: {104, 10082}, 2: {200, 5242}, 3: {304, 3449}, 4: {524288, 2}}, 4},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, err := storage.New(x.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for id, c := range x.want {
				if got, chunk, per := s.Class(c[0]); got != id || chunk != c[0] || per != c[1] {
					t.Errorf("class %d: expected chunks of %d, %d in a page, found class %d of %d, %d", id, c[0], c[1], got, chunk, per)
				}
			}
			largest := x.cfg.MaxItem
			if largest == 0 {
				largest = 1 << 20
			}
			if last, _, _ := s.Class(largest); last != x.last {
				t.Errorf("expected %d classes, found %d", x.last, last)
			}
		})
	}
}
