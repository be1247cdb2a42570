package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sememcached")
	if err != nil {
		return "", err
	}
	// The servers of these tests run as other users too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sememcached")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// process is the real binary, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	stderr *lockedBuffer
	done   chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// whoami is the user that tests run as, for -u.
func whoami(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// startProcess runs the binary on an ephemeral port and waits until it listens.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, exec.Command(bin, args...))
}

// launch runs a server, ours or memcached, on an ephemeral port and waits until it
// listens. Of cmd.Env what is more than the test's own environment is given.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "ports")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // some servers write as another user
		t.Fatal(err)
	}
	ports := filepath.Join(dir, "ports")
	p := &process{t: t, cmd: cmd, stderr: &lockedBuffer{}, done: make(chan error, 1)}
	cmd.Args = append(cmd.Args, "-l", "127.0.0.1", "-p", "-1")
	cmd.Env = append(append(os.Environ(), cmd.Env...), "MEMCACHED_PORT_FILENAME="+ports)
	cmd.Stderr = p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, "the port file", func() bool {
		b, err := os.ReadFile(ports)
		port, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "TCP INET: ")
		if err == nil && ok {
			p.addr = "127.0.0.1:" + port
		}
		return err == nil && ok
	})
	return p
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	const patience = time.Minute // the machine may be starved
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (p *process) dial() *client {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return newClient(p.t, c)
}

// ended waits for the process and returns its exit code.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.t.Fatalf("the process did not end within 15 s\n%s", p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestSignals: INT and TERM end the server, USR1 lets it finish; each leaves no
// pid file and no socket behind.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1} {
		pidfile := filepath.Join(t.TempDir(), "pid")
		p := startProcess(t, "-u", whoami(t), "-P", pidfile)
		p.dial().want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
		b, err := os.ReadFile(pidfile)
		if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(p.cmd.Process.Pid) {
			t.Errorf("pid file: %q, %v", b, err)
		}
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if code := p.ended(); code != 0 {
			t.Errorf("%v: exit code %d\n%s", sig, code, p.stderr)
		}
		if _, err := os.Stat(pidfile); err == nil {
			t.Errorf("%v: the pid file is still there", sig)
		}
	}
}

// TestShutdownCommand: with -A, and for a client that may.
func TestShutdownCommand(t *testing.T) {
	for _, how := range []string{"shutdown\r\n", "shutdown graceful\r\n"} {
		p := startProcess(t, "-u", whoami(t), "-A")
		c := p.dial()
		c.want("shutdown sideways\r\n", "CLIENT_ERROR invalid shutdown mode\r\n")
		if _, err := c.Write([]byte(how)); err != nil {
			t.Fatal(err)
		}
		if code := p.ended(); code != 0 {
			t.Errorf("%q: exit code %d\n%s", how, code, p.stderr)
		}
		if want := `msg="shutdown by command" client=` + c.LocalAddr().String(); !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%q: expected %q in\n%s", how, want, p.stderr)
		}
	}
	p := startProcess(t, "-u", whoami(t))
	p.dial().want("shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n")

	contexts := filepath.Join(t.TempDir(), "contexts")
	writeFile(t, contexts, "client * system_u:system_r:kv_client_t:s0\n")
	p = startProcess(t, "-u", whoami(t), "-A", "--contexts", contexts)
	p.dial().want("shutdown\r\nversion\r\n", accessDenied+"VERSION 1.6.45\r\n")
}

// TestHangup: SIGHUP loads the contexts file anew, for live connections too; a
// bad file changes nothing and is named in the log.
func TestHangup(t *testing.T) {
	contexts := filepath.Join(t.TempDir(), "contexts")
	writeFile(t, contexts, "client * system_u:system_r:kv_client_t:s0:c1\n")
	p := startProcess(t, "-u", whoami(t), "--contexts", contexts)
	c := p.dial()
	c.want("mac whoami\r\n", "MAC system_u:system_r:kv_client_t:s0:c1\r\n")
	hangup := func(text string) {
		t.Helper()
		writeFile(t, contexts, text)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangup("client * system_u:system_r:kv_client_t:s0:c2\n")
	waitFor(t, "the new contexts", func() bool {
		return c.ask("mac whoami\r\n") == "MAC system_u:system_r:kv_client_t:s0:c2\r\n"
	})
	hangup("client * what is this\n")
	waitFor(t, "the refusal", func() bool { return strings.Contains(p.stderr.String(), "contexts:1: expected three fields") })
	c.want("mac whoami\r\n", "MAC system_u:system_r:kv_client_t:s0:c2\r\n")
}

// TestDaemon: the parent of -d leaves when the child listens, or with the
// child's error.
func TestDaemon(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pidfile, sock := filepath.Join(dir, "pid"), filepath.Join(dir, "kv.sock")
	if out, err := exec.Command(bin, "-d", "-u", whoami(t), "-s", sock, "-P", pidfile).CombinedOutput(); err != nil {
		t.Fatalf("-d: %v\n%s", err, out)
	}
	b, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
	conn, err := net.Dial("unix", sock) // at once: it listens already
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, conn).want("version\r\n", "VERSION 1.6.45\r\n")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the daemon", func() bool {
		_, err1 := os.Stat(pidfile)
		_, err2 := os.Stat(sock)
		return err1 != nil && err2 != nil
	})

	out, err := exec.Command(bin, "-d", "-u", whoami(t), "-s", filepath.Join(dir, "no", "such", "dir")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no/such/dir") {
		t.Errorf("a daemon that cannot listen: %v\n%s", err, out)
	}
}

// TestPrivileges: root must name a user, and becomes that user before it binds.
func TestPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		needRoot(t)
	}
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "-l", "127.0.0.1", "-p", "-1").CombinedOutput()
	if code := exitCode(err); code != 64 || string(out) != "must add '-u root' to start as root\n" {
		t.Errorf("root without -u: exit code %d, %q", code, out)
	}
	out, err = exec.Command(bin, "-l", "127.0.0.1", "-p", "-1", "-u", "no-such-user").CombinedOutput()
	if code := exitCode(err); code != 67 || !strings.Contains(string(out), "can't find the user no-such-user to switch to") {
		t.Errorf("an unknown user: exit code %d, %q", code, out)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	// The port file is written as the new user: into a directory open to it.
	dir, err := os.MkdirTemp("", "ports")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	sock, log := filepath.Join(dir, "kv.sock"), filepath.Join(dir, "audit.log")
	cmd := exec.Command(bin, "-u", "nobody", "-s", sock, "-a", "777", "--audit-log", log)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	waitFor(t, "the socket", func() bool {
		c, err := net.Dial("unix", sock)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{"Uid:", nobody.Uid, nobody.Uid, nobody.Uid, nobody.Uid}, "\t")
	if !strings.Contains(string(b), want+"\n") {
		t.Errorf("the server does not run as nobody:\n%s", b)
	}
	if fi, err := os.Stat(sock); err != nil || fi.Mode().Perm() != 0o777 {
		t.Errorf("the socket's mode: %v, %v", fi, err)
	}
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}

// TestSignalsAtStart: whoever has read the pid file may send signals at once. SIGHUP ends
// nothing, however early it comes, and SIGTERM is an orderly end from then on.
func TestSignalsAtStart(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		pidfile, socket := filepath.Join(dir, fmt.Sprint("pid", i)), filepath.Join(dir, fmt.Sprint("socket", i))
		cmd := exec.Command(bin, "-u", whoami(t), "-P", pidfile, "-s", socket)
		p := &process{t: t, cmd: cmd, stderr: &lockedBuffer{}, done: make(chan error, 1)}
		cmd.Stderr = p.stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		go func() { p.done <- cmd.Wait() }()
		for end := time.Now().Add(time.Minute); pidIn(pidfile) != cmd.Process.Pid; {
			if time.Now().After(end) {
				t.Fatalf("no pid file: %s", p.stderr)
			}
		}
		if i%2 == 0 {
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the reload", func() bool { return strings.Contains(p.stderr.String(), "reloaded: ") })
			c, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			newClient(t, c).want("get k\r\n", "END\r\n")
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.ended(); code != 0 {
			t.Errorf("SIGTERM: expected exit code 0, found %d: %s", code, p.stderr)
		}
		if _, err := os.Stat(pidfile); err == nil {
			t.Error("the pid file is left behind")
		}
	}
}
