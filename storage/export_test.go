package storage

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Internals that external tests need.

const (
	HeaderSize  = headerSize
	PageSize    = pageSize
	Invariants  = invariants
	RaceEnabled = raceEnabled
)

// PerPage returns how many items with these measures one page holds.
func (s *Store) PerPage(nkey int, flags uint32, nvalue int) int {
	c := s.sizes.class(physicalSize(nkey, flags, nvalue))
	return int(s.sizes.perPage[c])
}

// Chunks returns the sizes of chunks.
func (s *Store) Chunks() []uint32 { return s.sizes.chunk }

// MemcachedClasses returns memcached's chunk sizes and how many a page holds.
func (s *Store) MemcachedClasses() (chunk, perPage []uint32) { return s.mc.chunk, s.mc.perPage }

// PlantedWrite changes an item without any lock: what the race detector must find.
func (it Item) PlantedWrite() { it.head().access++ }

// PlantedRead reads what PlantedWrite changes.
func (it Item) PlantedRead() uint32 { return it.head().access }

// CorruptFree writes to the chunk of an item as a use after free would.
func (it Item) CorruptFree() { *(*byte)(unsafe.Add(it.p, headerSize+3)) ^= 1 }

// Layout shows the bytes of an item, field by field.
func (it Item) Layout() string {
	raw := unsafe.Slice((*byte)(it.p), it.head().size())
	var b strings.Builder
	typ := reflect.TypeFor[header]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		fmt.Fprintf(&b, "%02d-%02d: %-17x # %s\n", f.Offset, f.Offset+f.Type.Size(), raw[f.Offset:f.Offset+f.Type.Size()], f.Name)
	}
	at := headerSize
	for _, part := range []struct {
		name string
		n    int
	}{{"key", int(it.head().nkey)}, {"flags and length", int(it.head().form & formSuffix)}, {"value", int(it.head().nvalue)}, {"end", 2}} {
		fmt.Fprintf(&b, "%02d-%02d: %-17q # %s\n", at, at+part.n, raw[at:at+part.n], part.name)
		at += part.n
	}
	return b.String()
}

var timedSum atomic.Uint64 // keeps the compiler from leaving the calculation out

// NoHolds times sections without any lock in which a thread only reads memory here and there, as holds do, or touches
// memory that it has just got from the system, as holds are timed.
type NoHolds struct {
	memory []byte

	h     holds
	mu    sync.Mutex
	fresh []byte // not touched yet
	all   [][]byte
}

// noHoldReads is how many places a section reads, one after the other: some five microseconds among
// hundreds of megabytes.
const noHoldReads = 50

// NewNoHolds returns one that reads size bytes, which are touched before.
func NewNoHolds(size int64) (*NoHolds, error) {
	mem, err := allocate(size)
	if err != nil {
		return nil, err
	}
	wantHugePages(mem)
	for i := 0; i < len(mem); i += 4096 {
		mem[i] = byte(i >> 12)
	}
	return &NoHolds{memory: mem}, nil
}

// Close gives back what it reads.
func (n *NoHolds) Close() error { return release(n.memory) }

// Beside runs such sections until they have had as much of the processor, and touched as many pages, as
// the holds of the store since its last Holds, or a millisecond's worth of them.
func (n *NoHolds) Beside(s *Store) {
	sum := timedSum.Load()
	for range 200 {
		touch := n.h.faults.Load() < s.holds.faults.Load()
		if !touch && n.h.total.Load() >= s.holds.total.Load() {
			break
		}
		var page []byte
		if touch {
			page = n.page()
		}
		since := threadTime()
		if touch {
			page[0] = 1
		} else {
			for range noHoldReads {
				sum = sum*6364136223846793005 + 1442695040888963407
				sum += uint64(n.memory[(sum>>32)*uint64(len(n.memory))>>32])
			}
		}
		n.h.add(&since)
	}
	timedSum.Store(sum)
}

// page returns a page of the system that nobody has touched.
func (n *NoHolds) page() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.fresh) == 0 {
		mem, err := allocate(16 << 20)
		if err != nil {
			panic(err)
		}
		refuseHugePages(mem)
		n.fresh, n.all = mem, append(n.all, mem)
	}
	page := n.fresh[:4096]
	n.fresh = n.fresh[4096:]
	return page
}

// Holds is Store.Holds of the sections. It gives back their memory.
func (n *NoHolds) Holds() Holds {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, mem := range n.all {
		_ = release(mem) // fails only for a range that is not mapped
	}
	n.fresh, n.all = nil, nil
	return n.h.take()
}
