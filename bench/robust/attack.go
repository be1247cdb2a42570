package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ordinaryClients is how many clients are timed, each with one request at a time.
const ordinaryClients = 4

// ordinary times gets and sets until d has passed. Every reply is checked.
func ordinary(addr string, d time.Duration) (sample, error) {
	var mu sync.Mutex
	var all []time.Duration
	var first error
	var group sync.WaitGroup
	end := time.Now().Add(d)
	for i := range ordinaryClients {
		group.Go(func() {
			times, err := ordinaryClient(addr, i, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if first == nil {
				first = err
			}
		})
	}
	group.Wait()
	if first != nil || len(all) == 0 {
		return sample{}, fmt.Errorf("an ordinary client: %w (%d requests)", first, len(all))
	}
	slices.Sort(all)
	return sample{len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}, nil
}

func ordinaryClient(addr string, id int, end time.Time) (times []time.Duration, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	value := strings.Repeat("o", 100)
	set := fmt.Sprintf("set ordinary%d 0 0 100\r\n%s\r\n", id, value)
	get := fmt.Sprintf("get ordinary%d\r\n", id)
	hit := fmt.Sprintf("VALUE ordinary%d 0 100\r\n%s\r\nEND\r\n", id, value)
	got := make([]byte, len(hit))
	for n := 0; time.Now().Before(end); n++ {
		send, want := get, hit
		if n%10 == 0 {
			send, want = set, "STORED\r\n"
		}
		start := time.Now()
		_ = c.SetDeadline(start.Add(30 * time.Second))
		if _, err := io.WriteString(c, send); err != nil {
			return times, err
		}
		if _, err := io.ReadFull(r, got[:len(want)]); err != nil || string(got[:len(want)]) != want {
			return times, fmt.Errorf("%q is answered %q, %w", send, got[:len(want)], err)
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

// attack is one kind of misbehaviour. stop ends it and says how much of it there was.
type attack struct {
	name, unit string
	start      func(addr string) (stop func() int, err error)
}

func attacks(idle int) []attack {
	return []attack{
		{"idle", "connections", func(addr string) (func() int, error) { return idling(addr, idle) }},
		{"loris", "bytes, one at a time", func(addr string) (func() int, error) { return background(100, loris(addr)), nil }},
		{"reset", "values broken off", func(addr string) (func() int, error) { return background(2, resets(addr)), nil }},
		{"lengths", "absurd requests", func(addr string) (func() int, error) { return background(2, lengths(addr)), nil }},
		{"unread", "commands unread", func(addr string) (func() int, error) { return background(4, unread(addr)), nil }},
	}
}

// pause is between two steps of an attacker, so that it is the kind of request and
// not the load that is measured.
const pause = 5 * time.Millisecond

// background runs n attackers until stop. step does one thing.
func background(n int, attacker func(i int, stopped func() bool, count *atomic.Int64)) func() int {
	var stop atomic.Bool
	var count atomic.Int64
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { attacker(i, stop.Load, &count) })
	}
	time.Sleep(50 * time.Millisecond) // all of them are at it
	return func() int {
		stop.Store(true)
		group.Wait()
		return int(count.Load())
	}
}

// idling opens n connections that do nothing. Their sources differ, as one address has
// not enough ports.
func idling(addr string, n int) (func() int, error) {
	conns := make([]net.Conn, 0, n)
	closeAll := func() int {
		for _, c := range conns {
			c.Close()
		}
		return len(conns)
	}
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+i%200))}, Timeout: 30 * time.Second}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		conns = append(conns, c)
	}
	return closeAll, nil
}

func loris(addr string) func(int, func() bool, *atomic.Int64) {
	return func(i int, stopped func() bool, count *atomic.Int64) {
		for !stopped() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return
			}
			line := "set slow 0 0 1000\r\n" + strings.Repeat("z", 1000)
			if i%2 == 0 {
				line = "get " + strings.Repeat("key ", 500)
			}
			for k := 0; k < len(line) && !stopped(); k++ {
				if _, err := io.WriteString(c, line[k:k+1]); err != nil {
					break
				}
				count.Add(1)
				time.Sleep(20 * pause)
			}
			c.Close()
		}
	}
}

func resets(addr string) func(int, func() bool, *atomic.Int64) {
	part := strings.Repeat("r", 200_000)
	return func(i int, stopped func() bool, count *atomic.Int64) {
		for n := 0; !stopped(); n++ {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "set broken%d 0 0 1000000\r\n%s", n%5, part[:n*7919%len(part)])
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
			count.Add(1)
			time.Sleep(pause)
		}
	}
}

// numbers are the edges of a length.
var numbers = []uint64{0, 1, 250, 251, 1023, 1024, 16383, 16384, 1048575, 1048576, 1048577, 1<<30 - 1, 1 << 30, 1<<30 + 1, 1<<31 - 3, 1<<31 - 2, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// absurd are requests with a length at an edge, and less behind it than it says.
func absurd() (all []string) {
	for _, n := range numbers {
		for _, verb := range []string{"set", "append", "cas"} {
			all = append(all, fmt.Sprintf("%s l 0 0 %d 1\r\nshort", verb, n), fmt.Sprintf("%s l 0 0 -%d 1\r\nshort\r\n", verb, n))
		}
		all = append(all, fmt.Sprintf("ms l %d T0\r\nshort", n), fmt.Sprintf("ms l %d T%d F%d C%d\r\nshort", n, n, n, n), fmt.Sprintf("incr l %d\r\n", n),
			fmt.Sprintf("touch l %d\r\nflush_all x%d\r\n", n, n), fmt.Sprintf("stats cachedump %d %d\r\n", n, n))
		if n <= 1<<20 {
			all = append(all, "get "+strings.Repeat("k", int(n))+"\r\n", "mg "+strings.Repeat("k", int(n)), strings.Repeat(" ", int(n)))
		}
		for op := range byte(0x26) {
			if op == 0x08 || op == 0x18 {
				continue // a flush would take the items of the ordinary clients
			}
			for field := range 3 {
				h := make([]byte, 24, 40)
				h[0], h[1] = 0x80, op
				switch field {
				case 0:
					binary.BigEndian.PutUint32(h[8:], uint32(n))
				case 1:
					binary.BigEndian.PutUint16(h[2:], uint16(n))
					binary.BigEndian.PutUint32(h[8:], uint32(n)&0xffff)
				case 2:
					h[4] = byte(n)
					binary.BigEndian.PutUint32(h[8:], uint32(n)&0xff)
				}
				all = append(all, string(append(h, "extraskeyvalue"...)))
			}
		}
	}
	return all
}

func lengths(addr string) func(int, func() bool, *atomic.Int64) {
	all := absurd()
	return func(i int, stopped func() bool, count *atomic.Int64) {
		for n := i * 997; !stopped(); n++ {
			if once(addr, all[n%len(all)]) != nil {
				return
			}
			count.Add(1)
			time.Sleep(pause / 5)
		}
	}
}

// once sends a request and nothing more, and reads until the server closes, which it
// must.
func once(addr, request string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _ = io.WriteString(c, request) // may be closed already
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return nil
}

func unread(addr string) func(int, func() bool, *atomic.Int64) {
	value := strings.Repeat("u", 500_000)
	lines := strings.Repeat("get unread\r\n", 100)
	return func(i int, stopped func() bool, count *atomic.Int64) {
		for !stopped() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "set unread 0 0 %d noreply\r\n%s\r\n", len(value), value)
			for range 5 {
				_ = c.SetWriteDeadline(time.Now().Add(20 * pause))
				if _, err := io.WriteString(c, lines); err != nil {
					break
				}
				count.Add(100)
			}
			time.Sleep(40 * pause)
			c.Close()
		}
	}
}
