package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestGCPercent: a heap grows to the floor, or to twice its size, and a percentage that does that stays.
func TestGCPercent(t *testing.T) {
	for _, floor := range []uint64{64 << 20, 128 << 20, 256 << 20} {
		for live := uint64(0); live < 4*floor; live += 1 << 18 {
			for _, now := range []int{0, 100, 300, 1500, 3000, 6000} {
				p := gcPercent(live, floor, now)
				goal := max(live+live*uint64(p)/100, 4<<20*uint64(p)/100) // as the runtime computes it
				if p < 100 || goal > max(floor, 2*live) {
					t.Fatalf("floor %d, %d live bytes, %d %% now: %d %%, to %d", floor, live, now, p, goal)
				}
				if goal < floor*3/4 {
					t.Fatalf("floor %d, %d live bytes, %d %% now: %d %%, to %d only", floor, live, now, p, goal)
				}
			}
			if 4*live >= floor {
				continue
			}
			p := gcPercent(live, floor, 0)
			for _, next := range []uint64{live, live / 20 * 21, live / 10 * 9} {
				if q := gcPercent(next, floor, p); q != p {
					t.Fatalf("floor %d: %d %% for %d live bytes, %d %% for %d", floor, p, live, q, next)
				}
			}
			if live > 16<<20 && gcPercent(live/2, floor, p) == p {
				t.Fatalf("floor %d: still %d %% after half of %d bytes is gone", floor, p, live)
			}
		}
	}
}

// TestFloorOfItems: the floor goes with -m within bounds.
func TestFloorOfItems(t *testing.T) {
	for _, c := range [][2]int64{{1, 64}, {64, 64}, {128, 64}, {256, 128}, {512, 256}, {1 << 20, 256}} {
		if got := heapFloor(c[0] << 20); got != uint64(c[1])<<20 {
			t.Errorf("-m %d: expected a floor of %d MiB, found %d bytes", c[0], c[1], got)
		}
	}
}

var garbage []byte

// TestHeapFloor makes 640 MB of garbage: that is ten cycles with the floor and hundreds without.
func TestHeapFloor(t *testing.T) {
	if how := os.Getenv("HEAPFLOOR"); how != "" {
		if how == "on" {
			keepHeapFloor(64 << 20)
		}
		for range 640 << 10 {
			garbage = make([]byte, 1<<10)
		}
		return
	}
	cycles := func(how string) int {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestHeapFloor$")
		cmd.Env = append(os.Environ(), "HEAPFLOOR="+how, "GODEBUG=gctrace=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		last := regexp.MustCompile(`(?m)^gc (\d+) `).FindAllSubmatch(out, -1)
		if len(last) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(string(last[len(last)-1][1]))
		return n
	}
	with, without := cycles("on"), cycles("off")
	t.Logf("%d cycles with the floor, %d without", with, without)
	if with > 40 || without < 3*with {
		t.Errorf("%d cycles with the floor, %d without", with, without)
	}
}
