package rig

import "slices"

// Spread is a median and the range that it comes from.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// SpreadOf computes the spread of vs; the zero Spread of none.
func SpreadOf(vs []float64) Spread {
	if len(vs) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(vs))
	m := len(s) / 2
	median := s[m]
	if len(s)%2 == 0 {
		median = (s[m-1] + s[m]) / 2
	}
	return Spread{Median: median, Low: s[0], High: s[len(s)-1]}
}

// Ratios divides, pair by pair; pairs with a zero divisor are left out.
func Ratios(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			out = append(out, a[i]/b[i])
		}
	}
	return out
}

// LowerQuartile is the value that three quarters of vs are not below; 0 of none.
func LowerQuartile(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(vs))[len(vs)/4]
}
