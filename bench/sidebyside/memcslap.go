package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"sememcached/bench/rig"
)

// memcslap is libmemcached's load generator. It is slower than any server, so what
// shows a difference is the server's processor time, and the time says whether users of that
// library notice one.
const (
	slapThreads = 10
	slapKeys    = 5000 // by each thread
)

// slapReport is one kind of run of memcslap.
type slapReport struct {
	Test    string     `json:"test"`
	Servers []string   `json:"servers"` // ours first
	Rate    []float64  `json:"keys_per_s"`
	CPU     []float64  `json:"server_us_per_key"`
	Faster  rig.Spread `json:"throughput"` // ours against memcached's, paired
	Cheaper rig.Spread `json:"cpu_per_key"`
}

var slapTests = [][]string{
	{"--test=set"},
	{"--test=get"},
	{"--test=mget"},
	{"--test=set", "--binary"},
	{"--test=get", "--binary"},
	{"--test=mget", "--binary"},
}

var slapLine = regexp.MustCompile(`Time to (?:set|get|mget)\s+(\d+) keys by\s+\d+ threads:\s+([0-9.]+) seconds`)

// memcslap runs every test against every server but the ceiling, in turn.
func (b *bench) memcslap() (out []slapReport, err error) {
	path, err := exec.LookPath("memcslap")
	if err != nil {
		fmt.Fprintln(b.log, "# memcslap is not installed (Debian: libmemcached-tools)")
		return nil, nil
	}
	place := rig.Place{Threads: b.threads, MemoryMB: 256}
	if b.pin {
		place.CPUs = []int{0}
	}
	var servers []*rig.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, k := range b.kinds {
		if k.Ceiling {
			continue
		}
		s, err := rig.Start(k, place)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	for _, test := range slapTests {
		rates, cpus := make([][]float64, len(servers)), make([][]float64, len(servers))
		for range b.reps {
			for i, s := range servers {
				rate, cpu, err := b.slap(path, s, test)
				if err != nil {
					return nil, err
				}
				rates[i], cpus[i] = append(rates[i], rate), append(cpus[i], cpu)
			}
		}
		r := slapReport{Test: fmt.Sprint(test)}
		for i, s := range servers {
			r.Servers = append(r.Servers, s.Kind.Name)
			r.Rate = append(r.Rate, rig.SpreadOf(rates[i]).Median)
			r.CPU = append(r.CPU, rig.SpreadOf(cpus[i]).Median)
		}
		r.Faster = rig.SpreadOf(rig.Ratios(rates[0], rates[1]))
		r.Cheaper = rig.SpreadOf(rig.Ratios(cpus[1], cpus[0]))
		fmt.Fprintf(b.log, "memcslap %s: throughput %s CPU %s\n", r.Test, spread(r.Faster), spread(r.Cheaper))
		out = append(out, r)
	}
	return out, nil
}

// slap is one run: keys per second, and microseconds of the server for each.
func (b *bench) slap(path string, s *rig.Server, test []string) (rate, cpu float64, err error) {
	args := append([]string{
		"--servers=" + s.Addr, "--concurrency=" + strconv.Itoa(slapThreads),
		"--execute-number=" + strconv.Itoa(b.slapKeys()), "--tcp-nodelay",
	}, test...)
	before, err := rig.UsageOf(s.PID)
	if err != nil {
		return 0, 0, err
	}
	// Under real-time scheduling its ten threads would keep the server off its processor for whole slices.
	text, err := exec.Command("chrt", append([]string{"--other", "0", path}, args...)...).CombinedOutput()
	m := slapLine.FindSubmatch(text)
	if err != nil || m == nil {
		return 0, 0, fmt.Errorf("memcslap %v against %s: %v: %.300q", args, s.Kind.Name, err, text)
	}
	after, err := rig.UsageOf(s.PID)
	if err != nil {
		return 0, 0, err
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	seconds, _ := strconv.ParseFloat(string(m[2]), 64)
	if n == 0 || seconds == 0 {
		return 0, 0, fmt.Errorf("memcslap %v: expected keys and seconds, found %q", args, m[0])
	}
	return n / seconds, after.Since(before).CPU.Seconds() * 1e6 / n, nil
}

func (b *bench) slapKeys() int {
	if b.keys > 0 {
		return min(slapKeys, max(10, b.keys/20))
	}
	return slapKeys
}

// slapTable is the report for people.
func (r *report) slapTable(b *bytes.Buffer) {
	if len(r.Slap) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## memcslap\n\nlibmemcached's memcslap with %d threads of %d keys each. It needs more processor time than any server, so that\nits own speed bounds the throughput. The processor time is that of the items that it stores first, too, in ticks of 10 ms.\n\n", slapThreads, slapKeys)
	fmt.Fprintf(b, "| test | throughput | server CPU per key | keys/s | CPU us |\n|---|---|---|---|---|\n")
	for _, s := range r.Slap {
		fmt.Fprintf(b, "| %s | %s | %s | %.0f, %.0f | %.2f, %.2f |\n", s.Test, spread(s.Faster), spread(s.Cheaper), s.Rate[0], s.Rate[1], s.CPU[0], s.CPU[1])
	}
}
