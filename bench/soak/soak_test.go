package main

import (
	"io"
	"testing"
	"time"
)

// TestSoakShort is the soak for two seconds.
func TestSoakShort(t *testing.T) {
	if testing.Short() {
		t.Skip("two seconds of use and some of tidying up")
	}
	if err := run([]string{"-duration", "2s", "-conns", "16", "-dir", "", "-seed", "1"}, io.Discard); err != nil {
		t.Fatal(err)
	}
}

func TestArith(t *testing.T) {
	for _, c := range []struct {
		value  string
		delta  uint64
		decr   bool
		number uint64
		result string
		ok     bool
	}{
		{"9", 1, false, 10, "10", true},
		{"10", 1, true, 9, "9 ", true},
		{"9 ", 1, true, 8, "8 ", true},
		{"5", 7, true, 0, "0", true},
		{"18446744073709551615", 2, false, 1, "1                   ", true},
		{"18446744073709551616", 1, false, 0, "", false},
		{"", 1, false, 0, "", false},
		{"x1", 1, false, 0, "", false},
	} {
		n, result, ok := arith([]byte(c.value), c.delta, c.decr)
		if n != c.number || string(result) != c.result || ok != c.ok {
			t.Errorf("arith(%q, %d, %v) = %d, %q, %v; want %d, %q, %v", c.value, c.delta, c.decr, n, result, ok, c.number, c.result, c.ok)
		}
	}
}

// TestModelObjects: what cannot be is noticed.
func TestModelObjects(t *testing.T) {
	c := &client{w: &world{}, sent: time.Now()}
	gone := &entry{}
	if c.seen("k", gone, true) == nil {
		t.Error("an absent item was found, and nobody objects")
	}
	there := &entry{exists: true, value: []byte("v"), cas: 7}
	if c.seen("k", there, false) == nil {
		t.Error("an item is gone, and nobody objects")
	}
	if there.expect("k", []byte("w"), 0, 0) == nil || there.expect("k", []byte("v"), 1, 0) == nil || there.expect("k", []byte("v"), 0, 8) == nil {
		t.Error("a wrong value, flag or cas, and nobody objects")
	}
	late := &entry{exists: true, exp: time.Now().Add(-time.Minute), early: time.Now().Add(-time.Minute)}
	if c.seen("k", late, true) == nil {
		t.Error("an item outlives its end, and nobody objects")
	}
	c.scarce = true
	if err := c.seen("k", there, false); err != nil || there.exists {
		t.Error("where memory is scarce, an item may be gone:", err)
	}
	before := footprint{fds: 10, goroutines: 5}
	for _, after := range []footprint{
		{fds: 11, goroutines: 5, items: [2]string{"0", "0"}},
		{fds: 10, goroutines: 50, items: [2]string{"0", "0"}},
		{fds: 10, goroutines: 5, items: [2]string{"0", "1"}},
		{fds: 10, goroutines: 5, items: [2]string{"0", "0"}, heap: 1 << 30},
	} {
		if before.compare(after) == nil {
			t.Errorf("a leak, and nobody objects: %v", after)
		}
	}
}
