package crashing_test

import (
	"testing"
	"time"

	"sememcached/bench/crashing"
)

// TestCrash is the bounded version of bench/crash.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	server := crashing.BuildServer(t)
	for _, c := range []struct{ sync, load string }{{"always", "eager"}, {"always", "lazy"}, {"interval", "eager"}, {"interval", "lazy"}} {
		t.Run(c.sync+"/"+c.load, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			r, err := crashing.Run(crashing.Config{
				Server: server, Dir: t.TempDir(), Sync: c.sync, Load: c.load, Interval: 100 * time.Millisecond,
				Bound: 5 * time.Second, Rounds: 5, Conns: 6, Keys: 40, Seed: seed,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seed %d: %+v", seed, r)
			if want := 5 * 6 * 40; r.Rounds != 5 || r.Checked != want || r.Commands == 0 {
				t.Errorf("expected 5 rounds, %d keys looked at, and commands, found %+v", want, r)
			}
		})
	}
}
