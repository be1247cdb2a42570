// Rules says what key rules cost: our server with 1 to 100,000 of them against the
// same binary without any.
//
//	rules [-n 3] [-pairs 30] [-time 25ms] [-total 3m] [-only 1,65536] [-server ./sememcached] [-results FILE]
//
// One number of rules is measured at a time, by two servers, which have the machine
// to themselves: more would take the caches from one another. They run under the load by
// turns, pairs of (without, with) and (with, without), each for a short time, and every
// ratio is that of the two of a pair, so that neither a machine that becomes slower nor a
// moment in which it had other things to do decides. A round goes over all numbers of
// rules, with servers that are started anew for each: where a process happens to lie in
// memory is worth a percent too. The row of 0 rules is two servers without any: what is
// not 1 there is the error of the others. Rounds end with -n, or where another would not
// end within -total.
//
// All servers hold the same 65,536 items and get the same load, which is allowed;
// the client is one identity, and all rules are its own. With 16 or more rules the
// keys are spread over all of them: each rule is a prefix of as many keys as the
// next. Such rules have a system, as those of tenants that are counted up, and are
// merged. So there are mixed ones, which are merged for get alone: each allows get and
// some other commands, and those beyond the keys have random names. And there are
// some that cannot be merged at all: of the mixed ones, every other by chance is for one
// key exactly, so that no two parts of the set say the same even about get.
//
// Every server but the one without key rules has the same flags: it is that
// binary, with the same label policy, items, keys and connections.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// keys is the number of items: four hexadecimal digits of package load's keys.
const keys = 1 << 16

// shapes are the rules of the servers.
var shapes = []shape{
	{rules: 0},
	{rules: 1},
	{rules: 16},
	{rules: 256},
	{rules: 4096},
	{rules: 65536},
	{rules: 100_000},
	{rules: 4096, mixed: true},
	{rules: 65536, mixed: true},
	{rules: 100_000, mixed: true},
	{rules: 65536, mixed: true, unlike: true},
}

type shape struct {
	rules  int
	mixed  bool
	unlike bool // mixed, and some are for exact keys: only for as many rules as keys
}

func (s shape) String() string {
	switch {
	case s.unlike:
		return fmt.Sprintf("%d, unlike", s.rules)
	case s.mixed:
		return fmt.Sprintf("%d, mixed", s.rules)
	}
	return fmt.Sprint(s.rules)
}

// others are commands that mixed rules allow beside get, each with its chance.
var others = []string{"readGroup", "gat", "touch", "incr", "delete"}

var loads = []struct {
	name   string
	config load.Config
}{
	{"get, depth 1", load.Config{}},
	{"multi-get of 24 keys", load.Config{MultiGet: 24}},
}

// policy is a policy of rules that between them allow every key.
func policy(s shape) string {
	var b strings.Builder
	n := s.rules
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	rule := func(prefix string) {
		field := "keyPrefix"
		if s.unlike && rnd.IntN(2) == 0 {
			field = "keyExact" // the prefix is a whole key
		}
		fmt.Fprintf(&b, "        - {command: get, %s: %q}\n", field, prefix)
		for _, c := range others {
			if s.mixed && rnd.IntN(2) == 0 {
				fmt.Fprintf(&b, "        - {command: %s, %s: %q}\n", c, field, prefix)
			}
		}
	}
	b.WriteString(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bench}
spec:
  endpointSelector: {}
  ingress:
  - fromEndpoints: [{matchLabels: {app: bench}}]
    toPorts:
    - ports: [{port: "11211", protocol: TCP}]
      rules:
        l7proto: memcache
        l7:
        - {command: set}
`)
	digits := 4
	for 1<<(4*(digits-4)) < min(n, keys) {
		digits++
	}
	for i := range min(n, keys) {
		prefix := "key:0000"
		if digits > 4 {
			prefix += fmt.Sprintf("%0*x", digits-4, i)
		}
		rule(prefix)
	}
	for i := range max(0, n-keys) {
		if s.mixed {
			rule(fmt.Sprintf("%016x", rnd.Uint64()))
		} else {
			rule(fmt.Sprintf("other:%07x", i))
		}
	}
	return b.String()
}

const identities = "identities:\n- labels: {app: bench}\n  peers: [\"cidr:127.0.0.1\"]\n"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}

// tool is a run of the program.
type tool struct {
	server, mode, dir string
	place             rig.Place
	generator         []int // its cores; none: not pinned
	only              []int
	o                 rig.Options
}

// pairs are the measurements of a number of rules under one load; without[i] and with[i]
// came one right after the other.
type pairs struct{ without, with []rig.Sample }

// column is one figure of each sample.
func column(samples []rig.Sample, value func(*rig.Sample) float64) (out []float64) {
	for i := range samples {
		out = append(out, value(&samples[i]))
	}
	return out
}

func rate(s *rig.Sample) float64 { return s.Rate }
func cpu(s *rig.Sample) float64  { return s.CPU }

func run(args []string, out io.Writer) error {
	t := &tool{place: rig.Place{Threads: 1, MemoryMB: rig.MemoryFor(keys, 32)}}
	f := flag.NewFlagSet("rules", flag.ContinueOnError)
	f.StringVar(&t.server, "server", "./sememcached", "our server's binary")
	results := f.String("results", "", "write the report to this file (Markdown)")
	f.StringVar(&t.mode, "mac", "policy", "the servers' --mac")
	rounds := f.Int("n", 3, "rounds, at most")
	f.IntVar(&t.o.Repetitions, "pairs", 30, "pairs for each number of rules and load in a round")
	f.DurationVar(&t.o.Time, "time", 25*time.Millisecond, "how long one half of a pair lasts")
	f.DurationVar(&t.o.Warm, "warm", 5*time.Millisecond, "how long the load runs before it")
	total := f.Duration("total", 3*time.Minute, "no round begins that would end later than this")
	only := f.String("only", "", "measure only these numbers of rules, separated by commas")
	pin := f.Bool("pin", true, "pin the servers to core 0 and the generator to core 1")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	for s := range strings.SplitSeq(*only, ",") {
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("-only: expected numbers separated by commas, found %q", s)
		}
		t.only = append(t.only, n)
	}
	if *pin {
		t.place.CPUs, t.generator = []int{0}, []int{1}
	}
	var err error
	if t.dir, err = os.MkdirTemp("", "rules"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	if err := os.WriteFile(t.identities(), []byte(identities), 0o600); err != nil {
		return err
	}
	var b bytes.Buffer
	rig.Heading(&b, "What key rules cost", "go run ./bench/rules", args)
	found := make([][]pairs, len(shapes))
	start, done := time.Now(), 0
	for done < max(1, *rounds) && (done == 0 || time.Since(start)/time.Duration(done)*time.Duration(done+1) < *total) {
		for i, s := range shapes {
			if len(t.only) > 0 && !slices.Contains(t.only, s.rules) {
				continue
			}
			if found[i] == nil {
				found[i] = make([]pairs, len(loads))
			}
			if err := t.measure(s, found[i]); err != nil {
				return err
			}
		}
		done++
	}
	fmt.Fprintf(&b, "- %d rounds in %v, each with two new servers for every number of rules, and %d pairs of %v, alternating, for each load; %d keys with values of 32 bytes, 50 connections\n\n",
		done, time.Since(start).Round(time.Second), t.o.Repetitions, t.o.Time, keys)
	report(&b, found)
	if *results != "" {
		if err := os.WriteFile(*results, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	_, err = out.Write(b.Bytes())
	return err
}

// identities is the file with the identities.
func (t *tool) identities() string { return filepath.Join(t.dir, "identities") }

// start starts a server with rules of the shape, and stores every key.
func (t *tool) start(s shape) (*rig.Server, error) {
	k := rig.Kind{Name: s.String(), Argv: []string{t.server, "--mac", t.mode}}
	if s.rules > 0 {
		file := filepath.Join(t.dir, s.String())
		if err := os.WriteFile(file, []byte(policy(s)), 0o600); err != nil {
			return nil, err
		}
		k.Argv = append(k.Argv, "--key-rules", file, "--identities", t.identities())
	}
	server, err := rig.Start(k, t.place)
	if err != nil {
		return nil, err
	}
	if err := rig.Fill(server, load.Config{Keys: keys, CPUs: t.generator}); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return server, nil
}

// measure adds to found, which is by load, the pairs of a round.
func (t *tool) measure(s shape, found []pairs) (err error) {
	var servers []*rig.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, s := range []shape{{}, s} {
		server, err := t.start(s)
		if err != nil {
			return err
		}
		servers = append(servers, server)
	}
	for i, l := range loads {
		c := l.config
		c.Keys, c.CPUs, c.Seed = keys, t.generator, 1
		samples, err := rig.Compare(servers, c, t.o)
		if err != nil {
			return err
		}
		found[i].without = append(found[i].without, samples[0]...)
		found[i].with = append(found[i].with, samples[1]...)
	}
	return nil
}

// report writes a table for each load, of found by shape and load.
func report(b *bytes.Buffer, found [][]pairs) {
	b.WriteString("Ratios to the same binary without key rules, of pairs that were measured one right after the other; median, lower quartile, and the range in brackets:\nthroughput with rules by throughput without, and server CPU per request without by that with; 1 is no cost. The row of 0 rules is two servers without any: the error of the others. The rules of a mixed set are for as many prefixes as it\nsays, three or four for each, and none is like the next in what it allows beside get; of an unlike set half are for exact keys, so that none is like the next about get either.\n")
	for i, l := range loads {
		fmt.Fprintf(b, "\n## %s\n\n| rules | requests/s | server µs per request | ratio of throughput | lower quartile | ratio of CPU | lower quartile |\n|---|---|---|---|---|---|---|\n", l.name)
		for k, s := range shapes {
			if found[k] == nil {
				continue
			}
			p := &found[k][i]
			rates := rig.Ratios(column(p.with, rate), column(p.without, rate))
			costs := rig.Ratios(column(p.without, cpu), column(p.with, cpu))
			r, u := rig.SpreadOf(rates), rig.SpreadOf(costs)
			fmt.Fprintf(b, "| %v | %.0f | %.2f | %.2f (%.2f–%.2f) | %.2f | %.2f (%.2f–%.2f) | %.2f |\n", s,
				rig.SpreadOf(column(p.with, rate)).Median, rig.SpreadOf(column(p.with, cpu)).Median,
				r.Median, r.Low, r.High, rig.LowerQuartile(rates), u.Median, u.Low, u.High, rig.LowerQuartile(costs))
		}
	}
}
