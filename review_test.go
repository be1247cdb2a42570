package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sememcached/mac"
)

// install puts another policy in the place of the one that the server reads.
func install(t *testing.T, ts *testServer, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ts.mon.Reload(); err != nil {
		t.Fatal(err)
	}
}

const passing = `
(type passing_t)
(roletype object_r passing_t)
(typeattributeset kv_item_type (passing_t))
`

// TestLabelThatThePolicyForgets: an item whose type a reload takes away is
// unlabeled for as long as that lasts, keeps its context, and is what it was when
// the type comes back. The same goes for a creation context, with which nothing
// can be created meanwhile, and which does not become another one.
func TestLabelThatThePolicyForgets(t *testing.T) {
	with, without := compileCIL(t, passing), compileCIL(t, "")
	file := t.TempDir() + "/policy"
	b, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ts := startServer(t, testConfig{policy: file, contexts: "client cidr:127.0.3.1 system_u:system_r:kv_client_t:s0\nclient cidr:127.0.3.2 system_u:system_r:kv_admin_t:s0\n"})
	c, admin := ts.dialFrom("127.0.3.1"), ts.dialFrom("127.0.3.2")
	const label = "system_u:object_r:passing_t:s0"
	c.want("mac create "+label+"\r\nset k 5 0 2\r\n10\r\nmac label k\r\n", "OK\r\nSTORED\r\nLABEL k "+label+"\r\n")
	before := c.ask("gets k\r\n")
	ts.takeAudit()

	install(t, ts, without, file)
	for _, x := range []struct{ send, reply string }{
		{"get k\r\n", "END\r\n"},
		{"set k 0 0 1\r\nx\r\n", accessDenied},
		{"incr k 1\r\n", "NOT_FOUND\r\n"},
		{"delete k\r\n", "NOT_FOUND\r\n"},
		{"mac label k\r\n", "NOT_FOUND\r\n"},
		{"set new 0 0 1\r\nx\r\n", accessDenied},
		{"mac create " + label + "\r\n", "CLIENT_ERROR invalid context\r\n"},
		{"set new 0 0 1\r\nx\r\n", accessDenied}, // the creation context is still that of before
	} {
		c.want(x.send, x.reply)
	}
	// The policy lets administrators see, remove and relabel what is unlabeled.
	admin.want("mac label k\r\n", "LABEL k "+label+"\r\n")
	admin.want("get k\r\n", "END\r\n")
	if lines := ts.takeAudit(); len(lines) == 0 || !strings.Contains(lines[1], "tcontext="+label) {
		t.Errorf("audit: %q", lines)
	}

	install(t, ts, with, file)
	c.want("gets k\r\n", before)
	c.want("set new 0 0 1\r\nx\r\nmac label new\r\n", "STORED\r\nLABEL new "+label+"\r\n")
	c.want("mac create -\r\nset other 0 0 1\r\nx\r\nmac label other\r\n", "OK\r\nSTORED\r\nLABEL other system_u:object_r:kv_item_t:s0\r\n")

	install(t, ts, without, file)
	admin.want("delete k\r\nget k\r\n", "DELETED\r\nEND\r\n")
}

// TestServerContextThatThePolicyForgets: a policy that does not know the server's
// own context is refused as a whole; the one in force stays.
func TestServerContextThatThePolicyForgets(t *testing.T) {
	cfg := testConfig{policy: t.TempDir() + "/policy", contexts: "client cidr:127.0.3.1 system_u:system_r:kv_client_t:s0\n"}
	with := compileCIL(t, "(type my_server_t)\n(roletype system_r my_server_t)\n(allow kv_client_t my_server_t (kv_server (stats)))\n(typetransition kv_domain my_server_t kv_item kv_session_t)\n")
	without := compileCIL(t, "")
	b, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.policy, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.mac = mac.Config{ServerContext: "system_u:system_r:my_server_t:s0"}
	ts := startServer(t, cfg)
	c := ts.dialFrom("127.0.3.1")
	check := func() {
		t.Helper()
		c.want("delete k\r\nset k 0 0 1\r\nx\r\nmac label k\r\nflush_all\r\n", "NOT_FOUND\r\nSTORED\r\nLABEL k system_u:object_r:kv_session_t:s0\r\n"+accessDenied)
		c.want("delete k\r\n", "DELETED\r\n")
	}
	check()
	b, err = os.ReadFile(without)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.policy, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ts.mon.Reload(); err == nil {
		t.Error("a policy that does not know the server's context was taken")
	}
	check()
}

// TestDeniedIsAbsentInAPipeline: one stream of commands, each of them about an
// item that is hidden, and the same about none: not a byte differs, whatever
// stands beside it, and however the values are sent.
func TestDeniedIsAbsentInAPipeline(t *testing.T) {
	ts := startServer(t, testConfig{contexts: tenants})
	owner, other := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
	large := strings.Repeat("v", 100_000)
	for _, hidden := range []string{"10", "text", strings.Repeat("h", 100_000)} {
		owner.want(fmt.Sprintf("set hidden 7 1000 %d\r\n%s\r\n", len(hidden), hidden), "STORED\r\n")
		before := owner.ask("gets hidden\r\n")
		cas := strings.Fields(before)[4]
		other.want("set own 0 0 1\r\no\r\n", "STORED\r\n")
		store := func(format string) string { return fmt.Sprintf(format, len(large)) + "\r\n" + large + "\r\n" }
		for _, send := range []string{
			"get KEY own KEY\r\n", "gets KEY KEY\r\n", "gat 10 KEY own\r\n", "gats 10 own KEY\r\n",
			"touch KEY 10\r\n", "touch KEY 10 noreply\r\n", "incr KEY 1\r\n", "decr KEY 1 noreply\r\n", "incr KEY 18446744073709551615\r\n",
			"delete KEY\r\n", "delete KEY noreply\r\n", "delete KEY 0\r\n",
			"replace KEY 1 0 1\r\nx\r\n", "append KEY 1 0 1 noreply\r\nx\r\n", "prepend KEY 1 0 1\r\nx\r\n",
			"cas KEY 1 0 1 " + cas + "\r\nx\r\n", "cas KEY 1 0 1 1\r\nx\r\n", "cas KEY 1 0 1 1 noreply\r\nx\r\n",
			store("replace KEY 0 0 %d"), store("append KEY 0 0 %d"), store("prepend KEY 0 0 %d noreply"), store("cas KEY 0 0 %d " + cas),
			store("ms KEY %d MR O1 k"), store("ms KEY %d MA q k"), store("ms KEY %d C" + cas + " k"),
			// The end of the data is wrong: that is said first.
			"replace KEY 0 0 100000\r\n" + large + "xx\r\n", "append KEY 0 0 100000\r\n" + large + "xx\r\n", "cas KEY 0 0 1 1\r\nxyz\r\n",
			// Above the largest item.
			"replace KEY 0 0 2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\n", "append KEY 0 0 2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\n",
			"cas KEY 0 0 2000000 1\r\n" + strings.Repeat("x", 2_000_000) + "\r\n",
			"mac label KEY\r\n", "mac check KEY read\r\n", "mac relabel KEY system_u:object_r:kv_item_t:s0\r\n", "relabel KEY system_u:object_r:kv_item_t:s0 noreply\r\n",
			"mg KEY v f c s t h l k O9\r\n", "mg KEY q v\r\n", "mg KEY T10 k\r\n", "mg KEY R30 v\r\n", "mg KEY E5 v\r\n", "me KEY\r\n",
			"md KEY k O1\r\n", "md KEY q\r\n", "md KEY I T5\r\n", "md KEY x\r\n", "md KEY C" + cas + "\r\n",
			"ma KEY v\r\n", "ma KEY q t k\r\n", "ma KEY MD T5\r\n", "ma KEY C" + cas + "\r\n",
			"ms KEY 1 MR k\r\nx\r\n", "ms KEY 1 MA q k\r\nx\r\n", "ms KEY 1 C" + cas + " I\r\nx\r\n",
		} {
			a := other.ask("get own\r\n" + strings.ReplaceAll(send, "KEY", "hidden") + "get own\r\n")
			b := other.ask("get own\r\n" + strings.ReplaceAll(send, "KEY", "absent") + "get own\r\n")
			if want := strings.ReplaceAll(b, "absent", "hidden"); a != want {
				t.Errorf("%.60q tells a hidden item (of %d bytes) from none:\n  %.200q\n  %.200q", send, len(hidden), a, want)
			}
			if after := owner.ask("gets hidden\r\n"); after != before {
				t.Fatalf("%.60q changed the hidden item: %.100q became %.100q", send, before, after)
			}
		}
		// What creates on a miss says "access denied" where the item is hidden.
		for _, send := range []string{
			"set hidden 0 0 1\r\nx\r\n", "add hidden 0 0 1\r\nx\r\n", store("set hidden 0 0 %d"), store("add hidden 0 0 %d"),
			"ms hidden 1\r\nx\r\n", "ms hidden 1 q\r\nx\r\n", "ms hidden 1 ME\r\nx\r\n", store("ms hidden %d"), "ms hidden 1 MA N0\r\nx\r\n",
			"mg hidden v N30\r\n", "ma hidden N0 J5\r\n",
		} {
			if got := other.ask(send + "get own\r\n"); got != accessDenied+"VALUE own 0 1\r\no\r\nEND\r\n" {
				t.Errorf("%.60q: %.200q", send, got)
			}
			if after := owner.ask("gets hidden\r\n"); after != before {
				t.Fatalf("%.60q changed the hidden item: %.100q became %.100q", send, before, after)
			}
		}
		owner.want("delete hidden\r\n", "DELETED\r\n")
	}
}
