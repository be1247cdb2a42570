package storage

import "unsafe"

// maxLimit is the largest Config.Limit; what 32-bit references reach in units
// of 256 bytes, less the room for runs.
const maxLimit = 1 << 39

// arena is the reserved range of addresses that holds all items.
//
// A ref names a place in it, in units of 1<<shift bytes. The first page is
// never handed out nor mapped: ref 0 is no item, and reading it faults.
type arena struct {
	base  unsafe.Pointer
	shift uint8
	mem   []byte
	whole []byte // the reservation that mem lies in
}

// hugePage is the size of a transparent huge page, which is that of hugePages pages:
// pages 1 and 2 share one, 3 and 4 the next, and so on. Page 0 takes no part.
const (
	hugePages = 2
	hugePage  = hugePages * pageSize
)

// newArena reserves size bytes such that page 1 is aligned to a huge page.
func newArena(size int64) (*arena, error) {
	whole, err := reserve(size + hugePage)
	if err != nil {
		return nil, err
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(whole))) + pageSize
	skip := int64(-first & (hugePage - 1))
	mem := whole[skip : skip+size : skip+size]
	return &arena{base: unsafe.Pointer(unsafe.SliceData(mem)), mem: mem, whole: whole, shift: unitShift(size)}, nil
}

// unitShift returns the logarithm of the smallest unit, at least 8 bytes, with
// which 32 bits reach size bytes.
func unitShift(size int64) uint8 {
	shift := uint8(3)
	for (size-1)>>shift > 1<<32-1 {
		shift++
	}
	return shift
}

func (a *arena) unit() uint32 { return 1 << a.shift }

// offset returns the place of ref in bytes from the start of the arena.
func (a *arena) offset(ref uint32) int64 { return int64(ref) << a.shift }

func (a *arena) ref(offset int64) uint32 { return uint32(offset >> a.shift) }

// item returns the item at ref, which must be a chunk.
func (a *arena) item(ref uint32) Item {
	// SAFETY: refs come from the allocator and lie inside the arena, which
	// lives as long as the store.
	return Item{unsafe.Add(a.base, uintptr(ref)<<a.shift)}
}

// head returns the header at ref.
func (a *arena) head(ref uint32) *header {
	// SAFETY: as item; chunks are aligned to 8 bytes, the header needs 4.
	return (*header)(unsafe.Add(a.base, uintptr(ref)<<a.shift))
}

// refOf is the inverse of item.
func (a *arena) refOf(it Item) uint32 {
	return uint32((uintptr(it.p) - uintptr(a.base)) >> a.shift)
}

// bytes returns n bytes from ref on.
func (a *arena) bytes(ref uint32, n int) []byte {
	o := a.offset(ref)
	return a.mem[o : o+int64(n) : o+int64(n)]
}
