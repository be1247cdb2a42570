package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sememcached/internal/testca"
)

// TestUnits: systemd finds nothing wrong with the units.
func TestUnits(t *testing.T) {
	analyze := needTool(t, "systemd-analyze")
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"sememcached.service", "sememcached.socket"} {
		b, err := os.ReadFile(filepath.Join("packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), strings.ReplaceAll(string(b), "/usr/bin/sememcached", bin))
	}
	for _, name := range []string{"sememcached.service", "sememcached.socket"} {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	drop := filepath.Join(dir, "sememcached.service.d")
	text, err := os.ReadFile("packaging/memcached-conf.conf")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("packaging/memcached-conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(drop, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(drop, "memcached-conf.conf"), strings.ReplaceAll(string(text), "/usr/lib/sememcached/memcached-conf", script))
	if out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, "sememcached.service")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("with memcached.conf: %v\n%s", err, out)
	}
}

// TestSocketActivation: sockets that a service manager has bound are served, and
// the ports of the flags are not opened.
func TestSocketActivation(t *testing.T) {
	activate := needTool(t, "systemd-socket-activate")
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sock := filepath.Join(dir, "s")
	var out lockedBuffer
	cmd := exec.Command(activate, "-l", sock, bin, "-u", whoami(t), "-p", "1")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	var conn net.Conn
	waitFor(t, "systemd-socket-activate", func() bool {
		conn, err = net.Dial("unix", sock)
		return err == nil
	})
	c := newClient(t, conn)
	c.want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
	if c2, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
		c2.Close()
		t.Error("the port of -p is open")
	}
	if t.Failed() {
		t.Log(&out)
	}
}

// freePort is a TCP port of 127.0.0.1 that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// activate runs the server under systemd-socket-activate, which starts it when the first
// client comes.
func activate(t *testing.T, args ...string) *process {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	tool := needTool(t, "systemd-socket-activate")
	for i, a := range args {
		if a == "--" {
			args[i] = bin
		}
	}
	p := &process{t: t, cmd: exec.Command(tool, args...), stderr: &lockedBuffer{}, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// TestInheritedTCP: TCP and UNIX sockets together, and after a SIGTERM the UNIX socket's
// path is the manager's still.
func TestInheritedTCP(t *testing.T) {
	addr := freePort(t)
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sock := filepath.Join(dir, "s")
	p := activate(t, "-l", addr, "-l", sock, "--", "-u", whoami(t), "-p", "1", "-s", filepath.Join(dir, "other"))
	dial := func(network, addr string) *client {
		var conn net.Conn
		waitFor(t, addr, func() bool {
			var err error
			conn, err = net.Dial(network, addr)
			return err == nil
		})
		return newClient(t, conn)
	}
	c := dial("tcp", addr)
	c.want("set k 0 0 1\r\nx\r\nmac whoami\r\n", "STORED\r\nMAC system_u:system_r:kv_plain_t:s0\r\n")
	dial("unix", sock).want("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n")
	if got := c.ask("stats conns\r\n"); !strings.Contains(got, "addr tcp:"+addr) || !strings.Contains(got, "addr unix:"+sock) {
		t.Errorf("stats conns does not name the inherited sockets:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("the socket of -s is open beside the inherited ones")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.ended(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if _, err := os.Stat(sock); err != nil {
		t.Errorf("the manager's socket is removed: %v", err)
	}
}

// TestInheritedTLS: the name of an inherited socket says whether it speaks TLS.
func TestInheritedTLS(t *testing.T) {
	ca, err := testca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	chain, key, authority, err := ca.WriteServer(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	plain, any, both := freePort(t), freePort(t), freePort(t)
	activate(t, "-l", plain, "-l", any, "-l", both, "--fdname=notls:anything:mtls", "--",
		"-u", whoami(t), "-Z", "-o", fmt.Sprintf("ssl_chain_cert=%s,ssl_key=%s,ssl_ca_cert=%s", chain, key, authority))
	var c *client
	waitFor(t, "systemd-socket-activate", func() bool {
		conn, err := net.Dial("tcp", plain)
		if err == nil {
			c = newClient(t, conn)
		}
		return err == nil
	})
	c.want("version\r\n", "VERSION 1.6.45\r\n")
	pair, err := ca.Pair(testca.Leaf{CNs: []string{"somebody"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		addr string
		with []tls.Certificate
		ok   bool
	}{{any, nil, true}, {any, []tls.Certificate{pair}, true}, {both, nil, false}, {both, []tls.Certificate{pair}, true}} {
		conn, err := tls.Dial("tcp", x.addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: x.with})
		if err == nil {
			cl := newClient(t, conn)
			io.WriteString(cl, "version\r\n")
			_, err = cl.r.ReadString('\n')
		}
		if (err == nil) != x.ok {
			t.Errorf("%s with %d certificates: %v", x.addr, len(x.with), err)
		}
	}
}

// TestMemcachedConf: what the script makes of a file in Debian's form.
func TestMemcachedConf(t *testing.T) {
	script, err := os.ReadFile("packaging/memcached-conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	show, conf := filepath.Join(dir, "show"), filepath.Join(dir, "memcached.conf")
	writeFile(t, show, strings.ReplaceAll(string(script), "exec /usr/bin/sememcached", "printf '<%s>'"))
	writeFile(t, conf, "# a comment\n-d\nlogfile /var/log/memcached.log\n\n# -v\n-m 64\n  -l 127.0.0.1  # loopback\n-c\t1024\n-o modern,track_sizes\n-X -F\n-D *\n-u memcache")
	out, err := exec.Command("sh", show, conf, "-u", "nobody").CombinedOutput()
	const want = "<-u><nobody><-m><64><-l><127.0.0.1><-c><1024><-o><modern,track_sizes><-X><-F><-D><*><-u><memcache>"
	if err != nil || string(out) != want {
		t.Errorf("%v\nexpected %s\nfound    %s", err, want, out)
	}
	if out, err := exec.Command("sh", show, filepath.Join(dir, "none")).CombinedOutput(); err == nil {
		t.Errorf("a file that is not there: %s", out)
	}
}

// TestDebianWrapper: the script that Debian's unit runs, and Debian's configuration,
// with the binary's name changed and a port of its own.
func TestDebianWrapper(t *testing.T) {
	needTool(t, "perl")
	if os.Geteuid() != 0 {
		needRoot(t)
	}
	wrapper, err1 := os.ReadFile("/usr/share/memcached/scripts/systemd-memcached-wrapper")
	conf, err2 := os.ReadFile("/etc/memcached.conf")
	if err1 != nil || err2 != nil {
		missing(t, "the package memcached is not installed")
	}
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil { // the pid file is the user's
		t.Fatal(err)
	}
	script, cfg, ports, pid := filepath.Join(dir, "wrapper"), filepath.Join(dir, "memcached.conf"), filepath.Join(dir, "ports"), filepath.Join(dir, "pid")
	writeFile(t, script, strings.ReplaceAll(string(wrapper), "/usr/bin/memcached", bin))
	text := strings.ReplaceAll(string(conf), "-p 11211", "-p -1")
	writeFile(t, cfg, strings.ReplaceAll(text, "/var/run/memcached/memcached.pid", pid))
	var out lockedBuffer
	cmd := exec.Command("perl", script, cfg)
	cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+ports)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	port := ""
	waitFor(t, "the port file", func() bool {
		b, _ := os.ReadFile(ports)
		_, port, _ = strings.Cut(strings.TrimSpace(string(b)), "TCP INET: ")
		return port != ""
	})
	waitFor(t, "the pid file", func() bool {
		_, err := os.Stat(pid)
		return err == nil
	})
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	newClient(t, conn).want("set k 0 0 1\r\nx\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
}
