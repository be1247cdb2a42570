package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations in nanoseconds. Buckets are log-linear: 64 for each
// power of two, exact below 128 ns. The zero Histogram is empty.
type Histogram struct {
	n      uint64
	max    int64
	counts [histBuckets]uint64
}

const (
	subBits     = 6
	histBuckets = (64 - subBits) << subBits
)

func bucket(ns int64) int {
	v := uint64(max(ns, 0))
	if v < 2<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// lower is the smallest duration in bucket i.
func lower(i int) int64 {
	if i < 2<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	return int64(i-shift<<subBits) << shift
}

// Record counts one duration n times.
func (h *Histogram) Record(ns int64, n uint64) {
	h.n += n
	h.max = max(h.max, ns)
	h.counts[bucket(ns)] += n
}

// Add counts everything that o has counted.
func (h *Histogram) Add(o *Histogram) {
	h.n += o.n
	h.max = max(h.max, o.max)
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Quantile is the duration that a part q (0 to 1) of those counted do not
// exceed, rounded down to its bucket; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q * float64(h.n-1))
	for i, n := range h.counts {
		if rank < n {
			return time.Duration(lower(i))
		}
		rank -= n
	}
	return time.Duration(h.max)
}

// Max is the longest duration counted.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Count is the number of durations counted.
func (h *Histogram) Count() uint64 { return h.n }

// Above is the part (0 to 1) of those counted that took longer than d, to the width of
// d's bucket; 0 if there are none.
func (h *Histogram) Above(d time.Duration) float64 {
	if h.n == 0 {
		return 0
	}
	var n uint64
	for _, c := range h.counts[bucket(int64(d))+1:] {
		n += c
	}
	return float64(n) / float64(h.n)
}
