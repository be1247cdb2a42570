package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/server"
	"sememcached/storage"
)

// testConfig is one server under test. The zero value is the built-in policy,
// every client an ordinary one.
type testConfig struct {
	policy   string // a binary policy file; "" built-in
	contexts string // the text of a contexts file; "" none
	mac      mac.Config
	engine   engine.Config
	server   server.Settings
	storage  storage.Config
}

// testServer is a whole server in this process, on TCP (127.0.0.1) and on a
// UNIX socket at the same time.
type testServer struct {
	t     testing.TB
	mon   *mac.Monitor
	eng   *engine.Secured
	store *storage.Store
	tcp   string
	unix  string
	audit *auditLog
	log   *auditLog // what the servers say
	stop  func()
}

// auditLog collects lines.
type auditLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (a *auditLog) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.buf.Write(b)
}

func (a *auditLog) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.buf.String()
}

// takeAudit returns the lines since the last take.
func (ts *testServer) takeAudit() []string {
	ts.mon.SyncAudit()
	ts.audit.mu.Lock()
	defer ts.audit.mu.Unlock()
	s := strings.TrimSuffix(ts.audit.buf.String(), "\n")
	ts.audit.buf.Reset()
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func startServer(t testing.TB, cfg testConfig) *testServer {
	t.Helper()
	dir := t.TempDir()
	ts := &testServer{t: t, audit: &auditLog{}, log: &auditLog{}, unix: filepath.Join(dir, "kv.sock")}
	m := cfg.mac
	if m.Mode != mac.Off {
		m.Mode = mac.PolicyFile
	}
	m.PolicyFile, m.AuditWriter, m.AuditRate = cfg.policy, ts.audit, -1
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.contexts != "" {
		m.ContextsFile = filepath.Join(dir, "contexts")
		writeFile(t, m.ContextsFile, cfg.contexts)
	}
	var err error
	if ts.mon, err = mac.Open(m); err != nil {
		t.Fatal(err)
	}
	sc := cfg.storage
	if sc.Limit == 0 {
		sc.Limit = 64 << 20
	}
	if ts.store, err = storage.New(sc); err != nil {
		t.Fatal(err)
	}
	ec := cfg.engine
	ec.Store, ec.Monitor = ts.store, ts.mon
	ts.eng = engine.New(ec)

	s := cfg.server
	s.Threads = max(s.Threads, 2)
	s.UnixPath = ts.unix
	stopUnix, _ := ts.serve(s)
	s.UnixPath, s.Port, s.Interfaces = "", -1, []string{"127.0.0.1"}
	stopTCP, addrs := ts.serve(s)
	ts.tcp = addrs[0].String()
	ts.stop = func() {
		stopUnix()
		stopTCP()
		ts.mon.Close()
		ts.store.Close()
	}
	t.Cleanup(func() { ts.stop() })
	return ts
}

// serve starts one set of listeners over the engine.
func (ts *testServer) serve(s server.Settings) (stop func(), addrs []net.Addr) {
	ts.t.Helper()
	srv, err := server.New(ts.eng, ts.mon, &s, slog.New(slog.NewTextHandler(ts.log, nil)))
	if err != nil {
		ts.t.Fatal(err)
	}
	if err := srv.Listen(); err != nil {
		ts.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background()) }()
	return func() {
		srv.Shutdown(false)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			ts.t.Error("the server did not stop within 10 s")
		}
	}, srv.Addrs()
}

// client is one connection of a test, with a deadline on everything.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func newClient(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &client{t, c, bufio.NewReader(c)}
}

// dialFrom connects over TCP from a loopback address, which a contexts file can
// tell apart (cidr:127.0.1.7/32).
func (ts *testServer) dialFrom(addr string) *client {
	ts.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", ts.tcp)
	if err != nil {
		ts.t.Fatal(err)
	}
	return newClient(ts.t, c)
}

// dialAs connects over the UNIX socket with another effective user id. Only the
// calling thread changes it (raw system call), and only while it connects.
func (ts *testServer) dialAs(uid int) *client {
	ts.t.Helper()
	if os.Geteuid() != 0 {
		needRoot(ts.t)
	}
	// The directory of the socket must be open to the user.
	for _, p := range []string{ts.unix, filepath.Dir(ts.unix), filepath.Dir(filepath.Dir(ts.unix))} {
		if err := os.Chmod(p, 0o777); err != nil {
			ts.t.Fatal(err)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		ts.t.Fatal(err)
	}
	seteuid := func(uid int) {
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			ts.t.Fatal("setresuid: ", e)
		}
	}
	seteuid(uid)
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: ts.unix})
	seteuid(0)
	if err != nil {
		ts.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "unix")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		ts.t.Fatal(err)
	}
	return newClient(ts.t, c)
}

// ask sends commands and returns everything that is answered to them. The meta
// no-op that follows marks the end, so that silence is seen as such.
func (c *client) ask(commands string) string {
	c.t.Helper()
	if _, err := io.WriteString(c, commands+"mn\r\n"); err != nil {
		c.t.Fatal(err)
	}
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			c.t.Fatalf("%q: after %q: %v", commands, b.String(), err)
		}
		if line == "MN\r\n" {
			return strings.TrimSuffix(b.String(), "MN\r\n")
		}
	}
}

// want checks one exchange.
func (c *client) want(commands, reply string) {
	c.t.Helper()
	if got := c.ask(commands); got != reply {
		c.t.Errorf("%q:\n got %q\nwant %q", commands, got, reply)
	}
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// needTool finds a program of another package. On a developer's machine a test
// without its tool is skipped with the reason; under CI it fails.
func needTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing(t, fmt.Sprintf("%s is not installed (make deps-test installs it)", name))
	return ""
}

func needRoot(t testing.TB) { missing(t, "this needs root, to be several users") }

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// compileCIL compiles the built-in policy with text added, by Debian's secilc.
func compileCIL(t testing.TB, added string) string {
	t.Helper()
	secilc := needTool(t, "secilc")
	dir := t.TempDir()
	extra := filepath.Join(dir, "added.cil")
	writeFile(t, extra, added)
	out := filepath.Join(dir, "policy.bin")
	cmd := exec.Command(secilc, "-M", "true", "-c", "33", "-o", out, "-f", os.DevNull, "policy/default.cil", extra)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("secilc: %v\n%s", err, b)
	}
	return out
}
