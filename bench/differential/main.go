// Differential compares this server with Debian's memcached for a long time: the
// same random commands go to both, in all protocols, and every reply is compared
// (package differ says how).
//
//	differential [-duration 1h] [-seed N] [-dir bench/runs] [-server ./sememcached]
//
// It starts both servers itself. What happened is written to a log in -dir,
// whatever the outcome is. The exit code is 1 if there was a difference.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"sememcached/bench/differ"
	"sememcached/bench/rig"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("differential", flag.ContinueOnError)
	duration := f.Duration("duration", time.Hour, "how long")
	seed := f.Uint64("seed", 0, "seed of the random numbers; 0: a new one")
	dir := f.String("dir", "bench/runs", "where the log goes; empty: nowhere")
	program := f.String("server", "./sememcached", "the server to compare with memcached")
	oracle := f.String("memcached", "memcached", "memcached 1.6.18")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	var log strings.Builder
	printf := func(format string, args ...any) { fmt.Fprintf(io.MultiWriter(out, &log), format+"\n", args...) }
	command := "go run ./bench/differential"
	f.Visit(func(fl *flag.Flag) {
		if fl.Name != "dir" && fl.Name != "seed" {
			command += " -" + fl.Name + " " + fl.Value.String()
		}
	})
	start := time.Now()
	commit := rig.Commit()
	printf("command   %s", command)
	printf("commit    %s, %s, %d cores", commit, runtime.Version(), runtime.NumCPU())
	printf("seed      %d", *seed)
	printf("start     %s", start.UTC().Format(time.RFC3339))
	err := compare(*program, *oracle, *duration, *seed, printf)
	if err != nil {
		printf("FAILED    after %v: %v", time.Since(start).Round(time.Second), err)
	} else {
		printf("passed    after %v: no difference", time.Since(start).Round(time.Second))
	}
	if *dir == "" {
		return err
	}
	if e := os.MkdirAll(*dir, 0o755); e != nil {
		return errors.Join(err, e)
	}
	name := filepath.Join(*dir, fmt.Sprintf("differential-%s-%s.log", start.UTC().Format("20060102-150405"), strings.TrimSuffix(commit, "+")))
	return errors.Join(err, os.WriteFile(name, []byte(log.String()), 0o644))
}

// memory is enough for everything that is stored, so that nobody evicts.
const memory = 256

// report is how often a line tells how far it has got.
const report = 5 * time.Minute

func compare(program, oracle string, duration time.Duration, seed uint64, printf func(string, ...any)) error {
	place := rig.Place{Threads: 2, MemoryMB: memory}
	ours, err := rig.Start(rig.Kind{Name: "ours", Argv: []string{program}}, place)
	if err != nil {
		return err
	}
	defer func() { _ = ours.Stop() }()
	theirs, err := rig.Start(rig.Kind{Name: "memcached", Argv: []string{oracle}}, place)
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Stop() }()
	printf("ours      %s", ours.Command)
	printf("theirs    %s", theirs.Command)
	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	next := time.Now().Add(report)
	counts, err := differ.Run(ctx, differ.Config{
		Ours: ours.Addr, Theirs: theirs.Addr, Seed: seed, Protocols: differ.All,
		Progress: func(c differ.Counts) {
			if now := time.Now(); now.After(next) {
				next = now.Add(report)
				printf("%s  %v", now.UTC().Format(time.TimeOnly), c)
			}
		},
	})
	printf("compared  %v", counts)
	if err == nil && counts.Slow > counts.Batches/100 {
		return fmt.Errorf("%d of %d batches were too slow to be compared: the machine is overloaded", counts.Slow, counts.Batches)
	}
	return err
}
