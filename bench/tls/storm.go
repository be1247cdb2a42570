package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
	hello, err := clientHello()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.report, `
## A storm of handshakes

One loop and the handshake thread share core 0; the plain clients (50 connections, get, depth 1) and those who make
handshakes (%d connections, lower priority) share core 1. %d pairs of a quiet and a stormy window of %v. Ratios are
storm to quiet, median of the pairs with the smallest and the largest.

| plain clients | window | requests/s | p50 us | p99 us | p99.9 us | handshakes/s |
|---|---|---|---|---|---|---|
`, s.stormer, s.n, s.time)
	var ratios bytes.Buffer
	for _, c := range []struct {
		name string
		rate float64
	}{{fmt.Sprintf("%.0f requests/s (open loop)", s.rate), s.rate}, {"as many as they get (closed loop)", 0}} {
		cfg := plainLoad("tcp", plain)
		cfg.Rate = c.rate
		g, err := load.New(cfg)
		if err != nil {
			return err
		}
		if _, err := g.Fill(); err != nil {
			g.Close()
			return err
		}
		err = s.compareStorm(g, srv.Addr, hello, c.name, &ratios)
		g.Close()
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(s.report, "\n| plain clients | requests/s | p50 | p99 | p99 at most half higher |\n|---|---|---|---|---|\n%s", ratios.Bytes())
	return nil
}

// compareStorm measures pairs of windows and writes their rows.
func (s *settings) compareStorm(g *load.Generator, addr string, hello []byte, name string, ratios *bytes.Buffer) error {
	type window struct{ rate, p50, p99, p999, shakes []float64 }
	var quiet, stormy window
	note := func(w *window, r load.Result, shakes float64) {
		w.rate = append(w.rate, r.Rate())
		w.p50 = append(w.p50, micros(r.Latency.Quantile(0.5)))
		w.p99 = append(w.p99, micros(r.Latency.Quantile(0.99)))
		w.p999 = append(w.p999, micros(r.Latency.Quantile(0.999)))
		w.shakes = append(w.shakes, shakes)
	}
	if _, err := g.Run(s.time / 2); err != nil {
		return err
	}
	one := func(storm bool) error {
		var st *stormers
		if storm {
			st = startStorm(addr, hello, s.stormer)
			time.Sleep(s.time / 5)
			st.done.Store(0)
		}
		r, err := g.Run(s.time)
		if err == nil {
			err = r.Err()
		}
		if !storm {
			note(&quiet, r, 0)
			return err
		}
		shakes := float64(st.done.Load()) / r.Elapsed.Seconds()
		if e := st.stop(); err == nil {
			err = e
		}
		note(&stormy, r, shakes)
		return err
	}
	for i := range s.n {
		for _, storm := range [2]bool{i%2 == 1, i%2 == 0} {
			if err := one(storm); err != nil {
				return err
			}
		}
	}
	for _, w := range []struct {
		name string
		w    *window
	}{{"quiet", &quiet}, {"storm", &stormy}} {
		m := func(v []float64) float64 { return rig.SpreadOf(v).Median }
		fmt.Fprintf(s.report, "| %s | %s | %.0f | %.0f | %.0f | %.0f | %.0f |\n", name, w.name,
			m(w.w.rate), m(w.w.p50), m(w.w.p99), m(w.w.p999), m(w.w.shakes))
	}
	verdict := "yes"
	if rig.SpreadOf(rig.Ratios(stormy.p99, quiet.p99)).Median > mostRise {
		verdict = "NO"
	}
	fmt.Fprintf(ratios, "| %s | %s | %s | %s | %s |\n", name, spread(stormy.rate, quiet.rate), spread(stormy.p50, quiet.p50), spread(stormy.p99, quiet.p99), verdict)
	return nil
}

// mostRise is how much the storm may raise the p99 of the plain clients: by half.
const mostRise = 1.5

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

func spread(a, b []float64) string {
	s := rig.SpreadOf(rig.Ratios(a, b))
	return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Low, s.High)
}

// stormers make handshakes until stop.
type stormers struct {
	done  atomic.Int64
	end   chan struct{}
	group sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// stormNice is the priority of those who make handshakes: elsewhere they would be
// other machines.
const stormNice = 19

func startStorm(addr string, hello []byte, conns int) *stormers {
	st := &stormers{end: make(chan struct{})}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		st.err = err
		return st
	}
	sa := &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	// Few threads, each with connections whose handshakes overlap.
	const threads = 2
	for range threads {
		st.group.Go(func() {
			runtime.LockOSThread() // and not unlocked: the thread ends with its priority
			var set unix.CPUSet
			set.Set(1)
			_ = unix.SchedSetaffinity(0, &set)
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), stormNice)
			if err := st.run(sa, hello, conns/threads); err != nil {
				st.mu.Lock()
				defer st.mu.Unlock()
				st.err = err
			}
		})
	}
	return st
}

func (st *stormers) stop() error {
	close(st.end)
	st.group.Wait()
	return st.err
}

// run begins handshakes on n connections at a time and ends each when the server
// has done its share of it.
func (st *stormers) run(sa unix.Sockaddr, hello []byte, n int) error {
	fds := make([]int, n)
	buf := make([]byte, 8<<10)
	for {
		select {
		case <-st.end:
			return nil
		default:
		}
		for i := range fds {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Connect(fd, sa); err != nil {
				unix.Close(fd)
				return err
			}
			if _, err := unix.Write(fd, hello); err != nil {
				unix.Close(fd)
				return err
			}
			fds[i] = fd
		}
		for _, fd := range fds {
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // no TIME_WAIT
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
			k, err := unix.Read(fd, buf)
			unix.Close(fd)
			if err == nil && k > 0 {
				st.done.Add(1)
			}
		}
	}
}

// clientHello is the first flight of a client: anybody can send it again and again.
func clientHello() ([]byte, error) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := tls.Client(ours, &tls.Config{
		InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13,
	})
	go func() { _ = c.Handshake() }() // ends when the pipe is closed
	buf := make([]byte, 8<<10)
	n, err := theirs.Read(buf)
	if err != nil {
		return nil, err
	}
	if n < 6 || buf[0] != 0x16 {
		return nil, errors.New("the first flight of crypto/tls is no handshake")
	}
	return buf[:n], nil
}
