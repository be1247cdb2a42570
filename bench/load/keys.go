package load

import (
	"math"
	"math/rand/v2"
	"sort"
)

// KeyLength is the length of every key.
const KeyLength = len(keyPrefix) + keyDigits

const (
	keyPrefix = "key:"
	keyDigits = 8
	keyLen    = KeyLength

	// pattern is the number of different places of the block at which a value may
	// begin.
	pattern = 4096
	// zipfSamples is the length of the sequence of keys that a thread draws
	// beforehand; it is used over and over, from a different start in each run.
	zipfSamples = 1 << 20
)

const hexDigits = "0123456789abcdef"

// appendDigits appends i as 8 hexadecimal digits.
func appendDigits(p []byte, i uint32) []byte {
	return append(p,
		hexDigits[i>>28], hexDigits[i>>24&15], hexDigits[i>>20&15], hexDigits[i>>16&15],
		hexDigits[i>>12&15], hexDigits[i>>8&15], hexDigits[i>>4&15], hexDigits[i&15])
}

// parseDigits reads what appendDigits has written. ok is false for anything
// else.
func parseDigits(p []byte) (i uint32, ok bool) {
	if len(p) < keyDigits {
		return 0, false
	}
	for _, b := range p[:keyDigits] {
		switch {
		case b >= '0' && b <= '9':
			i = i<<4 | uint32(b-'0')
		case b >= 'a' && b <= 'f':
			i = i<<4 | uint32(b-'a'+10)
		default:
			return 0, false
		}
	}
	return i, true
}

// AppendKey appends key i.
func AppendKey(p []byte, i uint32) []byte {
	return appendDigits(append(p, keyPrefix...), i)
}

// values gives every key its value.
type values struct {
	size  int
	block []byte // size+pattern printable bytes, the same for every generator
}

func newValues(size int) *values {
	r := rand.New(rand.NewPCG(1, 2))
	v := &values{size: size, block: make([]byte, size+pattern)}
	for i := range v.block {
		v.block[i] = ' ' + byte(r.Uint32()%95)
	}
	return v
}

// tail is the value of key i without its first 8 bytes, which are the digits of
// the key.
func (v *values) tail(i uint32) []byte {
	at := int(i*2654435761>>8) % pattern
	return v.block[at : at+v.size-keyDigits]
}

func (v *values) appendTo(p []byte, i uint32) []byte {
	return append(appendDigits(p, i), v.tail(i)...)
}

// AppendValue appends the value that a generator with values of size bytes
// stores under key i. It is slow.
func AppendValue(p []byte, i uint32, size int) []byte {
	return newValues(size).appendTo(p, i)
}

// source is where a thread takes keys from. It draws either at random or, to
// fill a server, one after the other.
type source struct {
	rng  uint64 // xorshift64*; never 0
	keys uint32
	zipf []uint32 // nil: uniform
	at   uint32   // in zipf

	filling  bool
	next, to uint32 // the keys still to be filled
}

func (s *source) random() uint64 {
	x := s.rng
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	s.rng = x
	return x * 2685821657736338717
}

// key is the next key. In a fill, left must have been asked before.
func (s *source) key() uint32 {
	switch {
	case s.filling:
		s.next++
		return s.next - 1
	case s.zipf != nil:
		s.at = (s.at + 1) & (zipfSamples - 1)
		return s.zipf[s.at]
	}
	return uint32(s.random() >> 32 * uint64(s.keys) >> 32)
}

// zipfSequence draws zipfSamples of keys keys, key of rank k with probability
// proportional to 1/k^s. Ranks are scattered over the keys, so that hot keys are
// not neighbours.
func zipfSequence(keys int, s float64, seed uint64) []uint32 {
	cdf := make([]float64, keys)
	sum := 0.0
	for i := range cdf {
		sum += math.Pow(float64(i+1), -s)
		cdf[i] = sum
	}
	r := rand.New(rand.NewPCG(seed, 3))
	step := scatter(keys)
	out := make([]uint32, zipfSamples)
	for i := range out {
		rank := sort.SearchFloat64s(cdf, r.Float64()*sum)
		out[i] = uint32(uint64(min(rank, keys-1)) * step % uint64(keys))
	}
	return out
}

// scatter is a factor that permutes the numbers below n, modulo n.
func scatter(n int) uint64 {
	for f := uint64(2654435761); ; f += 2 {
		a, b := f, uint64(n)
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return f
		}
	}
}
