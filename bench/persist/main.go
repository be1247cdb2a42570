// Persist measures what keeping the items costs: the server without a data file,
// with one in each mode, and redis-server with its append-only file, one after the
// other in every round, so that what else the machine does hits all alike. Medians of
// the rounds and their ratios are written.
//
// And, once a round, how long a start takes that loads a million items.
//
//	go build -o sememcached . && go run ./bench/persist -results bench/RESULTS-persist.md
//
// That takes six minutes. What the report says below the line "## Notes" stays.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"sememcached/bench/load"
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

	memory  string // -m; "": 256
	network string // one of networks
}

// networks are what the clients come over: TCP is where most are, and a UNIX socket, where a request costs half as
// much, shows more of what is measured here.
var networks = []string{"tcp", "unix"}

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
// The last three are what it gains to commit many stores at once: 20 times one commit for each store is wanted. There are
// two of those. A transaction for each store is what a server waits for that keeps its items in bbolt without group
// commit, measured without a server and without a network, which could only make it slower. One connection of ours waits for
// one write and one sync in the tail of the log, instead of two of each, but for the network too. Whatever
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
	{"set, always, 200 connections", "set, always, 1 connection", 20},
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
	rates := map[string][]float64{} // by name and network
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
		for _, network := range networks {
			for i := range contestants {
				c := contestants[i]
				c.network = network
				rate, err := c.measure(server, each)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, network, err)
				}
				rates[c.name+network] = append(rates[c.name+network], rate)
				fmt.Fprintf(os.Stderr, "round %d  %-36s %-4s %10.0f/s\n", round+1, c.name, network, rate)
			}
		}
	}
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(&b, "# What keeping the items costs\n\n`go run ./bench/persist %s` at commit %s; %d processors, load average %s",
		strings.Join(os.Args[1:], " "), strings.TrimSpace(string(commit)), runtime.NumCPU(), load)
	fmt.Fprintf(&b, "\nItems of %d bytes, %d keys at random; 2 event loops; client and servers on the same processors.\nMedians of %d rounds of %s, with the lowest and the highest; servers alternate within a round.\n\n", nbyte, keys, rounds, each)
	b.WriteString("| requests/s | TCP | UNIX socket |\n|---|---|---|\n")
	for i := range contestants {
		fmt.Fprintf(&b, "| %s |", contestants[i].name)
		for _, network := range networks {
			r := slices.Sorted(slices.Values(rates[contestants[i].name+network]))
			fmt.Fprintf(&b, " %.0f (%.0f-%.0f) |", r[len(r)/2], r[0], r[len(r)-1])
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n| ratio, median of the rounds | TCP | UNIX socket | wanted |\n|---|---|---|---|\n")
	for _, q := range ratios {
		fmt.Fprintf(&b, "| %s : %s |", q.a, q.b)
		for _, network := range networks {
			var rs []float64
			for i := range rates[q.a+network] {
				rs = append(rs, rates[q.a+network][i]/rates[q.b+network][i])
			}
			slices.Sort(rs)
			fmt.Fprintf(&b, " %.2f (%.2f-%.2f) |", rs[len(rs)/2], rs[0], rs[len(rs)-1])
		}
		if q.want > 0 {
			fmt.Fprintf(&b, " %.2f", q.want)
		}
		b.WriteString(" |\n")
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
	return c.load(addr, each)
}

// serve starts the server in a directory and returns where it listens, by TCP or on a UNIX socket in the
// directory; stop kills it.
func (c *contestant) serve(server, dir string) (addr string, stop func(), err error) {
	socket, port := filepath.Join(dir, "s"), ""
	addr = socket
	if c.network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		addr = l.Addr().String()
		port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	var cmd *exec.Cmd
	if c.redis {
		args := []string{"--port", "0", "--unixsocket", socket}
		if port != "" {
			args = []string{"--port", port, "--bind", "127.0.0.1"}
		}
		cmd = exec.Command("redis-server", append(append(args, "--dir", dir, "--save", ""), c.args...)...)
	} else {
		memory := "256"
		if c.memory != "" {
			memory = c.memory
		}
		args := []string{"-u", "root", "-t", "2", "-m", memory, "-s", socket}
		if port != "" {
			args = append(args[:len(args)-2], "-l", "127.0.0.1", "-p", port)
		}
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
		_ = os.Remove(socket)
	}
	for until := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial(c.network, addr)
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

// load sends requests for a time and returns how many a second were answered. Keys are there
// already if it only asks for them.
func (c *contestant) load(addr string, each time.Duration) (rate float64, err error) {
	cfg := load.Config{Network: c.network, Addr: addr, Conns: c.conns, Depth: c.pipe, Keys: keys, ValueSize: nbyte}
	if !c.get {
		cfg.Sets = 1
	}
	if c.redis {
		cfg.Protocol = load.Redis
	}
	g, err := load.New(cfg)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	if c.get {
		if r, err := g.Fill(); err != nil || r.Err() != nil {
			return 0, errors.Join(err, r.Err())
		}
	}
	r, err := g.Run(each)
	if err == nil {
		err = r.Err()
	}
	if err == nil && r.Misses > 0 {
		err = fmt.Errorf("expected no misses, found %d of %d", r.Misses, r.Gets)
	}
	return r.Rate(), err
}
