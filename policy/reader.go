package policy

import (
	"encoding/binary"
	"fmt"
)

// reader walks a binary policy. The first failure sticks: from then on every
// method returns zero values, and loops end because they test err. This keeps
// the decoders readable and makes it impossible to go on after bad input.
type reader struct {
	b   []byte
	off int
	err error
}

// fail records the first problem, in the one shape that all errors of Read
// have: where, what was expected, what was found.
func (r *reader) fail(off int, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("policy: offset %#x: %s", off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.off {
		r.fail(r.off, "expected %d bytes of %s, found %d before the end", n, what, len(r.b)-r.off)
		return nil
	}
	p := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

func (r *reader) u8(what string) uint8 {
	if p := r.take(1, what); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if p := r.take(2, what); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if p := r.take(8, what); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// max reads a number that may not exceed limit.
func (r *reader) max(limit uint32, what string) uint32 {
	off := r.off
	v := r.u32(what)
	if r.err == nil && v > limit {
		r.fail(off, "expected %s of at most %d, found %d", what, limit, v)
		return 0
	}
	return v
}

// count reads a number of elements, each of which takes at least size bytes of
// the file. A count that cannot be true is refused before anything is
// allocated for it, so memory is bounded by the length of the input.
func (r *reader) count(size int, what string) int {
	off := r.off
	n := r.u32(what)
	if r.err != nil {
		return 0
	}
	if most := (len(r.b) - r.off) / size; uint64(n) > uint64(most) {
		r.fail(off, "expected number of %s of at most %d (the bytes left), found %d", what, most, n)
		return 0
	}
	return int(n)
}

// text reads n bytes as a name. Names are never empty and hold no NUL: the
// kernel stores them as C strings.
func (r *reader) text(n uint32, what string) string {
	if r.err != nil {
		return ""
	}
	if n == 0 {
		r.fail(r.off, "expected a name for %s, found an empty one", what)
		return ""
	}
	if uint64(n) > uint64(len(r.b)-r.off) {
		r.fail(r.off, "expected %d bytes of %s, found %d before the end", n, what, len(r.b)-r.off)
		return ""
	}
	off := r.off
	p := r.take(int(n), what)
	for i, c := range p {
		if c == 0 {
			r.fail(off+i, "expected no NUL in the name of %s, found one", what)
			return ""
		}
	}
	return string(p)
}
