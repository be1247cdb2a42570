package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loader measures starts on one file.
type loader struct {
	dir     string
	items   int
	size    int64
	seconds []float64 // until the server answers
	inside  []float64 // of them, what the server itself counts as loading
}

// loading is the server that has the file.
func loading() *contestant {
	return &contestant{network: "unix", memory: "1024", args: []string{"--data", "DIR/data"}}
}

// prepare makes a file of items of nbyte bytes, in the order of a hash.
func prepare(server string, items int) (l *loader, err error) {
	l = &loader{items: items}
	if l.dir, err = os.MkdirTemp("", "persist-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	socket, stop, err := loading().serve(server, l.dir)
	if err != nil {
		return nil, err
	}
	defer stop()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	value := strings.Repeat("v", nbyte)
	w := bufio.NewWriterSize(conn, 256<<10)
	for i := range items {
		fmt.Fprintf(w, "set %d 0 0 %d noreply\r\n%s\r\n", 100_000_000+uint32(i)*2654435761%1_000_000_007, nbyte, value)
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	// Everything is in the file when nothing waits any more.
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		st, err := statsData(conn)
		if err != nil {
			return nil, err
		}
		if n, _ := strconv.Atoi(st["records"]); n >= items && st["lag_ms"] == "0.000" {
			time.Sleep(200 * time.Millisecond)
			break
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("expected %d records in the file, found %s", items, st["records"])
		}
	}
	info, err := os.Stat(filepath.Join(l.dir, "data"))
	if err != nil {
		return nil, err
	}
	l.size = info.Size()
	return l, nil
}

func statsData(conn net.Conn) (map[string]string, error) {
	if _, err := conn.Write([]byte("stats data\r\n")); err != nil {
		return nil, err
	}
	st := map[string]string{}
	rd := bufio.NewReader(conn)
	for {
		line, err := rd.ReadString('\n')
		if err != nil || line == "END\r\n" {
			return st, err
		}
		if f := strings.Fields(line); len(f) == 3 {
			st[f[1]] = f[2]
		}
	}
}

// start starts a server on the file, eagerly: it answers when everything is
// loaded.
func (l *loader) start(server string) error {
	began := time.Now()
	socket, stop, err := loading().serve(server, l.dir)
	if err != nil {
		return err
	}
	defer stop()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	st, err := statsData(conn)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if st["load_items"] != strconv.Itoa(l.items) {
		return fmt.Errorf("expected %d items, found %s", l.items, st["load_items"])
	}
	ms, err := strconv.ParseFloat(st["load_ms"], 64)
	l.seconds, l.inside = append(l.seconds, took.Seconds()), append(l.inside, ms/1000)
	return err
}

func (l *loader) report(w *strings.Builder) {
	all, in := slices.Sorted(slices.Values(l.seconds)), slices.Sorted(slices.Values(l.inside))
	fmt.Fprintf(w, "\n| start with %d items of %d bytes, a file of %d MB | median s | lowest | highest | wanted |\n|---|---|---|---|---|\n", l.items, nbyte, l.size/1e6)
	fmt.Fprintf(w, "| until the server answers | %.2f | %.2f | %.2f | 3 |\n", all[len(all)/2], all[0], all[len(all)-1])
	fmt.Fprintf(w, "| of that, loading | %.2f | %.2f | %.2f | |\n", in[len(in)/2], in[0], in[len(in)-1])
}

func (l *loader) close() { _ = os.RemoveAll(l.dir) }
