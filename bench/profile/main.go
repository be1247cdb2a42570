// Profile says where our server's processor time goes: for each workload, the 15
// functions that take the most of it, kernel included, as text.
//
//	profile [-dir bench/profiles] [-presets get,mget24] [-time 3s]
//
// It builds the server with its symbols, pins it to core 0 and the generator to
// core 1, and samples the server by perf(1), which needs the right to see the
// kernel (root, or kernel.perf_event_paranoid at most 1).
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// top is the number of functions that are listed.
const top = 15

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

type profiler struct {
	dir, tmp, server string
	time             time.Duration
	keys             int
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("profile", flag.ContinueOnError)
	p := &profiler{}
	presets := f.String("presets", "get,get-zipf,get90,get50,set,mget24,mget100,pipe16,pipe64,conns1000,1k-get,100k-get", "workloads")
	f.StringVar(&p.dir, "dir", "bench/profiles", "directory to write to")
	f.DurationVar(&p.time, "time", 3*time.Second, "how long each workload is sampled")
	f.IntVar(&p.keys, "keys", 0, "number of keys, instead of a workload's own")
	f.StringVar(&p.server, "server", "", "a server with symbols, instead of building one")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, err := exec.LookPath("perf"); err != nil {
		return errors.New("perf is needed (Debian: linux-perf)")
	}
	var err error
	if p.tmp, err = os.MkdirTemp("", "profile"); err != nil {
		return err
	}
	defer os.RemoveAll(p.tmp)
	if p.server == "" {
		p.server = filepath.Join(p.tmp, "sememcached")
		if b, err := exec.Command("go", "build", "-o", p.server, "sememcached").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, b)
		}
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	for _, name := range strings.Split(*presets, ",") {
		text, err := p.workload(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name+".txt"), text, 0o644); err != nil {
			return err
		}
		_, _ = out.Write(append(text, '\n'))
	}
	return nil
}

// workload runs one workload under perf and returns its profile.
func (p *profiler) workload(name string) (text []byte, err error) {
	preset, ok := load.Find(name)
	if !ok {
		return nil, errors.New("expected the name of a workload (loadgen -preset help lists them)")
	}
	c := preset.Config
	c.CPUs, c.Seed = []int{1}, 1
	if p.keys > 0 {
		c.Keys = min(c.Keys, p.keys)
	}
	s, err := rig.Start(rig.Kind{Name: "sememcached", Argv: []string{p.server}}, rig.Place{
		Threads: 1, CPUs: []int{0}, MemoryMB: rig.MemoryFor(c.Keys, c.ValueSize),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := rig.Fill(s, c); err != nil {
		return nil, err
	}
	var samples [][]rig.Sample
	report, err := p.sample(s.PID, func() error {
		var err error
		samples, err = rig.Compare([]*rig.Server{s}, c, rig.Options{Repetitions: 1, Time: p.time})
		return err
	})
	if err != nil {
		return nil, err
	}
	m := samples[0][0]
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n", name, preset.About)
	fmt.Fprintf(&b, "commit %s; %.0f requests/s, %.2f us CPU per request; samples of the server's CPU time\n\n", rig.Commit(), m.Rate, m.CPU)
	b.Write(report)
	return b.Bytes(), nil
}

// sample samples the process while work runs.
func (p *profiler) sample(pid int, work func() error) ([]byte, error) {
	data := filepath.Join(p.tmp, "perf.data")
	var said bytes.Buffer
	perf := exec.Command("perf", "record", "-q", "-F", "4999", "-e", "cpu-clock", "-p", strconv.Itoa(pid), "-o", data)
	perf.Stderr = &said
	if err := perf.Start(); err != nil {
		return nil, err
	}
	err := work()
	_ = perf.Process.Signal(os.Interrupt)
	if e := perf.Wait(); e != nil && err == nil && said.Len() > 0 {
		err = fmt.Errorf("perf record: %w: %s", e, said.String())
	}
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("perf", "report", "-i", data, "--no-children", "--stdio", "-F", "overhead,sym").Output()
	if err != nil {
		return nil, fmt.Errorf("perf report: %w", err)
	}
	return summary(out)
}

// summary is the sum of user and kernel time and the first functions of a report
// of perf, whose lines are a share, [.] or [k] for user or kernel, and a symbol.
func summary(report []byte) ([]byte, error) {
	var lines bytes.Buffer
	var user, kernel float64
	n := 0
	for line := range strings.Lines(string(report)) {
		w := strings.Fields(line)
		if len(w) < 3 || w[0] == "#" {
			continue
		}
		share, err := strconv.ParseFloat(strings.TrimSuffix(w[0], "%"), 64)
		if err != nil {
			continue
		}
		if w[1] == "[k]" {
			kernel += share
		} else {
			user += share
		}
		if n++; n <= top {
			fmt.Fprintf(&lines, "%6.2f%%  %-6s  %s\n", share, map[bool]string{true: "kernel", false: "user"}[w[1] == "[k]"], strings.Join(w[2:], " "))
		}
	}
	if n == 0 {
		return nil, errors.New("perf has taken no samples")
	}
	return append(fmt.Appendf(nil, "%6.2f%%  user, all\n%6.2f%%  kernel, all\n\n", user, kernel), lines.Bytes()...), nil
}
