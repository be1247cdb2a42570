//go:build vm && linux

package vmtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sememcached/internal/chat"
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

// tableRow is a command, what it needs and what it answers. The item k is there
// with flags 5 and value 10.
type tableRow struct {
	send    string
	exists  string // permissions, on the item
	absent  string // if it is not there
	server  string
	present string
	missing string
	denied  string // to a denial of exists; of the others it is accessDenied
}

// table is the command table of the classic and the meta protocol. %C in present
// is any number.
var table = []tableRow{
	{send: "get k\r\n", exists: "read", present: "VALUE k 5 2\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{send: "gat 0 k\r\n", exists: "read setattr", present: "VALUE k 5 2\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{send: "touch k 100\r\n", exists: "setattr", present: "TOUCHED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "set k 1 0 1\r\nx\r\n", exists: "write", absent: "create", present: "STORED\r\n", missing: "STORED\r\n", denied: accessDenied},
	{send: "add k 1 0 1\r\nx\r\n", exists: "getattr", absent: "create", present: "NOT_STORED\r\n", missing: "STORED\r\n", denied: accessDenied},
	{send: "replace k 1 0 1\r\nx\r\n", exists: "write", present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n"},
	{send: "append k 1 0 1\r\nx\r\n", exists: "append", present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n"},
	{send: "prepend k 1 0 1\r\nx\r\n", exists: "append", present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n"},
	{send: "cas k 1 0 1 18446744073709551615\r\nx\r\n", exists: "write", present: "EXISTS\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "incr k 5\r\n", exists: "calculate", present: "15\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "decr k 5\r\n", exists: "calculate", present: "5\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "delete k\r\n", exists: "remove", present: "DELETED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mg k v\r\n", exists: "read", present: "VA 2\r\n10\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{send: "mg k f s\r\n", exists: "getattr", present: "HD f5 s2\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{send: "mg k v T100\r\n", exists: "read setattr", present: "VA 2\r\n10\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{send: "ms k 1\r\nx\r\n", exists: "write", absent: "create", present: "HD\r\n", missing: "HD\r\n", denied: accessDenied},
	{send: "ms k 1 ME\r\nx\r\n", exists: "getattr", absent: "create", present: "NS\r\n", missing: "HD\r\n", denied: accessDenied},
	{send: "ms k 1 MA\r\nx\r\n", exists: "append", present: "HD\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{send: "ma k v D5\r\n", exists: "calculate", present: "VA 2\r\n15\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "ma k T100\r\n", exists: "calculate setattr", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k\r\n", exists: "remove", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k I T30\r\n", exists: "setattr", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "mac label k\r\n", exists: "getattr", present: "LABEL k " + "system_u:object_r:kv_item_t:s0" + "\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac check k getattr\r\n", exists: "getattr", present: "ALLOWED getattr\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac relabel k system_u:object_r:kv_session_t:s0\r\n", exists: "getattr setattr relabelfrom", present: "RELABELED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac create system_u:object_r:kv_session_t:s0\r\n", absent: "create", missing: "OK\r\n"},
	{send: "flush_all\r\n", server: "flush", missing: "OK\r\n"},
	{send: "verbosity 0\r\n", server: "config", missing: "OK\r\n"},
	{send: "stats reset\r\n", server: "config", missing: "RESET\r\n"},
	{send: "stats sizes\r\n", server: "dump", missing: "STAT sizes_status disabled\r\nEND\r\n"},
	{send: "stats labels\r\n", server: "stats", missing: "END\r\n"},
	{send: "version\r\n", missing: "VERSION 1.6.45\r\n"},
}

// TestGuestCommandTable sends every command as a client that may, to an item that
// is not there, and as one that lacks each permission that it needs. The kernel
// decides each of them, for processes of eighteen domains.
func TestGuestCommandTable(t *testing.T) {
	inGuest(t)
	startServer(t, "--audit-log", auditLog)
	clients := map[string]*client{}
	as := func(lacks string) *client {
		if clients[lacks] == nil {
			clients[lacks] = dial(t, domain(lackingDomain(lacks), "s0"))
		}
		return clients[lacks]
	}
	full := as("")
	remove := func() { full.ask("mac create -\r\ndelete k\r\n") }
	store := func() {
		full.ask("mac create -\r\ndelete k\r\n")
		full.want("set k 5 0 2\r\n10\r\n", "STORED\r\n")
	}
	cases := 0
	for _, r := range table {
		t.Run(strings.Fields(strings.ReplaceAll(r.send, " ", "_"))[0], func(t *testing.T) {
			try := func(c *client, answer string) {
				t.Helper()
				cases++
				if got := c.ask(r.send); got != answer {
					t.Errorf("%s: %q: expected %q, found %q", c.context, r.send, answer, got)
				}
			}
			remove()
			try(full, r.missing)
			if r.present != "" {
				store()
				try(full, r.present)
			}
			for p := range strings.FieldsSeq(r.exists) {
				store()
				try(as(p), r.denied)
				full.want("get k\r\n", "VALUE k 5 2\r\n10\r\nEND\r\n") // nothing has changed
			}
			remove()
			for p := range strings.FieldsSeq(r.absent + " " + r.server) {
				try(as(p), accessDenied)
			}
		})
	}
	t.Logf("%d cases", cases)
	if cases < 90 {
		t.Errorf("%d cases only", cases)
	}
}

// TestGuestTranscripts runs the transcripts that need no clock of their own.
func TestGuestTranscripts(t *testing.T) {
	inGuest(t)
	files, err := filepath.Glob("/chat/*.chat")
	must(t, err)
	ran := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		script, err := chat.Parse(file, string(text))
		must(t, err)
		if skip := unsuited(script); skip != "" {
			t.Logf("%s: not here: %s", file, skip)
			continue
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(file), ".chat"), func(t *testing.T) {
			must(t, os.WriteFile("/run/contexts", []byte("kv_item session:* system_u:object_r:kv_session_t\n"), 0o600))
			s := startServer(t, "--contexts", "/run/contexts", "--audit-log", auditLog)
			r := &chat.Runner{
				Timeout: patience,
				Audit:   s.nextAudit,
				Dial: func(as string) (net.Conn, error) {
					if as == "" {
						as = domain("kv_plain_t", "s0")
					}
					return dialAs(as, "unix", socketPath)
				},
			}
			if err := r.Run(script); err != nil {
				t.Error(err)
			}
		})
	}
	if ran < 6 {
		t.Errorf("%d transcripts only", ran)
	}
}

func unsuited(s *chat.Script) string {
	for _, step := range s.Steps {
		switch {
		case step.Op == chat.At:
			return "it moves the clock"
		case step.Op == chat.Policy:
			return "it brings a policy"
		case step.Op == chat.As && step.Arg == "nobody":
			return "a process always has a domain"
		}
	}
	return ""
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

// TestGuestUnprivileged: a server that has given up root asks the kernel all the
// same. Without the capability to write audit records it says so once, and they go to its
// standard error.
func TestGuestUnprivileged(t *testing.T) {
	inGuest(t)
	must(t, os.Chmod("/run", 0o777))
	s := startServer(t, "-u", "nobody", "-a", "777")
	client, reader := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0"))
	client.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	reader.want("get k\r\nset k 0 0 1\r\ny\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n"+accessDenied)
	s.log.wait(t, 0, "level=ERROR", "audit records cannot be written", "operation not permitted")
	s.log.wait(t, 0, "type=USER_AVC", "denied  { write }", domain("kv_reader_t", "s0"))
	load(t, "moved")
	reader.want("get k\r\nset k 0 0 1\r\ny\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n"+accessDenied)
}
