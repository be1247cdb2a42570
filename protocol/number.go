package protocol

import "math"

// memcached reads numbers in two ways and so must we.
//
// Strict: mcmc's token functions. Digits, for signed ones after one '-'; at most
// 11 bytes, leading zeros included; a lone "-" is 0.
//
// Loose: strtol and strtoull on the rest of the line. White space of the C
// locale before the number (which may be a token of its own: then the number is
// the next token), one sign, digits, then white space or the end. A negative
// unsigned number is its two's complement, but refused when that has the top
// bit, so "-1" is refused and "-18446744073709551615" is 1.

// strictMax is the longest token that the strict functions read.
const strictMax = 11

// ParseUint32 reads a strict unsigned 32-bit number, as verbosity,
// cache_memlimit and most other administrative commands take.
func ParseUint32(token []byte) (v uint32, ok bool) {
	if len(token) == 0 || len(token) > strictMax {
		return 0, false
	}
	var sum uint64
	for _, c := range token {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		sum = sum*10 + uint64(d)
	}
	if sum > math.MaxUint32 {
		return 0, false
	}
	return uint32(sum), true
}

// ParseInt32 reads a strict signed 32-bit number, as gat, flush_all and the
// lengths of data blocks take.
func ParseInt32(token []byte) (v int32, ok bool) {
	if len(token) == 0 || len(token) > strictMax {
		return 0, false
	}
	neg := token[0] == '-'
	if neg {
		token = token[1:]
	}
	var sum int64
	for _, c := range token {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		sum = sum*10 + int64(d)
	}
	if neg {
		sum = -sum
	}
	if sum < math.MinInt32 || sum > math.MaxInt32 {
		return 0, false
	}
	return int32(sum), true
}

// cspace reports whether isspace(3) of the C locale does.
func cspace(c byte) bool { return c == ' ' || c-'\t' <= '\r'-'\t' }

// looseMagnitude reads sign and digits of a loose number at the start of text,
// the rest of a line.
func looseMagnitude(text []byte) (magnitude uint64, neg, ok bool) {
	i := 0
	for i < len(text) && cspace(text[i]) {
		i++
	}
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		neg = text[i] == '-'
		i++
	}
	start := i
	for ; i < len(text); i++ {
		d := uint64(text[i] - '0')
		if d > 9 {
			break
		}
		if magnitude > math.MaxUint64/10 {
			return 0, false, false
		}
		next := magnitude*10 + d
		if next < magnitude {
			return 0, false, false
		}
		magnitude = next
	}
	if i == start || i < len(text) && !cspace(text[i]) {
		return 0, false, false
	}
	return magnitude, neg, true
}

// ParseUint64 reads a loose unsigned 64-bit number at the start of text, as
// incr and decr take it from a stored value. It is memcached's safe_strtoull,
// except that a '-' behind the number does not spoil a large one.
func ParseUint64(text []byte) (v uint64, ok bool) { return looseUint64(text) }

func looseUint64(text []byte) (v uint64, ok bool) {
	magnitude, neg, ok := looseMagnitude(text)
	if !ok {
		return 0, false
	}
	if neg {
		magnitude = -magnitude
		if magnitude>>63 != 0 {
			return 0, false
		}
	}
	return magnitude, true
}

// looseUint32 is memcached's safe_strtoul: 64 bits are read and the lower 32
// are kept.
func looseUint32(text []byte) (v uint32, ok bool) {
	wide, ok := looseUint64(text)
	return uint32(wide), ok
}

// looseInt32 is memcached's safe_strtol: 64 bits are read and the lower 32 are
// kept, with their sign. This is how 4294967295 becomes an exptime in the past.
func looseInt32(text []byte) (v int32, ok bool) {
	magnitude, neg, ok := looseMagnitude(text)
	switch {
	case !ok:
		return 0, false
	case neg && magnitude > 1<<63, !neg && magnitude >= 1<<63:
		return 0, false
	case neg:
		return int32(-int64(magnitude)), true
	}
	return int32(int64(magnitude)), true
}
