package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// threeServers are three servers of their own, for clients that hash over them.
func threeServers(t *testing.T) (addrs []string) {
	for range 3 {
		addrs = append(addrs, startServer(t, testConfig{}).tcp)
	}
	return addrs
}

// script runs a program of another language against three servers; it ends with
// a line "ok".
func script(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// needModule skips, or fails under CI, where a language has not the library.
func needModule(t *testing.T, probe *exec.Cmd, name string) {
	t.Helper()
	if err := probe.Run(); err != nil {
		missing(t, fmt.Sprintf("%s is not installed (make deps-test installs it)", name))
	}
}

// systemPython is Debian's, for which the packages are.
const systemPython = "/usr/bin/python3"

func TestPymemcache(t *testing.T) {
	needTool(t, systemPython)
	needModule(t, exec.Command(systemPython, "-c", "import pymemcache"), "python3-pymemcache")
	script(t, exec.Command(systemPython, append([]string{"testdata/clients/text.py"}, threeServers(t)...)...))
}

func TestBinaryMemcached(t *testing.T) {
	needTool(t, systemPython)
	needModule(t, exec.Command(systemPython, "-c", "import bmemcached"), "python3-binary-memcached")
	script(t, exec.Command(systemPython, append([]string{"testdata/clients/binary.py"}, threeServers(t)...)...))
}

// TestLibmemcachedKetama calls the library itself, in both protocols, with consistent
// hashing over three servers.
func TestLibmemcachedKetama(t *testing.T) {
	needTool(t, systemPython)
	needModule(t, exec.Command(systemPython, "-c", `import ctypes; ctypes.CDLL("libmemcached.so.11")`), "libmemcached-tools")
	for _, protocol := range []string{"text", "binary"} {
		script(t, exec.Command(systemPython, append([]string{"testdata/clients/libmemcached.py", protocol}, threeServers(t)...)...))
	}
}

func TestDalli(t *testing.T) {
	ruby := needTool(t, "ruby")
	needModule(t, exec.Command(ruby, "-e", `require "dalli"`), "ruby-dalli")
	script(t, exec.Command(ruby, append([]string{"testdata/clients/dalli.rb"}, threeServers(t)...)...))
}

// TestMemjs installs the client from npm's registry into a directory of its own. It
// speaks SASL, and no TLS.
func TestMemjs(t *testing.T) {
	npm, node := needTool(t, "npm"), needTool(t, "node")
	dir := t.TempDir()
	install := exec.Command(npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, "memjs@1.3.2")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("memjs cannot be installed: %v\n%s", err, out))
	}
	for name, servers := range map[string][]string{"memjs.js": threeServers(t), "sasl.js": {startSASL(t, "").tcp}} {
		text, err := os.ReadFile(filepath.Join("testdata/clients", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(text))
		script(t, exec.Command(node, append([]string{filepath.Join(dir, name)}, servers...)...))
	}
}

// TestLibmemcachedBinary drives the binary protocol and hashing over three
// servers with the tools of libmemcached.
func TestLibmemcachedBinary(t *testing.T) {
	servers := "--servers=" + strings.Join(threeServers(t), ",")
	tool := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(needTool(t, name), append([]string{servers, "--binary"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	dir := t.TempDir()
	for i := range 20 {
		name := fmt.Sprintf("file%d", i)
		writeFile(t, filepath.Join(dir, name), "content of "+name+"\n")
		tool("memccp", filepath.Join(dir, name))
		if got := tool("memccat", name); !strings.Contains(got, "content of "+name) {
			t.Errorf("memccat %s: %q", name, got)
		}
	}
	slap := tool("memcslap", "--concurrency=4", "--execute-number=300", "--test=get")
	if !strings.Contains(slap, "1200 keys") {
		t.Errorf("memcslap:\n%s", slap)
	}
}

// TestTwemproxy puts a proxy in front of three servers.
func TestTwemproxy(t *testing.T) {
	bin := needTool(t, "nutcracker")
	servers := threeServers(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	conf := "front:\n  listen: " + front + "\n  hash: md5\n  distribution: ketama\n  timeout: 5000\n  servers:\n"
	for _, s := range servers {
		conf += "   - " + s + ":1\n"
	}
	writeFile(t, filepath.Join(dir, "proxy.yml"), conf)
	// Its statistics have a port too; any free one.
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stats, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(bin, "-c", filepath.Join(dir, "proxy.yml"), "-a", "127.0.0.1", "-s", stats, "-o", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	var conn net.Conn
	for range 300 {
		if conn, err = net.Dial("tcp", front); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	read := func(n int) (lines string) {
		t.Helper()
		for range n {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, lines)
			}
			lines += line
		}
		return lines
	}
	var keys strings.Builder
	for i := range 60 {
		fmt.Fprintf(c, "set key%d 0 0 2\r\n%02d\r\n", i, i)
		fmt.Fprintf(&keys, " key%d", i)
		if got := read(1); got != "STORED\r\n" {
			t.Fatalf("set: %q", got)
		}
	}
	fmt.Fprintf(c, "get%s\r\n", keys.String())
	if got := read(2*60 + 1); strings.Count(got, "VALUE ") != 60 || !strings.HasSuffix(got, "END\r\n") {
		t.Errorf("a get of 60 keys: %q", got)
	}
	fmt.Fprintf(c, "incr key7 5\r\ntouch key7 100\r\ndelete key7\r\ndelete key7\r\n")
	if got := read(4); got != "12\r\nTOUCHED\r\nDELETED\r\nNOT_FOUND\r\n" {
		t.Errorf("got %q", got)
	}
	for _, s := range servers {
		direct, err := net.Dial("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		if got := newClient(t, direct).ask("stats\r\n"); strings.Contains(got, "STAT curr_items 0\r\n") {
			t.Errorf("server %s got no items", s)
		}
	}
}
