// Maccost says what access control costs: our server with it, under various
// numbers of (subject, object) pairs and under policy reloads, against itself with
// --mac=off, in one run, alternating.
//
//	maccost [-n 7] [-time 500ms] [-server ./sememcached] [-results FILE]
//
// All servers get the same load from the same 512 addresses and hold the same
// items. What differs is a contexts file: how many security contexts the addresses are
// dealt out to, and how many the keys. Every pair of the two is a question to the
// policy, and an entry of the access vector cache.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// clients is the number of connections, each of an address of its own.
const clients = 512

// variant is one way to run the server.
type variant struct {
	name              string
	subjects, objects int  // contexts of clients and of items; 0: --mac=off
	storm             bool // the policy is loaded 20 times a second
}

var variants = []variant{
	{name: "--mac=off"},
	{name: "1 x 1", subjects: 1, objects: 1},
	{name: "4 x 4", subjects: 4, objects: 4},
	{name: "16 x 16", subjects: 16, objects: 16},
	{name: "32 x 32", subjects: 32, objects: 32},
	{name: "64 x 64", subjects: 64, objects: 64},
	{name: "128 x 128", subjects: 128, objects: 128},
	{name: "400 x 256", subjects: 400, objects: 256},
	{name: "4 x 4, 20 reloads a second", subjects: 4, objects: 4, storm: true},
}

var loads = []struct {
	name   string
	config load.Config
}{
	{"get, depth 1", load.Config{}},
	{"multi-get of 24 keys", load.Config{MultiGet: 24}},
}

type tool struct {
	server, results string
	dir             string
	keys            int
	o               rig.Options
	pin             bool
	learn           time.Duration
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "maccost:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (err error) {
	t := &tool{}
	f := flag.NewFlagSet("maccost", flag.ContinueOnError)
	f.StringVar(&t.server, "server", "./sememcached", "our server's binary")
	f.StringVar(&t.results, "results", "", "write the report to this file (Markdown)")
	f.IntVar(&t.o.Repetitions, "n", 7, "repetitions")
	f.DurationVar(&t.o.Time, "time", 500*time.Millisecond, "how long each measurement lasts")
	f.DurationVar(&t.o.Warm, "warm", 100*time.Millisecond, "how long the load runs before it")
	f.DurationVar(&t.learn, "learn", 3*time.Second, "how long each load runs before anything is measured, to fill the caches")
	f.IntVar(&t.keys, "keys", 200_000, "number of keys")
	f.BoolVar(&t.pin, "pin", true, "pin the server to core 0 and the generator to core 1")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	if t.dir, err = os.MkdirTemp("", "maccost"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	servers, err := t.start()
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	rig.Heading(&b, "What access control costs", "go run ./bench/maccost", args)
	fmt.Fprintf(&b, "- %d repetitions of %v, alternating; %d keys of 32 bytes, %d connections from as many addresses\n\n", t.o.Repetitions, t.o.Time, t.keys, clients)
	fmt.Fprintf(&b, "Ratios to --mac=off of the same binary in the same run, medians of pairs: 1 is no cost, 0.98 is two percent.\nThe pairs are subjects x objects.\n")
	for _, l := range loads {
		if err := t.measure(&b, out, l.name, l.config, servers); err != nil {
			return err
		}
	}
	_, _ = out.Write(b.Bytes())
	if t.results != "" {
		return os.WriteFile(t.results, b.Bytes(), 0o644)
	}
	return nil
}

// start starts a server for every variant and fills it.
func (t *tool) start() (servers []*rig.Server, err error) {
	place := rig.Place{Threads: 1, MemoryMB: rig.MemoryFor(t.keys, 32)}
	if t.pin {
		place.CPUs = []int{0}
	}
	for i, v := range variants {
		k := rig.Kind{Name: v.name, Argv: []string{t.server}}
		if v.subjects == 0 {
			k.Argv = append(k.Argv, "--mac", "off")
		} else {
			file := filepath.Join(t.dir, fmt.Sprint(i, ".contexts"))
			if err := os.WriteFile(file, contexts(v), 0o600); err != nil {
				return servers, err
			}
			k.Argv = append(k.Argv, "--contexts", file)
		}
		s, err := rig.Start(k, place)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
		if err := rig.Fill(s, load.Config{Keys: t.keys, Seed: 1}); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// contexts is a contexts file of so many subjects and objects. Objects are told apart by
// the last digits of the key and differ in the categories c0 to c7; subjects by the last bits of the
// address: each holds all those, and some of c8 to c17 that make it another one. Who fills
// the server is an administrator.
func contexts(v variant) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "client cidr:127.0.0.1/32 system_u:system_r:kv_admin_t:s0-s0:c0.c1023\n")
	for i := range clients {
		fmt.Fprintf(&b, "client cidr:127.1.%d.%d/32 system_u:system_r:kv_reader_t:s0-s0:c0.c7%s\n", i>>8, i&255, categories(",", 8, i%v.subjects))
	}
	for i := range v.objects {
		level := strings.TrimPrefix(categories(",", 0, i), ",")
		if level != "" {
			level = ":" + level
		}
		for low := i; low < 256; low += v.objects {
			fmt.Fprintf(&b, "kv_item key:*%02x system_u:object_r:kv_item_t:s0%s\n", low, level)
		}
	}
	return b.Bytes()
}

// categories lists category first+k for each bit k of n.
func categories(comma string, first, n int) (s string) {
	for k := 0; n>>k != 0; k++ {
		if n>>k&1 != 0 {
			s += fmt.Sprint(comma, "c", first+k)
		}
	}
	return s
}

// measure runs one load against all servers and adds its table to the report.
func (t *tool) measure(b *bytes.Buffer, out io.Writer, name string, c load.Config, servers []*rig.Server) error {
	c.Keys, c.Conns, c.Seed = t.keys, clients, 1
	c.Source, c.Sources = "127.1.0.0", clients
	if t.pin {
		c.CPUs = []int{1}
	}
	o := t.o
	o.During = func(s *rig.Server) (end func()) {
		for _, v := range variants {
			if v.name == s.Kind.Name && v.storm {
				return storm(s.PID)
			}
		}
		return func() {}
	}
	// Each pair is asked about once; what is measured is what comes after.
	if _, err := rig.Compare(servers, c, rig.Options{Repetitions: 1, Time: t.learn}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	samples, err := rig.Compare(servers, c, o)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(b, "\n## %s\n\n| contexts | pairs | throughput | CPU per request | us per request |\n|---|---|---|---|---|\n", name)
	column := func(i int, f func(rig.Sample) float64) (out []float64) {
		for _, s := range samples[i] {
			out = append(out, f(s))
		}
		return out
	}
	rate := func(s rig.Sample) float64 { return s.Rate }
	cpu := func(s rig.Sample) float64 { return s.CPU }
	for i, v := range variants {
		r := rig.SpreadOf(rig.Ratios(column(i, rate), column(0, rate)))
		p := rig.SpreadOf(rig.Ratios(column(0, cpu), column(i, cpu)))
		fmt.Fprintf(b, "| %s | %d | %.3f (%.2f-%.2f) | %.3f (%.2f-%.2f) | %.2f |\n", v.name, v.subjects*v.objects,
			r.Median, r.Low, r.High, p.Median, p.Low, p.High, rig.SpreadOf(column(i, cpu)).Median)
		fmt.Fprintf(out, "# %s: %s: throughput %.3f CPU %.3f\n", name, v.name, r.Median, p.Median)
	}
	return nil
}

// storm makes a server load its policy and contexts 20 times a second.
func storm(pid int) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = syscall.Kill(pid, syscall.SIGHUP)
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}
