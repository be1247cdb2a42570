// Crash kills a server with a data file at random moments, in both modes that promise
// something, and looks at what it finds then; after that it lets the power fail at every moment
// of a script; see package crashing.
//
//	go build -o sememcached . && go run ./bench/crash -rounds 300 -log bench/runs/crash.log
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sememcached/bench/crashing"
)

func main() {
	server := flag.String("server", "./sememcached", "the binary")
	rounds := flag.Int("rounds", 300, "rounds of each mode")
	bound := flag.Duration("bound", time.Second, "what interval may lose beyond its interval")
	modes := flag.String("modes", "always,interval", "values of --sync")
	power := flag.Int("power", 10000, "about how many states of the disk are looked at in each mode")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the run")
	file := flag.String("log", "", "also write the log to this file")
	dir := flag.String("dir", "", "where the data file is; a temporary directory")
	flag.Parse()
	if err := run(*server, strings.Split(*modes, ","), *rounds, *power, *bound, *seed, *file, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(server string, modes []string, rounds, power int, bound time.Duration, seed uint64, file, dir string) error {
	var out io.Writer = os.Stdout
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		out = io.MultiWriter(os.Stdout, f)
	}
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(out, "%s\ncommit %s\nseed %d, bound %s\n", strings.Join(os.Args[1:], " "), strings.TrimSpace(string(commit)), seed, bound)
	for _, mode := range modes {
		if rounds == 0 {
			break
		}
		d, err := os.MkdirTemp(dir, "crash-")
		if err != nil {
			return err
		}
		cfg := crashing.Config{
			Server: server, Dir: d, Sync: mode, Interval: 100 * time.Millisecond, Bound: bound, Load: "eager",
			Rounds: rounds, Conns: 8, Keys: 60, Seed: seed, Log: out,
		}
		if rounds%2 == 0 { // half of the rounds are served while loading
			cfg.Rounds /= 2
			if r, err := crashing.Run(cfg); err != nil {
				return fmt.Errorf("%s, eager: %w\n%+v\nthe files are in %s", mode, err, r, d)
			} else {
				fmt.Fprintf(out, "%s, eager: %+v\n", mode, r)
			}
			if err := os.RemoveAll(d); err != nil {
				return err
			}
			if err := os.Mkdir(d, 0o700); err != nil {
				return err
			}
			cfg.Load = "lazy"
		}
		r, err := crashing.Run(cfg)
		if err != nil {
			return fmt.Errorf("%s, %s: %w\n%+v\nthe files are in %s", mode, cfg.Load, err, r, d)
		}
		fmt.Fprintf(out, "%s, %s: %+v\n", mode, cfg.Load, r)
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	if power > 0 {
		if err := fail(server, power, seed, out, dir); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "nothing was found that should not be")
	return nil
}

// fail lets the power fail.
func fail(server string, images int, seed uint64, out io.Writer, dir string) error {
	server, err := filepath.Abs(server)
	if err != nil {
		return err
	}
	for _, mode := range []string{"always", "interval", "warm"} {
		d, err := os.MkdirTemp(dir, "power-")
		if err != nil {
			return err
		}
		commands := 5000
		if mode == "warm" {
			commands = 600 // there are few moments
		}
		r, err := crashing.Power(crashing.PowerConfig{
			Server: server, Dir: d, Mode: mode, Commands: commands, Images: images, Serve: 100, Seed: seed, Log: out,
		})
		if err != nil {
			return fmt.Errorf("power, %s: %w\n%+v\nthe files are in %s", mode, err, r, d)
		}
		fmt.Fprintf(out, "power, %s: %+v\n", mode, r)
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	return nil
}
