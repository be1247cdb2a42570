// Robust measures what clients that behave badly cost those that do not.
//
//	robust [-time 1s] [-rounds 9] [-idle 10000] [-dir bench/runs] [-server ./sememcached]
//
// It starts a server and times the requests of a few ordinary clients, with nobody
// else there and beside each kind of misbehaviour, in turns within the same run:
//
//	idle      ten thousand connections that do nothing
//	loris     clients that send a command a byte at a time
//	reset     clients that are gone in the middle of a value, by a reset
//	lengths   every length field at its edges, text and binary, and what follows it
//	unread    clients that ask for much and never read
//
// The quiet 99th percentile and the loaded one are written to a log in -dir. The exit
// code is 1 if an ordinary client got a wrong answer or none, or if in the median of
// the rounds the loaded percentile is more than twice the quiet one and the difference
// is above -floor, the noise of the machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sememcached/bench/rig"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "robust:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("robust", flag.ContinueOnError)
	each := f.Duration("time", time.Second, "how long each measurement takes")
	rounds := f.Int("rounds", 9, "measurements of each kind")
	idle := f.Int("idle", 10_000, "idle connections")
	floor := f.Duration("floor", time.Millisecond, "differences up to this are noise")
	dir := f.String("dir", "bench/runs", "where the log goes; empty: nowhere")
	program := f.String("server", "./sememcached", "the server")
	if err := f.Parse(args); err != nil {
		return err
	}
	var log strings.Builder
	printf := func(format string, args ...any) { fmt.Fprintf(io.MultiWriter(out, &log), format+"\n", args...) }
	start, commit := time.Now(), rig.Commit()
	printf("command   go run ./bench/robust -time %v -rounds %d -idle %d -floor %v", *each, *rounds, *idle, *floor)
	printf("commit    %s, %s, %d cores", commit, runtime.Version(), runtime.NumCPU())
	printf("start     %s", start.UTC().Format(time.RFC3339))
	err := launch(*program, *idle, printf, func(addr string) error {
		return measure(addr, *each, *rounds, *idle, *floor, printf)
	})
	if err != nil {
		printf("FAILED    %v", err)
	} else {
		printf("passed    after %v", time.Since(start).Round(time.Second))
	}
	if *dir == "" {
		return err
	}
	if e := os.MkdirAll(*dir, 0o755); e != nil {
		return errors.Join(err, e)
	}
	name := filepath.Join(*dir, fmt.Sprintf("robust-%s-%s.log", start.UTC().Format("20060102-150405"), strings.TrimSuffix(commit, "+")))
	return errors.Join(err, os.WriteFile(name, []byte(log.String()), 0o644))
}

// launch starts the server for fn.
func launch(program string, idle int, printf func(string, ...any), fn func(addr string) error) error {
	s, err := rig.Start(rig.Kind{Name: "server", Argv: []string{program}}, rig.Place{Threads: 2, MemoryMB: 256, MaxConns: idle + 4096})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	printf("server    %s", s.Command)
	return fn(s.Addr)
}

// sample is what a measurement of the ordinary clients came to.
type sample struct {
	requests      int
	p50, p99, max time.Duration
}

func measure(addr string, each time.Duration, rounds, idle int, floor time.Duration, printf func(string, ...any)) error {
	var bad []error
	for _, a := range attacks(idle) {
		var quiet, loaded []sample
		for range rounds {
			q, err := ordinary(addr, each)
			if err != nil {
				return fmt.Errorf("with nobody else there: %w", err)
			}
			stop, err := a.start(addr)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			l, err := ordinary(addr, each)
			n := stop()
			if err != nil {
				return fmt.Errorf("beside %s: %w", a.name, err)
			}
			quiet, loaded = append(quiet, q), append(loaded, l)
			printf("%-8s  quiet p50 %v p99 %v max %v (%d requests); beside it p50 %v p99 %v max %v (%d requests; %d %s)",
				a.name, q.p50, q.p99, q.max, q.requests, l.p50, l.p99, l.max, l.requests, n, a.unit)
		}
		q, l := median(quiet), median(loaded)
		printf("%-8s  median p99: quiet %v, beside it %v, ratio %.2f", a.name, q, l, float64(l)/float64(q))
		if l > 2*q && l-q > floor {
			bad = append(bad, fmt.Errorf("%s: p99 %v beside %v", a.name, l, q))
		}
	}
	return errors.Join(bad...)
}

func median(s []sample) time.Duration {
	slices.SortFunc(s, func(a, b sample) int { return int(a.p99 - b.p99) })
	return s[len(s)/2].p99
}
