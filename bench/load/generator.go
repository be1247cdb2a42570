package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Generator is a load that can be run any number of times over the same
// connections. Its methods are called by one goroutine at a time.
type Generator struct {
	cfg     Config
	threads []*thread
	seed    uint64
}

// New connects to the server and prepares everything that a run needs.
func New(cfg Config) (*Generator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	sa, family, err := resolve(cfg.Network, cfg.Addr)
	if err != nil {
		return nil, err
	}
	from, err := source4(cfg.Source)
	if err != nil {
		return nil, err
	}
	g := &Generator{cfg: cfg, seed: cfg.Seed}
	v := newValues(cfg.ValueSize)
	var zipf []uint32
	if cfg.Zipf > 0 {
		zipf = zipfSequence(cfg.Keys, cfg.Zipf, cfg.Seed)
	}
	for i := range cfg.Threads {
		cpu := -1
		if len(cfg.CPUs) > 0 {
			cpu = cfg.CPUs[i]
		}
		t, err := newThread(&g.cfg, cpu, v, source{keys: uint32(cfg.Keys), zipf: zipf})
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("load: epoll: %w", err)
		}
		g.threads = append(g.threads, t)
	}
	for i := range cfg.Conns {
		fd, err := dial(nth(from, i%max(1, cfg.Sources)), sa, family)
		if err == nil {
			err = g.threads[i%cfg.Threads].add(fd)
		}
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("load: connection %d of %d to %s: %w", i+1, cfg.Conns, cfg.Addr, err)
		}
	}
	return g, nil
}

func resolve(network, addr string) (unix.Sockaddr, int, error) {
	if network == "unix" {
		return &unix.SockaddrUnix{Name: addr}, unix.AF_UNIX, nil
	}
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, 0, fmt.Errorf("load: %w", err)
	}
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}, unix.AF_INET, nil
	}
	if len(a.IP) != net.IPv6len {
		return nil, 0, fmt.Errorf("load: expected an address with a host, found %q", addr)
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}, unix.AF_INET6, nil
}

// source4 is the address to bind to; nil for none.
func source4(addr string) (unix.Sockaddr, error) {
	if addr == "" {
		return nil, nil
	}
	ip := net.ParseIP(addr).To4()
	if ip == nil {
		return nil, fmt.Errorf("load: expected an IPv4 address to connect from, found %q", addr)
	}
	return &unix.SockaddrInet4{Addr: [4]byte(ip)}, nil
}

// nth is the address n after a.
func nth(a unix.Sockaddr, n int) unix.Sockaddr {
	v4, ok := a.(*unix.SockaddrInet4)
	if !ok {
		return a
	}
	b := *v4
	binary.BigEndian.PutUint32(b.Addr[:], binary.BigEndian.Uint32(b.Addr[:])+uint32(n))
	return &b
}

func dial(from, sa unix.Sockaddr, family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if from != nil {
		err = unix.Bind(fd, from)
	}
	for err == nil {
		if err = unix.Connect(fd, sa); !errors.Is(err, unix.EINTR) {
			break
		}
		err = nil
	}
	if err == nil && family != unix.AF_UNIX {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close closes the connections.
func (g *Generator) Close() {
	for _, t := range g.threads {
		t.close()
	}
	g.threads = nil
}

// Fill stores every key once.
func (g *Generator) Fill() (Result, error) {
	n := len(g.threads)
	for i, t := range g.threads {
		t.src.filling = true
		t.src.next = uint32(g.cfg.Keys * i / n)
		t.src.to = uint32(g.cfg.Keys * (i + 1) / n)
	}
	res, err := g.run(limits{})
	for _, t := range g.threads {
		t.src.filling = false
	}
	return res, err
}

// Run runs the load for a time, which does not include the time that the last
// replies need. The error says that a reply could not be understood or that a
// connection broke; replies that merely are errors are counted in the Result.
func (g *Generator) Run(d time.Duration) (Result, error) {
	return g.run(limits{duration: d})
}

// RunRequests runs the load until at least n requests have been answered.
func (g *Generator) RunRequests(n int) (Result, error) {
	return g.run(limits{requests: uint64(max(1, n/len(g.threads)))})
}

func (g *Generator) run(lim limits) (Result, error) {
	if len(g.threads) == 0 {
		return Result{}, errors.New("load: the generator is closed")
	}
	if !g.threads[0].src.filling {
		lim.rate = g.cfg.Rate / float64(len(g.threads))
	}
	var group sync.WaitGroup
	for _, t := range g.threads {
		// A stream of keys of its own for every thread and run.
		g.seed = g.seed*6364136223846793005 + 1442695040888963407
		t.src.rng = g.seed | 1
		t.src.at = uint32(g.seed >> 32)
		group.Go(func() { t.run(lim) })
	}
	group.Wait()
	var all Result
	var err error
	for _, t := range g.threads {
		all.add(&t.res)
		err = errors.Join(err, t.err)
	}
	return all, err
}
