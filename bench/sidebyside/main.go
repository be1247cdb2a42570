// Sidebyside measures this server and its rivals in the same run and reports
// paired ratios.
//
//	sidebyside [-short] [-n 7] [-rows get,mget24] [-json FILE] [-svg DIR] [-results FILE]
//	           [-also EARLIER.json,...]
//
// The rivals are Debian's memcached, if it is installed, and whatever RIVALS in
// the environment names, as name=command, several separated by ";". A rival must
// take memcached's flags -t -m -c -U -u -l -p -s, which are appended to its
// command. Beside them runs the ceiling, a C server that makes the same system
// calls and nothing else (package rig).
//
// By default every server has one thread pinned to core 0, and the generator one
// pinned to core 1. With -threads 2 -pin=false nothing is pinned and the generator
// has two threads too.
//
// The exit code is 1 when something could not be measured, whatever the ratios
// are; floors are the business of the command guard.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"sememcached/bench/rig"
)

// settings are the flags.
type settings struct {
	server  string
	reps    int
	time    time.Duration
	warm    time.Duration
	keys    int
	rows    string
	short   bool
	strace  bool
	threads int
	pin     bool
	verify  bool
	json    string
	svg     string
	results string
	memory  string
	rest    time.Duration
	slap    bool
	uring   bool
	notes   string
	also    string
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	s, err := parseFlags(args)
	if err != nil {
		return err
	}
	rows, err := selectRows(s)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sidebyside")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kinds, err := participants(s, dir, out)
	if err != nil {
		return err
	}
	rep := &report{Machine: rig.ThisMachine(), Command: commandLine(args), Versions: versions(kinds), Settings: describe(s)}
	if rep.Earlier, err = earlier(s.also); err != nil {
		return err
	}
	b := &bench{settings: s, kinds: kinds, dir: dir, log: out}
	for _, g := range groups(rows) {
		rs, err := b.group(g)
		if err != nil {
			return err
		}
		rep.Rows = append(rep.Rows, rs...)
	}
	rep.sort(rows)
	if rep.Memory, err = b.memory(s.memory); err != nil {
		return err
	}
	if s.slap {
		if rep.Slap, err = b.memcslap(); err != nil {
			return err
		}
	}
	return publish(rep, s, out)
}

func parseFlags(args []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("sidebyside", flag.ContinueOnError)
	f.StringVar(&s.server, "server", "./sememcached", "our server's binary")
	f.IntVar(&s.reps, "n", 7, "repetitions")
	f.DurationVar(&s.time, "time", time.Second, "how long each measurement lasts")
	f.DurationVar(&s.warm, "warm", 150*time.Millisecond, "how long the load runs before it")
	f.IntVar(&s.keys, "keys", 0, "number of keys, instead of a row's own")
	f.StringVar(&s.rows, "rows", "", "names of rows, separated by commas; empty: all")
	f.BoolVar(&s.short, "short", false, "a minute: few rows, three repetitions, fewer keys")
	f.BoolVar(&s.strace, "strace", true, "count system calls, apart from the measurements")
	f.IntVar(&s.threads, "threads", 1, "threads of each server, and of the generator")
	f.BoolVar(&s.pin, "pin", true, "pin the server to core 0 and the generator to core 1")
	f.BoolVar(&s.verify, "verify", false, "compare every byte of every reply (not with the ceiling)")
	f.BoolVar(&s.uring, "uring", false, "measure a ceiling that uses io_uring too (needs liburing-dev)")
	f.StringVar(&s.notes, "notes", "", "append this file to the report")
	f.StringVar(&s.also, "also", "", "results of earlier runs, written by -json, separated by commas: the report says which rows hold in every run")
	f.BoolVar(&s.slap, "memcslap", true, "run libmemcached's memcslap too")
	f.StringVar(&s.memory, "memory", "1000000", "measure the memory for these numbers of items; empty: not at all")
	f.DurationVar(&s.rest, "rest", 0, "pause between two rows, for machines that others use too")
	f.StringVar(&s.json, "json", "", "write all samples to this file")
	f.StringVar(&s.svg, "svg", "", "write charts to this directory")
	f.StringVar(&s.results, "results", "", "write the report to this file (Markdown)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	if s.pin && s.threads > 1 {
		return nil, errors.New("more than one thread is measured with -pin=false")
	}
	if s.short {
		given := map[string]bool{}
		f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
		short := map[string]string{"n": "3", "time": "500ms", "keys": "200000", "rows": shortRows, "strace": "false", "memory": "", "memcslap": "false"}
		for name, v := range short {
			if !given[name] {
				if err := f.Set(name, v); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, nil
}

// participants are our server, the rivals and, if it can be had, the ceiling.
func participants(s *settings, dir string, out io.Writer) ([]rig.Kind, error) {
	kinds := []rig.Kind{{Name: "sememcached", Argv: []string{s.server}, Env: []string{"GODEBUG=gctrace=1"}}}
	if _, err := os.Stat(s.server); err != nil {
		return nil, fmt.Errorf("our server: %w (make build)", err)
	}
	if p, err := exec.LookPath("memcached"); err == nil {
		kinds = append(kinds, rig.Kind{Name: "memcached", Argv: []string{p}})
	}
	for _, r := range strings.Split(os.Getenv("RIVALS"), ";") {
		name, command, ok := strings.Cut(strings.TrimSpace(r), "=")
		if argv := strings.Fields(command); ok && len(argv) > 0 {
			kinds = append(kinds, rig.Kind{Name: name, Argv: argv})
		} else if r != "" {
			return nil, fmt.Errorf("RIVALS: expected name=command, found %q", r)
		}
	}
	if len(kinds) == 1 {
		return nil, errors.New("no rival: memcached is not installed and RIVALS is empty")
	}
	if s.verify {
		return kinds, nil // what the ceiling answers is not what was stored
	}
	ceiling, err := rig.BuildCeiling(dir)
	switch {
	case errors.Is(err, rig.ErrNoCompiler):
		fmt.Fprintln(out, err)
	case err != nil:
		return nil, err
	default:
		kinds = append(kinds, ceiling)
	}
	if s.uring {
		ceiling, err := rig.BuildURingCeiling(dir)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, ceiling)
	}
	return kinds, nil
}

func publish(rep *report, s *settings, out io.Writer) error {
	rep.print(out)
	if s.json != "" {
		b, err := json.MarshalIndent(rep, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.json, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if s.svg != "" {
		if err := rep.charts(s.svg); err != nil {
			return err
		}
	}
	if s.results == "" {
		return nil
	}
	text := rep.markdown()
	if s.notes != "" {
		notes, err := os.ReadFile(s.notes)
		if err != nil {
			return err
		}
		text = append(append(text, '\n'), notes...)
	}
	return os.WriteFile(s.results, text, 0o644)
}
