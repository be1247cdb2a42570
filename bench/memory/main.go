// Memory compares how much sememcached and memcached keep in the memory that they
// are given, and how much of it they take, in one run, over sockets.
//
//	memory [-server ./sememcached] [-memcached memcached] [-parts held,mixed,rss]
//	       [-items 1000000,5000000] [-overwrites 10m] [-rate 15000] [-out FILE]
//
// held: values of one size are stored until the first eviction; how many items
// there are then, at -m 64 and -m 1024.
//
// mixed: values of 10 to 500,000 bytes, their logarithms evenly spread, are stored
// with -m 8 and -m 64; how many are refused for want of memory.
//
// rss: items are loaded and then overwritten for a while with values of changing
// sizes: 20 to 100 bytes, 100 to 200, and again. Both servers get the same, at the
// same time, at a fixed rate. Their anonymous resident memory (smaps_rollup of
// proc(5)) is taken after the load and at the end.
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
	"strconv"
	"strings"
	"sync"
	"time"

	"sememcached/bench/rig"
)

type tool struct {
	kinds      []rig.Kind
	overwrites time.Duration
	rate       int
	out        bytes.Buffer
}

func main() {
	t := &tool{}
	server := flag.String("server", "./sememcached", "our server")
	memcached := flag.String("memcached", "memcached", "the other one")
	parts := flag.String("parts", "held,mixed,rss", "what to measure")
	items := flag.String("items", "1000000,5000000", "numbers of items for rss")
	out := flag.String("out", "", "write the tables to this file too")
	flag.DurationVar(&t.overwrites, "overwrites", 10*time.Minute, "how long rss overwrites")
	flag.IntVar(&t.rate, "rate", 15000, "overwrites a second")
	flag.Parse()
	t.kinds = []rig.Kind{{Name: "sememcached", Argv: []string{*server}}, {Name: "memcached", Argv: []string{*memcached}}}
	err := t.run(strings.Split(*parts, ","), *items)
	if err == nil && *out != "" {
		err = os.WriteFile(*out, t.out.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func (t *tool) run(parts []string, items string) error {
	version, err := rig.Version(t.kinds[1])
	if err != nil {
		return err
	}
	t.printf("# Memory\n\nsememcached %s, %s; %s; %s. Written by bench/memory.\n", rig.Commit(), runtime.Version(), version, rig.HugePages())
	for _, p := range parts {
		switch p {
		case "held":
			err = t.held()
		case "mixed":
			err = t.mixed()
		case "rss":
			for _, w := range strings.Split(items, ",") {
				n, e := strconv.Atoi(w)
				if e != nil || n < 1 {
					return fmt.Errorf("-items: expected numbers, found %q", w)
				}
				err = errors.Join(err, t.rss(n))
			}
		default:
			err = fmt.Errorf("-parts: expected held, mixed or rss, found %q", p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) printf(format string, args ...any) {
	fmt.Printf(format, args...)
	fmt.Fprintf(&t.out, format, args...)
}

// with runs fn with a fresh server and a connection to it.
func with(k rig.Kind, mb int, fn func(s *rig.Server, c *rig.Client) error) (err error) {
	s, err := rig.Start(k, rig.Place{Threads: 1, MemoryMB: mb})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	c, err := s.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(s, c)
}

var heldSizes = []int{32, 100, 1000, 10_000, 100_000}

func (t *tool) held() error {
	t.printf("\n## Items held before the first eviction\n\nKeys of 12 bytes.\n\n| -m | value | sememcached | memcached | ratio |\n|---|---|---|---|---|\n")
	for _, mb := range []int{64, 1024} {
		for _, size := range heldSizes {
			var held [2]int64
			for i, k := range t.kinds {
				err := with(k, mb, func(_ *rig.Server, c *rig.Client) (err error) {
					held[i], err = fill(c, mb, size)
					return err
				})
				if err != nil {
					return err
				}
			}
			t.printf("| %d | %d | %d | %d | %.3f |\n", mb, size, held[0], held[1], float64(held[0])/float64(held[1]))
		}
	}
	return nil
}

// fill stores until something is evicted and returns how many items there were
// before that.
func fill(c *rig.Client, mb, size int) (int64, error) {
	value := bytes.Repeat([]byte("v"), size)
	step := max(1, mb<<20/(size+60)/400) // a quarter of a percent
	for n := 0; ; {
		for range step {
			if err := c.Put(fmt.Sprintf("key:%08d", n), value); err != nil {
				return 0, err
			}
			n++
		}
		st, err := c.Stats("")
		if err != nil {
			return 0, err
		}
		items, err1 := strconv.ParseInt(st["curr_items"], 10, 64)
		evicted, err2 := strconv.ParseInt(st["evictions"], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		if evicted > 0 {
			return items, nil
		}
		if lost := int64(n) - items; lost > 0 {
			return 0, fmt.Errorf("%d of %d items are gone without an eviction", lost, n)
		}
	}
}

func (t *tool) mixed() error {
	const sets = 30_000
	t.printf("\n## Stores refused for want of memory, mixed sizes\n\n%d values of 10 to 500,000 bytes, logarithms evenly spread.\n\n| -m | sememcached | memcached | items left: sememcached | memcached | bytes left: sememcached | memcached |\n|---|---|---|---|---|---|---|\n", sets)
	for _, mb := range []int{8, 64} {
		var refused, items, kept [2]int64
		for i, k := range t.kinds {
			err := with(k, mb, func(_ *rig.Server, c *rig.Client) error {
				r := rand.New(rand.NewPCG(1, 2))
				value := bytes.Repeat([]byte("v"), 500_000)
				for range sets {
					n := int(math.Exp(math.Log(10) + r.Float64()*math.Log(50_000)))
					s, err := c.Set(fmt.Sprintf("key:%08d", r.IntN(20_000)), value[:n])
					switch {
					case err != nil:
						return err
					case strings.HasPrefix(s, "SERVER_ERROR out of memory"):
						refused[i]++
					case s != "STORED":
						return fmt.Errorf("%d bytes: expected STORED, found %q", n, s)
					}
				}
				st, err := c.Stats("")
				if err != nil {
					return err
				}
				items[i], err = strconv.ParseInt(st["curr_items"], 10, 64)
				if err != nil {
					return err
				}
				kept[i], err = strconv.ParseInt(st["bytes"], 10, 64)
				return err
			})
			if err != nil {
				return err
			}
		}
		t.printf("| %d | %d | %d | %d | %d | %d | %d |\n", mb, refused[0], refused[1], items[0], items[1], kept[0], kept[1])
		if refused[0] > refused[1] {
			return fmt.Errorf("-m %d: %d stores refused, %d by memcached", mb, refused[0], refused[1])
		}
	}
	return nil
}

// rss loads and overwrites in both servers at the same time.
func (t *tool) rss(items int) error {
	mb := 64 + items*400/1_000_000
	type result struct {
		loaded, after, hugeLoaded, huge int64
		evictions                       int64
		written                         int
	}
	var results [2]result
	var errs [2]error
	var group sync.WaitGroup
	for i, k := range t.kinds {
		group.Go(func() {
			errs[i] = with(k, mb, func(s *rig.Server, c *rig.Client) (err error) {
				r := &results[i]
				w := overwriter{c: c, rng: rand.New(rand.NewPCG(1, 2)), value: bytes.Repeat([]byte("v"), 200), items: items}
				for n := range items {
					if err := w.put(n, 20, 100); err != nil {
						return err
					}
				}
				if _, err := c.Count("curr_items"); err != nil { // waits for all of them
					return err
				}
				if r.loaded, r.hugeLoaded, err = rig.Anonymous(s.PID); err != nil {
					return err
				}
				if r.written, err = w.overwrite(t.overwrites, t.rate); err != nil {
					return err
				}
				if r.evictions, err = c.Count("evictions"); err != nil {
					return err
				}
				r.after, r.huge, err = rig.Anonymous(s.PID)
				return err
			})
		})
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	t.printf("\n## Resident memory, %d items, -m %d\n\nAnonymous memory in MiB, huge pages in brackets.\n\n| | sememcached | memcached | ratio |\n|---|---|---|---|\n", items, mb)
	row := func(name string, at func(*result) (int64, int64)) {
		a, ah := at(&results[0])
		b, bh := at(&results[1])
		t.printf("| %s | %.1f (%.1f) | %.1f (%.1f) | %.3f |\n", name, mib(a), mib(ah), mib(b), mib(bh), float64(a)/float64(b))
	}
	row("after the load", func(r *result) (int64, int64) { return r.loaded, r.hugeLoaded })
	row(fmt.Sprintf("after %v of overwrites", t.overwrites), func(r *result) (int64, int64) { return r.after, r.huge })
	t.printf("| overwrites | %d | %d | |\n| evictions | %d | %d | |\n", results[0].written, results[1].written, results[0].evictions, results[1].evictions)
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

type overwriter struct {
	c     *rig.Client
	rng   *rand.Rand
	value []byte
	items int
}

func (w *overwriter) put(n, low, high int) error {
	return w.c.Put(fmt.Sprintf("key:%08d", n), w.value[:low+w.rng.IntN(high-low+1)])
}

// overwrite stores over random items at a rate, for a while. The sizes change
// between smaller and larger ones every eighth of the time, or sooner, when every
// item has been overwritten twice on the average.
func (w *overwriter) overwrite(d time.Duration, rate int) (written int, err error) {
	const tick = 20 * time.Millisecond
	phase := min(d/8, time.Duration(2*w.items/rate)*time.Second+time.Second)
	start := time.Now()
	for time.Since(start) < d {
		low, high := 100, 200
		if int(time.Since(start)/phase)%2 == 1 {
			low, high = 20, 100
		}
		// What is due by now: a machine that was slow catches up.
		due := int(time.Since(start).Seconds() * float64(rate))
		for ; written < due; written++ {
			if err := w.put(w.rng.IntN(w.items), low, high); err != nil {
				return written, err
			}
		}
		if _, err := w.c.Do("version"); err != nil {
			return written, err
		}
		time.Sleep(tick)
	}
	return written, nil
}
