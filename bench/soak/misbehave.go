package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// misbehave does one of the things that clients do and servers must bear.
func (c *client) misbehave() error {
	switch c.rng.IntN(7) {
	case 0, 1:
		return c.breakOff()
	case 5:
		if c.tenant != admin && c.rng.IntN(10) != 0 {
			return c.breakOff()
		}
		return c.watch()
	case 2:
		return c.halfClose()
	case 3:
		return c.readSlowly()
	case 4:
		return c.endlessLine()
	}
	return c.breakUpload()
}

// breakOff sends commands, or a part of them, and is gone. Which of them were
// executed nobody knows.
func (c *client) breakOff() error {
	c.w.counts.breaks.Add(1)
	var wire []byte
	touched := map[string]bool{}
	for _, o := range c.commands(1 + c.rng.IntN(10)) {
		wire = append(wire, o.wire...)
		if o.key != "" {
			touched[o.key] = true
		}
		if w := string(o.wire); strings.HasPrefix(w, "flush_all") || strings.HasPrefix(w, "\x80\x08") {
			for _, k := range c.names {
				touched[k] = true
			}
			// What is stored next must not be flushed by it.
			defer time.Sleep(settle)
		}
	}
	if c.rng.IntN(2) == 0 {
		wire = wire[:c.rng.IntN(len(wire)+1)]
	}
	if len(wire) > 64<<10 {
		wire = wire[:64<<10] // so that it is sent without being read
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.conn.Write(wire); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.conn.SetLinger(0); err != nil { // a reset
			return err
		}
	}
	if err := c.conn.Close(); err != nil {
		return err
	}
	c.retire(touched)
	return c.dial()
}

// halfClose sends commands and shuts down; all replies must come, then the end.
func (c *client) halfClose() error {
	c.w.counts.halfCloses.Add(1)
	ops := c.commands(1 + c.rng.IntN(10))
	if c.rng.IntN(2) == 0 {
		if c.binary {
			ops = append(ops, c.bin(binQuit, false, 0, nil, "", nil, "", func(*frame) error { return nil }))
		} else {
			ops = append(ops, op{wire: []byte("quit\r\n"), check: func() error { return nil }})
		}
	}
	if err := c.exchange(ops, nil, c.conn.CloseWrite); err != nil {
		return err
	}
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end of the input: expected the end of the replies, found %q, %v", b, err)
	}
	if err := c.conn.Close(); err != nil {
		return err
	}
	return c.dial()
}

// readSlowly asks for more than the kernel keeps and looks away for a while.
func (c *client) readSlowly() error {
	c.w.counts.slow.Add(1)
	var ops []op
	keys := c.names[:3]
	for range 30 {
		if c.binary {
			ops = append(ops, c.binGet(keys[0]), c.binGet(keys[1]), c.binGet(keys[2]))
		} else {
			ops = append(ops, c.opGet("get", keys))
		}
	}
	return c.exchange(ops, func() error {
		time.Sleep(time.Duration(50+c.rng.IntN(200)) * time.Millisecond)
		return nil
	}, nil)
}

// endlessLine sends a line without an end: it must be refused, and the connection
// may be closed.
func (c *client) endlessLine() error {
	c.w.counts.endless.Add(1)
	if c.binary {
		return c.badMagic()
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.conn.Write([]byte(strings.Repeat("x", 3<<20))) // fails when the server has closed
	}()
	s, err := c.r.ReadString('\n')
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("a line without an end: neither an error nor the end of the connection")
	}
	if err == nil && !strings.Contains(s, "ERROR") {
		return fmt.Errorf("a line without an end: expected an error, found %.200q", s)
	}
	_ = c.conn.Close() // reset by the server, perhaps
	<-sent
	return c.dial()
}

// badMagic sends what is no request of the binary protocol, on a connection that
// speaks it: the connection is closed.
func (c *client) badMagic() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// A noop first, so that the protocol is known.
	wire := c.binaryRequest(binNoop, 1, 0, nil, "", nil)
	if _, err := c.conn.Write(append(wire, "get this is no request\r\n"...)); err != nil {
		return err
	}
	f, err := c.frame()
	if err != nil || f.opcode != binNoop {
		return fmt.Errorf("a noop before a bad magic: %v, %v", f, err)
	}
	var timeout net.Error
	if _, err := io.Copy(io.Discard, c.r); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("a bad magic: the connection stays open")
	}
	_ = c.conn.Close()
	return c.dial()
}

// breakUpload begins to store a large value and is gone: the old value stays.
func (c *client) breakUpload() error {
	c.w.counts.breaks.Add(1)
	k := c.names[c.rng.IntN(len(c.names))]
	n := 20<<10 + c.rng.IntN(900<<10)
	part := randomBytes(c.rng, c.rng.IntN(min(n, 60<<10)))
	wire := append(fmt.Appendf(nil, "set %s 0 0 %d\r\n", k, n), part...)
	if c.binary {
		wire = c.binaryRequest(binSet, 1, 0, u32(0, 0), k, make([]byte, n))
		wire = append(wire[:len(wire)-n], part...)
	}
	if _, err := c.conn.Write(wire); err != nil {
		return err
	}
	if err := c.conn.Close(); err != nil {
		return err
	}
	return c.dial()
}
