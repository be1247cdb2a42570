package server_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/protocol"
	"sememcached/server"
	"sememcached/storage"
)

// mustServe are the commands that have to be served. The parser may know more: a
// command without a row is answered ERROR.
const mustServe = "get gets gat gats set add replace append prepend cas delete incr decr touch flush_all verbosity " +
	"version quit shutdown stats cache_memlimit slabs lru lru_crawler refresh_certs extstore mn " +
	"mac whoami, mac label, mac check, mac explain, mac relabel, mac create, relabel"

func TestEveryCommandHasARow(t *testing.T) {
	must := map[string]bool{}
	classic, ours, _ := strings.Cut(mustServe, "mac ")
	for _, name := range append(strings.Fields(classic), strings.Split("mac "+ours, ", ")...) {
		must[name] = true
	}
	for _, c := range protocol.Commands {
		op, served := server.RouteOp(c)
		if served != (op != engine.OpNone) {
			t.Errorf("%v: served %v, but its operation is %d", c, served, op)
		}
		if must[c.String()] && !served {
			t.Errorf("%v: is not served", c)
		}
		delete(must, c.String())
		if row := &engine.Table[op]; served && (row.Name == "" || !row.Free && row.Server == 0 && row.Exists == 0 && row.Absent == 0) {
			t.Errorf("%v: operation %d has no row in the engine's table", c, op)
		}
	}
	for name := range must {
		t.Errorf("%s: the parser does not know it", name)
	}
	if op, served := server.RouteOp(protocol.None); served || op != engine.OpNone {
		t.Error("the zero command dispatches")
	}
}

// session is what TestReplies says and hears, over TCP and over UNIX sockets.
var session = [][2]string{
	{"set k 5 0 2\r\nhi\r\n", "STORED\r\n"},
	{"get k\r\n", "VALUE k 5 2\r\nhi\r\nEND\r\n"},
	{"gets k\r\n", "VALUE k 5 2 2\r\nhi\r\nEND\r\n"},
	{"get a k b k\r\n", "VALUE k 5 2\r\nhi\r\nVALUE k 5 2\r\nhi\r\nEND\r\n"},
	{"gat 100 k\r\n", "VALUE k 5 2\r\nhi\r\nEND\r\n"},
	{"gats 0 k none\r\n", "VALUE k 5 2 2\r\nhi\r\nEND\r\n"},
	{"add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
	{"add n 0 0 2\r\n10\r\n", "STORED\r\n"},
	{"replace nope 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
	{"replace k 1 0 3\r\nabc\r\n", "STORED\r\n"},
	{"append k 0 0 1\r\nd\r\n", "STORED\r\n"},
	{"prepend k 0 0 1\r\n_\r\n", "STORED\r\n"},
	{"gets k\r\n", "VALUE k 1 5 6\r\n_abcd\r\nEND\r\n"},
	{"cas k 0 0 1 5\r\nx\r\n", "EXISTS\r\n"},
	{"cas k 0 0 1 6\r\nx\r\n", "STORED\r\n"},
	{"cas nope 0 0 1 6\r\nx\r\n", "NOT_FOUND\r\n"},
	{"incr n 5\r\n", "15\r\n"},
	{"decr n 20\r\n", "0\r\n"},
	{"incr nope 1\r\n", "NOT_FOUND\r\n"},
	{"incr k 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
	{"touch k 100\r\n", "TOUCHED\r\n"},
	{"touch nope 100\r\n", "NOT_FOUND\r\n"},
	{"delete k\r\n", "DELETED\r\n"},
	{"delete k\r\n", "NOT_FOUND\r\n"},
	{"set k 0 0 1 noreply\r\na\r\nadd k 0 0 1 noreply\r\nb\r\ndelete nope noreply\r\ntouch k 0 noreply\r\nincr k 1 noreply\r\nflush_all 100 noreply\r\nverbosity 0 noreply\r\nmn\r\n", "MN\r\n"},
	{"verbosity 1\r\n", "OK\r\n"},
	{"version\r\n", "VERSION 1.6.45\r\n"},
	{"refresh_certs\r\n", "Error TLS not enabled\r\n"},
	{"shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"},
	{"set big 0 0 2000000\r\n" + strings.Repeat("x", 2000000) + "\r\n", "SERVER_ERROR object too large for cache\r\n"},
	{"set big 0 0 2000000 noreply\r\n" + strings.Repeat("x", 2000000) + "\r\nmn\r\n", "MN\r\n"},
	{"set k 0 0 1\r\nabc\r\nmn\r\n", "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nMN\r\n"},
	{"set k 0 0 20000\r\n" + strings.Repeat("x", 20002) + "mn\r\n", "CLIENT_ERROR bad data chunk\r\nMN\r\n"},
	{"set k 0 0 20000 noreply\r\n" + strings.Repeat("x", 20002) + "mn\r\n", "MN\r\n"},
	{"stats reset\r\n", "RESET\r\n"},
	{"stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n"},
	{"stats nonsense\r\n", "ERROR\r\n"},
	{"flush_all\r\n", "OK\r\n"},
}

func TestReplies(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			var p plan
			if network == "unix" {
				p.set.UnixPath = filepath.Join(t.TempDir(), "s")
			}
			r := start(t, p)
			c := r.dial()
			for _, x := range session {
				c.ask(x[0], x[1])
			}
			for _, off := range []string{"mac whoami\r\n", "mac label k\r\n", "relabel k u:r:t:s0\r\n", "stats labels\r\n"} {
				c.ask(off, "ERROR\r\n") // access control is off
			}
			c.ask("stats mac\r\n", "STAT mac_decider off\r\nEND\r\n")
			c.send("quit\r\n")
			c.expectClosed()
		})
	}
}

// TestSplits sends a session cut in two at every seventh place, and in pieces of
// several sizes.
func TestSplits(t *testing.T) {
	r := start(t, plan{})
	var in, want strings.Builder
	for _, x := range append(session[:26:26], [2]string{"set u 0 0 30000\r\n" + strings.Repeat("u", 30000) + "\r\n", "STORED\r\n"},
		[2]string{
			"append u 0 0 17000\r\n" + strings.Repeat("v", 17000) + "\r\nget u\r\n",
			"STORED\r\nVALUE u 0 47000\r\n" + strings.Repeat("u", 30000) + strings.Repeat("v", 17000) + "\r\nEND\r\n",
		}) {
		if strings.Contains(x[0], "cas ") || strings.Contains(x[0], "gets ") || strings.Contains(x[0], "gats ") {
			continue // cas values go on counting
		}
		in.WriteString(x[0])
		want.WriteString(x[1])
	}
	text := in.String()
	try := func(pieces ...string) {
		t.Helper()
		c := r.dial()
		defer c.Close()
		c.ask("flush_all\r\n", "OK\r\n")
		for _, p := range pieces {
			c.send(p)
			if len(pieces) == 2 {
				time.Sleep(300 * time.Microsecond)
			}
		}
		c.expect(want.String())
	}
	for cut := 1; cut < len(text); cut += 7 + cut/200*100 {
		try(text[:cut], text[cut:])
	}
	for _, size := range []int{1, 5, 100, 1460, 16384} {
		var pieces []string
		for rest := text; len(rest) > 0; {
			k := min(size, len(rest))
			pieces, rest = append(pieces, rest[:k]), rest[k:]
		}
		try(pieces...)
	}
}

func TestSwitches(t *testing.T) {
	r := start(t, plan{set: server.Settings{NoFlush: true, AllowShutdown: true}})
	c := r.dial()
	c.ask("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n")
	c.ask("flush_all noreply\r\nmn\r\n", "MN\r\n")
	c.ask("shutdown nonsense\r\n", "CLIENT_ERROR invalid shutdown mode\r\n")
	c.send("shutdown graceful\r\n")
	c.expectClosed()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	if _, err := net.Dial("tcp", r.addr.String()); err == nil {
		t.Error("still accepts after shutdown")
	}
}

func TestStatusReplies(t *testing.T) {
	r := start(t, plan{mode: mac.PolicyFile})
	c := r.dial()
	for st, text := range map[engine.Status][2]string{
		engine.Denied:   {"CLIENT_ERROR access denied\r\n", "CLIENT_ERROR access denied\r\n"},
		engine.NoMemory: {"SERVER_ERROR out of memory storing object\r\n", ""},
		engine.Failed:   {"SERVER_ERROR internal error\r\n", "SERVER_ERROR internal error\r\n"},
	} {
		r.eng.answer("k", st)
		c.ask("set k 0 0 1\r\na\r\n", text[0])
		c.ask("set k 0 0 1 noreply\r\na\r\nmn\r\n", "MN\r\n")
		c.ask("set k 0 0 20000\r\n"+strings.Repeat("x", 20000)+"\r\nmn\r\n", text[0]+"MN\r\n")
		if text[1] != "" {
			c.ask("get a k b\r\nmn\r\n", text[1]+"MN\r\n")
			c.ask("delete k\r\n", text[1])
			c.ask("touch k 1\r\n", text[1])
			c.ask("incr k 1\r\n", text[1])
			c.ask("delete k noreply\r\nmn\r\n", "MN\r\n")
		}
	}
	r.eng.answer("k", engine.NoMemory)
	c.ask("incr k 1\r\n", "SERVER_ERROR out of memory\r\n")
}

func TestMacCommands(t *testing.T) {
	r := start(t, plan{mode: mac.PolicyFile})
	c := r.dial()
	c.ask("mac whoami\r\n", "MAC system_u:system_r:kv_plain_t:s0\r\n")
	c.ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
	c.ask("mac label k\r\n", "LABEL k system_u:object_r:kv_item_t:s0\r\n")
	c.ask("mac label nope\r\n", "NOT_FOUND\r\n")
	c.ask("mac check k read write\r\n", "ALLOWED read write\r\n")
	c.ask("mac check k nonsense\r\n", "CLIENT_ERROR unknown permission\r\n")
	c.ask("mac create nonsense\r\n", "CLIENT_ERROR invalid context\r\n")
	c.ask("mac create -\r\n", "OK\r\n")
	c.ask("relabel nope system_u:object_r:kv_item_t:s0\r\n", "NOT_FOUND\r\n")
	c.ask("mac relabel k nonsense\r\n", "CLIENT_ERROR invalid context\r\n")
	c.ask("mac nonsense\r\n", "CLIENT_ERROR bad command line format\r\n")
	if got := c.stat(" labels", "system_u:object_r:kv_item_t:s0:items"); got != "1" {
		t.Errorf("stats labels: got %q items, want 1", got)
	}
	if got := c.stat(" mac", "mac_decider"); got == "" {
		t.Error("stats mac does not say who decides")
	}
}

// TestStats compares the names and their order with those of memcached.
func TestStats(t *testing.T) {
	r := start(t, plan{set: server.Settings{ReqsPerEvent: 7, MaxConns: 99}})
	c := r.dial()
	c.ask("set k 0 0 1\r\na\r\nget k\r\nget nope\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\nEND\r\n")
	for _, what := range []string{"", " settings", " items", " slabs"} {
		file := "stats" + strings.ReplaceAll(what, " ", "_")
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		c.send("stats" + what + "\r\n")
		var got strings.Builder
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "END\r\n" {
				break
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "STAT "), " ")
			fmt.Fprintln(&got, name)
		}
		if got.String() != string(want) {
			t.Errorf("stats%s: got the names\n%s\nwant\n%s", what, got.String(), want)
		}
	}
	for name, want := range map[string]string{
		"cmd_get": "2", "get_hits": "1", "get_misses": "1", "cmd_set": "1", "curr_items": "1", "bytes": "61",
		"max_connections": "99", "curr_connections": "1", "threads": "1", "pointer_size": "64", "version": "1.6.45",
		"limit_maxbytes": "67108864",
	} {
		if got := c.stat("", name); got != want {
			t.Errorf("stats %s: got %s, want %s", name, got, want)
		}
	}
	if got := c.stat(" settings", "reqs_per_event"); got != "7" {
		t.Errorf("reqs_per_event: got %s, want 7", got)
	}
	if got := c.stat(" conns", "no such name"); got != "" {
		t.Errorf("stats conns: got %q", got)
	}
	c.ask("stats reset\r\n", "RESET\r\n")
	for name, want := range map[string]string{"cmd_get": "0", "total_connections": "0", "curr_connections": "1", "curr_items": "1"} {
		if got := c.stat("", name); got != want {
			t.Errorf("after reset, %s: got %s, want %s", name, got, want)
		}
	}
}

// TestSmallItems: with -I 1k even values that arrive whole can be too large, and
// that is said before anything about their data block.
func TestSmallItems(t *testing.T) {
	r := start(t, plan{store: storage.Config{MaxItem: 1024}})
	c := r.dial()
	big := strings.Repeat("x", 2000)
	c.ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
	c.ask("set k 0 0 2000\r\n"+big+"\r\nget k\r\n", "SERVER_ERROR object too large for cache\r\nEND\r\n")
	c.ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
	c.ask("add k 0 0 2000\r\n"+big+"xxmn\r\nget k\r\n", "SERVER_ERROR object too large for cache\r\nMN\r\nVALUE k 0 1\r\na\r\nEND\r\n")
}
