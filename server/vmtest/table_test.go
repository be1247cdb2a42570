//go:build vm && linux

package vmtest

import (
	"strings"
	"testing"
)

// tableRow is a command, what it needs and what it answers. The item k is there
// with flags 5 and value 10. Without an answer to a missing item it is only denied.
type tableRow struct {
	send    string
	exists  string // permissions, on the item
	absent  string // if it is not there
	after   string // on what becomes of it
	server  string // on the server
	present string
	missing string
	denied  string // to a denial of exists; of the others it is accessDenied
}

// table is the command table of the classic and the meta protocol; the binary one's
// denials are a transcript. In an answer … stands for anything.
var table = []tableRow{
	{send: "get k\r\n", exists: "read", present: "VALUE k 5 2\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{send: "gets k\r\n", exists: "read", present: "VALUE k 5 2 …\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{send: "gats 0 k\r\n", exists: "read setattr", present: "VALUE k 5 2 …\r\n10\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
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
	{send: "mg k v N30\r\n", exists: "read", absent: "create", present: "VA 2\r\n10\r\n", missing: "VA 0 W\r\n\r\n", denied: accessDenied},
	{send: "me k\r\n", exists: "getattr", present: "ME k exp=-1 …\r\n", missing: "EN\r\n", denied: "EN\r\n"},
	{send: "ms k 1\r\nx\r\n", exists: "write", absent: "create", present: "HD\r\n", missing: "HD\r\n", denied: accessDenied},
	{send: "ms k 1 ME\r\nx\r\n", exists: "getattr", absent: "create", present: "NS\r\n", missing: "HD\r\n", denied: accessDenied},
	{send: "ms k 1 MA\r\nx\r\n", exists: "append", present: "HD\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{send: "ms k 1 MA N30\r\nx\r\n", exists: "append", absent: "create", present: "HD\r\n", missing: "HD\r\n", denied: accessDenied},
	{send: "ms k 1 MP\r\nx\r\n", exists: "append", present: "HD\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{send: "ms k 1 MR\r\nx\r\n", exists: "write", present: "HD\r\n", missing: "NS\r\n", denied: "NS\r\n"},
	{send: "ms k 1 C18446744073709551615\r\nx\r\n", exists: "write", present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "ma k N0 J13 v\r\n", exists: "calculate", absent: "create", present: "VA 2\r\n11\r\n", missing: "VA 2\r\n13\r\n", denied: accessDenied},
	{send: "ma k C18446744073709551615\r\n", exists: "calculate", present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "ma k v D5\r\n", exists: "calculate", present: "VA 2\r\n15\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "ma k T100\r\n", exists: "calculate setattr", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k\r\n", exists: "remove", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k C18446744073709551615\r\n", exists: "remove", present: "EX\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k x\r\n", exists: "write", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "md k x I\r\n", exists: "write setattr", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "mdp k\r\n", exists: "remove", present: "HD 1\r\n", missing: "HD 0\r\n", denied: "HD 0\r\n"},
	{send: "md k I T30\r\n", exists: "setattr", present: "HD\r\n", missing: "NF\r\n", denied: "NF\r\n"},
	{send: "mac label k\r\n", exists: "getattr", present: "LABEL k " + "system_u:object_r:kv_item_t:s0" + "\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac check k getattr\r\n", exists: "getattr", present: "ALLOWED getattr\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac relabel k system_u:object_r:kv_session_t:s0\r\n", exists: "getattr setattr relabelfrom", after: "relabelto", present: "RELABELED\r\n", missing: "NOT_FOUND\r\n", denied: "NOT_FOUND\r\n"},
	{send: "mac create system_u:object_r:kv_session_t:s0\r\n", absent: "create", missing: "OK\r\n"},
	{send: "flush_all\r\n", exists: "remove", server: "flush", present: "OK\r\n", missing: "OK\r\n", denied: "OK\r\n"},
	{send: "stats\r\n", server: "stats", missing: "STAT pid …END\r\n"},
	{send: "stats settings\r\n", server: "stats", missing: "STAT maxbytes …END\r\n"},
	{send: "stats items\r\n", server: "stats", missing: "…END\r\n"},
	{send: "stats slabs\r\n", server: "stats", missing: "…END\r\n"},
	{send: "stats labels\r\n", server: "stats", missing: "…END\r\n"},
	{send: "stats sizes\r\n", server: "dump", missing: "STAT sizes_status disabled\r\nEND\r\n"},
	{send: "stats conns\r\n", server: "dump", missing: "STAT …END\r\n"},
	{send: "stats cachedump 1 0\r\n", exists: "getattr", server: "dump", present: "ITEM k [2 b; 0 s]\r\nEND\r\n", missing: "END\r\n", denied: "END\r\n"},
	{send: "lru_crawler metadump all\r\n", exists: "getattr", server: "dump", present: "OK\r\nkey=k …END\r\n", missing: "OK\r\nEND\r\n", denied: "OK\r\nEND\r\n"},
	{send: "lru_crawler mgdump all\r\n", exists: "getattr", server: "dump", present: "OK\r\nmg k\r\nEN\r\n", missing: "OK\r\nEN\r\n", denied: "OK\r\nEN\r\n"},
	{send: "stats detail dump\r\n", server: "dump", missing: "…END\r\n"},
	{send: "stats detail on\r\n", server: "config", missing: "OK\r\n"},
	{send: "stats detail off\r\n", server: "config", missing: "OK\r\n"},
	{send: "stats mac\r\n", server: "config", missing: "STAT mac_decider kernel\r\n…END\r\n"},
	{send: "stats reset\r\n", server: "config", missing: "RESET\r\n"},
	{send: "verbosity 0\r\n", server: "config", missing: "OK\r\n"},
	{send: "cache_memlimit 64\r\n", server: "config", missing: "OK\r\n"},
	{send: "slabs automove 0\r\n", server: "config", missing: "OK\r\n"},
	{send: "lru tune 10 25 0.1 2.0\r\n", server: "config", missing: "OK\r\n"},
	{send: "lru_crawler tocrawl 0\r\n", server: "config", missing: "OK\r\n"},
	{send: "refresh_certs\r\n", server: "config", missing: "Error TLS not enabled\r\n"},
	{send: "watch fetchers\r\n", server: "watch"},
	{send: "shutdown\r\n", server: "shutdown"},
	{send: "mac whoami\r\n", missing: "MAC system_u:system_r:lacks_nothing_t:s0\r\n"},
	{send: "version\r\n", missing: "VERSION 1.6.45\r\n"},
}

// matches compares an answer with an expectation in which … is anything.
func matches(got, want string) bool {
	before, after, any := strings.Cut(want, "…")
	if !any {
		return got == want
	}
	return len(got) >= len(before)+len(after) && strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
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
				if got := c.ask(r.send); !matches(got, answer) {
					t.Errorf("%s: %q: expected %q, found %q", c.context, r.send, answer, got)
				}
			}
			if r.missing != "" {
				remove()
				try(full, r.missing)
			}
			if r.present != "" {
				store()
				try(full, r.present)
			}
			for p := range strings.FieldsSeq(r.exists) {
				store()
				try(as(p), r.denied)
				full.want("get k\r\n", "VALUE k 5 2\r\n10\r\nEND\r\n") // nothing has changed
			}
			for p := range strings.FieldsSeq(r.after) {
				store()
				try(as(p), accessDenied)
				full.want("get k\r\n", "VALUE k 5 2\r\n10\r\nEND\r\n")
			}
			remove()
			for p := range strings.FieldsSeq(r.absent + " " + r.server) {
				try(as(p), accessDenied)
			}
		})
	}
	t.Logf("%d cases", cases)
	if cases != 190 {
		t.Errorf("expected 190 cases, found %d", cases)
	}
}
