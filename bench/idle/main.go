// Idle measures what connections cost that do nothing, or next to nothing.
//
//	idle [-server ./sememcached] [-conns 10000] [-slow 200] [-quiet 5s] [-worse 2] [-out FILE]
//
// idle: connections are opened, use the server once and then do nothing. What the
// server's memory has grown by (Private of smaps_rollup, proc(5)), divided by their
// number, must be below 4 KiB. A connection costs memory of the kernel too, for
// any server, which is not counted.
//
// slow: with -m 64, as many clients as -slow read values of 1 MB, and as many store
// them, at a few kilobytes a second, while others go on. The server's memory must
// stay below a bound, and the 99th percentile of the others' response times below
// twice (-worse) what it is without the slow ones. This process is all the clients,
// so that where the cores are few the slow ones take time from the others here too.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sememcached/bench/rig"
)

const (
	costMax   = 4 << 10 // bytes of an idle connection
	slowMB    = 64
	large     = 1_000_000
	slackMB   = 48 // what the server may take beside -m with the slow clients
	slowStep  = 4 << 10
	slowPause = 400 * time.Millisecond
)

type tool struct {
	kind  rig.Kind
	conns int
	slow  int
	quiet time.Duration
	worse float64
	out   bytes.Buffer
}

func main() {
	t := &tool{}
	server := flag.String("server", "./sememcached", "the server")
	parts := flag.String("parts", "idle,slow", "what to measure")
	out := flag.String("out", "", "write the report to this file too")
	flag.IntVar(&t.conns, "conns", 10_000, "idle connections")
	flag.IntVar(&t.slow, "slow", 200, "slow readers, and as many slow writers")
	flag.DurationVar(&t.quiet, "quiet", 5*time.Second, "how long response times are measured")
	flag.Float64Var(&t.worse, "worse", 2, "how many times longer others' p99 may be beside slow clients")
	flag.Parse()
	t.kind = rig.Kind{Name: "sememcached", Argv: []string{*server}}
	t.printf("# Connections that do little\n\nsememcached %s, %s. Written by bench/idle.\n", rig.Commit(), runtime.Version())
	var err error
	for _, p := range strings.Split(*parts, ",") {
		switch p {
		case "idle":
			err = errors.Join(err, t.idle())
		case "slow":
			err = errors.Join(err, t.trickle())
		default:
			err = fmt.Errorf("-parts: expected idle or slow, found %q", p)
		}
	}
	if *out != "" {
		err = errors.Join(err, os.WriteFile(*out, t.out.Bytes(), 0o644))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func (t *tool) printf(format string, args ...any) {
	fmt.Printf(format, args...)
	fmt.Fprintf(&t.out, format, args...)
}

// room raises the limit of open files of this process, which the server inherits.
func room(files int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	if lim.Cur >= uint64(files) {
		return nil
	}
	lim.Cur = uint64(files)
	lim.Max = max(lim.Max, lim.Cur)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("cannot open %d files: %w", files, err)
	}
	return nil
}

func (t *tool) idle() (err error) {
	if err := room(t.conns + 1000); err != nil {
		return err
	}
	s, err := rig.Start(t.kind, rig.Place{Unix: true, Dir: os.TempDir(), Threads: 2, MemoryMB: slowMB, MaxConns: t.conns + 100})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	t.printf("\n## %d idle connections\n\n| | memory, MiB | a connection, bytes |\n|---|---|---|\n", t.conns)
	// A first round warms up whatever is made once.
	var before int64
	for round, n := range []int{200, t.conns} {
		conns := make([]net.Conn, 0, n)
		for range n {
			c, err := net.Dial(s.Network, s.Addr)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if _, err := c.Write([]byte("set k 0 0 2\r\nab\r\nget k\r\n")); err != nil {
				return err
			}
			if err := await(c, "STORED\r\nVALUE k 0 2\r\nab\r\nEND\r\n"); err != nil {
				return err
			}
		}
		after, err := settled(s.PID)
		if err != nil {
			return err
		}
		if round == 1 {
			cost := float64(after-before) / float64(n)
			t.printf("| before | %.1f | |\n| with %d | %.1f | %.0f |\n", float64(before)/(1<<20), n, float64(after)/(1<<20), cost)
			if cost > costMax {
				err = fmt.Errorf("an idle connection costs %.0f bytes, expected %d at most", cost, costMax)
			}
		}
		for _, c := range conns {
			_ = c.Close()
		}
		if err != nil {
			return err
		}
		if before, err = settled(s.PID); err != nil {
			return err
		}
	}
	t.printf("| closed again | %.1f | |\n", float64(before)/(1<<20))
	return nil
}

// await reads exactly what is expected.
func await(c net.Conn, want string) error {
	got := make([]byte, len(want))
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	for n := 0; n < len(got); {
		m, err := c.Read(got[n:])
		if err != nil {
			return fmt.Errorf("expected %q, found %q: %w", want, got[:n], err)
		}
		n += m
	}
	if string(got) != want {
		return fmt.Errorf("expected %q, found %q", want, got)
	}
	return nil
}

// settled is the memory of a process when it has stopped changing: the smallest of
// what is seen within two seconds without a new minimum.
func settled(pid int) (int64, error) {
	low, err := rig.Private(pid)
	if err != nil {
		return 0, err
	}
	for quiet := 0; quiet < 10; quiet++ {
		time.Sleep(200 * time.Millisecond)
		n, err := rig.Private(pid)
		if err != nil {
			return 0, err
		}
		if n < low {
			low, quiet = n, 0
		}
	}
	return low, nil
}

// trickle measures others' response times without and with slow clients.
func (t *tool) trickle() (err error) {
	s, err := rig.Start(t.kind, rig.Place{Threads: 2, MemoryMB: slowMB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	before, err := rig.Private(s.PID)
	if err != nil {
		return err
	}
	// Quiet and loud in turns, so that whatever else the machine does meets both.
	var quiet, loud []time.Duration
	var most atomic.Int64
	for range 3 {
		if err := t.fill(s); err != nil {
			return err
		}
		d, err := t.others(s, t.quiet/3)
		if err != nil {
			return err
		}
		quiet = append(quiet, d...)
		stop := make(chan struct{})
		var group sync.WaitGroup
		err = t.slowClients(s, stop, &group)
		if err == nil {
			d, err = t.others(s, t.quiet/3)
			loud = append(loud, d...)
			n, e := rig.Private(s.PID)
			most.Store(max(most.Load(), n))
			err = errors.Join(err, e)
		}
		close(stop)
		group.Wait()
		if err != nil {
			return err
		}
	}
	q, l := percentile(quiet), percentile(loud)
	t.printf("\n## %d slow readers and %d slow writers of 1 MB, -m %d\n\n| | without | with | ratio |\n|---|---|---|---|\n", t.slow, t.slow, slowMB)
	t.printf("| others' p99, µs | %d | %d | %.2f |\n", q.Microseconds(), l.Microseconds(), float64(l)/float64(q))
	t.printf("| requests | %d | %d | |\n| memory, MiB | %.1f | %.1f | |\n", len(quiet), len(loud), float64(before)/(1<<20), float64(most.Load())/(1<<20))
	if float64(l) > t.worse*float64(q) {
		err = errors.Join(err, fmt.Errorf("others' p99 is %v, %v without slow clients", l, q))
	}
	if limit := int64(slowMB+slackMB) << 20; most.Load() > limit {
		err = errors.Join(err, fmt.Errorf("%d bytes resident, expected %d at most", most.Load(), limit))
	}
	return err
}

const largeItems = 20

func (t *tool) fill(s *rig.Server) error {
	c, err := s.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range largeItems {
		if got, err := c.Set(fmt.Sprint("large", i), bytes.Repeat([]byte("v"), large)); err != nil || got != "STORED" {
			return fmt.Errorf("set large%d: %q, %w", i, got, err)
		}
	}
	for i := range 1000 {
		if got, err := c.Set(fmt.Sprint("small", i), []byte("value")); err != nil || got != "STORED" {
			return fmt.Errorf("set small%d: %q, %w", i, got, err)
		}
	}
	return nil
}

// slowClients starts them and returns when each has begun: first the readers, so
// that the large values are still there.
func (t *tool) slowClients(s *rig.Server, stop chan struct{}, group *sync.WaitGroup) error {
	var begun sync.WaitGroup
	for i := range 2 * t.slow {
		if i == t.slow {
			begun.Wait()
		}
		d := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
			// Little room for what is not read.
			return rc.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) })
		}}
		c, err := d.Dial(s.Network, s.Addr)
		if err != nil {
			return err
		}
		begun.Add(1)
		group.Go(func() {
			if i < t.slow {
				read(c, i, stop, begun.Done)
			} else {
				write(c, i, stop, begun.Done)
			}
		})
		group.Go(func() {
			<-stop
			_ = c.Close()
		})
	}
	begun.Wait()
	return nil
}

// read asks for a large value and takes it slowly.
func read(c net.Conn, i int, stop chan struct{}, begun func()) {
	_, _ = fmt.Fprintf(c, "get large%d\r\n", i%largeItems)
	p := make([]byte, slowStep)
	_, _ = c.Read(p)
	begun()
	for {
		select {
		case <-stop:
			return
		case <-time.After(slowPause):
		}
		if _, err := c.Read(p); err != nil {
			return
		}
	}
}

// write stores a large value slowly.
func write(c net.Conn, i int, stop chan struct{}, begun func()) {
	_, _ = fmt.Fprintf(c, "set slow%d 0 0 %d\r\n", i, large)
	p := bytes.Repeat([]byte("w"), slowStep)
	_, _ = c.Write(p)
	begun()
	for {
		select {
		case <-stop:
			return
		case <-time.After(slowPause):
		}
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

// others measures response times of a client that gets small values, one after
// the other.
func (t *tool) others(s *rig.Server, d time.Duration) (times []time.Duration, err error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	hit := make([]bool, 1)
	for start, i := time.Now(), 0; time.Since(start) < d; i++ {
		key := fmt.Sprint("small", i%1000)
		at := time.Now()
		if err := c.Gets([]string{key}, hit); err != nil {
			return nil, err
		}
		times = append(times, time.Since(at))
	}
	return times, nil
}

func percentile(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*99/100]
}
