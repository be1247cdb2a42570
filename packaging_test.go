package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
