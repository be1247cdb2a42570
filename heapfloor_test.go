package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestGCPercent: a heap grows to the floor, or to twice its size.
func TestGCPercent(t *testing.T) {
	for live := uint64(0); live < 4*heapFloor; live += 1 << 18 {
		p := gcPercent(live)
		goal := live + live*uint64(p)/100
		if p < 100 || p > 3200 || goal > max(heapFloor, 2*live) && live >= 1<<20 {
			t.Fatalf("%d live bytes: %d %%, to %d", live, p, goal)
		}
		if live >= 4<<20 && goal < heapFloor*3/4 {
			t.Fatalf("%d live bytes: %d %%, to %d only", live, p, goal)
		}
	}
}

var garbage []byte

// TestHeapFloor makes 640 MB of garbage: that is ten cycles with the floor and hundreds without.
func TestHeapFloor(t *testing.T) {
	if how := os.Getenv("HEAPFLOOR"); how != "" {
		if how == "on" {
			keepHeapFloor()
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
