package protocol

import (
	"math/rand/v2"
	"testing"
)

// TestHasLongToken compares the search from behind with one token after the other.
func TestHasLongToken(t *testing.T) {
	const limit = 5
	rnd := rand.New(rand.NewPCG(1, 2))
	long := 0
	for range 200_000 {
		text := make([]byte, rnd.IntN(4*limit))
		for i := range text {
			text[i] = "ab   cd"[rnd.IntN(7)]
			if rnd.IntN(3) > 0 {
				text[i] = 'k'
			}
		}
		want := false
		for rest := text; rest != nil; {
			var token []byte
			token, rest = NextToken(rest)
			want = want || len(token) > limit
		}
		if want {
			long++
		}
		if got := hasLongToken(text, limit); got != want {
			t.Fatalf("%q: %v, expected %v", text, got, want)
		}
	}
	if long < 10_000 || long > 190_000 {
		t.Errorf("%d texts with a long token: the test draws badly", long)
	}
}
