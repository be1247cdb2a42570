// Soak uses the server for a long time in every way that the classic, meta and
// binary protocols have, checks every reply against a model, and looks for leaks at the
// end.
//
//	soak [-duration 1h] [-conns 200] [-seed N] [-dir bench/runs]
//
// Two servers run inside the process, on real sockets. One has memory for
// everything that its clients store, so that an item that is gone is a failure. The
// other has 8 MiB and evicts all the time: there an item may be gone, but never be
// another than the one stored. Three quarters of the connections use the first.
//
// Every connection has keys of its own and a model of them. It sends batches of
// random commands, cut into random pieces, reads the replies, and now and then
// behaves badly: it breaks off, shuts down its sending half, does not read for a
// while, sends a line that never ends or a data block that is too long. A quarter of
// the connections speak the binary protocol; administrators list all keys and watch.
// Clients
// belong to tenants, which must never see each other's items; an administrator
// gives items ever new labels, so that numbers of labels have to be used again; the
// policy is loaded anew all the time.
//
// At the end every connection removes its keys and closes. Then nothing may be
// left: no item, no byte of an item, no file descriptor, no goroutine, no reference
// to a label, and no memory of the Go heap beyond a bound. What happened is
// written to a log in -dir, whatever the outcome is. The exit code is 1 if anything
// was wrong.
package main

import (
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

	"sememcached/bench/rig"
)

type settings struct {
	duration time.Duration
	conns    int
	seed     uint64
	dir      string
	threads  int
	pause    time.Duration
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	s := &settings{}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.DurationVar(&s.duration, "duration", time.Hour, "how long")
	f.IntVar(&s.conns, "conns", 200, "connections")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the random numbers; 0: a new one")
	f.StringVar(&s.dir, "dir", "bench/runs", "where the log goes; empty: nowhere")
	f.IntVar(&s.threads, "threads", 2, "event loops of each server")
	f.DurationVar(&s.pause, "pause", 2*time.Millisecond, "mean pause of a connection between two batches")
	if err := f.Parse(args); err != nil {
		return err
	}
	if s.conns < 8 {
		return errors.New("expected at least 8 connections")
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	var log strings.Builder
	w := &world{settings: s, out: io.MultiWriter(out, &log)}
	command := "go run ./bench/soak"
	f.Visit(func(fl *flag.Flag) {
		if fl.Name != "dir" && fl.Name != "seed" { // the seed has a line of its own
			command += " -" + fl.Name + " " + fl.Value.String()
		}
	})
	start := time.Now()
	w.printf("command   %s", command)
	w.printf("commit    %s, %s, %d cores", rig.Commit(), runtime.Version(), runtime.NumCPU())
	w.printf("seed      %d", s.seed)
	w.printf("start     %s", start.UTC().Format(time.RFC3339))
	err := w.soak()
	if err != nil {
		w.printf("FAILED    %v", err)
	} else {
		w.printf("passed    after %v", time.Since(start).Round(time.Second))
	}
	if s.dir == "" {
		return err
	}
	if e := os.MkdirAll(s.dir, 0o755); e != nil {
		return errors.Join(err, e)
	}
	name := filepath.Join(s.dir, fmt.Sprintf("soak-%s-%s.log", start.UTC().Format("20060102-150405"), strings.TrimSuffix(rig.Commit(), "+")))
	return errors.Join(err, os.WriteFile(name, []byte(log.String()), 0o644))
}
