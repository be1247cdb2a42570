package server_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/server"
	"sememcached/storage"
)

// patience is how long a test waits for what must happen. The machine may be starved.
const patience = time.Minute

// scripted is the real engine with a script: calls on some keys are Pending
// until a gate opens, or denied, or fail.
type scripted struct {
	engine.Interface

	mu       sync.Mutex
	gates    map[string]chan struct{}
	statuses map[string]engine.Status
	seen     func(*engine.Call)
}

// watch makes fn see every call before it is made, on the loop.
func (s *scripted) watch(fn func(*engine.Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = fn
}

// gate makes every call on key Pending until the returned function is called.
func (s *scripted) gate(key string) (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	s.gates[key] = ch
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.gates[key] == ch {
			delete(s.gates, key)
			close(ch)
		}
	}
}

// answer makes every call on key end with st.
func (s *scripted) answer(key string, st engine.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[key] = st
}

// before is the script of one call. ok: the real engine is asked.
func (s *scripted) before(w *engine.Worker, c *engine.Call) (st engine.Status, ok bool) {
	s.mu.Lock()
	ch := s.gates[string(c.Key)]
	st, set := s.statuses[string(c.Key)]
	seen := s.seen
	s.mu.Unlock()
	if seen != nil {
		seen(c)
	}
	if set {
		return st, false
	}
	if ch != nil {
		if st := s.Background(w, c, func() { <-ch }); st == engine.Pending {
			return st, false
		}
	} else if c.Parked() {
		if st := s.Background(w, c, nil); st == engine.Pending {
			return st, false
		}
	}
	return 0, true
}

func (s *scripted) Get(w *engine.Worker, c *engine.Call, dst []byte) ([]byte, engine.Status) {
	if st, ok := s.before(w, c); !ok {
		return dst, st
	}
	return s.Interface.Get(w, c, dst)
}

func (s *scripted) Store(w *engine.Worker, c *engine.Call) engine.Status {
	if st, ok := s.before(w, c); !ok {
		if st != engine.Pending {
			s.Abort(w, c)
		}
		return st
	}
	return s.Interface.Store(w, c)
}

func (s *scripted) StoreRefused(w *engine.Worker, c *engine.Call, why engine.Status) engine.Status {
	if st, ok := s.before(w, c); !ok && st == engine.Pending {
		return st
	}
	return s.Interface.StoreRefused(w, c, why)
}

func (s *scripted) Delete(w *engine.Worker, c *engine.Call) engine.Status {
	if st, ok := s.before(w, c); !ok {
		return st
	}
	return s.Interface.Delete(w, c)
}

func (s *scripted) Touch(w *engine.Worker, c *engine.Call) engine.Status {
	if st, ok := s.before(w, c); !ok {
		return st
	}
	return s.Interface.Touch(w, c)
}

func (s *scripted) Arith(w *engine.Worker, c *engine.Call) engine.Status {
	if st, ok := s.before(w, c); !ok {
		return st
	}
	return s.Interface.Arith(w, c)
}

// rig is one running server.
type rig struct {
	t     testing.TB
	srv   *server.Server
	eng   *scripted
	store *storage.Store
	mon   *mac.Monitor
	addr  net.Addr
	log   *logBuffer
	ended chan error
	dials atomic.Int64 // connections made by dial, and by those who count theirs here
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// plan is how a rig is built. The zero plan is one loop on 127.0.0.1 with
// access control off.
type plan struct {
	set   server.Settings
	store storage.Config
	mode  mac.Mode
	mac   func(*mac.Config)  // changes what the monitor is opened with; nil: nothing
	data  *engine.DataConfig // the data file; nil: none
}

// start runs a server until the end of the test.
func start(t testing.TB, p plan) *rig {
	t.Helper()
	r := &rig{t: t, log: &logBuffer{}, ended: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	if p.mode == 0 {
		p.mode = mac.Off
	}
	cfg := mac.Config{Mode: p.mode, Log: log, AuditWriter: io.Discard}
	if p.mac != nil {
		p.mac(&cfg)
	}
	mon, err := mac.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.store, err = storage.New(p.store); err != nil {
		t.Fatal(err)
	}
	r.mon = mon
	eng := engine.New(engine.Config{Store: r.store, Monitor: mon})
	var data *engine.Data
	if p.data != nil {
		if data, err = eng.OpenData(*p.data); err != nil {
			t.Fatal(err)
		}
	}
	r.eng = &scripted{
		Interface: eng,
		gates:     map[string]chan struct{}{}, statuses: map[string]engine.Status{},
	}
	if p.set.Threads == 0 {
		p.set.Threads = 1
	}
	if p.set.UnixPath == "" && p.set.Interfaces == nil {
		p.set.Port, p.set.Interfaces = -1, []string{"127.0.0.1"}
	}
	if r.srv, err = server.New(r.eng, mon, &p.set, log); err != nil {
		t.Fatal(err)
	}
	if err := r.srv.Listen(); err != nil {
		t.Fatal(err)
	}
	r.addr = r.srv.Addrs()[0]
	go func() { r.ended <- r.srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		r.srv.Shutdown(false)
		select {
		case err := <-r.ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Serve did not return after Shutdown")
		}
		if data != nil {
			if err := data.Close(); err != nil {
				t.Error(err)
			}
		}
		_ = mon.Close()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// client is a connection of a test.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	c, err := net.Dial(r.addr.Network(), r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	r.dials.Add(1)
	return &client{c, r.t, bufio.NewReaderSize(c, 64<<10)}
}

// remain waits until the server has met every connection that was dialled, and has
// n of them left. Those that were closed at once may wait in the backlog long after
// their client is gone, and what they have sent is still carried out.
func (r *rig) remain(n int) {
	r.t.Helper()
	until(r.t, strconv.Itoa(n)+" connections are left", func() bool {
		if r.srv.Opened() < int(r.dials.Load()) {
			return false
		}
		held, _, _, _ := r.srv.Held()
		return held == n
	})
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("send %.100q: %v", s, err)
	}
}

// expect reads exactly want.
func (c *client) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	if string(got[:n]) != want {
		c.t.Fatalf("got  %.300q (%v)\nwant %.300q", got[:n], err, want)
	}
}

// ask sends s and expects want.
func (c *client) ask(s, want string) {
	c.t.Helper()
	c.send(s)
	c.expect(want)
}

// expectClosed reads the end of the connection, and nothing before it.
func (c *client) expectClosed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("got %.300q, %v; expected the end", b, err)
	}
}

// quiet checks that nothing arrives for a while.
func (c *client) quiet() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if b, err := c.r.Peek(1); err == nil {
		c.t.Fatalf("got %q; expected silence", b)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// stat asks for one statistic.
func (c *client) stat(args, name string) string {
	c.t.Helper()
	c.send("stats" + args + "\r\n")
	value := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if line == "END\r\n" {
			return value
		}
		if v, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			value = strings.TrimSpace(v)
		}
	}
}

// stats asks for statistics and returns all lines.
func (c *client) stats(args string) string {
	c.t.Helper()
	c.send("stats" + args + "\r\n")
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if line == "END\r\n" {
			return all.String()
		}
		all.WriteString(line)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}
