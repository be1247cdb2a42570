// Persist measures what keeping the items costs: the server without a data file,
// with one in each mode, and redis-server with its append-only file, one after the
// other in every round, so that what else the machine does hits all alike. Medians of
// the rounds and their ratios are written.
//
// And, once a round, how long a start takes that loads a million items.
//
//	go build -o sememcached . && go run ./bench/persist -results bench/RESULTS-persist.md
//
// That takes four minutes. What the report says below the line "## Notes" stays.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keys  = 100_000
	nbyte = 100
)

// contestant is one server with one load.
type contestant struct {
	name  string
	redis bool
	alone bool // no server: see commits
	args  []string
	get   bool
	conns int
	pipe  int // requests in one write

	memory string // -m; "": 256
}

var contestants = []contestant{
	{name: "get, off", get: true, conns: 50, pipe: 8},
	{name: "get, interval", get: true, conns: 50, pipe: 8, args: []string{"--data", "DIR/data"}},
	{name: "set, off", conns: 50, pipe: 8},
	{name: "set, interval", conns: 50, pipe: 8, args: []string{"--data", "DIR/data"}},
	{name: "set, redis everysec", redis: true, conns: 50, pipe: 8, args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
	{name: "set, off, 200 connections", conns: 200, pipe: 1},
	{name: "set, always, 200 connections", conns: 200, pipe: 1, args: []string{"--data", "DIR/data", "--sync", "always"}},
	{name: "set, redis always, 200 connections", redis: true, conns: 200, pipe: 1, args: []string{"--appendonly", "yes", "--appendfsync", "always"}},
	{name: "set, always, 1 connection", conns: 1, pipe: 1, args: []string{"--data", "DIR/data", "--sync", "always"}},
	{name: "a transaction for each store", alone: true},
}

// ratios are what is compared: first by second, and what is wanted; 0: nothing.
//
// The last three are what it gains to commit many stores at once. A transaction for each
// store is what a server does that keeps its items in bbolt and has no group commit, however many
// connections it has: that is what 20 times is wanted of. It is measured without a server and without
// a network, which could only make it slower. One connection of ours is no such server: it waits for one
// write and one sync in the tail of the log, instead of two of each, but for the network too. Whatever
// makes a single commit cheaper makes both ratios smaller, since there the disk is waited for; with 200 connections
// the processors are busy, client included, and what they can do at most, with nothing kept
// at all, is the first of the three.
var ratios = []struct {
	a, b string
	want float64
}{
	{"get, interval", "get, off", 0.97},
	{"set, interval", "set, off", 0.8},
	{"set, interval", "set, redis everysec", 1},
	{"set, always, 200 connections", "set, redis always, 200 connections", 1},
	{"set, always, 200 connections", "set, off, 200 connections", 0},
	{"set, always, 200 connections", "a transaction for each store", 20},
	{"set, always, 200 connections", "set, always, 1 connection", 0},
}

func main() {
	server := flag.String("server", "./sememcached", "the binary")
	rounds := flag.Int("rounds", 5, "rounds")
	each := flag.Duration("each", 2*time.Second, "time of one measurement")
	items := flag.Int("items", 1_000_000, "items that a start loads; 0: none")
	only := flag.String("only", "", "measure only what has this in its name; no report")
	results := flag.String("results", "", "write the results to this file too")
	flag.Parse()
	if *only != "" {
		contestants = slices.DeleteFunc(contestants, func(c contestant) bool { return !strings.Contains(c.name, *only) })
		ratios, *results = nil, ""
	}
	if err := run(*server, *rounds, *each, *items, *results); err != nil {
		fmt.Fprintln(os.Stderr, "persist:", err)
		os.Exit(1)
	}
}

func run(server string, rounds int, each time.Duration, items int, results string) error {
	rates := map[string][]float64{}
	var ld *loader
	if items > 0 {
		var err error
		if ld, err = prepare(server, items); err != nil {
			return fmt.Errorf("a file of %d items: %w", items, err)
		}
		defer ld.close()
	}
	for round := range rounds {
		if ld != nil {
			if err := ld.start(server); err != nil {
				return fmt.Errorf("loading %d items: %w", items, err)
			}
			fmt.Fprintf(os.Stderr, "round %d  %-36s %10.2f s\n", round+1, "load", ld.seconds[round])
		}
		for i := range contestants {
			c := &contestants[i]
			rate, err := c.measure(server, each)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			rates[c.name] = append(rates[c.name], rate)
			fmt.Fprintf(os.Stderr, "round %d  %-36s %10.0f/s\n", round+1, c.name, rate)
		}
	}
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(&b, "# What keeping the items costs\n\n`go run ./bench/persist %s` at commit %s; %d processors, load average %s",
		strings.Join(os.Args[1:], " "), strings.TrimSpace(string(commit)), runtime.NumCPU(), load)
	fmt.Fprintf(&b, "\nItems of %d bytes, %d keys at random; 2 event loops; client and servers on the same processors.\nMedians of %d rounds of %s; servers alternate within a round.\n\n| | requests/s | lowest | highest |\n|---|---|---|---|\n", nbyte, keys, rounds, each)
	for i := range contestants {
		r := slices.Sorted(slices.Values(rates[contestants[i].name]))
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f |\n", contestants[i].name, r[len(r)/2], r[0], r[len(r)-1])
	}
	b.WriteString("\n| ratio, median of the rounds | found | wanted |\n|---|---|---|\n")
	for _, q := range ratios {
		var rs []float64
		for i := range rates[q.a] {
			rs = append(rs, rates[q.a][i]/rates[q.b][i])
		}
		slices.Sort(rs)
		want := ""
		if q.want > 0 {
			want = fmt.Sprintf("%.2f", q.want)
		}
		fmt.Fprintf(&b, "| %s : %s | %.2f | %s |\n", q.a, q.b, rs[len(rs)/2], want)
	}
	if ld != nil {
		ld.report(&b)
	}
	fmt.Print(b.String())
	if results == "" {
		return nil
	}
	old, err := os.ReadFile(results)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, notes, ok := strings.Cut(string(old), "\n## Notes\n"); ok {
		b.WriteString("\n## Notes\n" + notes)
	}
	return os.WriteFile(results, []byte(b.String()), 0o644)
}

// measure starts the server on an empty directory and returns requests a second.
func (c *contestant) measure(server string, each time.Duration) (rate float64, err error) {
	dir, err := os.MkdirTemp("", "persist-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if c.alone {
		return commits(dir, each)
	}
	addr, stop, err := c.serve(server, dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	if c.get {
		fill := contestant{conns: 4, pipe: 64}
		if _, err := fill.load(addr, time.Second); err != nil {
			return 0, err
		}
	}
	return c.load(addr, each)
}

// serve starts the server in a directory and returns when it listens; stop kills it.
func (c *contestant) serve(server, dir string) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	var cmd *exec.Cmd
	if c.redis {
		cmd = exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", ""}, c.args...)...)
	} else {
		memory := "256"
		if c.memory != "" {
			memory = c.memory
		}
		args := []string{"-u", "root", "-l", "127.0.0.1", "-p", port, "-t", "2", "-m", memory}
		for _, a := range c.args {
			args = append(args, strings.ReplaceAll(a, "DIR", dir))
		}
		abs, err := filepath.Abs(server)
		if err != nil {
			return "", nil, err
		}
		cmd = exec.Command(abs, args...)
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	addr = "127.0.0.1:" + port
	for until := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr, stop, nil
		}
		if time.Now().After(until) {
			stop()
			return "", nil, err
		}
	}
}

// load sends requests for a time and returns how many a second were answered.
func (c *contestant) load(addr string, each time.Duration) (float64, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	end := time.Now().Add(each)
	began := time.Now()
	for i := range c.conns {
		wait.Go(func() {
			n, err := c.client(addr, uint64(i), end)
			done.Add(n)
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	wait.Wait()
	if p := failed.Load(); p != nil {
		return 0, *p
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}

func (c *contestant) client(addr string, seed uint64, end time.Time) (n int64, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(end.Add(30 * time.Second))
	rng := rand.New(rand.NewPCG(seed, 9))
	rd := bufio.NewReaderSize(conn, 32<<10)
	value := strings.Repeat("v", nbyte)
	var out []byte
	for time.Now().Before(end) {
		out = out[:0]
		for range c.pipe {
			key := 100_000_000 + rng.IntN(keys)
			switch {
			case c.get:
				out = fmt.Appendf(out, "get %d\r\n", key)
			case c.redis:
				out = fmt.Appendf(out, "*3\r\n$3\r\nSET\r\n$9\r\n%d\r\n$%d\r\n%s\r\n", key, nbyte, value)
			default:
				out = fmt.Appendf(out, "set %d 0 0 %d\r\n%s\r\n", key, nbyte, value)
			}
		}
		if _, err := conn.Write(out); err != nil {
			return n, err
		}
		for range c.pipe {
			if err := c.reply(rd); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (c *contestant) reply(rd *bufio.Reader) error {
	line, err := rd.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch {
	case string(line) == "STORED\r\n" || string(line) == "+OK\r\n" || string(line) == "END\r\n":
		return nil
	case c.get && strings.HasPrefix(string(line), "VALUE "):
		_, err := io.CopyN(io.Discard, rd, nbyte+2+5)
		return err
	}
	return fmt.Errorf("found %q", line)
}
