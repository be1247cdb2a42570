package chat

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// A Runner runs transcripts. Dial is needed, the other fields only for the
// steps that use them. A Runner holds no state of its own.
type Runner struct {
	// Dial connects a client; as is the argument of as, or "" before the first.
	Dial func(as string) (net.Conn, error)
	// Policy and At do what their steps ask for.
	Policy func(name string) error
	At     func(when string) error
	// Audit returns the next audit record, which it may have to wait for.
	Audit func() (string, error)
	// Split, if not nil, divides what is sent at once into several writes.
	Split func(data []byte) [][]byte
	// Timeout bounds the wait for a reply; 0 means 5 seconds.
	Timeout time.Duration
	// Quiet is how long silence must last to be the end of what a server has to
	// say; 0 means 50 milliseconds. It is waited for after a difference, by
	// Update, and at the end if a connection cannot be closed by half.
	Quiet time.Duration
}

// Run runs s with new connections and closes them. The error is the first
// difference, with file, line and a diff, or what kept a step from being done.
func (r *Runner) Run(s *Script) error {
	p := r.play(s)
	defer p.close()
	for i := 0; i < len(s.Steps); {
		n, err := p.step(s.Steps[i:])
		if err != nil {
			return err
		}
		i += n
	}
	return p.finish()
}

// A play is one run of a script.
type play struct {
	*Runner
	script  *Script
	as      string
	clients map[string]*client
	sent    []Step // since the last expectation, for messages
}

type client struct {
	conn    net.Conn
	writing chan error // of the write that is under way, or nil
	closed  bool       // by the server, as expected
	line    int        // of the last step
}

func (r *Runner) play(s *Script) *play {
	runner := *r
	if runner.Timeout == 0 {
		runner.Timeout = 5 * time.Second
	}
	if runner.Quiet == 0 {
		runner.Quiet = 50 * time.Millisecond
	}
	return &play{Runner: &runner, script: s, clients: map[string]*client{}}
}

func (p *play) close() {
	for _, c := range p.clients {
		c.conn.Close()
	}
}

func (p *play) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{p.script.File, line}, args...)...)
}

// step does the first of steps, with those of the same kind that follow, and
// returns how many these are.
func (p *play) step(steps []Step) (int, error) {
	first := steps[0]
	n := 1
	var data []byte
	if first.Op == Send || first.Op == Expect {
		for n < len(steps) && steps[n].Op == first.Op {
			n++
		}
		for _, s := range steps[:n] {
			data = append(data, s.Data...)
		}
	}
	switch first.Op {
	case Send:
		p.sent = steps[:n]
		return n, p.send(first.Line, data)
	case Expect:
		return n, p.expect(steps[:n], data)
	case Closed:
		return n, p.expectClosed(first.Line)
	}
	return n, p.other(first)
}

// other does the steps that are not about bytes.
func (p *play) other(s Step) error {
	var err error
	switch {
	case s.Op == As:
		p.as = s.Arg
		return nil
	case s.Op == At && p.At != nil:
		err = p.At(s.Arg)
	case s.Op == Policy && p.Policy != nil:
		err = p.Policy(s.Arg)
	case s.Op == Audit && p.Audit != nil:
		var record string
		if record, err = p.Audit(); err == nil && !containsWords(record, s.Arg) {
			return p.errorf(s.Line, "audit record differs (-want +got)\n- %s\n+ %s", s.Arg, record)
		}
	default:
		return p.errorf(s.Line, "this runner cannot do %q", p.script.lines[s.Line-1])
	}
	if err != nil {
		return p.errorf(s.Line, "%w", err)
	}
	return nil
}

// containsWords reports whether the words of want are words of text, in order.
func containsWords(text, want string) bool {
	words := strings.Fields(want)
	for _, word := range strings.Fields(text) {
		if len(words) > 0 && word == words[0] {
			words = words[1:]
		}
	}
	return len(words) == 0
}

// client returns the connection of the present client, a new one if there is
// none or the server has closed it.
func (p *play) client(line int) (*client, error) {
	c := p.clients[p.as]
	if c == nil || c.closed {
		if c != nil {
			c.conn.Close()
		}
		conn, err := p.Dial(p.as)
		if err != nil {
			return nil, p.errorf(line, "connecting as %q: %w", p.as, err)
		}
		c = &client{conn: conn}
		p.clients[p.as] = c
	}
	c.line = line
	return c, nil
}

// send starts to write data. The write goes on while replies are read, as the
// buffers between client and server may be smaller than either.
func (p *play) send(line int, data []byte) error {
	c, err := p.client(line)
	if err != nil {
		return err
	}
	if err := c.written(p.Timeout); err != nil {
		return p.errorf(line, "sending: %w", err)
	}
	pieces := [][]byte{data}
	if p.Split != nil {
		pieces = p.Split(data)
	}
	done := make(chan error, 1)
	c.writing = done
	go func() {
		for _, piece := range pieces {
			if _, err := c.conn.Write(piece); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return nil
}

// written waits for the end of the write that is under way.
func (c *client) written(timeout time.Duration) error {
	if c.writing == nil {
		return nil
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-c.writing:
		c.writing = nil
		return err
	case <-timer.C:
		return fmt.Errorf("the server does not read: %w", os.ErrDeadlineExceeded)
	}
}

// expect reads as many bytes as want has and compares them.
func (p *play) expect(steps []Step, want []byte) error {
	line := steps[0].Line
	c, err := p.client(line)
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if err := c.conn.SetReadDeadline(time.Now().Add(p.Timeout)); err != nil {
		return p.errorf(line, "%w", err)
	}
	n, err := io.ReadFull(c.conn, got)
	if err == nil && string(got) == string(want) {
		return nil
	}
	got = got[:n]
	note := ""
	switch {
	case err == nil:
		more, closed, _ := c.readQuiet(p.Quiet)
		got = append(got, more...)
		if closed {
			note = ", then the server closed"
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		note = fmt.Sprintf(", then nothing for %v", p.Timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		note = ", then the server closed"
	default:
		note = ", then " + err.Error()
	}
	return p.difference(steps, want, got, note)
}

// expectClosed reads the end of the connection.
func (p *play) expectClosed(line int) error {
	c, err := p.client(line)
	if err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(p.Timeout)); err != nil {
		return p.errorf(line, "%w", err)
	}
	rest, err := io.ReadAll(c.conn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p.errorf(line, "expected the server to close, it is silent for %v after %q", p.Timeout, rest)
	case len(rest) > 0:
		return p.errorf(line, "expected the server to close, found %q", rest)
	}
	c.closed = true
	return nil
}

// readQuiet reads until the server closes or says nothing for a while.
func (c *client) readQuiet(quiet time.Duration) (data []byte, closed bool, err error) {
	buf := make([]byte, 64<<10)
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return data, false, err
		}
		n, err := c.conn.Read(buf)
		data = append(data, buf[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return data, false, nil
		case err != nil:
			return data, true, nil
		}
	}
}

// finish checks that no client has received more than was expected.
func (p *play) finish() error {
	for as, c := range p.clients {
		if c.closed {
			continue
		}
		if err := c.written(p.Timeout); err != nil {
			return p.errorf(c.line, "sending: %w", err)
		}
		quiet := p.Quiet
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			quiet = p.Timeout
		}
		if rest, _, _ := c.readQuiet(quiet); len(rest) > 0 {
			return p.errorf(c.line, "client %q received what the transcript does not expect:\n%s", as, prefixed("+ ", lines(rest, false)))
		}
	}
	return nil
}
