//go:build vm && linux

package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDebianEngine: on Debian's policy with our module, our engine and the kernel
// give the same allowed, auditallow and auditdeny and the same label of a new
// object to 20,000 random questions, at least half of which allow something. The
// host has drawn them and asked our engine, which takes a machine without an
// emulator a second.
func TestDebianEngine(t *testing.T) {
	inGuest(t)
	b, err := os.ReadFile("/questions")
	must(t, err)
	index := map[string]int{}
	var n struct{ questions, allowed, audited, ruled, differ int }
	began := time.Now()
	for line := range strings.Lines(string(b)) {
		q, err := parseQuestion(line)
		must(t, err)
		if index[q.class] == 0 {
			index[q.class] = classIndex(q.class)
		}
		n.questions++
		if q.vector[0] != 0 {
			n.allowed++
		}
		if q.vector[1] != 0 || q.vector[2] != q.all {
			n.audited++
		}
		if q.ruled {
			n.ruled++
		}
		if got, err := q.askAccess(index[q.class]); err != nil || got != q.vector {
			n.differ++
			t.Errorf("access %s %s %s: ours %x, the kernel's %x %v", q.source, q.target, q.class, q.vector, got, err)
		}
		got, err := ask("create", fmt.Sprintf("%s %s %d", q.source, q.target, index[q.class]))
		if (err == nil) != (q.label != invalidLabel) || err == nil && got != q.label {
			n.differ++
			t.Errorf("create %s %s %s: ours %s, the kernel's %q %v", q.source, q.target, q.class, q.label, got, err)
		}
		if n.differ > 50 {
			t.Fatal("too many differences")
		}
	}
	t.Logf("%d questions: %d with something allowed, %d with rules about audit, %d with labels by a rule; %d differences; %v",
		n.questions, n.allowed, n.audited, n.ruled, n.differ, time.Since(began).Round(time.Second))
	if n.questions != debianQuestions || n.allowed < debianQuestions/2 || n.audited < 100 || n.ruled < 100 {
		t.Error("too few questions to mean anything")
	}
}

// TestDebianLabels: every other kind of computed context, and changes of label, on
// Debian's policy.
func TestDebianLabels(t *testing.T) {
	inGuest(t)
	w := newTwin(t, "/policy/debian.bin", seeded(t))
	d := newDraw(w.p, w.rnd)
	for range 40 {
		w.contexts = append(w.contexts, d.context(pick(w.rnd, d.types)))
	}
	const questions = 300
	for i := range questions {
		class := pick(w.rnd, d.classes)
		if i%3 == 0 {
			class = "kv_item"
		}
		w.labels(pick(w.rnd, w.contexts), pick(w.rnd, w.contexts), class)
	}
	t.Logf("%d questions of each kind, %d differences", questions, w.differ)
}

const (
	debServer  = "system_u:system_r:sememcached_t:s0"
	debProgram = "/usr/bin/sememcached"
	debRun     = "/run/sememcached"
	debLog     = "/var/log/sememcached"
	debData    = "/var/lib/sememcached"
	debConfig  = "/etc/sememcached"
)

func debClient(typ, level string) string { return "system_u:system_r:" + typ + ":" + level }

var installed sync.Once

// install puts the server and its directories where the module's file contexts
// expect them, labelled as restorecon would.
func install(t *testing.T) {
	t.Helper()
	installed.Do(func() {
		label := func(name, typ string) {
			must(t, unix.Lsetxattr(name, "security.selinux", []byte("system_u:object_r:"+typ+":s0\x00"), 0))
		}
		// No type of a file may be in the initramfs; a disk's file system is
		// another matter.
		passwd, err := os.ReadFile("/etc/passwd")
		must(t, err)
		for _, d := range [][2]string{{"/usr", "usr_t"}, {"/var", "var_t"}, {"/run", "var_run_t"}, {"/etc", "etc_t"}} {
			must(t, os.MkdirAll(d[0], 0o755))
			must(t, unix.Mount("tmpfs", d[0], "tmpfs", 0, "mode=755,fscontext=system_u:object_r:fs_t:s0,rootcontext=system_u:object_r:"+d[1]+":s0"))
		}
		must(t, os.WriteFile("/etc/passwd", passwd, 0o644))
		for _, d := range []struct{ name, typ string }{
			{"/usr/bin", "bin_t"},
			{"/var/log", "var_log_t"},
			{"/var/lib", "var_lib_t"},
			{debRun, "sememcached_runtime_t"},
			{debLog, "sememcached_log_t"},
			{debData, "sememcached_var_lib_t"},
			{debConfig, "sememcached_etc_t"},
		} {
			must(t, os.MkdirAll(d.name, 0o755))
			label(d.name, d.typ)
			if strings.Contains(d.name, "sememcached") && d.name != debConfig {
				must(t, os.Chown(d.name, 65534, 65534))
			}
		}
		label("/etc/passwd", "etc_t")
		label("/dev/null", "null_device_t")
		label("/dev/ttyS1", "tty_device_t")
		program, err := os.ReadFile("/sememcached")
		must(t, err)
		must(t, os.WriteFile(debProgram, program, 0o755))
		label(debProgram, "sememcached_exec_t")
	})
}

// startDebian has init start the server as user nobody, and waits until it
// listens.
func startDebian(t *testing.T, args ...string) *server {
	t.Helper()
	install(t)
	from := audited.len()
	pidfile, log := debRun+"/pid", debLog+"/output"
	_ = os.Remove(pidfile)
	must(t, os.WriteFile(log, nil, 0o644))
	must(t, unix.Lsetxattr(log, "security.selinux", []byte("system_u:object_r:sememcached_log_t:s0\x00"), 0))
	s := &server{log: newLines(), exited: make(chan struct{})}
	s.cmd = exec.Command("/init", append([]string{"stage", log, debProgram, "-u", "nobody", "-t", "2", "-A", "-P", pidfile}, args...)...)
	s.cmd.Stderr = os.Stderr
	must(t, startAs(s.cmd, debClient("init_t", "s0")))
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	go s.log.follow(log, s.exited)
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			b, _ := os.ReadFile(log)
			t.Logf("the server's log:\n%s", b)
			t.Logf("the kernel's denials:\n%s", strings.Join(kernelDenials(from, ""), ""))
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

// follow copies a growing file until the process has ended.
func (l *lines) follow(file string, ended <-chan struct{}) {
	var at int64
	for last := false; ; {
		if f, err := os.Open(file); err == nil {
			if _, err := f.Seek(at, 0); err == nil {
				b := make([]byte, 1<<16)
				for n, _ := f.Read(b); n > 0; n, _ = f.Read(b) {
					_, _ = l.Write(b[:n])
					at += int64(n)
				}
			}
			_ = f.Close()
		}
		if last {
			return
		}
		select {
		case <-ended:
			last = true
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kernelDenials are the kernel's own denials of a domain since from.
func kernelDenials(from int, domain string) []string {
	var out []string
	for line := range strings.Lines(audited.String()[from:]) {
		if hasAll(line, []string{"type=1400", "denied", "scontext=" + domain}) {
			out = append(out, line)
		}
	}
	return out
}

// TestDebianServer: the module is all that the server needs on a Debian machine.
// Init starts the program, its type makes it sememcached_t, it gives up root, and
// serves clients of a site's domains over its UNIX socket. Nothing that it does is
// denied by the kernel.
func TestDebianServer(t *testing.T) {
	inGuest(t)
	from := audited.len()
	socket := debRun + "/socket"
	s := startDebian(t, "-s", socket, "-a", "777")
	s.log.wait(t, 0, "access control by the kernel", "unknown allowed", "enforcing", "server "+debServer)
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", s.cmd.Process.Pid)); err != nil || strings.TrimRight(string(b), "\x00\n") != debServer {
		t.Errorf("the server runs as %q, %v", b, err)
	}
	label := make([]byte, 256)
	n, err := unix.Lgetxattr(socket, "security.selinux", label)
	if must(t, err); strings.TrimRight(string(label[:n]), "\x00") != "system_u:object_r:sememcached_runtime_t:s0" {
		t.Errorf("the socket is %s", label[:n])
	}
	as := func(context string) *client {
		t.Helper()
		c, err := dialAs(context, "unix", socket)
		must(t, err)
		c.t = t
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	one, two := as(debClient("kvtest_client_t", "s0:c1")), as(debClient("kvtest_client_t", "s0:c2"))
	reader, admin := as(debClient("kvtest_reader_t", "s0:c1")), as("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023")
	one.want("mac whoami\r\nset k 0 0 1\r\n1\r\nmac label k\r\n", "MAC "+one.context+"\r\nSTORED\r\nLABEL k system_u:object_r:kv_item_t:s0:c1\r\n")
	two.want("get k\r\ndelete k\r\nset k 0 0 1\r\nx\r\nincr k 1\r\n", "END\r\nNOT_FOUND\r\n"+accessDenied+"NOT_FOUND\r\n")
	reader.want("get k\r\nset k 0 0 1\r\nx\r\nflush_all\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n"+accessDenied+accessDenied)
	admin.want("get k\r\nmac label k\r\nstats reset\r\n", "VALUE k 0 1\r\n1\r\nEND\r\nLABEL k system_u:object_r:kv_item_t:s0:c1\r\nRESET\r\n")
	audited.wait(t, from, "type=1107", "subj="+debServer, "uid=65534", "denied  { write }", `key="k"`, "scontext="+reader.context, "tclass=kv_item", "permissive=0")
	audited.wait(t, from, "type=1107", "denied  { flush }", "tcontext="+debServer, "tclass=kv_server")
	if _, err := dialAs(debClient("kvtest_stranger_t", "s0"), "unix", socket); err == nil {
		t.Error("a domain that is no client of ours has connected")
	} else {
		audited.wait(t, from, "type=1400", "scontext="+debClient("kvtest_stranger_t", "s0"))
	}
	must(t, write("enforce", []byte("0")))
	reader.want("set k 0 0 1\r\n2\r\n", "STORED\r\n")
	must(t, write("enforce", []byte("1")))
	reader.want("set k 0 0 1\r\n3\r\nget k\r\n", accessDenied+"VALUE k 0 1\r\n2\r\nEND\r\n")
	load(t, "debian")
	reader.want("set k 0 0 1\r\n3\r\nget k\r\n", accessDenied+"VALUE k 0 1\r\n2\r\nEND\r\n")
	for _, line := range kernelDenials(from, debServer) {
		t.Errorf("the server needed what the module does not give it: %s", line)
	}
	if n := admin.stat("mac_audit_failures"); n != "0" {
		t.Errorf("%s audit failures", n)
	}
}

// TestDebianTCP: on its port, with its contexts file and a log of its own, and
// clients whom the kernel does not label.
func TestDebianTCP(t *testing.T) {
	inGuest(t)
	install(t)
	contexts := filepath.Join(debConfig, "contexts")
	must(t, os.WriteFile(contexts, []byte("client cidr:127.0.0.1/32 "+debClient("kvtest_reader_t", "s0:c7")+"\n"), 0o644))
	must(t, unix.Lsetxattr(contexts, "security.selinux", []byte("system_u:object_r:sememcached_etc_t:s0\x00"), 0))
	from := audited.len()
	// Root without CAP_DAC_OVERRIDE opens it, and nobody opens it again.
	own := debLog + "/audit.log"
	must(t, os.WriteFile(own, nil, 0o660))
	must(t, os.Chmod(own, 0o660))
	must(t, os.Chown(own, 65534, 0))
	must(t, unix.Lsetxattr(own, "security.selinux", []byte("system_u:object_r:sememcached_log_t:s0\x00"), 0))
	t.Cleanup(func() { keepAudit(own) })
	s := startDebian(t, "--listen=127.0.0.1", "-p", "11211", "--contexts", contexts, "--audit-log", own)
	c, err := dialAs(debClient("kvtest_client_t", "s0:c1"), "tcp", "127.0.0.1:11211")
	must(t, err)
	c.t = t
	defer c.Close()
	c.want("mac whoami\r\nset k 0 0 1\r\nx\r\n", "MAC "+debClient("kvtest_reader_t", "s0:c7")+"\r\n"+accessDenied)
	if _, err := dialAs(debClient("kvtest_stranger_t", "s0"), "tcp", "127.0.0.1:11211"); err == nil {
		t.Error("a domain that is no client of ours has connected")
	}
	must(t, s.cmd.Process.Signal(unix.SIGHUP))
	s.log.wait(t, 0, "reloaded: ")
	c.want("get k\r\n", "END\r\n")
	if b, err := os.ReadFile(own); err != nil || !strings.Contains(string(b), "denied  { create }") {
		t.Errorf("the server's own audit log: %q, %v", b, err)
	}
	for _, line := range kernelDenials(from, debServer) {
		t.Errorf("the server needed what the module does not give it: %s", line)
	}
}
