package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"sememcached/bench/rig"
)

const (
	keysEach = 40
	patience = 60 * time.Second
)

// client is one connection after the other, of one tenant, with one model.
type client struct {
	w      *world
	id     int
	tenant int
	server *rig.InProcess
	scarce bool
	rng    *rand.Rand
	model  map[string]*entry
	names  []string
	next   int // number of the next key's name
	create string
	// retired are keys that were given up, in the order in which they were.
	retired []retiree

	conn   *net.TCPConn
	r      *bufio.Reader
	sent   time.Time // when the batch under way was begun to be sent
	binary bool      // the protocol that this connection speaks
}

func newClient(w *world, id int, p *rig.InProcess, tenant int) *client {
	c := &client{
		w: w, id: id, tenant: tenant, server: p, scarce: p == w.scarce,
		rng:   rand.New(rand.NewPCG(w.seed, uint64(id+1))),
		model: map[string]*entry{},
	}
	for range keysEach {
		c.newKey()
	}
	return c
}

// newKey makes a key that nobody has used.
func (c *client) newKey() string {
	name := fmt.Sprintf("t%d/%d/%d", c.tenant, c.id, c.next)
	if c.rng.IntN(8) == 0 {
		name += strings.Repeat("k", 1+c.rng.IntN(200))
	}
	c.next++
	c.names = append(c.names, name)
	c.model[name] = &entry{}
	return name
}

// retiree is a key of which nobody knows what became of it: its last command was
// sent on a connection that was broken off.
type retiree struct {
	key string
	at  time.Time
}

// settle is the time after which no command of a connection that was broken off
// is executed any more.
const settle = 10 * time.Second

// tidy removes the keys that were given up long enough ago.
func (c *client) tidy(age time.Duration) (ops []op) {
	for len(c.retired) > 0 && time.Since(c.retired[0].at) >= age {
		k := c.retired[0].key
		c.retired = c.retired[1:]
		ops = append(ops, c.opForget(k))
	}
	return ops
}

// retire stops using keys about which nobody can know any more.
func (c *client) retire(keys map[string]bool) {
	kept := c.names[:0]
	for _, k := range c.names {
		if keys[k] {
			delete(c.model, k)
			c.retired = append(c.retired, retiree{k, time.Now()})
		} else {
			kept = append(kept, k)
		}
	}
	c.names = kept
	for len(c.names) < keysEach {
		c.newKey()
	}
}

func (c *client) dial() error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source(c.tenant))}, Timeout: patience}
	conn, err := d.Dial("tcp", c.server.Addr)
	if err != nil {
		return err
	}
	c.conn, c.r, c.create = conn.(*net.TCPConn), newReader(conn), ""
	c.binary = c.id >= 0 && c.rng.IntN(4) == 0
	c.w.counts.connections.Add(1)
	return nil
}

func newReader(conn io.Reader) *bufio.Reader { return bufio.NewReaderSize(conn, 32<<10) }

// live is the life of a client: batches and bad behaviour until the end, then it
// tidies up.
func (c *client) live() error {
	if err := c.dial(); err != nil {
		return err
	}
	for {
		select {
		case <-c.w.stop:
			return c.leave()
		case <-time.After(time.Duration(c.rng.Int64N(int64(2*c.w.pause) + 1))):
		}
		var err error
		if c.rng.IntN(40) == 0 {
			err = c.misbehave()
		} else {
			err = c.batch()
		}
		if errors.Is(err, errExcused) {
			err = c.startAnew()
		}
		if err != nil {
			_ = c.conn.Close()
			return err
		}
	}
}

// errExcused: an answer is not what it should be, and the server has said why.
var errExcused = errors.New("excused")

// startAnew gives up all keys and the connection.
func (c *client) startAnew() error {
	_ = c.conn.Close()
	all := map[string]bool{}
	for _, k := range c.names {
		all[k] = true
	}
	c.retire(all)
	return c.dial()
}

// batch sends some commands and checks their replies.
func (c *client) batch() error {
	if !c.binary && c.rng.IntN(400) == 0 {
		return c.exchange([]op{c.opDump()}, nil, nil)
	}
	// The last reply says that everything before it has been done, commands without a
	// reply too. Were they still on their way when the connection is broken off, nobody
	// would know of them.
	return c.exchange(append(append(c.tidy(settle), c.commands(1+c.rng.IntN(12))...), c.opNoop()), nil, nil)
}

// op is one command: what is sent, and how its reply is read and compared with
// the model as it is then.
type op struct {
	wire  []byte
	key   string // changed by it; "": none
	check func() error
}

func (c *client) commands(n int) []op {
	ops := make([]op, n)
	for i := range ops {
		if c.binary {
			ops[i] = c.binCommand()
		} else {
			ops[i] = c.command()
		}
	}
	c.w.counts.commands.Add(int64(n))
	c.w.counts.batches.Add(1)
	return ops
}

// exchange sends the commands in random pieces and reads the replies. Where they
// are not nil, after is called when everything has been sent, and before, by this
// goroutine, before anything is read.
func (c *client) exchange(ops []op, before, after func() error) error {
	var wire []byte
	for _, o := range ops {
		wire = append(wire, o.wire...)
	}
	sent := make(chan error, 1)
	pieces := c.pieces(wire)
	c.sent = time.Now()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	go func() {
		err := write(c.conn, pieces)
		if err == nil && after != nil {
			err = after()
		}
		sent <- err
	}()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	for i := range ops {
		if err := ops[i].check(); err != nil {
			if c.excused() {
				return errExcused
			}
			return fmt.Errorf("after %.200q: %w", ops[i].wire, err)
		}
	}
	return <-sent
}

// pieces cuts what is sent at random places.
func (c *client) pieces(p []byte) [][]byte {
	var out [][]byte
	for len(p) > 0 && c.rng.IntN(3) == 0 {
		n := 1 + c.rng.IntN(len(p))
		out = append(out, p[:n])
		p = p[n:]
	}
	if len(p) > 0 {
		out = append(out, p)
	}
	return out
}

func write(w io.Writer, pieces [][]byte) error {
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// line reads a line without its end.
func (c *client) line() (string, error) {
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("expected a line, found %.100q: %w", s, err)
	}
	if !strings.HasSuffix(s, "\r\n") {
		return "", fmt.Errorf("expected CR LF at the end of %.100q", s)
	}
	return s[:len(s)-2], nil
}

// want reads one line, which must be one of those given, and returns its number.
func (c *client) want(lines ...string) (int, error) {
	s, err := c.line()
	if err != nil {
		return 0, err
	}
	for i, l := range lines {
		if s == l {
			return i, nil
		}
	}
	return 0, fmt.Errorf("expected one of %q, found %.200q", lines, s)
}

// values reads VALUE blocks up to END.
func (c *client) values(with func(key string, value []byte, flags uint32, cas uint64) error) error {
	for {
		s, err := c.line()
		if err != nil || s == "END" {
			return err
		}
		w := strings.Fields(s)
		if len(w) < 4 || len(w) > 5 || w[0] != "VALUE" {
			return fmt.Errorf("expected VALUE or END, found %.200q", s)
		}
		flags, err1 := strconv.ParseUint(w[2], 10, 32)
		n, err2 := strconv.Atoi(w[3])
		var cas uint64
		var err3 error
		if len(w) == 5 {
			cas, err3 = strconv.ParseUint(w[4], 10, 64)
		}
		if err := errors.Join(err1, err2, err3); err != nil {
			return fmt.Errorf("%.200q: %w", s, err)
		}
		data := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, data); err != nil {
			return err
		}
		if !bytes.HasSuffix(data, []byte("\r\n")) {
			return fmt.Errorf("no CR LF after the %d bytes of %.200q", n, s)
		}
		if err := with(w[1], data[:n], uint32(flags), cas); err != nil {
			return err
		}
	}
}

// leave removes everything that the client has stored and closes the connection.
func (c *client) leave() error {
	defer c.conn.Close()
	if len(c.retired) > 0 {
		time.Sleep(settle)
	}
	ops := c.tidy(settle)
	for _, k := range c.names {
		ops = append(ops, c.opDelete(k, false))
	}
	if err := c.exchange(ops, nil, nil); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}
