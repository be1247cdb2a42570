// Loadgen runs one load against a server that is running already and prints what
// it measured. It is package load with flags.
//
//	loadgen -addr 127.0.0.1:11211 -fill -preset get90 -verify -time 10s
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"sememcached/bench/load"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	preset := f.String("preset", "get", "load to start from; -preset help lists them")
	fill := f.Bool("fill", false, "store every key first")
	d := f.Duration("time", 5*time.Second, "how long to measure")
	cpu := f.Int("cpu", -1, "core of the first thread; -1: not pinned")
	set := overrides(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	p, ok := load.Find(*preset)
	if !ok {
		for _, p := range load.Presets {
			fmt.Fprintf(out, "%-12s %s\n", p.Name, p.About)
		}
		return nil
	}
	c := p.Config
	set(&c)
	for i := range c.Threads {
		if *cpu >= 0 {
			c.CPUs = append(c.CPUs, *cpu+i)
		}
	}
	g, err := load.New(c)
	if err != nil {
		return err
	}
	defer g.Close()
	if *fill {
		r, err := g.Fill()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "filled     %d keys in %v\n", r.Requests, r.Elapsed.Round(time.Millisecond))
	}
	r, err := g.Run(*d)
	if err != nil {
		return err
	}
	print(out, &r)
	return r.Err()
}

// overrides declares the flags that change a preset; the function it returns
// applies those that were given.
func overrides(f *flag.FlagSet) func(*load.Config) {
	var c load.Config
	f.StringVar(&c.Network, "network", "tcp", "tcp or unix")
	f.StringVar(&c.Addr, "addr", "127.0.0.1:11211", "address or socket of the server")
	f.IntVar(&c.Threads, "threads", 0, "threads of the generator")
	f.IntVar(&c.Conns, "conns", 0, "connections")
	f.IntVar(&c.Depth, "depth", 0, "requests in flight on each connection")
	f.IntVar(&c.Sets, "sets", 0, "sets in the mix")
	f.IntVar(&c.Gets, "gets", 0, "gets in the mix")
	f.IntVar(&c.MultiGet, "multiget", 0, "keys of a get")
	f.IntVar(&c.Keys, "keys", 0, "number of keys")
	f.Float64Var(&c.Zipf, "zipf", 0, "exponent of a zipf distribution")
	f.IntVar(&c.ValueSize, "size", 0, "bytes of a value")
	f.Float64Var(&c.Rate, "rate", 0, "requests a second: open loop")
	f.BoolVar(&c.Verify, "verify", false, "compare every byte")
	f.Uint64Var(&c.Seed, "seed", 1, "seed of the random numbers")
	return func(to *load.Config) {
		given := map[string]bool{}
		f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
		for _, o := range []struct {
			name     string
			to, from *int
		}{
			{"threads", &to.Threads, &c.Threads},
			{"conns", &to.Conns, &c.Conns},
			{"depth", &to.Depth, &c.Depth},
			{"sets", &to.Sets, &c.Sets},
			{"gets", &to.Gets, &c.Gets},
			{"multiget", &to.MultiGet, &c.MultiGet},
			{"keys", &to.Keys, &c.Keys},
			{"size", &to.ValueSize, &c.ValueSize},
		} {
			if given[o.name] {
				*o.to = *o.from
			}
		}
		if given["zipf"] {
			to.Zipf = c.Zipf
		}
		to.Network, to.Addr, to.Rate, to.Verify, to.Seed = c.Network, c.Addr, c.Rate, c.Verify, c.Seed
	}
}

func print(out io.Writer, r *load.Result) {
	q := func(q float64) time.Duration { return r.Latency.Quantile(q) }
	fmt.Fprintf(out, "requests   %d in %v: %.0f/s, %.0f keys/s\n", r.Requests, r.Elapsed.Round(time.Millisecond), r.Rate(), r.KeyRate())
	fmt.Fprintf(out, "gets       %d: %d hits, %d misses\n", r.Gets, r.Hits, r.Misses)
	fmt.Fprintf(out, "errors     %d, wrong %d\n", r.Errors, r.Wrong)
	fmt.Fprintf(out, "latency    p50 %v  p99 %v  p99.9 %v  max %v\n", q(.5), q(.99), q(.999), r.Latency.Max())
	fmt.Fprintf(out, "generator  %.2f us CPU a request\n", float64(r.CPU.Microseconds())/float64(max(1, r.Requests)))
}
