// Hitratio compares the share of hits of sememcached and memcached at the same -m,
// over sockets, on the same requests.
//
//	hitratio [-server ./sememcached] [-memcached memcached] [-m 16] [-requests 1000000] [-trace shift]
//	         [-simulated storage/testdata/eviction] [-out FILE]
//
// A request is a get, and a set of the key where it misses. Values have 360 bytes;
// the keys are many times what fits. The first quarter of the requests is not
// counted. Gets go out 32 at a time, and the sets of those that missed after them,
// as from 32 clients.
//
// The traces: zipf with three exponents; loop walks through half as many keys again
// as memcached holds, in order; scans is zipf 0.99 with runs through keys that are
// never asked for again, each as long as the cache; shift is zipf 0.99 whose popular
// keys become other ones every eighth of the time.
//
// The figures of the simulator, where SIEVE and plain LRU can be seen too, follow.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sort"
	"strconv"

	"sememcached/bench/rig"
)

const (
	valueSize = 360
	together  = 32
	itemSize  = 440 // bytes in memory, about: only for how many keys a trace has
)

type trace struct {
	name  string
	above bool // sememcached must be better
	next  func(i int) uint32
}

// traces are the same for both servers: fresh ones with each call.
func traces(fits, requests int) []trace {
	keys := fits * 10
	zipf := func(s float64) func(int) uint32 {
		r := rand.New(rand.NewPCG(1, 2))
		z, perm := newZipf(keys, s), r.Perm(keys)
		return func(int) uint32 { return uint32(perm[z.rank(r.Float64())]) }
	}
	hot, moving := zipf(0.99), zipf(0.99)
	cold := uint32(keys)
	return []trace{
		{"zipf 0.8", false, zipf(0.8)},
		{"zipf 0.99", false, zipf(0.99)},
		{"zipf 1.2", false, zipf(1.2)},
		{"loop", true, func(i int) uint32 { return uint32(i % (fits + fits/2)) }},
		{"scans", true, func(i int) uint32 {
			// A run every five times the size of the cache.
			if i%(6*fits) >= 5*fits {
				cold++
				return cold
			}
			return hot(i)
		}},
		{"shift", false, func(i int) uint32 {
			phase := uint32(i / (requests / 8))
			return (moving(i) + phase*uint32(keys/8)) % uint32(keys)
		}},
	}
}

// zipfRanks draws ranks whose probability falls with the power s of the rank.
type zipfRanks struct{ sums []float64 }

func newZipf(n int, s float64) *zipfRanks {
	z := &zipfRanks{make([]float64, n)}
	total := 0.0
	for i := range z.sums {
		total += math.Pow(float64(i+1), -s)
		z.sums[i] = total
	}
	return z
}

func (z *zipfRanks) rank(u float64) int {
	return sort.SearchFloat64s(z.sums, u*z.sums[len(z.sums)-1])
}

type tool struct {
	kinds    []rig.Kind
	mb       int
	requests int
	only     string // the trace to run; empty: all
	out      bytes.Buffer
}

func main() {
	t := &tool{}
	server := flag.String("server", "./sememcached", "our server")
	memcached := flag.String("memcached", "memcached", "the other one")
	out := flag.String("out", "", "write the table to this file too")
	flag.IntVar(&t.mb, "m", 16, "memory limit of both in MB")
	flag.IntVar(&t.requests, "requests", 1_000_000, "requests of each trace")
	flag.StringVar(&t.only, "trace", "", "run this trace only")
	simulated := flag.String("simulated", "storage/testdata/eviction", "figures of the simulator to put beside these; empty: none")
	flag.Parse()
	t.kinds = []rig.Kind{{Name: "sememcached", Argv: []string{*server}}, {Name: "memcached", Argv: []string{*memcached}}}
	err := t.run()
	if *simulated != "" {
		err = errors.Join(err, t.simulated(*simulated))
	}
	if *out != "" {
		err = errors.Join(err, os.WriteFile(*out, t.out.Bytes(), 0o644))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hitratio:", err)
		os.Exit(1)
	}
}

func (t *tool) printf(format string, args ...any) {
	fmt.Printf(format, args...)
	fmt.Fprintf(&t.out, format, args...)
}

func (t *tool) run() error {
	version, err := rig.Version(t.kinds[1])
	if err != nil {
		return err
	}
	t.printf("# Hit ratio over sockets\n\nsememcached %s, %s; %s; both with -m %d. Written by bench/hitratio.\n\n", rig.Commit(), runtime.Version(), version, t.mb)
	t.printf("%d requests each, the first quarter not counted; values of %d bytes; ten times as many keys as fit.\n\n", t.requests, valueSize)
	t.printf("| trace | sememcached | memcached | difference |\n|---|---|---|---|\n")
	fits := t.mb << 20 / itemSize
	var bad error
	for n, named := range traces(fits, t.requests) {
		if t.only != "" && t.only != named.name {
			continue
		}
		var ratio [2]float64
		var tr trace
		for i, k := range t.kinds {
			tr = traces(fits, t.requests)[n]
			if ratio[i], err = t.play(k, tr); err != nil {
				return fmt.Errorf("%s, %s: %w", k.Name, tr.name, err)
			}
		}
		t.printf("| %s | %.4f | %.4f | %+.4f |\n", tr.name, ratio[0], ratio[1], ratio[0]-ratio[1])
		if ratio[0] < ratio[1] || tr.above && ratio[0] == ratio[1] {
			bad = errors.Join(bad, fmt.Errorf("%s: %.4f is worse than memcached's %.4f", tr.name, ratio[0], ratio[1]))
		}
	}
	return bad
}

// simulated shows the figures of the test that compares the store with models of
// other policies.
func (t *tool) simulated(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	t.printf("\n## Simulated\n\nThe store and models of other policies, at the same number of items (%s, TestEvictionPolicies).\n\n```\n%s```\n", file, b)
	return nil
}

// play runs a trace against a fresh server and returns the share of hits.
func (t *tool) play(k rig.Kind, tr trace) (ratio float64, err error) {
	s, err := rig.Start(k, rig.Place{Threads: 1, MemoryMB: t.mb})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	c, err := s.Dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	value := bytes.Repeat([]byte("v"), valueSize)
	keys, hit := make([]string, together), make([]bool, together)
	hits, counted := 0, 0
	for i := 0; i < t.requests; i += together {
		for j := range keys {
			keys[j] = "key:" + strconv.FormatUint(100_000_000+uint64(tr.next(i+j)), 10)
		}
		if err := c.Gets(keys, hit); err != nil {
			return 0, err
		}
		for j, h := range hit {
			if i >= t.requests/4 {
				counted++
				if h {
					hits++
				}
			}
			if !h {
				if err := c.Put(keys[j], value); err != nil {
					return 0, err
				}
			}
		}
	}
	return float64(hits) / float64(counted), nil
}
