package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is how large the heap may get before the garbage collector runs at all, in
// a server with TLS.
const heapFloor = 64 << 20

// cycle is an object that nothing refers to: its finalizer runs once for each cycle of
// the garbage collector.
type cycle struct{ _ [16]byte }

// keepHeapFloor makes the garbage collector wait for a heap of heapFloor. A handshake
// leaves some tens of kilobytes behind, items are not on the heap, and so a server with
// few items would run it many times a second in a storm of handshakes, in threads that
// take the processors from the loops. A heap that is larger anyway is collected as
// usual. GOGC in the environment has the last word.
func keepHeapFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := 0
	var next func(*cycle)
	next = func(*cycle) {
		if p := gcPercent(liveHeap()); p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		runtime.SetFinalizer(new(cycle), next)
	}
	next(nil)
}

// gcPercent is the percentage by which a heap of so many live bytes may grow: to
// heapFloor, and to twice its size at least. It goes in steps, as each change stops
// the program for a moment.
func gcPercent(live uint64) int {
	const step, most = 50, 3200
	live = max(live, 1<<20)
	if 2*live >= heapFloor {
		return 100
	}
	return min(int((heapFloor-live)*100/live)/step*step, most)
}

// liveHeap is what the last cycle has found in use, in bytes.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return heapFloor // nothing is known: collect as usual
	}
	return s[0].Value.Uint64()
}
