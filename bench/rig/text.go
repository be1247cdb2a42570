package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client speaks the classic text protocol to one server, for tools that want
// answers and not speed. It belongs to one goroutine.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

// patience is how long an answer may take.
const patience = 2 * time.Minute

// Dial connects to a server.
func (s *Server) Dial() (*Client, error) { return DialText(s.Network, s.Addr) }

// DialText connects to an address.
func DialText(network, addr string) (*Client, error) {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	return &Client{conn, bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) line() (string, error) {
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("rig: %w", err)
	}
	return strings.TrimRight(s, "\r\n"), nil
}

// flush sends what has been written.
func (c *Client) flush() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	if err := c.w.Flush(); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	return nil
}

// Put writes a store without a reply; it is sent when the buffer is full or a
// method waits for an answer.
func (c *Client) Put(key string, value []byte) error {
	fmt.Fprintf(c.w, "set %s 0 0 %d noreply\r\n", key, len(value))
	c.w.Write(value)
	if _, err := c.w.WriteString("\r\n"); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	return nil
}

// Set stores a value and returns the answer.
func (c *Client) Set(key string, value []byte) (string, error) {
	fmt.Fprintf(c.w, "set %s 0 0 %d\r\n", key, len(value))
	c.w.Write(value)
	c.w.WriteString("\r\n")
	if err := c.flush(); err != nil {
		return "", err
	}
	return c.line()
}

// Gets asks for the keys, one command each, in one go, and says which are there.
func (c *Client) Gets(keys []string, hit []bool) error {
	for _, k := range keys {
		c.w.WriteString("get ")
		c.w.WriteString(k)
		c.w.WriteString("\r\n")
	}
	if err := c.flush(); err != nil {
		return err
	}
	for i := range keys {
		hit[i] = false
		for {
			s, err := c.line()
			if err != nil {
				return err
			}
			if s == "END" {
				break
			}
			f := strings.Fields(s)
			n, err := strconv.Atoi(f[len(f)-1])
			if len(f) != 4 || f[0] != "VALUE" || f[1] != keys[i] || err != nil {
				return fmt.Errorf("rig: expected VALUE %s or END, found %.100q", keys[i], s)
			}
			if _, err := c.r.Discard(n + 2); err != nil {
				return fmt.Errorf("rig: %w", err)
			}
			hit[i] = true
		}
	}
	return nil
}

// Do sends a line and returns the line that answers it.
func (c *Client) Do(line string) (string, error) {
	c.w.WriteString(line + "\r\n")
	if err := c.flush(); err != nil {
		return "", err
	}
	return c.line()
}

// Stats asks for statistics: "" or the kind of them.
func (c *Client) Stats(kind string) (map[string]string, error) {
	c.w.WriteString(strings.TrimSpace("stats "+kind) + "\r\n")
	if err := c.flush(); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for {
		s, err := c.line()
		if err != nil {
			return nil, err
		}
		if s == "END" {
			return out, nil
		}
		w := strings.SplitN(s, " ", 3)
		if len(w) < 2 || w[0] != "STAT" {
			return nil, fmt.Errorf("rig: expected STAT or END, found %.100q", s)
		}
		out[w[1]] = strings.Join(w[2:], "")
	}
}

// Count is one number of the general statistics.
func (c *Client) Count(name string) (int64, error) {
	st, err := c.Stats("")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(st[name], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("rig: stats: expected a number for %s, found %q", name, st[name])
	}
	return n, nil
}

// Raw gives the connection, for what the other methods do not do. Nothing of them
// may be under way.
func (c *Client) Raw() (io.Reader, net.Conn) { return c.r, c.conn }

// Anonymous is the resident memory of a process that is no file's, and the part of
// it in huge pages, in bytes (smaps_rollup of proc(5)).
func Anonymous(pid int) (all, huge int64, err error) {
	b, err := readProc(pid, "smaps_rollup")
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("rig: smaps_rollup of %d: %w", pid, err)
		}
		switch f[0] {
		case "Anonymous:":
			all = n << 10
		case "AnonHugePages:":
			huge = n << 10
		}
	}
	return all, huge, nil
}

// Private is the memory of a process that no other shares, in bytes (smaps_rollup
// of proc(5)).
func Private(pid int) (n int64, err error) {
	b, err := readProc(pid, "smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) == 3 && (f[0] == "Private_Clean:" || f[0] == "Private_Dirty:") {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("rig: smaps_rollup of %d: %w", pid, err)
			}
			n += kb << 10
		}
	}
	return n, nil
}
