package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/protocol"
	"sememcached/server"
)

// The command table as people read it: what each command needs, and what it
// answers. The engine has its own copy, which is compared with this one; here
// stands what was promised.
//
// "k" is the item of the tests, flags 5, value 10. Commands are sent as they
// stand; with noreply set the same line is sent once more with " noreply" added
// to its first line.
type tableRow struct {
	command protocol.Command
	op      engine.Op
	send    string
	value   string    // of the item; "" is 10
	exists  avc.Perms // kv_item, on the item's label
	absent  avc.Perms // kv_item, on the label of the new item
	server  avc.Perms // kv_server
	present string    // the answer when allowed and there; %C is the item's cas
	missing string    // the answer when there is no item; "" is present's
	denied  string    // the answer to a denial of a kv_item permission, item there
	create  string    // the answer to a denial of create
	noreply bool      // the command has a noreply form
}

const accessDenied = "CLIENT_ERROR access denied\r\n"

var tableRows = []tableRow{
	{command: protocol.Get, op: engine.OpGet, send: "get k\r\n", exists: avc.Read, present: "VALUE k 5 2\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{command: protocol.Gets, op: engine.OpGet, send: "gets k\r\n", exists: avc.Read, present: "VALUE k 5 2 %C\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{command: protocol.Gat, op: engine.OpGat, send: "gat 0 k\r\n", exists: avc.Read | avc.Setattr, present: "VALUE k 5 2\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{command: protocol.Gats, op: engine.OpGat, send: "gats 100 k\r\n", exists: avc.Read | avc.Setattr, present: "VALUE k 5 2 %C\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{command: protocol.Touch, op: engine.OpTouch, send: "touch k 100\r\n", exists: avc.Setattr, present: "TOUCHED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.Set, op: engine.OpSet, send: "set k 1 0 1\r\nx\r\n", exists: avc.Write, absent: avc.Create, present: "STORED\r\n", denied: accessDenied, create: accessDenied, noreply: true},
	{command: protocol.Add, op: engine.OpAdd, send: "add k 1 0 1\r\nx\r\n", exists: avc.Getattr, absent: avc.Create, present: "NOT_STORED\r\n", missing: "STORED\r\n", denied: accessDenied, create: accessDenied, noreply: true},
	{command: protocol.Replace, op: engine.OpReplace, send: "replace k 1 0 1\r\nx\r\n", exists: avc.Write, present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n", noreply: true},
	{command: protocol.Append, op: engine.OpAppend, send: "append k 1 0 1\r\nx\r\n", exists: avc.Append, present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n", noreply: true},
	{command: protocol.Prepend, op: engine.OpPrepend, send: "prepend k 1 0 1\r\nx\r\n", exists: avc.Append, present: "STORED\r\n", missing: "NOT_STORED\r\n", denied: "NOT_STORED\r\n", noreply: true},
	{command: protocol.CAS, op: engine.OpCAS, send: "cas k 1 0 1 %C\r\nx\r\n", exists: avc.Write, present: "STORED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.CAS, op: engine.OpCAS, send: "cas k 1 0 1 18446744073709551615\r\nx\r\n", exists: avc.Write, present: "EXISTS\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.Incr, op: engine.OpIncr, send: "incr k 5\r\n", exists: avc.Calculate, present: "15\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.Decr, op: engine.OpDecr, send: "decr k 5\r\n", exists: avc.Calculate, present: "5\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.Incr, op: engine.OpIncr, send: "incr k 5\r\n", value: "ab", exists: avc.Calculate, present: "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{command: protocol.Delete, op: engine.OpDelete, send: "delete k\r\n", exists: avc.Remove, present: "DELETED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.MacLabel, op: engine.OpLabel, send: "mac label k\r\n", exists: avc.Getattr, present: "LABEL k system_u:object_r:kv_item_t:s0\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{command: protocol.MacCheck, op: engine.OpCheck, send: "mac check k getattr\r\n", exists: avc.Getattr, present: "ALLOWED getattr\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{command: protocol.MacExplain, op: engine.OpExplain, send: "mac explain k getattr\r\n", server: avc.ServerConfig, present: "EXPLAIN k *"},
	{command: protocol.MacRelabel, op: engine.OpRelabel, send: "mac relabel k system_u:object_r:kv_session_t:s0\r\n", exists: avc.Getattr | avc.Setattr | avc.RelabelFrom, present: "RELABELED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.Relabel, op: engine.OpRelabel, send: "relabel k system_u:object_r:kv_session_t:s0\r\n", exists: avc.Getattr | avc.Setattr | avc.RelabelFrom, present: "RELABELED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n", noreply: true},
	{command: protocol.MacCreate, op: engine.OpCreateContext, send: "mac create system_u:object_r:kv_session_t:s0\r\n", absent: avc.Create, present: "OK\r\n", create: accessDenied},
	{command: protocol.FlushAll, op: engine.OpFlush, send: "flush_all\r\n", server: avc.ServerFlush, present: "OK\r\n", noreply: true},
	{command: protocol.FlushAll, op: engine.OpFlush, send: "flush_all 100\r\n", server: avc.ServerFlush, present: "OK\r\n", noreply: true},
	{command: protocol.Verbosity, op: engine.OpConfig, send: "verbosity 0\r\n", server: avc.ServerConfig, present: "OK\r\n", noreply: true},
	{command: protocol.Stats, op: engine.OpStats, send: "stats\r\n", server: avc.ServerStats, present: "STAT pid *"},
	{command: protocol.Stats, op: engine.OpStats, send: "stats settings\r\n", server: avc.ServerStats, present: "STAT maxbytes *"},
	{command: protocol.Stats, op: engine.OpStats, send: "stats items\r\n", server: avc.ServerStats, present: "STAT items:1:number *"},
	{command: protocol.Stats, op: engine.OpStats, send: "stats slabs\r\n", server: avc.ServerStats, present: "STAT 1:chunk_size *"},
	{command: protocol.Stats, op: engine.OpStatsLabels, send: "stats labels\r\n", server: avc.ServerStats, present: "STAT system_u:object_r:kv_item_t:s0:items *"},
	{command: protocol.Stats, op: engine.OpStats, send: "stats data\r\n", server: avc.ServerStats, present: "STAT state off\r\nEND\r\n"},
	{command: protocol.Stats, op: engine.OpStatsReset, send: "stats reset\r\n", server: avc.ServerConfig, present: "RESET\r\n"},
	{command: protocol.Stats, op: engine.OpStatsMac, send: "stats mac\r\n", server: avc.ServerConfig, present: "STAT *"},
	{command: protocol.Stats, op: engine.OpConfig, send: "stats detail on\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.Stats, op: engine.OpDump, send: "stats detail dump\r\n", server: avc.ServerDump, present: "END\r\n"},
	{command: protocol.Stats, op: engine.OpConfig, send: "stats detail off\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.Stats, op: engine.OpDump, send: "stats cachedump 1 0\r\n", server: avc.ServerDump, present: "ITEM k [2 b; 0 s]\r\nEND\r\n"},
	{command: protocol.Stats, op: engine.OpDump, send: "stats sizes\r\n", server: avc.ServerDump, present: "STAT sizes_status disabled\r\nEND\r\n"},
	{command: protocol.Stats, op: engine.OpDump, send: "stats conns\r\n", server: avc.ServerDump, present: "STAT *"},
	{command: protocol.CacheMemlimit, op: engine.OpConfig, send: "cache_memlimit 64\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.Slabs, op: engine.OpConfig, send: "slabs reassign 1 2\r\n", server: avc.ServerConfig, present: "NOSPARE source class has no spare pages\r\n"},
	{command: protocol.Slabs, op: engine.OpConfig, send: "slabs automove 1\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.LRU, op: engine.OpConfig, send: "lru temp_ttl -1\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.LRUCrawler, op: engine.OpConfig, send: "lru_crawler sleep 100\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.LRUCrawler, op: engine.OpDump, send: "lru_crawler metadump all\r\n", server: avc.ServerDump, present: "OK\r\nkey=k exp=-1 *"},
	{command: protocol.LRUCrawler, op: engine.OpDump, send: "lru_crawler mgdump all\r\n", server: avc.ServerDump, present: "OK\r\nmg k\r\nEN\r\n"},
	{command: protocol.Extstore, op: engine.OpConfig, send: "extstore item_size 1\r\n", server: avc.ServerConfig, present: "OK\r\n"},
	{command: protocol.Version, op: engine.OpFree, send: "version\r\n", present: "VERSION 1.6.45\r\n"},
	{command: protocol.RefreshCerts, op: engine.OpConfig, send: "refresh_certs\r\n", server: avc.ServerConfig, present: "Error TLS not enabled\r\n"},
	{command: protocol.MacWhoami, op: engine.OpFree, send: "mac whoami\r\n", present: "MAC *"},
}

// tablePolicy adds to the built-in policy one domain for each permission: it
// holds every permission but that one.
func tablePolicy() (cil string, lacks func(class avc.Class, p avc.Perms) string, contexts string) {
	var b, ctx strings.Builder
	n := 0
	addrs := map[string]string{"full": "127.0.1.1"}
	add := func(name, item, server string) {
		n++
		fmt.Fprintf(&b, "(type %[1]s_t)\n(typeattributeset kv_domain (%[1]s_t))\n", name)
		fmt.Fprintf(&b, "(allow %s_t kv_item_type (kv_item (%s)))\n(allow %s_t kv_server_t (kv_server (%s)))\n", name, item, name, server)
		addrs[name] = fmt.Sprintf("127.0.1.%d", n)
		fmt.Fprintf(&ctx, "client cidr:%s/32 system_u:system_r:%s_t:s0\n", addrs[name], name)
	}
	without := func(all []string, name string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == name }), " ")
	}
	items, servers := avc.ClassItem.Names(), avc.ClassServer.Names()
	add("full", without(items, ""), without(servers, ""))
	for _, p := range items {
		add("lacks_kv_item_"+p, without(items, p), without(servers, ""))
	}
	for _, p := range servers {
		add("lacks_kv_server_"+p, without(items, ""), without(servers, p))
	}
	return b.String(), func(class avc.Class, p avc.Perms) string {
		if p == 0 {
			return addrs["full"]
		}
		return addrs["lacks_"+class.String()+"_"+class.PermNames(p)[0]]
	}, ctx.String()
}

// TestCommandTable sends every command, in every form, as a client that may, as
// one that lacks each permission it needs, and to an item that is not there, and
// compares the answers byte for byte, the audit lines, and what is left of the
// item.
func TestCommandTable(t *testing.T) {
	cil, lacks, contexts := tablePolicy()
	ts := startServer(t, testConfig{policy: compileCIL(t, cil), contexts: contexts, server: server.Settings{AllowShutdown: true}})
	cases := 0
	for i := range tableRows {
		row := &tableRows[i]
		t.Run(strings.TrimSpace(strings.SplitN(row.send, "\r\n", 2)[0]), func(t *testing.T) {
			e := engine.Table[row.op]
			if e.Exists != row.exists || e.Absent != row.absent || e.Server != row.server {
				t.Fatalf("the engine's row is %+v", e)
			}
			for _, noreply := range []bool{false, true} {
				if noreply && !row.noreply {
					continue
				}
				tt := &tableTest{t: t, ts: ts, row: row, noreply: noreply, admin: ts.dialFrom(lacks(0, 0))}
				tt.run(lacks)
				cases += tt.cases
			}
		})
	}
	t.Logf("%d cases", cases)
	const planned = 217
	if cases != planned {
		t.Errorf("%d cases were run, the plan is %d", cases, planned)
	}
}

type tableTest struct {
	t       *testing.T
	ts      *testServer
	row     *tableRow
	noreply bool
	admin   *client
	cases   int
}

func (tt *tableTest) run(lacks func(avc.Class, avc.Perms) string) {
	r := tt.row
	full := lacks(0, 0)
	tt.one("allowed, item there", full, true, r.present, "", true)
	if r.missing != "" || r.absent != 0 {
		answer := r.missing
		if answer == "" {
			answer = r.present
		}
		tt.one("allowed, no item", full, false, answer, "", true)
	}
	for p := avc.Perms(1); p != 0 && p <= r.exists; p <<= 1 {
		if r.exists&p != 0 {
			from := lacks(avc.ClassItem, p)
			tt.one("denied "+avc.ClassItem.PermNames(p)[0], from, true, r.denied, avc.ClassItem.PermNames(p)[0], false)
			if r.absent == 0 {
				// The same bytes as for an item that is not there.
				tt.one("denied and absent", from, false, r.missing, "", true)
				if r.denied != r.missing {
					tt.t.Errorf("the table itself tells a denial (%q) from an absent item (%q)", r.denied, r.missing)
				}
			}
		}
	}
	if r.absent != 0 {
		tt.one("denied create", lacks(avc.ClassItem, avc.Create), false, r.create, "create", false)
	}
	if r.server != 0 {
		tt.one("denied "+avc.ClassServer.PermNames(r.server)[0], lacks(avc.ClassServer, r.server), true, accessDenied, avc.ClassServer.PermNames(r.server)[0], false)
	}
}

// one runs one case and compares answer, audit and, for a denial, the item.
func (tt *tableTest) one(name, from string, present bool, want, perm string, allowed bool) {
	t, r := tt.t, tt.row
	t.Helper()
	tt.cases++
	value := r.value
	if value == "" {
		value = "10"
	}
	tt.admin.ask("delete k\r\n")
	if present {
		tt.admin.want(fmt.Sprintf("set k 5 0 %d\r\n%s\r\n", len(value), value), "STORED\r\n")
	}
	cas := "7"
	before := tt.admin.ask("gets k\r\n")
	if f := strings.Fields(before); present && len(f) > 4 {
		cas = f[4]
	}
	c := tt.ts.dialFrom(from)
	defer c.Close()
	tt.ts.takeAudit()
	send := strings.ReplaceAll(r.send, "%C", cas)
	want = strings.ReplaceAll(want, "%C", cas)
	if tt.noreply {
		line, rest, _ := strings.Cut(send, "\r\n")
		send, want = line+" noreply\r\n"+rest, ""
	}
	got := c.ask(send)
	lines := tt.ts.takeAudit()
	if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(got, prefix) && strings.HasSuffix(got, "\r\n") {
		got = want
	}
	if got != want {
		t.Errorf("%s, noreply=%v:\n got %q\nwant %q", name, tt.noreply, got, want)
	}
	if perm == "" {
		if len(lines) != 0 {
			t.Errorf("%s: audited:\n%s", name, strings.Join(lines, "\n"))
		}
		return
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "avc:  denied  { "+perm+" }") {
		t.Errorf("%s: want one audit line about %s, got:\n%s", name, perm, strings.Join(lines, "\n"))
	}
	if !allowed {
		if after := tt.admin.ask("gets k\r\n"); after != before {
			t.Errorf("%s: a denial changed the item: %q became %q", name, before, after)
		}
	}
}

// TestEveryCommandHasARow walks the parser's own list: what can come out of it
// is in the table, or is known to need no row, or does not dispatch.
func TestEveryCommandHasARow(t *testing.T) {
	listed := map[protocol.Command]bool{
		// They end the connection or the server, or end every exchange of the table
		// itself: tests of their own.
		protocol.Quit: true, protocol.Shutdown: true, protocol.MetaNoop: true, protocol.Watch: true,
		// They need nothing, and are served where authentication is asked for.
		protocol.SASLList: true, protocol.SASLAuth: true, protocol.SASLStep: true,
	}
	for i := range metaRows {
		listed[metaRows[i].command] = true
	}
	for i := range tableRows {
		listed[tableRows[i].command] = true
	}
	for _, c := range protocol.Commands {
		op := server.Op(c)
		switch {
		case op == engine.OpNone && listed[c]:
			t.Errorf("%v is in the table and does not dispatch", c)
		case op != engine.OpNone && !listed[c]:
			t.Errorf("%v dispatches as %q and has no case in the table", c, engine.Table[op].Name)
		}
	}
}
