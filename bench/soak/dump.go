package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

const busy = "BUSY currently processing crawler request"

// opDump lists all keys that the client may see. What it has itself must be there,
// and just once; a tenant is refused.
func (c *client) opDump() op {
	form := []string{"metadump", "mgdump"}[c.rng.IntN(2)]
	which := []string{"all", "hash"}[c.rng.IntN(2)]
	if form == "mgdump" {
		which = "hash"
	}
	return op{wire: []byte("lru_crawler " + form + " " + which + "\r\n"), check: func() error {
		c.w.counts.dumps.Add(1)
		s, err := c.line()
		switch {
		case err != nil:
			return err
		case s == denied && c.tenant != admin, s == busy:
			return nil
		case s != "OK" || c.tenant != admin:
			return fmt.Errorf("tenant %d, %s: found %.200q", c.tenant, form, s)
		}
		listed := map[string]int{}
		for {
			s, err := c.r.ReadString('\n') // the lines of a metadump end without a CR
			if err != nil {
				return fmt.Errorf("%s: %w", form, err)
			}
			s = strings.TrimRight(s, " \r\n")
			if s == map[string]string{"metadump": "END", "mgdump": "EN"}[form] {
				break
			}
			k, err := dumped(form, s)
			if err != nil {
				return err
			}
			listed[k]++
		}
		for _, k := range c.names {
			present, absent := c.possible(c.model[k])
			if n := listed[k]; n > 1 || n == 1 && !present || n == 0 && !absent {
				return fmt.Errorf("key %s is listed %d times (%v)", k, n, c.model[k])
			}
		}
		return nil
	}}
}

// dumped is the key of a line of a dump.
func dumped(form, s string) (string, error) {
	if form == "mgdump" {
		w := strings.Fields(s)
		if len(w) == 3 && w[0] == "mg" && w[2] == "b" {
			k, err := base64.StdEncoding.DecodeString(w[1])
			return string(k), err
		}
		if len(w) != 2 || w[0] != "mg" {
			return "", fmt.Errorf("expected mg and a key, found %.300q", s)
		}
		return w[1], nil
	}
	k, rest, _ := strings.Cut(s, " ")
	var n [6]int64
	var fetch string
	if _, err := fmt.Sscanf(rest, "exp=%d la=%d cas=%d fetch=%s cls=%d size=%d", &n[0], &n[1], &n[2], &fetch, &n[3], &n[4]); err != nil || !strings.HasPrefix(k, "key=") {
		return "", fmt.Errorf("expected the line of a metadump, found %.300q", s)
	}
	return url.PathUnescape(k[len("key="):])
}

// watch watches one of the servers on a connection of its own: every line must be
// one. Sometimes it does not read, or is gone at once.
func (c *client) watch() error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source(c.tenant))}, Timeout: patience}
	conn, err := d.Dial("tcp", c.server.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.w.counts.watches.Add(1)
	w := &client{w: c.w, conn: conn.(*net.TCPConn), r: newReader(conn)}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "watch fetchers mutations evictions deletions connevents\r\n"); err != nil {
		return err
	}
	switch s, err := w.line(); {
	case err != nil:
		return err
	case s == denied && c.tenant != admin, s == "WATCHER_TOO_MANY log watcher limit reached":
		return nil
	case s != "OK" || c.tenant != admin:
		return fmt.Errorf("tenant %d, watch: found %.200q", c.tenant, s)
	}
	slow := c.rng.IntN(3) == 0
	for range c.rng.IntN(2000) {
		if slow && c.rng.IntN(100) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		select {
		case <-c.w.stop:
			return nil
		default:
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		s, err := w.r.ReadString('\n')
		if n, ok := err.(net.Error); ok && n.Timeout() {
			return nil // nothing happens, at the end
		}
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if !strings.HasPrefix(s, "ts=") && !strings.HasPrefix(s, "[skipped=") {
			return fmt.Errorf("watch: expected an event, found %.300q", s)
		}
	}
	return nil
}
