package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/mac"
)

// TestTenants: two tenants with categories c1 and c2, by user id over a UNIX
// socket and by address over TCP, do everything they can think of to each
// other's items.
func TestTenants(t *testing.T) {
	for _, transport := range []struct {
		name string
		dial func(ts *testServer, n int) *client
	}{
		{"unix", func(ts *testServer, n int) *client { return ts.dialAs(2000 + n) }},
		{"tcp", func(ts *testServer, n int) *client { return ts.dialFrom(fmt.Sprintf("127.0.2.%d", n)) }},
	} {
		t.Run(transport.name, func(t *testing.T) {
			ts := startServer(t, testConfig{contexts: tenants})
			ts.t = t
			one, two := transport.dial(ts, 1), transport.dial(ts, 2)
			one.want("mac whoami\r\n", "MAC system_u:system_r:kv_client_t:s0:c1\r\n")
			two.want("mac whoami\r\n", "MAC system_u:system_r:kv_client_t:s0:c2\r\n")
			for _, pair := range [][2]*client{{one, two}, {two, one}} {
				owner, other := pair[0], pair[1]
				owner.want("set n 3 0 2\r\n10\r\n", "STORED\r\n")
				before := owner.ask("gets n\r\n")
				cas := strings.Fields(before)[4]
				for _, x := range []struct{ send, reply string }{
					{"get n\r\n", "END\r\n"},
					{"gets n\r\n", "END\r\n"},
					{"get n n n\r\n", "END\r\n"},
					{"gat 0 n\r\n", "END\r\n"},
					{"gats 100 n\r\n", "END\r\n"},
					{"touch n 1\r\n", "NOT_FOUND\r\n"},
					{"set n 0 0 1\r\nx\r\n", accessDenied},
					{"set n 0 0 1 noreply\r\nx\r\n", ""},
					{"add n 0 0 1\r\nx\r\n", accessDenied},
					{"replace n 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
					{"append n 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
					{"prepend n 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
					{"cas n 0 0 1 " + cas + "\r\nx\r\n", "NOT_FOUND\r\n"},
					{"cas n 0 0 1 1\r\nx\r\n", "NOT_FOUND\r\n"},
					{"incr n 1\r\n", "NOT_FOUND\r\n"},
					{"decr n 1\r\n", "NOT_FOUND\r\n"},
					{"incr n 1 noreply\r\n", ""},
					{"delete n\r\n", "NOT_FOUND\r\n"},
					{"delete n noreply\r\n", ""},
					{"relabel n system_u:object_r:kv_session_t:s0\r\n", "NOT_FOUND\r\n"},
					{"mac relabel n system_u:object_r:kv_item_t:s0\r\n", "NOT_FOUND\r\n"},
					{"mac label n\r\n", "NOT_FOUND\r\n"},
					{"mac check n read\r\n", "NOT_FOUND\r\n"},
					{"flush_all\r\n", "OK\r\n"}, // of what it may remove: nothing of the other's
					{"flush_all noreply\r\n", ""},
				} {
					other.want(x.send, x.reply)
					if after := owner.ask("gets n\r\n"); after != before {
						t.Fatalf("after %q by the other tenant: %q became %q", x.send, before, after)
					}
				}
				if list := other.ask("stats labels\r\n"); strings.Contains(list, ":c1:") && strings.Contains(list, ":c2:") {
					t.Errorf("stats labels shows both tenants' labels:\n%s", list)
				}
				owner.want("flush_all\r\nget n\r\n", "OK\r\nEND\r\n")
			}
		})
	}
}

// TestDenyError: for people who debug a policy, every denial says so.
func TestDenyError(t *testing.T) {
	cfg := testConfig{contexts: tenants}
	cfg.engine.DenyError = true
	ts := startServer(t, cfg)
	one, two := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
	one.want("set n 0 0 2\r\n10\r\n", "STORED\r\n")
	for _, cmd := range []string{
		"touch n 1\r\n", "set n 0 0 1\r\nx\r\n", "add n 0 0 1\r\nx\r\n", "replace n 0 0 1\r\nx\r\n", "append n 0 0 1\r\nx\r\n",
		"cas n 0 0 1 1\r\nx\r\n", "incr n 1\r\n", "delete n\r\n", "mac label n\r\n", "mac check n read\r\n", "get n\r\n", "gat 0 n\r\n",
	} {
		two.want(cmd, accessDenied)
	}
	two.want("get nope\r\ndelete nope\r\n", "END\r\nNOT_FOUND\r\n")
}

// TestRelabel: the order of the checks, and what a relabelled item keeps.
func TestRelabel(t *testing.T) {
	cil, lacks, contexts := tablePolicy()
	// A transition that validatetrans refuses, and a client that lacks relabelto.
	cil += "(mlsvalidatetrans kv_item (or (eq l1 l2) (eq t3 full_t)))\n"
	ts := startServer(t, testConfig{policy: compileCIL(t, cil), contexts: contexts})
	admin := ts.dialFrom(lacks(0, 0))
	admin.want("set k 7 100 2\r\nhi\r\n", "STORED\r\n")
	cas := strings.Fields(admin.ask("gets k\r\n"))[4]
	noTo := ts.dialFrom("127.0.1.7") // lacks relabelto, the sixth permission
	noTo.want("mac whoami\r\n", "MAC system_u:system_r:lacks_kv_item_relabelto_t:s0\r\n")
	noTo.want("relabel k system_u:object_r:kv_session_t:s0\r\n", accessDenied)
	noTo.want("relabel k system_u:object_r:kv_session_t:s0 noreply\r\n", "")
	for _, bad := range []string{"nonsense", "system_u:object_r:no_such_t:s0", "system_u:object_r:kv_item_t:s1", "system_u:object_r:kv_item_t"} {
		noTo.want("relabel k "+bad+"\r\n", "CLIENT_ERROR invalid context\r\n")
		noTo.want("relabel absent "+bad+"\r\n", "CLIENT_ERROR invalid context\r\n")
	}
	admin.want("relabel absent system_u:object_r:kv_session_t:s0\r\n", "NOT_FOUND\r\n")
	admin.want("relabel k system_u:object_r:kv_session_t:s0\r\n", "RELABELED\r\n")
	admin.want("mac label k\r\n", "LABEL k system_u:object_r:kv_session_t:s0\r\n")
	got := strings.Fields(admin.ask("gets k\r\n"))
	if got[2] != "7" || got[5] != "hi" || got[4] == cas {
		t.Errorf("the relabelled item: %v, its cas was %s", got, cas)
	}
	// The same cas does not fit any more: it is a new item.
	admin.want("cas k 0 0 1 "+cas+"\r\nx\r\n", "EXISTS\r\n")
	// Overwriting keeps the label.
	admin.want("set k 0 0 1\r\nx\r\nmac label k\r\n", "STORED\r\nLABEL k system_u:object_r:kv_session_t:s0\r\n")
}

// TestCreationContext: mac create labels what the client creates from then on.
func TestCreationContext(t *testing.T) {
	ts := startServer(t, testConfig{contexts: tenants})
	one := ts.dialFrom("127.0.2.1")
	one.want("mac create system_u:object_r:kv_session_t:s0:c1\r\nset a 0 0 1\r\nx\r\nmac label a\r\n",
		"OK\r\nSTORED\r\nLABEL a system_u:object_r:kv_session_t:s0:c1\r\n")
	one.want("mac create system_u:object_r:kv_session_t:s0:c2\r\n", accessDenied)
	one.want("mac create system_u:object_r:kv_nothing_t:s0:c1\r\n", "CLIENT_ERROR invalid context\r\n")
	one.want("set b 0 0 1\r\nx\r\nmac label b\r\n", "STORED\r\nLABEL b system_u:object_r:kv_session_t:s0:c1\r\n")
	one.want("mac create -\r\nset c 0 0 1\r\nx\r\nmac label c\r\n", "OK\r\nSTORED\r\nLABEL c system_u:object_r:kv_item_t:s0:c1\r\n")
	one.want("set session:9 0 0 1\r\nx\r\nmac label session:9\r\n", "STORED\r\nLABEL session:9 system_u:object_r:kv_session_t:s0:c1\r\n")
}

// TestMacOff: plain memcached, and the mac commands are unknown.
func TestMacOff(t *testing.T) {
	cfg := testConfig{}
	cfg.mac.Mode = mac.Off
	ts := startServer(t, cfg)
	c := ts.dialFrom("127.0.0.1")
	c.want("set k 0 0 1\r\nx\r\nget k\r\nincr k 1\r\nflush_all\r\nget k\r\n",
		"STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\nOK\r\nEND\r\n")
	for _, cmd := range []string{"mac whoami", "mac label k", "mac check k read", "mac relabel k a:b:c:s0", "mac create -", "relabel k a:b:c:s0"} {
		c.want(cmd+"\r\n", "ERROR\r\n")
	}
}

// TestCreationContextOfAnother: a creation context is gone with the subject that chose
// it, also where it is a reload that makes the client another one.
func TestCreationContextOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "contexts")
	is := func(context string) { writeFile(t, file, "client * system_u:system_r:"+context+"\n") }
	is("kv_client_t:s0:c1")
	ts := startServer(t, testConfig{mac: mac.Config{ContextsFile: file}})
	c := ts.dialFrom("127.0.2.1")
	become := func(context string) {
		t.Helper()
		is(context)
		if err := ts.mon.Reload(); err != nil {
			t.Fatal(err)
		}
		c.want("mac whoami\r\n", "MAC system_u:system_r:"+context+"\r\n")
	}
	label := func(key, want string) {
		t.Helper()
		c.want("set "+key+" 0 0 1\r\nx\r\nmac label "+key+"\r\n", "STORED\r\nLABEL "+key+" system_u:object_r:"+want+"\r\n")
	}
	c.want("mac create system_u:object_r:kv_session_t:s0:c1\r\n", "OK\r\n")
	become("kv_client_t:s0:c1") // nothing has changed
	label("a", "kv_session_t:s0:c1")
	become("kv_admin_t:s0:c1")
	label("b", "kv_item_t:s0:c1")
	become("kv_client_t:s0:c1")
	label("c", "kv_item_t:s0:c1")
}

// TestTokenIsAudited: a token that is not given, or is given because the mode does not
// deny, is reported like anything else that the policy does not allow.
func TestTokenIsAudited(t *testing.T) {
	for _, permissive := range []bool{false, true} {
		t.Run(fmt.Sprintf("permissive=%v", permissive), func(t *testing.T) {
			ts := startServer(t, testConfig{
				contexts: "client cidr:127.0.2.1 system_u:system_r:kv_client_t:s0\nclient * system_u:system_r:kv_reader_t:s0\n",
				mac:      mac.Config{Permissive: permissive},
			})
			owner, reader := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
			won, mode := "", "permissive=0"
			if permissive {
				won, mode = " W", "permissive=1"
			}
			for _, x := range []struct {
				make, get, reply string
				lines            int
			}{
				{"", "mg k v", "VA 1\r\nx\r\n", 0},
				{"touch k 20\r\n", "mg k R10", "HD\r\n", 0},
				{"touch k 20\r\n", "mg k R30", "HD" + won + "\r\n", 1},
				{"touch k 20\r\nmg k R30\r\n", "mg k", "HD" + strings.ReplaceAll(won, "W", "Z") + "\r\n", 0},
				{"md k I\r\n", "mg k", "HD X" + won + "\r\n", 1},
				{"touch k 20\r\n", "mg k T30 R60", map[bool]string{false: "EN\r\n", true: "HD W\r\n"}[permissive], 1},
			} {
				owner.ask("set k 0 0 1\r\nx\r\n" + x.make)
				ts.takeAudit()
				reader.want(x.get+"\r\n", x.reply)
				lines := ts.takeAudit()
				if len(lines) != x.lines || x.lines > 0 && !(strings.Contains(lines[0], "denied  { setattr }") && strings.Contains(lines[0], mode)) {
					t.Errorf("%s after %q: want %d lines about setattr, %s, got %q", x.get, x.make, x.lines, mode, lines)
				}
			}
		})
	}
}
