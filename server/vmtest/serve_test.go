//go:build vm && linux

package vmtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const accessDenied = "CLIENT_ERROR access denied\r\n"

// TestGuestPeers: every client is who the kernel says it is, server and client see
// each other's contexts, and a domain that may not connect does not.
func TestGuestPeers(t *testing.T) {
	inGuest(t)
	s := startServer(t)
	s.log.wait(t, 0, "access control by the kernel", "policy version up to 33, unknown denied", "enforcing", "server "+serverContext)
	if strings.Contains(s.log.String(), "level=WARN") || strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("warnings at start:\n%s", s.log)
	}
	for _, context := range []string{
		domain("kv_client_t", "s0"), domain("kv_client_t", "s0:c1"), domain("kv_client_t", "s0:c1,c2"),
		domain("kv_reader_t", "s0:c3.c5"), domain("kv_admin_t", "s0-s0:c0.c1023"), domain("loose_t", "s0"), domain("kv_server_t", "s0"),
	} {
		c := dial(t, context)
		c.want("mac whoami\r\n", "MAC "+context+"\r\n")
		// A socket that accept makes has the listener's type at the client's level.
		if want := "system_u:system_r:kv_server_t:" + strings.SplitN(context, ":", 4)[3]; c.server != want {
			t.Errorf("%s sees the server as %s, not as %s", context, c.server, want)
		}
	}
	dial(t, "").want("mac whoami\r\n", "MAC system_u:system_r:kernel_t:s0-s0:c0.c1023\r\n")
	if _, err := dialAs(domain("no_such_t", "s0"), "unix", socketPath); err == nil {
		t.Error("a process of an unknown domain was started")
	}
}

// TestGuestTCP: over TCP without labels the contexts file decides, and without a
// line there the client is unlabeled. SIGHUP reads the file again.
func TestGuestTCP(t *testing.T) {
	inGuest(t)
	must(t, os.WriteFile("/run/contexts", []byte("client cidr:127.0.0.2/32 "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	s := startServer(t, "--listen=127.0.0.1", "-p", "11300", "--contexts", "/run/contexts")
	c, err := dialAs(domain("kv_client_t", "s0:c1"), "tcp", "127.0.0.1:11300")
	must(t, err)
	c.t = t
	defer c.Close()
	c.want("mac whoami\r\n", "MAC "+object("unlabeled_t", "s0")+"\r\n")
	c.want("set k 0 0 1\r\nx\r\n", accessDenied)
	from := s.log.len()
	must(t, os.WriteFile("/run/contexts", []byte("client cidr:127.0.0.1/32 "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	must(t, s.cmd.Process.Signal(unix.SIGHUP))
	s.log.wait(t, from, "reloaded: ")
	c.want("mac whoami\r\n", "MAC "+domain("kv_reader_t", "s0:c7")+"\r\n")
	c.want("set k 0 0 1\r\nx\r\n", accessDenied)
}

// TestGuestNewLabels: a new item has the label that the kernel computes.
func TestGuestNewLabels(t *testing.T) {
	inGuest(t)
	startServer(t)
	for _, context := range []string{domain("kv_client_t", "s0"), domain("kv_client_t", "s0:c1,c9"), domain("kv_admin_t", "s0-s0:c0.c1023"), domain("gone_t", "s0"), domain("loose_t", "s0:c2")} {
		c := dial(t, context)
		for i, key := range []string{"plain", "secret", "a+b%20/c", "gone", "secret2"} {
			name := ""
			switch key {
			case "secret", "gone":
				name = " " + key
			case "a+b%20/c":
				name = " a%2Bb%2520%2Fc"
			}
			want, err := ask("create", fmt.Sprintf("%s %s %d%s", context, serverContext, classIndex("kv_item"), name))
			must(t, err)
			if i == 0 && !strings.Contains(want, ":kv_item_t:") {
				t.Errorf("the kernel's own answer is %q", want)
			}
			dial(t, domain("lacks_nothing_t", "s0-s0:c0.c1023")).ask("delete " + key + "\r\n")
			dial(t, domain("kv_admin_t", "s0-s0:c0.c1023")).ask("delete " + key + "\r\n")
			c.want("set "+key+" 0 0 1\r\nx\r\nmac label "+key+"\r\n", "STORED\r\nLABEL "+key+" "+want+"\r\n")
		}
	}
}

// TestGuestAudit: denials and audited grants are records of the kernel's audit
// stream, with the server as the one who says so.
func TestGuestAudit(t *testing.T) {
	inGuest(t)
	from := audited.len()
	s := startServer(t)
	admin, client, reader := dial(t, domain("kv_admin_t", "s0")), dial(t, domain("kv_client_t", "s0:c1")), dial(t, domain("kv_reader_t", "s0"))
	admin.want("set user:1 0 0 1\r\nx\r\nset b\"q 0 0 1\r\nx\r\n", "STORED\r\nSTORED\r\n")
	client.want("set user:1 0 0 1\r\ny\r\n", accessDenied)
	audited.wait(t, from, "type=1107", "pid="+fmt.Sprint(s.cmd.Process.Pid), "subj="+serverContext, "avc:  denied  { write } for ",
		`comm="init"`, fmt.Sprintf("pid=%d", client.cmd.Process.Pid), `key="user:1"`, `cmd="set"`,
		"scontext="+domain("kv_client_t", "s0:c1"), "tcontext="+object("kv_item_t", "s0"), "tclass=kv_item", "permissive=0", `exe="/sememcached"`)
	reader.want("append user:1 0 0 1\r\nz\r\n", "NOT_STORED\r\n") // dontaudit
	reader.want("delete b\"q\r\n", "NOT_FOUND\r\n")
	audited.wait(t, from, "type=1107", "denied  { remove }", "key=622271", domain("kv_reader_t", "s0"))
	admin.want("delete user:1\r\n", "DELETED\r\n")
	audited.wait(t, from, "type=1107", "avc:  granted  { remove } for ", `key="user:1"`, domain("kv_admin_t", "s0"))
	if text := audited.String()[from:]; strings.Contains(text, "{ append }") {
		t.Error("dontaudit was not followed")
	}
	enableAudit(t, true)
	defer enableAudit(t, false)
	from = audited.len()
	load(t, "main")
	admin.ask("get x\r\n")
	audited.wait(t, from, "type=2310", "op=load_policy", "seqno=", "subj="+serverContext)
	must(t, write("enforce", []byte("0")))
	admin.ask("get x\r\n")
	audited.wait(t, from, "type=2313", "op=setenforce", "enforcing=0", "subj="+serverContext)
	if n := admin.stat("mac_audit_failures"); n != "0" {
		t.Errorf("%s audit failures", n)
	}
}

// capabilities are the sets of a process's threads, as /proc shows them: Inh, Prm,
// Eff and Amb, one entry for each different state of a thread, with its user.
func capabilities(t *testing.T, pid int) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	must(t, err)
	states := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var state []string
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch name {
			case "Uid":
				state = append(state, strings.Fields(value)...)
			case "CapInh", "CapPrm", "CapEff", "CapAmb":
				n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
				must(t, err)
				state = append(state, fmt.Sprintf("%x", n))
			}
		}
		states[strings.Join(state, " ")] = true
	}
	if len(files) < 4 {
		t.Errorf("%d threads only", len(files))
	}
	return slices.Sorted(maps.Keys(states))
}

// TestGuestUnprivileged: a server that has given up root asks the kernel all the
// same, and writes to its audit: of root's capabilities every thread has kept that
// one, and only if it is of use.
func TestGuestUnprivileged(t *testing.T) {
	inGuest(t)
	must(t, os.Chmod("/run", 0o777))
	nobody := launch{context: serverContext, user: "nobody"}
	threads := func(s *server, capability uint64) {
		t.Helper()
		want := fmt.Sprintf("[65534 65534 65534 65534 0 %[1]x %[1]x 0]", capability)
		if got := fmt.Sprint(capabilities(t, s.cmd.Process.Pid)); got != want {
			t.Errorf("users and capabilities of the threads: expected %s, found %s", want, got)
		}
	}
	from := audited.len()
	s := startServerAs(t, nobody, "-a", "777")
	client, reader := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0"))
	client.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	reader.want("get k\r\nset k 0 0 1\r\ny\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n"+accessDenied)
	audited.wait(t, from, "type=1107", fmt.Sprintf("pid=%d", s.cmd.Process.Pid), "uid=65534", "subj="+serverContext, "denied  { write }", domain("kv_reader_t", "s0"))
	threads(s, 1<<unix.CAP_AUDIT_WRITE)
	load(t, "moved")
	reader.want("get k\r\nset k 0 0 1\r\ny\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n"+accessDenied)
	if text := s.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log:\n%s", text)
	}
	s.stop()
	load(t, "main")

	// A machine that does not give the capability: said at the start.
	without := nobody
	without.lacks = unix.CAP_AUDIT_WRITE
	s = startServerAs(t, without, "-a", "777")
	s.log.wait(t, 0, "level=WARN", "CAP_AUDIT_WRITE cannot be kept", "stderr")
	dial(t, domain("kv_reader_t", "s0")).want("set k 0 0 1\r\ny\r\n", accessDenied)
	s.log.wait(t, 0, "type=USER_AVC", "denied  { create }", domain("kv_reader_t", "s0"))
	threads(s, 0)
	s.stop()

	// A log of its own needs none.
	s = startServerAs(t, nobody, "-a", "777", "--audit-log", "stderr")
	threads(s, 0)
}
