package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is how large the heap may get, in bytes, before the garbage collector runs
// at all in a server with TLS: half of what items may take (-m), as nobody should find
// the garbage of handshakes larger than the cache, but at least 64 and at most 256 MiB.
func heapFloor(items int64) uint64 { return uint64(min(max(items/2, 64<<20), 256<<20)) }

// cycle is an object that nothing refers to: its finalizer runs once for each cycle of
// the garbage collector.
type cycle struct{ _ [16]byte }

// keepHeapFloor makes the garbage collector wait for a heap of floor bytes. A handshake
// leaves some tens of kilobytes behind, items are not on the heap, and so a server with
// few items would run it many times a second in a storm of handshakes, in threads that
// take the processors from the loops. A heap that is larger anyway is collected as
// usual. GOGC in the environment has the last word.
func keepHeapFloor(floor uint64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := 0
	var next func(*cycle)
	next = func(*cycle) {
		if p := gcPercent(liveHeap(), floor, percent); p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		runtime.SetFinalizer(new(cycle), next)
	}
	next(nil)
}

// gcPercent is the percentage by which a heap of so many live bytes may grow: to
// between three quarters of floor and all of it, and to twice its size at least. It stays as it is now
// while that is so, as each change stops the program once more, which takes a loop's
// thread a millisecond in a storm. The runtime never collects a heap below smallest
// at 100 %, and in proportion at others.
func gcPercent(live, floor uint64, now int) int {
	const smallest = 4 << 20
	live = max(live, smallest)
	if goal := live + live*uint64(now)/100; now > 100 && floor/4*3 <= goal && goal <= floor {
		return now
	}
	best := floor / 16 * 15
	if 2*live >= best {
		return 100
	}
	return int((best - live) * 100 / live)
}

// liveHeap is what the last cycle has found in use, in bytes.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return math.MaxInt64 // nothing is known: collect as usual
	}
	return s[0].Value.Uint64()
}
