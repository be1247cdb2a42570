package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
)

// goServerWord makes this program the plain Go server.
const goServerWord = "serve-go"

// throughput measures servers with clients that speak TLS.
func (s *settings) throughput() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	kinds := []rig.Kind{
		{Name: "sememcached", Argv: append([]string{s.server}, s.tlsFlags()...)},
		{Name: "Go server", Argv: append([]string{self, goServerWord}, s.files[:2]...)},
	}
	if path, err := exec.LookPath("memcached"); err == nil {
		kinds = append(kinds, rig.Kind{Name: "memcached", Argv: append([]string{path}, s.tlsFlags()...)})
	} else {
		fmt.Fprintln(s.report, "\nNo memcached is installed to compare with.")
	}
	var servers []*rig.Server
	defer func() {
		for _, srv := range servers {
			_ = srv.Stop()
		}
	}()
	for _, k := range kinds {
		srv, err := rig.Start(k, rig.Place{Threads: 1, CPUs: []int{0}, MemoryMB: 256})
		if err != nil {
			return err
		}
		servers = append(servers, srv)
	}
	fmt.Fprintf(s.report, `
## Throughput

One server thread, on core 0; the clients, of crypto/tls, have core 1 and cost more than any server: CPU per request
is the figure to look at. The Go server has a goroutine for each connection and answers every get with a hit, without
storing anything. %d repetitions of %v in turns; ratios to sememcached are medians of the pairs: above 1, ours is better.

| load | server | requests/s | server CPU us | ratio of requests/s | ratio of CPU |
|---|---|---|---|---|---|
`, s.n, s.time)
	for _, row := range []struct {
		name               string
		conns, depth, size int
	}{
		{"get of 32 bytes, 50 connections, depth 1", 50, 1, 32},
		{"get of 32 bytes, 20 connections, depth 16", 20, 16, 32},
		{"get of 100 KB, 10 connections, depth 1", 10, 1, 100_000},
	} {
		if err := s.compareTLS(servers, row.name, row.conns, row.depth, row.size); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) compareTLS(servers []*rig.Server, name string, conns, depth, size int) error {
	clients := make([]*secureClients, len(servers))
	for i, srv := range servers {
		c, err := s.newSecureClients(srv.Addr, conns, depth, size)
		if err != nil {
			return fmt.Errorf("%s: %w", srv.Kind.Name, err)
		}
		defer c.close()
		clients[i] = c
	}
	rates, cpus := make([][]float64, len(servers)), make([][]float64, len(servers))
	for rep := range s.n {
		for k := range servers {
			i := k
			if rep%2 == 1 {
				i = len(servers) - 1 - k
			}
			if _, err := clients[i].run(s.time / 5); err != nil {
				return fmt.Errorf("%s: %w", servers[i].Kind.Name, err)
			}
			before, err := rig.UsageOf(servers[i].PID)
			if err != nil {
				return err
			}
			start := time.Now()
			n, err := clients[i].run(s.time)
			if err != nil {
				return fmt.Errorf("%s: %w", servers[i].Kind.Name, err)
			}
			took := time.Since(start)
			after, err := rig.UsageOf(servers[i].PID)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], float64(n)/took.Seconds())
			cpus[i] = append(cpus[i], micros(after.Since(before).CPU)/float64(n))
		}
	}
	for i, srv := range servers {
		ratio, cpu := "", ""
		if i > 0 {
			ratio, cpu = spread(rates[0], rates[i]), spread(cpus[i], cpus[0])
		}
		fmt.Fprintf(s.report, "| %s | %s | %.0f | %.2f | %s | %s |\n", name, srv.Kind.Name,
			rig.SpreadOf(rates[i]).Median, rig.SpreadOf(cpus[i]).Median, ratio, cpu)
	}
	return nil
}

// secureClients are connections that ask for one key each, again and again.
type secureClients struct {
	conns   []*tls.Conn
	request []byte
	reply   int // bytes for each request
	depth   int
}

func (s *settings) newSecureClients(addr string, conns, depth, size int) (*secureClients, error) {
	key := string(load.AppendKey(nil, 7))
	c := &secureClients{depth: depth, request: []byte(strings.Repeat("get "+key+"\r\n", depth))}
	c.reply = len(fmt.Sprintf("VALUE %s 0 %d\r\n\r\nEND\r\n", key, size)) + size
	for range conns {
		tc, err := tls.Dial("tcp", addr, &tls.Config{
			RootCAs: s.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS13,
			CurvePreferences: []tls.CurveID{tls.X25519}, DynamicRecordSizingDisabled: true,
		})
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, tc)
	}
	set := fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, size, bytes.Repeat([]byte{'v'}, size))
	if _, err := io.WriteString(c.conns[0], set); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(c.conns[0]).ReadString('\n')
	if err == nil && line != "STORED\r\n" {
		err = fmt.Errorf("set: expected STORED, found %q", line)
	}
	return c, err
}

func (c *secureClients) close() {
	for _, tc := range c.conns {
		tc.Close()
	}
}

// run asks for d and returns the number of replies.
func (c *secureClients) run(d time.Duration) (n int64, err error) {
	var group sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	end := time.Now().Add(d)
	for _, tc := range c.conns {
		group.Go(func() {
			buf := make([]byte, 64<<10)
			for time.Now().Before(end) {
				_, err := tc.Write(c.request)
				for left := c.reply * c.depth; left > 0 && err == nil; {
					var k int
					k, err = tc.Read(buf[:min(len(buf), left)])
					left -= k
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				done.Add(int64(c.depth))
			}
		})
	}
	group.Wait()
	if p := failed.Load(); p != nil {
		return 0, *p
	}
	return done.Load(), nil
}

// serveGo is the plain Go server: chain, key, and then flags of memcached, of which
// it looks at -p. It knows set and get and remembers one value.
func serveGo(args []string) error {
	if len(args) < 2 {
		return errors.New("expected a chain and a key")
	}
	port := ""
	for i, a := range args[2:] {
		if a == "-p" {
			port = args[2:][i+1]
		}
	}
	pair, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", net.JoinHostPort("127.0.0.1", port), &tls.Config{
		Certificates: []tls.Certificate{pair}, DynamicRecordSizingDisabled: true,
	})
	if err != nil {
		return err
	}
	var value atomic.Pointer[[]byte]
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serveGoConn(c, &value)
	}
}

func serveGoConn(c net.Conn, value *atomic.Pointer[[]byte]) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if bytes.HasPrefix(line, []byte("get ")) {
			if v := value.Load(); v != nil {
				_, _ = w.Write(*v)
			}
		} else {
			var key string
			var flags, exptime, n int
			if _, err := fmt.Sscanf(string(line), "set %s %d %d %d", &key, &flags, &exptime, &n); err != nil {
				return
			}
			data := make([]byte, n+2)
			if _, err := io.ReadFull(r, data); err != nil {
				return
			}
			reply := fmt.Appendf(nil, "VALUE %s 0 %d\r\n%sEND\r\n", key, n, data)
			value.Store(&reply)
			_, _ = w.WriteString("STORED\r\n")
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return
			}
		}
	}
}
