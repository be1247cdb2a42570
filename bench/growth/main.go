// Growth says how the cost of a request grows: our server's processor time for a get, with
// more and more items, connections, labels and event loops, relative to the cheapest
// point of each row. Beside it are Debian's memcached and the ceiling, a C server that makes the
// same system calls and stores nothing (package rig): what grows there too is the kernel's and the processor's.
//
//	growth [-n 5] [-time 400ms] [-server ./sememcached] [-rows items,connections,labels,threads] [-results FILE]
//
// Ten million items take 1.3 GB of memory; ten thousand connections as many files for
// the server and for the generator.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// point is one setting of a row.
type point struct {
	keys, conns, labels, threads int
}

var rows = []struct {
	name   string
	about  string
	points []point
	value  func(point) int
	limit  float64 // of the largest cost divided by the smallest
}{
	{"items", "get, depth 1, 50 connections", []point{{1_000, 50, 1, 1}, {10_000, 50, 1, 1}, {100_000, 50, 1, 1}, {1_000_000, 50, 1, 1}, {10_000_000, 50, 1, 1}}, func(p point) int { return p.keys }, 1.3},
	{"connections", "get, depth 1, 100,000 items", []point{{100_000, 1, 1, 1}, {100_000, 10, 1, 1}, {100_000, 100, 1, 1}, {100_000, 1_000, 1, 1}, {100_000, 10_000, 1, 1}}, func(p point) int { return p.conns }, 1.3},
	{"labels", "get, depth 1, 100,000 items, 50 connections", []point{{100_000, 50, 1, 1}, {100_000, 50, 10, 1}, {100_000, 50, 100, 1}, {100_000, 50, 1_000, 1}, {100_000, 50, 10_000, 1}}, func(p point) int { return p.labels }, 1.3},
	{"threads", "get, depth 1, 100,000 items, 256 connections, nothing pinned", []point{{100_000, 256, 1, 1}, {100_000, 256, 1, 2}, {100_000, 256, 1, 4}, {100_000, 256, 1, 16}, {100_000, 256, 1, 64}}, func(p point) int { return p.threads }, 1.3},
}

type tool struct {
	server, dir, results, rows string
	o                          rig.Options
	pin                        bool
	scale                      int
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (err error) {
	t := &tool{}
	f := flag.NewFlagSet("growth", flag.ContinueOnError)
	f.StringVar(&t.server, "server", "./sememcached", "our server's binary")
	f.StringVar(&t.results, "results", "", "write the report to this file (Markdown)")
	f.StringVar(&t.rows, "rows", "items,connections,labels,threads", "names of rows, separated by commas")
	f.IntVar(&t.o.Repetitions, "n", 5, "repetitions")
	f.IntVar(&t.scale, "scale", 1, "divide all numbers by this, for a trial")
	f.DurationVar(&t.o.Time, "time", 400*time.Millisecond, "how long each measurement lasts")
	f.DurationVar(&t.o.Warm, "warm", 100*time.Millisecond, "how long the load runs before it")
	f.BoolVar(&t.pin, "pin", true, "pin the server to core 0 and the generator to core 1, but for the row of threads")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	if err := raiseFiles(); err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "growth"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	var b bytes.Buffer
	rig.Heading(&b, "Growth", "go run ./bench/growth", args)
	fmt.Fprintf(&b, "- medians of %d repetitions of %v; the points of a row in turn\n", t.o.Repetitions, t.o.Time)
	for _, name := range strings.Split(t.rows, ",") {
		if err := t.row(&b, out, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, _ = out.Write(b.Bytes())
	if t.results != "" {
		return os.WriteFile(t.results, b.Bytes(), 0o644)
	}
	return nil
}

// raiseFiles raises the limit of open files, which the servers inherit.
func raiseFiles() error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	r.Cur = r.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
}

// row measures one row, each point with a server of its own, all started before.
func (t *tool) row(b *bytes.Buffer, out io.Writer, name string) (err error) {
	i := 0
	for i < len(rows) && rows[i].name != name {
		i++
	}
	if i == len(rows) {
		return errors.New("expected items, connections, labels or threads")
	}
	r := rows[i]
	kinds := t.kinds(name)
	var servers []*rig.Server // those of a point side by side
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, p := range r.points {
		for _, k := range kinds {
			s, err := t.start(k, t.scaled(p), name != "threads")
			if err != nil {
				return err
			}
			servers = append(servers, s)
		}
	}
	cpu, p99 := make([][]float64, len(servers)), make([][]float64, len(servers))
	for range t.o.Repetitions {
		for j := range servers {
			p := t.scaled(r.points[j/len(kinds)])
			c := load.Config{Keys: p.keys, Conns: p.conns, Seed: 1}
			if t.pin && name != "threads" {
				c.CPUs = []int{1}
			}
			samples, err := rig.Compare(servers[j:j+1], c, rig.Options{Repetitions: 1, Warm: t.o.Warm, Time: t.o.Time})
			if err != nil {
				return err
			}
			s := samples[0][0]
			if s.HitRatio < 1 {
				return fmt.Errorf("expected hits only, found a ratio of %.3f", s.HitRatio)
			}
			cpu[j], p99[j] = append(cpu[j], s.CPU), append(p99[j], float64(s.P99)/1e3)
		}
	}
	fmt.Fprintf(b, "\n## %s\n\n%s. Aim: at most %.1f times the cheapest point.\n\n| %s |", name, r.about, r.limit, name)
	for _, k := range kinds {
		fmt.Fprintf(b, " %s: us CPU per request | of the cheapest | p99 us |", k.Name)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|---|---|", len(kinds)))
	for i, p := range r.points {
		fmt.Fprintf(b, "| %d |", r.value(t.scaled(p)))
		for k := range kinds {
			least := math.Inf(1)
			for j := k; j < len(cpu); j += len(kinds) {
				least = min(least, rig.SpreadOf(cpu[j]).Median)
			}
			m, far := rig.SpreadOf(cpu[i*len(kinds)+k]).Median, rig.SpreadOf(p99[i*len(kinds)+k]).Median
			fmt.Fprintf(b, " %.2f | %.2f | %.0f |", m, m/least, far)
			if k == 0 {
				fmt.Fprintf(out, "# %s %d: %.2f us, %.2f of the cheapest\n", name, r.value(t.scaled(p)), m, m/least)
			}
		}
		fmt.Fprintln(b)
	}
	return nil
}

// kinds are the servers of a row: ours and, where there are others, who does the same.
func (t *tool) kinds(row string) []rig.Kind {
	kinds := []rig.Kind{{Name: "sememcached", Argv: []string{t.server}}}
	if row == "labels" {
		return kinds
	}
	if p, err := exec.LookPath("memcached"); err == nil {
		kinds = append(kinds, rig.Kind{Name: "memcached", Argv: []string{p}})
	}
	if ceiling, err := rig.BuildCeiling(t.dir); err == nil && row != "threads" {
		kinds = append(kinds, ceiling)
	}
	return kinds
}

func (t *tool) scaled(p point) point {
	d := func(n int) int { return max(1, n/t.scale) }
	return point{max(100, d(p.keys)), d(p.conns), d(p.labels), d(p.threads)}
}

// start starts a server and stores the items of a point.
func (t *tool) start(k rig.Kind, p point, pin bool) (*rig.Server, error) {
	place := rig.Place{Threads: p.threads, MemoryMB: rig.MemoryFor(p.keys, 32), MaxConns: p.conns + 1000, ValueSize: 32}
	if t.pin && pin {
		place.CPUs = []int{0}
	}
	if k.Name == "sememcached" {
		file := filepath.Join(t.dir, "contexts")
		if err := os.WriteFile(file, []byte("client * system_u:system_r:kv_admin_t:s0-s0:c0.c1023\n"), 0o600); err != nil {
			return nil, err
		}
		k.Argv = append(k.Argv[:1:1], "--contexts", file)
	}
	s, err := rig.Start(k, place)
	if err != nil {
		return nil, err
	}
	if p.labels == 1 {
		return s, rig.Fill(s, load.Config{Keys: p.keys, Seed: 1})
	}
	return s, fill(s, p)
}

// fill stores the items under so many labels, each of other categories.
func fill(s *rig.Server, p point) error {
	c, err := net.Dial(s.Network, s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for label := range p.labels {
		var batch []byte
		batch = append(batch, "mac create system_u:object_r:kv_item_t:s0"...)
		for bit, sep := 0, ":"; label>>bit != 0; bit++ {
			if label>>bit&1 != 0 {
				batch = fmt.Appendf(batch, "%sc%d", sep, bit)
				sep = ","
			}
		}
		batch = append(batch, '\r', '\n')
		want := "OK\r\n"
		for i := label; i < p.keys; i += p.labels {
			batch = load.AppendKey(append(batch, "set "...), uint32(i))
			batch = append(batch, " 0 0 32\r\n"...)
			batch = append(load.AppendValue(batch, uint32(i), 32), '\r', '\n')
			want += "STORED\r\n"
		}
		if _, err := c.Write(batch); err != nil {
			return err
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			return fmt.Errorf("label %d: expected %d stores to be answered STORED, found %.60q, %v", label, len(want)/8, got, err)
		}
	}
	return nil
}
