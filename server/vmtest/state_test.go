//go:build vm && linux

package vmtest

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Everything here changes the kernel's state by one write and then sends a
// request: there is nothing to wait for, as no answer may come from a state older
// than the one in force when the request began.

// TestGuestMode: setenforce, and a permissive domain: what is denied passes and is
// logged all the same.
func TestGuestMode(t *testing.T) {
	inGuest(t)
	s := startServer(t, "--audit-log", auditLog)
	client, reader, loose := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0")), dial(t, domain("loose_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	next := func(words ...string) {
		t.Helper()
		line, err := s.nextAudit()
		must(t, err)
		if !hasAll(line, words) {
			t.Errorf("expected a record with %q, found %s", words, line)
		}
	}
	for i := range 5 {
		reader.want("set k 0 0 1\r\nx\r\n", accessDenied)
		next("denied  { write }", "permissive=0")
		must(t, write("enforce", []byte("0")))
		reader.want("set k 0 0 1\r\n2\r\n", "STORED\r\n")
		next("USER_MAC_STATUS", "enforcing=0")
		next("denied  { write }", "permissive=1")
		reader.want("set k 0 0 1\r\n3\r\n", "STORED\r\n")
		next("denied  { write }", "permissive=1")
		must(t, write("enforce", []byte("1")))
		reader.want("get k\r\ndelete k\r\n", "VALUE k 0 1\r\n3\r\nEND\r\nNOT_FOUND\r\n")
		next("USER_MAC_STATUS", "enforcing=1")
		next("denied  { remove }", "permissive=0")
		if i == 4 {
			break
		}
		loose.want("set k 0 0 1\r\n4\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\n4\r\nEND\r\n")
		next("denied  { write }", "loose_t", "permissive=1")
		next("denied  { read }", "loose_t", "permissive=1")
	}
}

// TestGuestBooleans: a boolean takes effect when it is committed, not before.
func TestGuestBooleans(t *testing.T) {
	inGuest(t)
	startServer(t)
	client, reader := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	for range 5 {
		reader.want("set k 0 0 1\r\n2\r\nset n 0 0 1\r\n2\r\n", accessDenied+accessDenied)
		must(t, write("booleans/vm_reader_writes", []byte("1")))
		reader.want("set k 0 0 1\r\n2\r\n", accessDenied)
		must(t, write("commit_pending_bools", []byte("1")))
		reader.want("set k 0 0 1\r\n2\r\nset n 0 0 1\r\n2\r\n", "STORED\r\nSTORED\r\n")
		setBoolean(t, "vm_reader_writes", false)
		client.want("delete n\r\n", "DELETED\r\n")
	}
}

// TestGuestTypeRemoved: a policy without a client's domain and an item's type. The
// client and the item act as unlabeled, and are themselves again with the types.
func TestGuestTypeRemoved(t *testing.T) {
	inGuest(t)
	startServer(t)
	gone, admin := dial(t, domain("gone_t", "s0:c1")), dial(t, domain("kv_admin_t", "s0-s0:c0.c1023"))
	gone.want("set gone 0 0 1\r\nx\r\nset other 0 0 1\r\ny\r\nmac label gone\r\n", "STORED\r\nSTORED\r\nLABEL gone "+object("gone_item_t", "s0:c1")+"\r\n")
	for range 3 {
		load(t, "nogone")
		gone.want("mac whoami\r\nget gone other\r\n", "MAC system_u:object_r:unlabeled_t:s0\r\nEND\r\n")
		// By the policy an administrator may look at what is unlabeled, and
		// remove it, and not read it.
		admin.want("get gone\r\nget other\r\n", "END\r\nVALUE other 0 1\r\ny\r\nEND\r\n")
		admin.want("mac check gone getattr remove\r\nmac check gone read\r\n", "ALLOWED getattr remove\r\nDENIED read\r\n")
		load(t, "main")
		gone.want("mac whoami\r\nget gone other\r\n", "MAC "+domain("gone_t", "s0:c1")+"\r\nVALUE gone 0 1\r\nx\r\nVALUE other 0 1\r\ny\r\nEND\r\n")
		admin.want("get gone\r\n", "VALUE gone 0 1\r\nx\r\nEND\r\n")
	}
}

// TestGuestNumbersMoved: the same rules under other numbers.
func TestGuestNumbersMoved(t *testing.T) {
	inGuest(t)
	startServer(t)
	client, reader := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0"))
	index := classIndex("kv_item")
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	for i := range 6 {
		load(t, []string{"moved", "main"}[i%2])
		if i == 0 && classIndex("kv_item") == index {
			t.Fatal("the class's number is the same")
		}
		client.want("set k 0 0 1\r\n1\r\nincr k 2\r\nstats sizes\r\n", "STORED\r\n3\r\n"+accessDenied)
		reader.want("get k\r\nset k 0 0 1\r\nx\r\nincr k 1\r\ndelete k\r\n", "VALUE k 0 1\r\n3\r\nEND\r\n"+accessDenied+"NOT_FOUND\r\nNOT_FOUND\r\n")
	}
}

// TestGuestClassDropped: a reload that loses a class or a permission denies all of
// it, whatever handle_unknown says, counts, says so, and recovers. calculate alone
// may be lacking.
func TestGuestClassDropped(t *testing.T) {
	inGuest(t)
	s := startServer(t)
	admin := dial(t, domain("kv_admin_t", "s0"))
	admin.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	for policy, lacks := range map[string]string{
		"noserver": "kv_server", "noitem": "kv_item", "none": "kv_item", "noremove": "kv_item:remove", unknownPolicy("allow", "kv_server"): "kv_server",
	} {
		from, audit := s.log.len(), audited.len()
		load(t, policy)
		admin.want("get k\r\nset k 0 0 1\r\n2\r\nmac check k read\r\nflush_all\r\nstats\r\nversion\r\n",
			"END\r\n"+accessDenied+"NOT_FOUND\r\n"+accessDenied+accessDenied+"VERSION 1.6.45\r\n")
		s.log.wait(t, from, "level=ERROR", "not usable; everything is denied", lacks)
		audited.wait(t, audit, "type=1107", "denied  { read }", "permissive=0")
		// Permissive mode is no way around it.
		must(t, write("enforce", []byte("0")))
		admin.want("get k\r\n", "END\r\n")
		must(t, write("enforce", []byte("1")))
		load(t, "main")
		admin.want("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n")
		if admin.stat("mac_usable") != "1" {
			t.Errorf("%s: not usable again", policy)
		}
	}
	load(t, "nocalculate")
	reader := dial(t, domain("kv_reader_t", "s0"))
	admin.want("incr k 1\r\n", "2\r\n")
	reader.want("incr k 1\r\n", "NOT_FOUND\r\n")
	dial(t, domain(lackingDomain("write"), "s0")).want("incr k 1\r\n", "NOT_FOUND\r\n")
}

// TestGuestRefusedLoad: a policy that the kernel refuses changes nothing.
func TestGuestRefusedLoad(t *testing.T) {
	inGuest(t)
	startServer(t)
	client := dial(t, domain("kv_client_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	if err := write("load", []byte("no policy")); err == nil {
		t.Error("the kernel took a text for a policy")
	}
	if err := loadPolicy("reject"); err == nil {
		t.Error("the kernel took a policy that lacks classes of its own and rejects the unknown")
	}
	client.want("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n")
}

// TestGuestUndecided: the server may no longer ask, or not see what it needs, or
// selinuxfs is not there: it denies, counts, says so and recovers.
func TestGuestUndecided(t *testing.T) {
	inGuest(t)
	s := startServer(t)
	client, admin := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_admin_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	failures := func() int {
		t.Helper()
		n, err := strconv.Atoi(admin.stat("mac_queries_failed"))
		must(t, err)
		return n
	}
	counted := failures()
	more := func(after string) {
		t.Helper()
		n := failures()
		if n <= counted {
			t.Errorf("%s: %d failures counted, %d before", after, n, counted)
		}
		counted = n
	}
	for policy, words := range map[string][]string{
		"nocompute": {"compute_av", "permission denied"}, "nocheck": {"check_context", "permission denied"}, "unreadable": {"permission denied"},
	} {
		from := s.log.len()
		load(t, policy)
		client.want("get k\r\nset k 0 0 1\r\n2\r\nmac label k\r\nversion\r\n", "END\r\n"+accessDenied+"NOT_FOUND\r\nVERSION 1.6.45\r\n")
		s.log.wait(t, from, append(words, "level=ERROR", "access could not be decided and is denied")...)
		load(t, "main")
		recovers(t, client)
		more(policy)
	}

	// What was decided in the policy in force stays decided, and nothing new is.
	from := s.log.len()
	unmount(t)
	other := dial(t, domain("kv_client_t", "s0:c3"))
	other.want("get k\r\nset new 0 0 1\r\n2\r\n", "END\r\n"+accessDenied)
	client.want("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n")
	s.log.wait(t, from, "level=ERROR", "access could not be decided and is denied", "/sys/fs/selinux", "no such file")
	mount(t)
	recovers(t, client)
	for deadline := time.Now().Add(patience); other.ask("set new 0 0 1\r\n2\r\n") != "STORED\r\n"; {
		if time.Now().After(deadline) { // a failure is remembered for a moment
			t.Fatal("a new client is not served again")
		}
	}
	more("unmounted")

	// The state moves while it cannot be read: nothing at all is decided.
	from = s.log.len()
	enforce, err := os.OpenFile(sel+"/enforce", os.O_WRONLY, 0)
	must(t, err)
	defer enforce.Close()
	unmount(t)
	_, err = enforce.WriteString("0")
	must(t, err)
	_, err = enforce.Seek(0, 0)
	must(t, err)
	_, err = enforce.WriteString("1")
	must(t, err)
	client.want("get k\r\nset k 0 0 1\r\n2\r\n", "END\r\n"+accessDenied)
	s.log.wait(t, from, "level=ERROR", "the kernel's SELinux state could not be read")
	mount(t)
	recovers(t, client)
	more("unmounted and changed")
}

// unmount takes selinuxfs away, at the latest until the end of the test.
func unmount(t *testing.T) {
	t.Helper()
	must(t, unix.Unmount(sel, unix.MNT_DETACH))
	t.Cleanup(func() {
		if _, err := os.Stat(sel + "/enforce"); err != nil {
			mount(t)
		}
	})
}

func mount(t *testing.T) {
	t.Helper()
	must(t, unix.Mount("selinuxfs", sel, "selinuxfs", 0, ""))
}

// recovers waits until c reads k: a failure is remembered for a moment.
func recovers(t *testing.T, c *client) {
	t.Helper()
	for deadline := time.Now().Add(patience); c.ask("get k\r\n") != "VALUE k 0 1\r\n1\r\nEND\r\n"; {
		if time.Now().After(deadline) {
			t.Fatal("the server does not recover")
		}
	}
}

// TestGuestNetlink: where the status page cannot be mapped, netlink tells.
func TestGuestNetlink(t *testing.T) {
	inGuest(t)
	load(t, "nomap")
	s := startServer(t)
	s.log.wait(t, 0, "level=WARN", "status page cannot be mapped")
	s.log.wait(t, 0, "level=WARN", "policy cannot be read; named transitions")
	client, reader := dial(t, domain("kv_client_t", "s0")), dial(t, domain("kv_reader_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\nset secret 0 0 1\r\nx\r\nmac label secret\r\n", "STORED\r\nSTORED\r\nLABEL secret "+object("kv_item_t", "s0")+"\r\n")
	change := func(to string, f func()) {
		t.Helper()
		f()
		for deadline := time.Now().Add(patience); reader.ask("set k 0 0 1\r\n1\r\n") != to; {
			if time.Now().After(deadline) { // later than the page, by the wake-up of a goroutine
				t.Fatalf("the answer did not change to %q", to)
			}
		}
	}
	change(accessDenied, func() {})
	change("STORED\r\n", func() { setBoolean(t, "vm_reader_writes", true) })
	change(accessDenied, func() { setBoolean(t, "vm_reader_writes", false) })
	change("STORED\r\n", func() { must(t, write("enforce", []byte("0"))) })
	change(accessDenied, func() { must(t, write("enforce", []byte("1"))) })
	change(accessDenied, func() { load(t, "main") })
}

// TestGuestRefusals: every way to start where the kernel ought to decide and
// cannot. None of them ends in a server.
func TestGuestRefusals(t *testing.T) {
	inGuest(t)
	must(t, os.WriteFile("/run/bad-contexts", []byte("client *\n"), 0o600))
	must(t, os.WriteFile("/run/unknown-contexts", []byte("client * "+domain("no_such_t", "s0")+"\n"), 0o600))
	install := []string{"semodule -i", "sememcached policy module", "--mac=policy", "--mac=off"}
	lacks := func(what string) []string {
		return append([]string{"the kernel's policy does not define " + what}, install...)
	}
	ways := []struct {
		name, policy, args string
		words              []string
	}{
		{"no kv_server", "noserver", "", lacks("kv_server;")},
		{"no kv_item", "noitem", "", lacks("kv_item;")},
		{"neither", "none", "", lacks("kv_item kv_server;")},
		{"a permission short", "noremove", "", lacks("kv_item:remove;")},
		{"no kv_server, and the unknown is allowed", unknownPolicy("allow", "kv_server"), "", lacks("kv_server;")},
		{"compute_av not permitted", "nocompute", "", []string{"compute_av", "permission denied"}},
		{"check_context not permitted", "nocheck", "", []string{"check_context", "permission denied"}},
		{"selinuxfs not readable", "unreadable", "", []string{"permission denied"}},
		{"no way to notice changes", "blind", "", []string{"changes of the kernel's policy could not be noticed", "permission denied"}},
		{"--permissive", "main", "--permissive", []string{"setenforce"}},
		{"--boolean", "main", "--boolean vm_reader_writes=on", []string{"setsebool"}},
		{"an unknown context of its own", "main", "--server-context=" + domain("no_such_t", "s0"), []string{"no_such_t", "--server-context"}},
		{"no contexts file", "main", "--contexts /nonesuch", []string{"/nonesuch"}},
		{"a bad contexts file", "main", "--contexts /run/bad-contexts", []string{"/run/bad-contexts:1:"}},
		{"a contexts file with an unknown context", "main", "--contexts /run/unknown-contexts", []string{"/run/unknown-contexts:1:", "no_such_t"}},
		{"an audit log that cannot be opened", "main", "--audit-log /no/such/dir/log", []string{"audit log", "/no/such/dir/log"}},
		{"few labels", "main", "--max-labels 1", []string{"too many security contexts"}},
	}
	cases := 0
	refused := func(name, mode string, status int, text string, words []string) {
		t.Helper()
		cases++
		if status != 78 || !hasAll(text, words) {
			t.Errorf("--mac=%s, %s: expected status 78 and %q, found %d: %s", mode, name, words, status, text)
		}
		if _, err := os.Stat("/run/refused.sock"); err == nil {
			t.Errorf("--mac=%s, %s: it has listened", mode, name)
		}
	}
	for _, mode := range []string{"auto", "kernel"} {
		refused("no policy is loaded", mode, unready[mode].status, unready[mode].text, nil)
		for _, w := range ways {
			load(t, w.policy)
			status, text := refusal(t, append([]string{"--mac=" + mode}, strings.Fields(w.args)...)...)
			refused(w.name, mode, status, text, w.words)
		}
		load(t, "main")
		unmount(t)
		status, text := refusal(t, "--mac="+mode)
		mount(t)
		refused("selinuxfs not mounted", mode, status, text, []string{"SELinux is on here", "bind-mount /sys/fs/selinux", "--mac=policy", "--mac=off"})
		must(t, unix.Mount("tmpfs", sel, "tmpfs", 0, ""))
		status, text = refusal(t, "--mac="+mode)
		must(t, unix.Unmount(sel, 0))
		refused("selinuxfs hidden by another file system", mode, status, text, []string{"SELinux is on here"})
		if status, text := refusal(t, "--check-config", "--mac="+mode); status != 0 || !strings.Contains(text, "access control by the kernel") {
			t.Errorf("--mac=%s --check-config: status %d: %s", mode, status, text)
		}
	}
	status, text := refusal(t, "--mac=kernel", "--policy", "/policy/main.bin")
	refused("a policy file", "kernel", status, text, []string{"contradict"})
	for _, mode := range []string{"none", "", "disabled", "Off"} {
		if status, text := refusal(t, "--mac="+mode); status == 0 || !strings.Contains(text, "expected one of auto, kernel, policy, off") {
			t.Errorf("--mac=%s: status %d: %s", mode, status, text)
		}
		cases++
	}
	t.Logf("%d cases", cases)
	if cases != 45 {
		t.Errorf("expected 45 cases, found %d", cases)
	}
	load(t, "none")
	if status, text := refusal(t, "--check-config", "--mac=policy"); status != 0 || !strings.Contains(text, "built-in policy") {
		t.Errorf("--mac=policy: status %d: %s", status, text)
	}
	load(t, "nocalculate")
	if status, text := refusal(t, "--check-config", "--mac=kernel"); status != 0 {
		t.Errorf("without calculate: status %d: %s", status, text)
	}
}
