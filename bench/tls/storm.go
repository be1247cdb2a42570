package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// storm measures plain clients with and without a storm of handshakes.
func (s *settings) storm() error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	plain := free.Addr().String()
	free.Close()
	argv := append([]string{s.server}, s.tlsFlags()...)
	argv = append(argv, "-l", "notls:"+plain)
	srv, err := rig.Start(rig.Kind{Name: "sememcached", Argv: argv}, rig.Place{Threads: 1, CPUs: []int{0}, MemoryMB: 256})
	if err != nil {
		return err
	}
	defer srv.Stop()
	weather, err := startStormer(srv.Addr, s.stormer)
	if err != nil {
		return err
	}
	defer weather.close()
	priority := "at ordinary priority: there is no privilege for another"
	if load.CanRealTime() {
		priority = "at real-time priority"
	}
	fmt.Fprintf(s.report, `
## A storm of handshakes

One loop and the handshake thread share core 0. The plain clients (50 connections, get, depth 1, %s)
share core 1 with the storm: a process of its own with %d connections, nice %d.

%d triples of windows of %v: quiet; a storm on our server; and the control, where the same storm, with as many handshakes
a second, meets a decoy, which runs on core 1 too and answers with a recorded flight. What the control costs the plain
clients is the work of the storm itself on the core that it shares with them, and none of our server's. "Late" is the part
of the requests that took longer than %v: on a machine whose host makes half a percent late anyway, p99 is a matter of
whether the storm adds as much again. "Loop waits" is how
long on average the loop's thread, when it could run, waited for its core; "in use" is the handshake thread's share of
core 0, and "wanted" what it would have used of an idle one, less than all of it, since it rests when loops use the core
too (the scheduler's figures, /proc/PID/task/TID/schedstat). Ratios are medians of the triples with the smallest and the largest.

| plain clients | window | requests/s | p50 us | p99 us | p99.9 us | late | loop waits us | handshakes/s | in use | wanted |
|---|---|---|---|---|---|---|---|---|---|---|
`, priority, s.stormer, stormNice, s.n, s.time, lateAfter)
	var ratios bytes.Buffer
	for _, c := range []struct {
		name string
		rate float64
	}{{fmt.Sprintf("%.0f requests/s (open loop)", s.rate), s.rate}, {"as many as they get (closed loop)", 0}} {
		cfg := plainLoad("tcp", plain)
		cfg.Rate = c.rate
		cfg.RealTime = load.CanRealTime()
		g, err := load.New(cfg)
		if err != nil {
			return err
		}
		if _, err := g.Fill(); err != nil {
			g.Close()
			return err
		}
		err = s.compareStorm(g, srv.PID, weather, c.name, &ratios)
		g.Close()
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(s.report, "\n| plain clients | ratio | requests/s | p50 | p99 | p99 at most half higher |\n|---|---|---|---|---|---|\n%s", ratios.Bytes())
	return nil
}

// A window is quiet, stormy, or the control.
const (
	quiet = iota
	stormy
	control
	windows
)

// figures are those of all windows of one sort.
type figures struct{ rate, p50, p99, p999, late, wait, shakes, used, wanted []float64 }

// row is the medians.
func (f *figures) row() string {
	var b strings.Builder
	for _, c := range []struct {
		format string
		v      []float64
	}{{"%.0f", f.rate}, {"%.0f", f.p50}, {"%.0f", f.p99}, {"%.0f", f.p999}, {"%.2f %%", f.late}, {"%.1f", f.wait}, {"%.0f", f.shakes}, {"%.0f %%", f.used}, {"%.0f %%", f.wanted}} {
		fmt.Fprintf(&b, " "+c.format+" |", rig.SpreadOf(c.v).Median)
	}
	return b.String()
}

// compareStorm measures triples of windows and writes their rows.
func (s *settings) compareStorm(g *load.Generator, pid int, weather *stormer, name string, ratios *bytes.Buffer) error {
	loop, err := threadFile(pid, "mc-worker")
	if err != nil {
		return err
	}
	hand, err := threadFile(pid, "mc-tls")
	if err != nil {
		return err
	}
	if _, err := g.Run(s.time / 2); err != nil {
		return err
	}
	var all [windows]figures
	perSecond := 0 // handshakes of the last storm
	one := func(which int) error {
		var err error
		switch which {
		case stormy:
			_, err = weather.order("storm")
		case control:
			_, err = weather.order("control %d", perSecond)
		}
		if err != nil {
			return err
		}
		time.Sleep(s.time / 5)
		var loops, hands [2]threadTimes
		var counts [2]int
		var r load.Result
		for i := range 2 {
			if i == 1 {
				if r, err = g.Run(s.time); err == nil {
					err = r.Err()
				}
				if err != nil {
					return err
				}
			}
			if counts[i], err = weather.order("count"); err != nil {
				return err
			}
			if loops[i], err = readThread(loop); err != nil {
				return err
			}
			if hands[i], err = readThread(hand); err != nil {
				return err
			}
		}
		shakes := 0.0
		if which != quiet {
			if _, err := weather.order("end"); err != nil {
				return err
			}
			shakes = float64(counts[1]-counts[0]) / r.Elapsed.Seconds()
		}
		if which == stormy {
			perSecond = int(shakes)
		}
		h := hands[1].since(hands[0])
		percent := func(d time.Duration) float64 { return 100 * d.Seconds() / r.Elapsed.Seconds() }
		f := &all[which]
		for _, c := range []struct {
			to *[]float64
			v  float64
		}{
			{&f.rate, r.Rate()},
			{&f.p50, micros(r.Latency.Quantile(0.5))},
			{&f.p99, micros(r.Latency.Quantile(0.99))},
			{&f.p999, micros(r.Latency.Quantile(0.999))},
			{&f.late, 100 * r.Latency.Above(lateAfter)},
			{&f.wait, loops[1].since(loops[0]).wait()},
			{&f.shakes, shakes},
			{&f.used, percent(h.ran)},
			{&f.wanted, percent(h.ran + h.waited)},
		} {
			*c.to = append(*c.to, c.v)
		}
		return nil
	}
	// The control follows a storm, whose rate it takes over.
	orders := [2][windows]int{{quiet, stormy, control}, {stormy, control, quiet}}
	for i := range s.n {
		for _, which := range orders[i%len(orders)] {
			if err := one(which); err != nil {
				return err
			}
		}
	}
	for which, title := range [windows]string{"quiet", "storm", "control"} {
		fmt.Fprintf(s.report, "| %s | %s |%s\n", name, title, all[which].row())
	}
	for _, c := range []struct {
		name string
		a, b int
	}{{"storm to quiet", stormy, quiet}, {"control to quiet", control, quiet}, {"storm to control", stormy, control}} {
		a, b := &all[c.a], &all[c.b]
		verdict := "yes"
		if rig.SpreadOf(rig.Ratios(a.p99, b.p99)).Median > mostRise {
			verdict = "NO"
		}
		fmt.Fprintf(ratios, "| %s | %s | %s | %s | %s | %s |\n", name, c.name, spread(a.rate, b.rate), spread(a.p50, b.p50), spread(a.p99, b.p99), verdict)
	}
	return nil
}

// lateAfter is several times the median, and less than a stall takes.
const lateAfter = 200 * time.Microsecond

// mostRise is how much the storm may raise the p99 of the plain clients: by half.
const mostRise = 1.5

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

func spread(a, b []float64) string {
	s := rig.SpreadOf(rig.Ratios(a, b))
	return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Low, s.High)
}
