// Guard is a short comparison with memcached that fails when a ratio is below a
// floor. The floors are far below what is aimed at and what is usually measured,
// so that noise cannot reach them: what does is a regression.
//
//	guard [-server ./sememcached] [-time 400ms] [-n 5]
//
// A row passes when its throughput or its CPU per request, median of the paired
// ratios, reaches the floor. A row that does not is measured again, up to three
// times in all.
// Without memcached, guard says so and succeeds; if the environment variable CI is
// not empty, it fails.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// floors are the rows: ratios to memcached 1.6.18.
var floors = []struct {
	preset string
	floor  float64
}{
	{"get", 0.9},
	{"get90", 0.9},
	{"mget24", 2},
	{"pipe16", 6},
}

const (
	keys  = 200_000
	tries = 3
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("guard", flag.ContinueOnError)
	server := f.String("server", "./sememcached", "our server's binary")
	o := rig.Options{}
	f.IntVar(&o.Repetitions, "n", 5, "repetitions")
	f.DurationVar(&o.Time, "time", 400*time.Millisecond, "how long each measurement lasts")
	f.DurationVar(&o.Warm, "warm", 100*time.Millisecond, "how long the load runs before it")
	if err := f.Parse(args); err != nil {
		return err
	}
	path, err := exec.LookPath("memcached")
	if err != nil {
		if os.Getenv("CI") != "" {
			return errors.New("no memcached to compare with")
		}
		fmt.Fprintln(out, "guard: not run, no memcached to compare with")
		return nil
	}
	place := rig.Place{Threads: 1, CPUs: []int{0}, MemoryMB: 256}
	var servers []*rig.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, k := range []rig.Kind{{Name: "sememcached", Argv: []string{*server}}, {Name: "memcached", Argv: []string{path}}} {
		s, err := rig.Start(k, place)
		if err != nil {
			return err
		}
		servers = append(servers, s)
		if err := rig.Fill(s, config("get")); err != nil {
			return err
		}
	}
	return check(servers, o, out)
}

func config(preset string) load.Config {
	p, _ := load.Find(preset)
	c := p.Config
	c.Keys, c.CPUs, c.Seed = keys, []int{1}, 1
	return c
}

func check(servers []*rig.Server, o rig.Options, out io.Writer) error {
	var failed error
	for _, row := range floors {
		var rate, cpu rig.Spread
		for try := range tries {
			var err error
			if rate, cpu, err = ratios(servers, row.preset, o); err != nil {
				return err
			}
			if max(rate.Median, cpu.Median) >= row.floor {
				break
			}
			fmt.Fprintf(out, "%-8s throughput %.2f, CPU per request %.2f: below %.1f in try %d\n", row.preset, rate.Median, cpu.Median, row.floor, try+1)
		}
		verdict := "ok"
		if max(rate.Median, cpu.Median) < row.floor {
			verdict = "REGRESSION"
			failed = errors.Join(failed, fmt.Errorf("%s: expected a ratio of at least %.1f, found throughput %.2f and CPU per request %.2f",
				row.preset, row.floor, rate.Median, cpu.Median))
		}
		fmt.Fprintf(out, "%-8s throughput %.2f (%.2f-%.2f), CPU per request %.2f (%.2f-%.2f), floor %.1f: %s\n", row.preset,
			rate.Median, rate.Low, rate.High, cpu.Median, cpu.Low, cpu.High, row.floor, verdict)
	}
	return failed
}

// ratios are those of throughput and of CPU per request; above 1 ours is better.
func ratios(servers []*rig.Server, preset string, o rig.Options) (rate, cpu rig.Spread, err error) {
	samples, err := rig.Compare(servers, config(preset), o)
	if err != nil {
		return rate, cpu, fmt.Errorf("%s: %w", preset, err)
	}
	var r, c [2][]float64
	for i := range 2 {
		for _, s := range samples[i] {
			r[i] = append(r[i], s.Rate)
			c[i] = append(c[i], s.CPU)
		}
	}
	return rig.SpreadOf(rig.Ratios(r[0], r[1])), rig.SpreadOf(rig.Ratios(c[1], c[0])), nil
}
