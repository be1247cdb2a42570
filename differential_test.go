package main

import (
	"context"
	"flag"
	"testing"
	"time"

	"sememcached/bench/differ"
)

var (
	diffSeed = flag.Uint64("seed", 0, "seed of the differential test; 0: the time")
	diffTime = flag.Duration("difftime", 8*time.Second, "how long each part of the differential test runs")
)

// TestDifferential sends random commands to this server and to Debian's memcached
// 1.6.18 and compares the replies byte for byte, of each protocol by itself and of
// all together, whose items are the same. go run ./bench/differential does so for
// an hour.
func TestDifferential(t *testing.T) {
	for _, x := range []struct {
		name      string
		protocols differ.Protocols
	}{{"classic", differ.Classic}, {"meta", differ.Meta}, {"binary", differ.Binary}, {"all", differ.All}} {
		t.Run(x.name, func(t *testing.T) {
			theirs := startMemcached(t)
			ts := startServer(t, testConfig{})
			seed := *diffSeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano())
			}
			t.Logf("seed %d; again: go test -run '^%s$' -seed %d .", seed, t.Name(), seed)
			ctx, cancel := context.WithTimeout(t.Context(), *diffTime)
			defer cancel()
			counts, err := differ.Run(ctx, differ.Config{Ours: ts.tcp, Theirs: theirs, Seed: seed, Protocols: x.protocols})
			if err != nil {
				t.Error(err)
			}
			t.Log(counts)
			if counts.Batches < 20 {
				t.Errorf("only %d batches in %v", counts.Batches, *diffTime)
			}
		})
	}
}
