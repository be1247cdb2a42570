// Rules says what key rules cost: our server with 1 to 100,000 of them against
// itself without any, in one run, alternating.
//
//	rules [-n 7] [-time 500ms] [-server ./sememcached] [-results FILE]
//
// All servers hold the same 65,536 items and get the same load, which is allowed;
// the client is one identity, and all rules are its own. With 16 or more rules the
// keys are spread over all of them: each rule is a prefix of as many keys as the
// next. Such rules have a system, as those of tenants that are counted up, and are
// merged; so there are the same numbers of mixed ones, which cannot be: each
// allows get and some other commands, and those beyond the keys have random names.
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
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// keys is the number of items: four hexadecimal digits of package load's keys.
const keys = 1 << 16

// shapes are the rules of the servers; the first has none.
var shapes = []shape{{0, false}, {1, false}, {16, false}, {256, false}, {4096, false}, {65536, false}, {100_000, false}, {4096, true}, {65536, true}, {100_000, true}}

type shape struct {
	rules int
	mixed bool
}

func (s shape) String() string {
	if s.mixed {
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
		fmt.Fprintf(&b, "        - {command: get, keyPrefix: %q}\n", prefix)
		for _, c := range others {
			if s.mixed && rnd.IntN(2) == 0 {
				fmt.Fprintf(&b, "        - {command: %s, keyPrefix: %q}\n", c, prefix)
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

func run(args []string, out io.Writer) (err error) {
	var o rig.Options
	f := flag.NewFlagSet("rules", flag.ContinueOnError)
	server := f.String("server", "./sememcached", "our server's binary")
	results := f.String("results", "", "write the report to this file (Markdown)")
	mode := f.String("mac", "policy", "the servers' --mac")
	f.IntVar(&o.Repetitions, "n", 7, "repetitions")
	f.DurationVar(&o.Time, "time", 500*time.Millisecond, "how long each measurement lasts")
	f.DurationVar(&o.Warm, "warm", 100*time.Millisecond, "how long the load runs before it")
	pin := f.Bool("pin", true, "pin the server to core 0 and the generator to core 1")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	dir, err := os.MkdirTemp("", "rules")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	place := rig.Place{Threads: 1, MemoryMB: rig.MemoryFor(keys, 32)}
	var generator []int
	if *pin {
		place.CPUs, generator = []int{0}, []int{1}
	}
	var servers []*rig.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	ids := filepath.Join(dir, "identities")
	if err := os.WriteFile(ids, []byte(identities), 0o600); err != nil {
		return err
	}
	for i, n := range shapes {
		k := rig.Kind{Name: n.String(), Argv: []string{*server, "--mac", *mode}}
		if n.rules > 0 {
			file := filepath.Join(dir, fmt.Sprintf("rules%d", i))
			if err := os.WriteFile(file, []byte(policy(n)), 0o600); err != nil {
				return err
			}
			k.Argv = append(k.Argv, "--key-rules", file, "--identities", ids)
		}
		s, err := rig.Start(k, place)
		if err != nil {
			return err
		}
		servers = append(servers, s)
		if err := rig.Fill(s, load.Config{Keys: keys, CPUs: generator}); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	rig.Heading(&b, "What key rules cost", "go run ./bench/rules", args)
	fmt.Fprintf(&b, "- %d repetitions of %v, alternating; %d keys of 32 bytes, 50 connections\n\n", o.Repetitions, o.Time, keys)
	b.WriteString("Ratios to the same binary without key rules in the same run, medians of pairs (the range in brackets):\nthroughput with rules by throughput without, and server CPU per request without by that with; 1 is no cost. The rules of a mixed set are for as many prefixes as it\nsays, but none is like the next, and there are three or four for each.\n")
	for _, l := range loads {
		c := l.config
		c.Keys, c.CPUs, c.Seed = keys, generator, 1
		samples, err := rig.Compare(servers, c, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n## %s\n\n| rules | requests/s | server µs per request | ratio of throughput | ratio of CPU |\n|---|---|---|---|---|\n", l.name)
		column := func(i int, value func(*rig.Sample) float64) (out []float64) {
			for k := range samples[i] {
				out = append(out, value(&samples[i][k]))
			}
			return out
		}
		rate := func(s *rig.Sample) float64 { return s.Rate }
		cpu := func(s *rig.Sample) float64 { return s.CPU }
		for i, n := range shapes {
			r := rig.SpreadOf(rig.Ratios(column(i, rate), column(0, rate)))
			u := rig.SpreadOf(rig.Ratios(column(0, cpu), column(i, cpu)))
			fmt.Fprintf(&b, "| %v | %.0f | %.2f | %.2f (%.2f–%.2f) | %.2f (%.2f–%.2f) |\n", n,
				rig.SpreadOf(column(i, rate)).Median, rig.SpreadOf(column(i, cpu)).Median, r.Median, r.Low, r.High, u.Median, u.Low, u.High)
		}
	}
	if *results != "" {
		if err := os.WriteFile(*results, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	_, err = out.Write(b.Bytes())
	return err
}
