package policy

import (
	"encoding/binary"
	"math/bits"
)

// bitmap is an extensible bitmap in the shape of the file and of the kernel's
// ebitmap: only words that are not zero, in ascending order. It stays sparse
// because a file of 24 bytes may set bit 4,294,967,295; a dense one would let
// a small file ask for half a gigabyte.
//
//	u32 64 | u32 highbit | u32 count | count × { u32 startbit | u64 map }
//
// highbit is the end of the last word; startbit is a multiple of 64.
type bitmap []word

type word struct {
	start uint32
	bits  uint64
}

func (r *reader) bitmap(what string) bitmap {
	off := r.off
	if unit := r.u32(what); r.err == nil && unit != 64 {
		r.fail(off, "expected 64 bits in a word of %s, found %d", what, unit)
	}
	off = r.off
	high := r.u32(what)
	n := r.count(12, "words of "+what)
	if r.err != nil {
		return nil
	}
	if high%64 != 0 || (high == 0) != (n == 0) {
		r.fail(off, "expected the high bit of %s to be the end of its last word, found %d with %d words", what, high, n)
		return nil
	}
	if n == 0 {
		return nil
	}
	b := make(bitmap, n)
	for i := range b {
		off = r.off
		w := word{r.u32(what), r.u64(what)}
		switch {
		case r.err != nil:
			return nil
		case w.start%64 != 0 || w.start > high-64:
			r.fail(off, "expected a start bit of %s below %d and divisible by 64, found %d", what, high, w.start)
			return nil
		case i > 0 && w.start <= b[i-1].start:
			r.fail(off, "expected a start bit of %s above %d, found %d", what, b[i-1].start, w.start)
			return nil
		case w.bits == 0:
			r.fail(off+4, "expected a word of %s with a bit set, found 0", what)
			return nil
		}
		b[i] = w
	}
	if last := b[n-1].start + 64; last != high {
		r.fail(off, "expected the last word of %s to end at %d, found %d", what, high, last)
		return nil
	}
	return b
}

func appendBitmap(dst []byte, b bitmap) []byte {
	var high uint32
	if len(b) > 0 {
		high = b[len(b)-1].start + 64
	}
	dst = binary.LittleEndian.AppendUint32(dst, 64)
	dst = binary.LittleEndian.AppendUint32(dst, high)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	for _, w := range b {
		dst = binary.LittleEndian.AppendUint32(dst, w.start)
		dst = binary.LittleEndian.AppendUint64(dst, w.bits)
	}
	return dst
}

// has reports whether bit is set. The word of bit n is at index n/64 or
// before it, and in a full bitmap exactly there: look there first.
func (b bitmap) has(bit uint32) bool {
	start := bit &^ 63
	lo, hi := 0, len(b)
	if n := int(bit / 64); n < hi {
		if b[n].start == start {
			return b[n].bits>>(bit%64)&1 != 0
		}
		hi = n
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if b[mid].start < start {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(b) && b[lo].start == start && b[lo].bits>>(bit%64)&1 != 0
}

// contains reports whether every bit of o is set in b.
func (b bitmap) contains(o bitmap) bool {
	i := 0
	for _, w := range o {
		for i < len(b) && b[i].start < w.start {
			i++
		}
		if i == len(b) || b[i].start != w.start || w.bits&^b[i].bits != 0 {
			return false
		}
	}
	return true
}

func (b bitmap) equal(o bitmap) bool {
	if len(b) != len(o) {
		return false
	}
	for i := range b {
		if b[i] != o[i] {
			return false
		}
	}
	return true
}

// and returns the bits that are set in both.
func (b bitmap) and(o bitmap) bitmap {
	var out bitmap
	i := 0
	for _, w := range o {
		for i < len(b) && b[i].start < w.start {
			i++
		}
		if i < len(b) && b[i].start == w.start && b[i].bits&w.bits != 0 {
			out = append(out, word{w.start, b[i].bits & w.bits})
		}
	}
	return out
}

// without returns the bits of b that are not in o.
func (b bitmap) without(o bitmap) bitmap {
	var out bitmap
	i := 0
	for _, w := range b {
		for i < len(o) && o[i].start < w.start {
			i++
		}
		if i < len(o) && o[i].start == w.start {
			w.bits &^= o[i].bits
		}
		if w.bits != 0 {
			out = append(out, w)
		}
	}
	return out
}

// or returns the bits that are set in one of them. It may share memory with both.
func (b bitmap) or(o bitmap) bitmap {
	if len(b) == 0 {
		return o
	}
	if len(o) == 0 {
		return b
	}
	out := make(bitmap, 0, len(b)+len(o))
	i, j := 0, 0
	for i < len(b) || j < len(o) {
		switch {
		case j == len(o) || i < len(b) && b[i].start < o[j].start:
			out = append(out, b[i])
			i++
		case i == len(b) || o[j].start < b[i].start:
			out = append(out, o[j])
			j++
		default:
			out = append(out, word{b[i].start, b[i].bits | o[j].bits})
			i, j = i+1, j+1
		}
	}
	return out
}

// with returns b with one more bit. It may share memory with b only if the bit
// was set already.
func (b bitmap) with(bit uint32) bitmap {
	if b.has(bit) {
		return b
	}
	start, m := bit&^63, uint64(1)<<(bit%64)
	out := make(bitmap, 0, len(b)+1)
	done := false
	for _, w := range b {
		if !done && w.start == start {
			w.bits |= m
			done = true
		} else if !done && w.start > start {
			out = append(out, word{start, m})
			done = true
		}
		out = append(out, w)
	}
	if !done {
		out = append(out, word{start, m})
	}
	return out
}

// end is one more than the highest bit that is set, 0 for an empty bitmap. It
// is 64 bits wide because bit 4,294,967,295 may be set.
func (b bitmap) end() uint64 {
	if len(b) == 0 {
		return 0
	}
	w := b[len(b)-1]
	return uint64(w.start) + uint64(bits.Len64(w.bits))
}

func (b bitmap) len() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w.bits)
	}
	return n
}

// all yields the bits that are set in ascending order.
func (b bitmap) all(yield func(uint32) bool) {
	for _, w := range b {
		for m := w.bits; m != 0; m &= m - 1 {
			if !yield(w.start + uint32(bits.TrailingZeros64(m))) {
				return
			}
		}
	}
}
