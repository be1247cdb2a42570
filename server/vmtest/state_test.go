//go:build vm && linux

package vmtest

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"
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
		"noserver": "kv_server", "noitem": "kv_item", "none": "kv_item", "noremove": "kv_item:remove", "allowunknown": "kv_server",
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

// TestGuestUndecided: the server may no longer ask, or selinuxfs is not to be
// seen: it denies, counts, says so and recovers.
func TestGuestUndecided(t *testing.T) {
	inGuest(t)
	s := startServer(t)
	client := dial(t, domain("kv_client_t", "s0"))
	client.want("set k 0 0 1\r\n1\r\n", "STORED\r\n")

	from := s.log.len()
	load(t, "nocompute")
	client.want("get k\r\nset k 0 0 1\r\n2\r\n", "END\r\n"+accessDenied)
	s.log.wait(t, from, "level=ERROR", "compute_av")
	load(t, "main")
	recovers(t, client)

	from = s.log.len()
	unmount(t)
	other := dial(t, domain("kv_client_t", "s0:c3"))
	// A server tells of failures at most once a second.
	for deadline := time.Now().Add(patience); !strings.Contains(s.log.String()[from:], "access could not be decided and is denied"); {
		other.want("get k\r\nset new 0 0 1\r\n2\r\n", "END\r\n"+accessDenied)
		client.want("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n") // known already
		if time.Now().After(deadline) {
			t.Fatal("the server does not tell")
		}
	}
	mount(t)
	load(t, "main")
	recovers(t, client)
	if n := dial(t, domain("kv_admin_t", "s0")).stat("mac_queries_failed"); n == "0" || n == "" {
		t.Errorf("failures counted: %q", n)
	}
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
	for range 100000 {
		if c.ask("get k\r\n") == "VALUE k 0 1\r\n1\r\nEND\r\n" {
			return
		}
	}
	t.Error("the server does not recover")
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
		for range 100000 { // later than the page, by the wake-up of a goroutine
			if reader.ask("set k 0 0 1\r\n1\r\n") == to {
				return
			}
		}
		t.Errorf("the answer did not change to %q", to)
	}
	change(accessDenied, func() {})
	change("STORED\r\n", func() { setBoolean(t, "vm_reader_writes", true) })
	change(accessDenied, func() { setBoolean(t, "vm_reader_writes", false) })
	change("STORED\r\n", func() { must(t, write("enforce", []byte("0"))) })
	change(accessDenied, func() { must(t, write("enforce", []byte("1"))) })
	change(accessDenied, func() { load(t, "main") })
}

// TestGuestUnderLoad: booleans and policies change while clients ask. Whoever
// begins a request after a change and ends it before the next one sees that
// state; the state's number is even while nothing changes.
func TestGuestUnderLoad(t *testing.T) {
	inGuest(t)
	startServer(t)
	dial(t, domain("kv_client_t", "s0")).want("set k 0 0 1\r\n1\r\n", "STORED\r\n")
	var state atomic.Int64 // odd: changing; bit 1: the boolean is on
	var done atomic.Bool
	var judged atomic.Int64
	var asking sync.WaitGroup
	for range 4 {
		c := dial(t, domain("kv_reader_t", "s0"))
		asking.Go(func() {
			for !done.Load() {
				before := state.Load()
				got := c.ask("set k 0 0 1\r\n1\r\nget k\r\n")
				if state.Load() != before || before%2 != 0 {
					continue
				}
				want := accessDenied
				if before&2 != 0 {
					want = "STORED\r\n"
				}
				if got != want+"VALUE k 0 1\r\n1\r\nEND\r\n" {
					t.Errorf("state %d: expected %q, found %q", before, want, got)
					return
				}
				judged.Add(1)
			}
		})
	}
	for i := range 30 {
		seen := judged.Load()
		state.Add(1)
		if i%5 == 4 {
			load(t, []string{"moved", "main"}[i/5%2])
		}
		setBoolean(t, "vm_reader_writes", i%2 == 0)
		state.Add(1)
		for spins := 0; judged.Load() < seen+4 && !t.Failed(); spins++ {
			if spins > 1_000_000 {
				t.Fatal("nobody is answered")
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 200_000}, nil) // let the others have the processor
		}
	}
	done.Store(true)
	asking.Wait()
	t.Logf("%d answers judged over 30 states", judged.Load())
}

// TestGuestRefusals: every way to start without what the kernel must give.
func TestGuestRefusals(t *testing.T) {
	inGuest(t)
	for _, mode := range []string{"auto", "kernel"} {
		for policy, lacks := range map[string]string{
			"noserver": "kv_server", "noitem": "kv_item", "none": "kv_item kv_server", "noremove": "kv_item:remove", "allowunknown": "kv_server",
		} {
			load(t, policy)
			status, text := refusal(t, "--mac="+mode)
			if status != 78 || !hasAll(text, []string{"the kernel's policy does not define " + lacks, "semodule -i", "--mac=policy", "--mac=off"}) {
				t.Errorf("--mac=%s under %s: status %d: %s", mode, policy, status, text)
			}
		}
		load(t, "nocompute")
		if status, text := refusal(t, "--mac="+mode); status != 78 || !strings.Contains(text, "compute_av") {
			t.Errorf("--mac=%s without compute_av: status %d: %s", mode, status, text)
		}
		load(t, "main")
		if status, text := refusal(t, "--mac="+mode, "--permissive"); status != 78 || !strings.Contains(text, "setenforce") {
			t.Errorf("--mac=%s --permissive: status %d: %s", mode, status, text)
		}
		if status, text := refusal(t, "--mac="+mode, "--server-context="+domain("no_such_t", "s0")); status != 78 || !strings.Contains(text, "no_such_t") {
			t.Errorf("--mac=%s with an unknown context: status %d: %s", mode, status, text)
		}
		unmount(t)
		status, text := refusal(t, "--mac="+mode)
		mount(t)
		if status != 78 || !hasAll(text, []string{"SELinux is on here", "bind-mount /sys/fs/selinux"}) {
			t.Errorf("--mac=%s without selinuxfs: status %d: %s", mode, status, text)
		}
		if status, text := refusal(t, "--check-config", "--mac="+mode); status != 0 || !strings.Contains(text, "access control by the kernel") {
			t.Errorf("--mac=%s --check-config: status %d: %s", mode, status, text)
		}
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
