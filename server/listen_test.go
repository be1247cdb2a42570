package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/protocol"
	"sememcached/server"
	"sememcached/storage"
)

func TestParseInterfaces(t *testing.T) {
	for _, x := range []struct {
		lists string // "|" separates the values of several flags
		port  int
		want  string
	}{
		{"", 11211, "0.0.0.0:11211 [::]:11211"},
		{"", 0, ""},
		{"", -1, "0.0.0.0:0 [::]:0"},
		{"127.0.0.1", 11211, "127.0.0.1:11211"},
		{"127.0.0.1,10.0.0.1:99;::1", 11211, "127.0.0.1:11211 10.0.0.1:99 [::1]:11211"},
		{"127.0.0.1|[::1]:7| 127.0.0.2 ", 11211, "127.0.0.1:11211 [::1]:7 127.0.0.2:11211"},
		{"[fe80::1]", 1, "[fe80::1]:1"},
		{"127.0.0.1,127.0.0.1:99", 0, "127.0.0.1:99"},
		{"*:5", 1, "0.0.0.0:5 [::]:5"},
		{"127.0.0.1:70000", 1, `error: server: -l "127.0.0.1:70000": Invalid port number: "70000", expected one up to 65535`},
		{"127.0.0.1:x", 1, `error: server: -l "127.0.0.1:x": Invalid port number: "x", expected one up to 65535`},
	} {
		var lists []string
		if x.lists != "" {
			lists = strings.Split(x.lists, "|")
		}
		as, err := server.ParseInterfaces(lists, x.port)
		got := strings.Join(as, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != x.want {
			t.Errorf("-l %q, port %d: got  %s\nwant %s", x.lists, x.port, got, x.want)
		}
	}
}

// bare is a server that is not running.
func bare(t *testing.T, set server.Settings) *server.Server {
	t.Helper()
	mon, err := mac.Open(mac.Config{Mode: mac.Off, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	st, err := storage.New(storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	srv, err := server.New(engine.New(engine.Config{Store: st, Monitor: mon}), mon, &set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// TestPortFileRefused: a file for the ports that cannot be written keeps nobody from
// serving, as in memcached.
func TestPortFileRefused(t *testing.T) {
	srv := bare(t, server.Settings{Port: -1, Interfaces: []string{"127.0.0.1"}, PortFile: filepath.Join(t.TempDir(), "none", "ports")})
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- srv.Serve(context.Background()) }()
	c, err := net.Dial("tcp", srv.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "quit\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	srv.Shutdown(false)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestListeners(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ports")
	srv := bare(t, server.Settings{Port: -1, Interfaces: []string{"127.0.0.1,127.0.0.2", "[::1]"}, PortFile: file, Threads: 2})
	if err := srv.Serve(context.Background()); err == nil {
		t.Error("Serve before Listen: expected an error")
	}
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Listen(); err == nil {
		t.Error("second Listen: expected an error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Serve(ctx) }()
	addrs := srv.Addrs()
	if len(addrs) != 3 {
		t.Fatalf("got the addresses %v, want 3", addrs)
	}
	for _, a := range addrs {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "stats conns\r\nquit\r\n"); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(b), a.String()) {
			t.Errorf("%v: got %q, %v", a, b, err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile(`^TCP INET: \d+\nTCP INET: \d+\nTCP INET6: \d+\n$`).Match(text) {
		t.Errorf("port file: got %q, %v", text, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTakeover: a server that is started with the UNIX socket of one that still runs takes it
// over, and the end of the old one does not take it away.
func TestTakeover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	start := func() (end func()) {
		srv := bare(t, server.Settings{UnixPath: path, Threads: 1})
		if err := srv.Listen(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- srv.Serve(ctx) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	endOld := start()
	endNew := start()
	endOld()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the old server's end has taken the new one's socket away: %v", err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "version\r\nquit\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "VERSION ") {
		t.Errorf("the new server: got %q, %v", b, err)
	}
	endNew()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after both: expected no socket, found %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = bare(t, server.Settings{Port: 1, Interfaces: []string{taken.Addr().String()}}).Listen()
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("port in use: got %v", err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bare(t, server.Settings{UnixPath: plain}).Listen(); err == nil || !strings.Contains(err.Error(), "expected a socket or nothing") {
		t.Errorf("a file in place of the socket: got %v", err)
	}
	if b, err := os.ReadFile(plain); err != nil || string(b) != "precious" {
		t.Errorf("the file is gone: %q, %v", b, err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	if err := bare(t, server.Settings{UnixPath: long}).Listen(); err == nil {
		t.Error("a path that is too long: expected an error")
	}
	for _, bad := range []server.Settings{{Threads: -1}, {MaxConns: -1}, {ReqsPerEvent: -1}, {Port: 70000}, {Port: -2}} {
		if _, err := server.New(nil, nil, &bad, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v: expected an error", bad)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close() // a stale socket
	srv := bare(t, server.Settings{UnixPath: path, UnixMask: 0o640, Port: 11211})
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want 0640", fi.Mode(), err)
	}
	ended := make(chan error)
	go func() { ended <- srv.Serve(context.Background()) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "stats conns\r\nquit\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), "addr unix:"+path) {
		t.Errorf("got %q, %v", b, err)
	}
	srv.Shutdown(true)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestGraceful: what has been received is answered, and nothing more is.
func TestGraceful(t *testing.T) {
	r := start(t, plan{})
	idle, parked := r.dial(), r.dial()
	idle.ask("set slow 0 0 1\r\ns\r\n", "STORED\r\n")
	open := r.eng.gate("slow")
	parked.send("get slow\r\nget slow\r\n")
	until(t, "parked", func() bool { return strings.Count(idle.stats(" conns"), "conn_io_pending") == 2 })
	r.srv.Shutdown(true)
	idle.expectClosed()
	if _, err := net.Dial("tcp", r.addr.String()); err == nil {
		until(t, "refused", func() bool { _, err := net.Dial("tcp", r.addr.String()); return err != nil })
	}
	open()
	parked.expect(strings.Repeat("VALUE slow 0 1\r\ns\r\nEND\r\n", 2))
	parked.expectClosed()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
}

// TestShutdownNow does not wait for anybody, parked or blocked.
func TestShutdownNow(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	open := r.eng.gate("slow")
	defer open()
	c.send("get slow\r\n")
	r.srv.Shutdown(true)
	r.srv.Shutdown(false)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
}

func TestPanicClosesOneConnection(t *testing.T) {
	defer server.PanicOn(protocol.Version)()
	r := start(t, plan{})
	bad, good := r.dial(), r.dial()
	good.ask("mn\r\n", "MN\r\n")
	bad.send("version\r\n")
	bad.expectClosed()
	good.ask("mn\r\n", "MN\r\n")
	if log := r.log.String(); !strings.Contains(log, "planted") || !strings.Contains(log, `version\r\n`) {
		t.Errorf("the log does not tell panic and input:\n%s", log)
	}
}

func TestPanicUnderALock(t *testing.T) {
	st, err := storage.New(storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if !server.LockHeldIn(func() { st.Labels(func(uint32, storage.LabelStats) bool { return true }); panicIn(st) }) {
		t.Error("a panic below the store: expected the end of the process")
	}
	if server.LockHeldIn(func() { panic("elsewhere") }) {
		t.Error("a panic elsewhere: expected the loss of one connection")
	}
}

// panicIn makes the store panic.
func panicIn(st *storage.Store) { st.Scan(nil, nil) }

func TestVerbosity(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = write
	r := start(t, plan{set: server.Settings{Verbosity: 2}})
	c := r.dial()
	c.ask("set k 0 0 1\r\na\r\nget k\x1b\r\nverbosity 0\r\n", "STORED\r\nEND\r\nOK\r\n")
	c.ask("version\r\n", "VERSION 1.6.45\r\n")
	r.srv.Shutdown(false)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	os.Stderr = old
	write.Close()
	b, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`<\d+`).ReplaceAllString(string(b), "<N")
	want := "<N new auto-negotiating client connection\n<N set k 0 0 1\n<N get k\\x1b\n<N verbosity 0\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
