//go:build vm && linux

package vmtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	serverContext = "system_u:system_r:kv_server_t:s0-s0:c0.c1023"
	socketPath    = "/run/kv.sock"
	auditLog      = "/run/kv.audit"
	// patience is how long an event is waited for. The machine may be starved.
	patience = 2 * time.Minute
)

func domain(typ, level string) string { return "system_u:system_r:" + typ + ":" + level }
func object(typ, level string) string { return "system_u:object_r:" + typ + ":" + level }

// lines is an io.Writer that keeps what it is given and can be waited on.
type lines struct {
	mu   sync.Mutex
	more *sync.Cond
	b    bytes.Buffer
}

func newLines() *lines {
	l := new(lines)
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more.Broadcast()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait waits until what comes after the first from bytes holds every word, in
// one line, and returns that line.
func (l *lines) wait(t *testing.T, from int, words ...string) string {
	t.Helper()
	alarm := time.AfterFunc(patience, l.more.Broadcast)
	defer alarm.Stop()
	deadline := time.Now().Add(patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		text := l.b.String()[from:]
		for line := range strings.Lines(text) {
			if hasAll(line, words) {
				return line
			}
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("waited for a line with %q, found\n%s", words, text)
		}
		l.more.Wait()
	}
}

func (l *lines) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// audited is the kernel's audit stream, a record a line: type=NUMBER TEXT.
var audited = newLines()

// readAudit listens to the stream as an audit log reader does (AUDIT_NLGRP_READLOG).
func readAudit() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	go func() {
		b := make([]byte, 65536)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				fmt.Fprintf(audited, "lost: %v\n", err)
				continue
			}
			if n > unix.NLMSG_HDRLEN {
				fmt.Fprintf(audited, "type=%d %s\n", binary.NativeEndian.Uint16(b[4:]), strings.TrimRight(string(b[unix.NLMSG_HDRLEN:n]), "\x00\n"))
			}
		}
	}()
	return nil
}

// kept are the records of servers that write a log of their own.
var kept bytes.Buffer

// keepAudit keeps what a server has logged, for the judgement of the whole run.
func keepAudit(file string) {
	b, err := os.ReadFile(file)
	if err == nil {
		_, _ = kept.Write(b)
	}
}

// printAudit hands every record of the run to the host, those of the kernel's
// stream first.
func printAudit(w io.Writer) {
	for line := range strings.Lines(audited.String() + kept.String()) {
		fmt.Fprintf(w, "@@AUDIT %s\n", strings.TrimRight(line, "\n"))
	}
}

// enableAudit switches the audit subsystem on or off, as auditctl -e does. Off, it
// still passes AVC records on, but no other record of a program's.
func enableAudit(t *testing.T, on bool) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	msg := make([]byte, unix.NLMSG_HDRLEN+40) // struct audit_status
	ne := binary.NativeEndian
	ne.PutUint32(msg, uint32(len(msg)))
	ne.PutUint16(msg[4:], 1001) // AUDIT_SET
	ne.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	ne.PutUint32(msg[unix.NLMSG_HDRLEN:], 1) // AUDIT_STATUS_ENABLED
	if on {
		ne.PutUint32(msg[unix.NLMSG_HDRLEN+4:], 1)
	}
	must(t, unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	var reply [256]byte
	n, _, err := unix.Recvfrom(fd, reply[:], 0)
	must(t, err)
	if n < unix.NLMSG_HDRLEN+4 || ne.Uint16(reply[4:]) != unix.NLMSG_ERROR || ne.Uint32(reply[unix.NLMSG_HDRLEN:]) != 0 {
		t.Fatalf("AUDIT_SET: % x", reply[:n])
	}
}

// server is a running sememcached.
type server struct {
	cmd    *exec.Cmd
	log    *lines
	exited chan struct{}
	audit  int // how much of its audit log was read
}

// startServer starts the real server in its domain, as root, and waits until it
// listens on socketPath, or where args say.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerAs(t, launch{context: serverContext, user: "root"}, args...)
}

// startServerAs starts it in another way.
func startServerAs(t *testing.T, how launch, args ...string) *server {
	t.Helper()
	_ = os.Remove(auditLog)
	_ = os.Remove(socketPath)
	const pidfile = "/run/kv.pid"
	_ = os.Remove(pidfile)
	s := &server{log: newLines(), exited: make(chan struct{})}
	if how.mac == "" {
		how.mac = "kernel"
	}
	s.cmd = exec.Command("/sememcached", append([]string{"-u", how.user, "-t", "2", "-A", "--mac=" + how.mac, "-P", pidfile}, args...)...)
	if !strings.Contains(strings.Join(args, " "), "--listen=") {
		s.cmd.Args = append(s.cmd.Args, "-s", socketPath)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	must(t, how.start(s.cmd))
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.stop()
		keepAudit(auditLog)
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log)
		}
	})
	for deadline := time.Now().Add(patience); ; {
		if _, err := os.Stat(pidfile); err == nil {
			return s
		}
		select {
		case <-s.exited:
			t.Fatalf("the server ended: %v", s.cmd.ProcessState)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// refusal runs the server where it ought not to start.
func refusal(t *testing.T, args ...string) (status int, text string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("/sememcached", append([]string{"-u", "root", "-s", "/run/refused.sock"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, startAs(cmd, serverContext))
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	stop.Stop()
	return cmd.ProcessState.ExitCode(), out.String()
}

// nextAudit waits for the next line of the server's own audit log.
func (s *server) nextAudit() (string, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(auditLog)
		if err != nil {
			return "", err
		}
		if line, _, ok := strings.Cut(string(b[s.audit:]), "\n"); ok {
			s.audit += len(line) + 1
			return line, nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no audit record came")
		}
	}
}

// clientMain is a client process: it connects and passes bytes between the
// server and its standard input, which is a socket.
func clientMain(network, addr string) int {
	tester, err := net.FileConn(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		return 1
	}
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	conn, err := d.Dial(network, addr)
	if err != nil {
		fmt.Fprintf(tester, "client: %v\n", err)
		return 1
	}
	if _, err := fmt.Fprintf(tester, "connected %s\n", peerLabel(conn)); err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(conn, tester)
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	_, _ = io.Copy(tester, conn)
	return 0
}

// peerLabel is the kernel's label of the other end, or why there is none.
func peerLabel(conn net.Conn) string {
	label := "no socket"
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				var err error
				if label, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_PEERSEC); err != nil {
					label = err.Error()
				}
			})
		}
	}
	return label
}

// client is a client process as seen from here: reads and writes are its
// connection's.
type client struct {
	net.Conn
	t       testing.TB
	cmd     *exec.Cmd
	context string
	server  string // the server's label as the client sees it
}

// dialAs starts a client process in a domain.
func dialAs(context, network, addr string) (*client, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "tester"), os.NewFile(uintptr(fds[1]), "client")
	defer func() { _ = ours.Close() }()
	defer func() { _ = theirs.Close() }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, cmd: exec.Command("/init", "client", network, addr), context: context}
	c.cmd.Stdin, c.cmd.Stderr = theirs, os.Stderr
	if err := startAs(c.cmd, context); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go func() { _ = c.cmd.Wait() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var line []byte
	for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(conn, b); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("client %s: %w", context, err)
		}
	}
	label, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "connected ")
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("client %s: %s", context, bytes.TrimSpace(line))
	}
	c.server = label
	return c, nil
}

// stageMain is init starting a service: its output goes to a file, and the
// program's type decides the domain it gets.
func stageMain(log string, args []string) int {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stage:", err)
		return 1
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stage:", err)
		return 1
	}
	for fd, from := range []*os.File{null, f, f} {
		if err := unix.Dup3(int(from.Fd()), fd, 0); err != nil {
			return 1
		}
	}
	fmt.Fprintln(os.Stderr, "stage:", unix.Exec(args[0], args, os.Environ()))
	return 1
}

// dial connects a client over the UNIX socket, until the end of the test.
func dial(t testing.TB, context string) *client {
	t.Helper()
	c, err := dialAs(context, "unix", socketPath)
	if err != nil {
		t.Fatal(err)
	}
	c.t = t
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends requests and returns what is answered up to a no-op's answer.
func (c *client) ask(request string) string {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request+"mn\r\n"); err != nil {
		c.t.Fatalf("%s: %v", c.context, err)
	}
	var got []byte
	b := make([]byte, 65536)
	for !bytes.HasSuffix(got, []byte("MN\r\n")) {
		n, err := c.Read(b)
		if err != nil {
			c.t.Fatalf("%s: %q: %v after %q", c.context, request, err, got)
		}
		got = append(got, b[:n]...)
	}
	return string(got[:len(got)-4])
}

// want sends requests and compares what is answered.
func (c *client) want(request, answer string) {
	c.t.Helper()
	if got := c.ask(request); got != answer {
		c.t.Errorf("%s: %q: expected %q, found %q", c.context, request, answer, got)
	}
}

// stat is a value of stats mac.
func (c *client) stat(name string) string {
	c.t.Helper()
	for line := range strings.Lines(c.ask("stats mac\r\n")) {
		if v, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
