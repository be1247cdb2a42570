package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"sememcached/bench/rig"
)

// footprint is what the process holds.
type footprint struct {
	fds, goroutines int
	heap            uint64 // bytes of live objects after a collection
	rss             int64
	items           [2]string // curr_items of both servers
	labels          [2]string // labels in use
}

func (f footprint) String() string {
	return fmt.Sprintf("file descriptors %d, goroutines %d, live heap %.1f MiB, resident %.0f MiB, items %s, labels %s",
		f.fds, f.goroutines, float64(f.heap)/(1<<20), float64(f.rss)/(1<<20), strings.Join(f.items[:], "+"), strings.Join(f.labels[:], "+"))
}

func (w *world) footprint() (f footprint, err error) {
	for i, p := range []*rig.InProcess{w.ample, w.scarce} {
		general, err := ask(p.Addr, "stats")
		if err != nil {
			return f, err
		}
		f.items[i] = general["curr_items"]
		p.Monitor.Stats(func(name, value string) {
			if name == "mac_sids" {
				f.labels[i] = value
			}
		})
	}
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return f, err
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.fds, f.goroutines, f.heap = len(dir), runtime.NumGoroutine(), m.HeapAlloc
	f.rss, err = rig.RSS(os.Getpid())
	return f, err
}

// ask asks a server for statistics as the administrator and waits until the
// connection is closed at both ends.
func ask(addr, what string) (map[string]string, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source(admin))}, Timeout: patience}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\nquit\r\n", what); err != nil {
		return nil, err
	}
	out := map[string]string{}
	sc := bufio.NewScanner(conn)
	for sc.Scan() {
		if w := strings.SplitN(sc.Text(), " ", 3); len(w) == 3 && w[0] == "STAT" {
			out[w[1]] = w[2]
		}
	}
	return out, sc.Err()
}

// What may be left: the pools of buffers that the loops keep for reuse, and the
// runtime's own.
const (
	heapSlack      = 24 << 20
	goroutineSlack = 4
)

// leaks compares what is held with what was held before. Some of it takes a
// moment to go.
func (w *world) leaks(before footprint) error {
	var after footprint
	var err error
	for range 50 {
		if after, err = w.footprint(); err != nil {
			return err
		}
		if err = before.compare(after); err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.printf("after     %v", after)
	if err != nil {
		return err
	}
	for _, p := range []*rig.InProcess{w.ample, w.scarce} {
		if err := w.allLabels(p); err != nil {
			return err
		}
	}
	return nil
}

func (f footprint) compare(after footprint) error {
	switch {
	case after.items != [2]string{"0", "0"}:
		return fmt.Errorf("leak: items %v are left", after.items)
	case after.fds > f.fds:
		return fmt.Errorf("leak: %d file descriptors, %d before", after.fds, f.fds)
	case after.goroutines > f.goroutines+goroutineSlack:
		return fmt.Errorf("leak: %d goroutines, %d before", after.goroutines, f.goroutines)
	case after.heap > f.heap+heapSlack:
		return fmt.Errorf("leak: %d bytes of live heap, %d before", after.heap, f.heap)
	}
	return nil
}

// allLabels gives almost as many different labels as there are numbers to items
// that live at the same time. A number that is still referred to by something
// that is gone would be missing.
func (w *world) allLabels(p *rig.InProcess) error {
	const spare = 64 // clients, creation labels, what the policy names
	c := newClient(w, -2, p, admin)
	c.scarce = false
	if err := c.dial(); err != nil {
		return err
	}
	defer c.conn.Close()
	reply := func(command string) (string, error) {
		if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return "", err
		}
		if _, err := c.conn.Write([]byte(command)); err != nil {
			return "", err
		}
		return c.line()
	}
	end := time.Now().Add(patience)
	for i := range maxLabels - spare {
		label := fmt.Sprintf("system_u:object_r:kv_session_t:s0:c%d,c%d", i/40, 100+i%40)
		for {
			s, err := reply(fmt.Sprintf("mac create %s\r\n", label))
			if err == nil && s == "OK" {
				s, err = reply(fmt.Sprintf("set label/%d 0 0 0\r\n\r\n", i))
			}
			if err != nil {
				return err
			}
			if s == "STORED" {
				break
			}
			// Numbers come back when a newer generation has replaced the one that
			// used them.
			if time.Now().After(end) {
				return fmt.Errorf("leak: of %d labels only %d can be in use: %s", maxLabels, i, s)
			}
			if err := p.Monitor.Reload(); err != nil {
				return err
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	w.printf("labels    %d of %d in use at the same time", maxLabels-spare, maxLabels)
	return nil
}
