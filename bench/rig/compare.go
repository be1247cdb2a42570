package rig

import (
	"errors"
	"fmt"
	"time"

	"sememcached/bench/load"
)

// Sample is one measurement of one server.
type Sample struct {
	Rate       float64       `json:"requests_per_s"`
	KeyRate    float64       `json:"keys_per_s"`
	CPU        float64       `json:"server_us_per_request"`
	UserShare  float64       `json:"user_share"`
	Generator  float64       `json:"generator_us_per_request"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	P999       time.Duration `json:"p999_ns"`
	HitRatio   float64       `json:"hit_ratio"`
	Busy       float64       `json:"server_busy"` // cores
	Repetition int           `json:"repetition"`
}

// Options say how long and how often is measured.
type Options struct {
	Repetitions int
	Warm, Time  time.Duration
	// During is called before the measurement of a server begins, and what it returns
	// when it has ended; nil: nothing.
	During func(*Server) (end func())
}

// Compare runs the load c, whose address does not matter, against every server
// in turn, as often as o says. samples[i] are those of servers[i], by repetition.
// Replies of an unexpected kind are an error.
func Compare(servers []*Server, c load.Config, o Options) (samples [][]Sample, err error) {
	gens := make([]*load.Generator, len(servers))
	defer func() {
		for _, g := range gens {
			if g != nil {
				g.Close()
			}
		}
	}()
	for i, s := range servers {
		if gens[i], err = generator(s, c); err != nil {
			return nil, err
		}
	}
	samples = make([][]Sample, len(servers))
	for r := range o.Repetitions {
		for k := range servers {
			i := k
			if r%2 == 1 {
				i = len(servers) - 1 - k
			}
			s, err := measure(servers[i], gens[i], o)
			if err != nil {
				return nil, err
			}
			s.Repetition = r
			samples[i] = append(samples[i], s)
		}
	}
	return samples, nil
}

func generator(s *Server, c load.Config) (*load.Generator, error) {
	c.Network, c.Addr = s.Network, s.Addr
	g, err := load.New(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Kind.Name, err)
	}
	return g, nil
}

func measure(s *Server, g *load.Generator, o Options) (Sample, error) {
	fail := func(err error) (Sample, error) { return Sample{}, fmt.Errorf("%s: %w", s.Kind.Name, err) }
	if o.During != nil {
		defer o.During(s)()
	}
	if o.Warm > 0 {
		if _, err := g.Run(o.Warm); err != nil {
			return fail(err)
		}
	}
	r, u, err := observe(s, g, o.Time)
	// A short time may pass without an answer on a machine that has other things to do.
	for d := 2 * o.Time; errors.Is(err, load.ErrNothing) && d < longest; d *= 2 {
		r, u, err = observe(s, g, d)
	}
	if err != nil {
		return fail(err)
	}
	n := float64(r.Requests)
	out := Sample{
		Rate: r.Rate(), KeyRate: r.KeyRate(),
		CPU:       float64(u.CPU.Nanoseconds()) / 1e3 / n,
		UserShare: u.UserShare(),
		Generator: float64(r.CPU.Nanoseconds()) / 1e3 / n,
		P50:       r.Latency.Quantile(.5), P99: r.Latency.Quantile(.99), P999: r.Latency.Quantile(.999),
		Busy: u.CPU.Seconds() / r.Elapsed.Seconds(),
	}
	if r.Gets > 0 {
		out.HitRatio = float64(r.Hits) / float64(r.Hits+r.Misses)
	}
	return out, nil
}

// longest bounds how long something is measured that does not happen.
const longest = 10 * time.Second

// observe runs the load and says what the server used for it.
func observe(s *Server, g *load.Generator, d time.Duration) (load.Result, Usage, error) {
	before, err := UsageOf(s.PID)
	if err != nil {
		return load.Result{}, Usage{}, err
	}
	r, err := g.Run(d)
	if err != nil {
		return load.Result{}, Usage{}, err
	}
	after, err := UsageOf(s.PID)
	if err != nil {
		return load.Result{}, Usage{}, err
	}
	return r, after.Since(before), r.Err()
}

// Fill stores every key of the load c once.
func Fill(s *Server, c load.Config) error {
	c.Conns, c.Verify, c.Sources = max(8, c.Threads), false, min(c.Sources, max(8, c.Threads))
	g, err := generator(s, c)
	if err != nil {
		return err
	}
	defer g.Close()
	r, err := g.Fill()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: fill: %w", s.Kind.Name, err)
	}
	return nil
}

// SyscallsPerRequest counts the system calls of a server under the load c, for
// each request. It runs under strace, which slows the server down many times:
// nothing else is to be measured meanwhile.
func SyscallsPerRequest(s *Server, c load.Config, requests int) (float64, Syscalls, error) {
	g, err := generator(s, c)
	if err != nil {
		return 0, nil, err
	}
	defer g.Close()
	// The system calls of accepting the connections are not those of requests.
	if _, err := g.RunRequests(10 * max(50, c.Conns)); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", s.Kind.Name, err)
	}
	var r load.Result
	calls, err := CountSyscalls(s.PID, func() error {
		var err error
		r, err = g.RunRequests(requests)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", s.Kind.Name, err)
	}
	return float64(calls.Total()) / float64(max(1, r.Requests)), calls, nil
}
