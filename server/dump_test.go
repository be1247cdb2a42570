package server_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sememcached/server"
)

// TestDumps lists more items than one part holds, whole and by class, to a reader
// that is slow.
func TestDumps(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	const n = 5000
	var sets strings.Builder
	for i := range n {
		fmt.Fprintf(&sets, "set key:%04d 7 0 1 noreply\r\nx\r\n", i)
	}
	c.ask(sets.String()+"ms a2V5IDE= 2 b\r\nhi\r\nset large 0 0 30000\r\n"+strings.Repeat("l", 30000)+"\r\n", "HD\r\nSTORED\r\n")
	slow := r.dial()
	if err := slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	lines := func(command, end string) (got []string) {
		t.Helper()
		slow.send(command)
		for i := 0; ; i++ {
			line, err := slow.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if i%1000 == 999 {
				time.Sleep(time.Millisecond)
			}
			if line == end {
				return got
			}
			got = append(got, line)
		}
	}
	meta := lines("lru_crawler metadump all\r\n", "END\r\n")
	if len(meta) != n+3 || meta[0] != "OK\r\n" || !strings.HasPrefix(meta[1], "key=key%201 exp=-1 la=") {
		t.Fatalf("metadump: %d lines, %q", len(meta), meta[:min(3, len(meta))])
	}
	for i, line := range meta[2 : n+2] {
		if want := fmt.Sprintf("key=key%%3A%04d exp=-1 la=", i); !strings.HasPrefix(line, want) || !strings.HasSuffix(line, " fetch=no cls=1 size=72 flags=7 \n") {
			t.Fatalf("line %d: %q", i, line)
		}
	}
	if got := lines("lru_crawler metadump 26,27,28\r\n", "END\r\n"); len(got) != 2 || !strings.HasPrefix(got[1], "key=large ") {
		t.Errorf("metadump of classes: %q", got)
	}
	mg := lines("lru_crawler mgdump hash\r\n", "EN\r\n")
	if len(mg) != n+3 || mg[1] != "mg a2V5IDE= b\r\n" || mg[2] != "mg key:0000\r\n" || mg[n+2] != "mg large\r\n" {
		t.Errorf("mgdump: %d lines, %q", len(mg), mg[:min(3, len(mg))])
	}
	if got := lines("stats cachedump 1 3\r\n", "END\r\n"); strings.Join(got, "") != "ITEM key:0000 [1 b; 0 s]\r\nITEM key:0001 [1 b; 0 s]\r\nITEM key:0002 [1 b; 0 s]\r\n" {
		t.Errorf("cachedump: %q", got)
	}
	if got := lines("stats cachedump 1 0\r\n", "END\r\n"); len(got) != n {
		t.Errorf("cachedump: %d lines", len(got))
	}
	slow.ask("mn\r\n", "MN\r\n")
}

// TestPages lists by prefix, page after page, and deletes by prefix.
func TestPages(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	var sets strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&sets, "set a:%03d 0 0 1 noreply\r\nx\r\nset b:%03d 0 0 1 noreply\r\nx\r\n", i, i)
	}
	c.ask(sets.String()+"mn\r\n", "MN\r\n")
	c.ask("lru_crawler mgdump prefix a: 2\r\n", "OK\r\nmg a:000\r\nmg a:001\r\nEN\r\n")
	c.ask("lru_crawler mgdump prefix a%3A 2 a%3A001\r\n", "OK\r\nmg a:002\r\nmg a:003\r\nEN\r\n")
	c.ask("lru_crawler mgdump prefix a: 9 a:998\r\n", "OK\r\nmg a:999\r\nEN\r\n")
	c.ask("lru_crawler mgdump prefix - 2 a:999\r\n", "OK\r\nmg b:000\r\nmg b:001\r\nEN\r\n")
	c.ask("lru_crawler mgdump prefix none\r\n", "OK\r\nEN\r\n")
	for _, bad := range []string{"a: x", "a: 1 b c", "a%3", "a%zz", "a: -1"} {
		c.ask("lru_crawler metadump prefix "+bad+"\r\n", "CLIENT_ERROR bad command line format\r\n")
	}
	c.ask("mdp a:\r\n", "HD 1000\r\n")
	c.ask("mdp a:\r\nmdp none\r\nmdp b:99\r\n", "HD 0\r\nHD 0\r\nHD 10\r\n")
	c.ask("mdp\r\n", "CLIENT_ERROR bad command line format\r\n")
	c.ask("mdp a b\r\n", "CLIENT_ERROR bad command line format\r\n")
	if got := c.stat("", "curr_items"); got != "990" {
		t.Errorf("curr_items %s", got)
	}
	if got := c.stat("", "delete_hits"); got != "1010" {
		t.Errorf("delete_hits %s", got)
	}
}

// TestDumpDisconnect: a client that goes away in the middle leaves nothing behind.
func TestDumpDisconnect(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	var sets strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&sets, "set key:%05d 0 0 1 noreply\r\nx\r\n", i)
	}
	c.ask(sets.String()+"mn\r\n", "MN\r\n")
	for range 5 {
		d := r.dial()
		d.send("lru_crawler metadump all\r\n")
		d.expect("OK\r\nkey=")
		d.Close()
	}
	r.remain(1)
	c.ask("mn\r\n", "MN\r\n")
}

// TestSwitchesOff: -X refuses what lists keys, in memcached's words.
func TestSwitchesOff(t *testing.T) {
	c := start(t, plan{set: server.Settings{NoDump: true, NoFlush: true}}).dial()
	for _, x := range [][2]string{
		{"lru_crawler metadump all\r\n", "ERROR metadump not allowed\r\n"},
		{"lru_crawler mgdump all\r\n", "ERROR key dump not allowed\r\n"},
		{"stats cachedump 1 1\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n"},
		{"stats detail on\r\n", "CLIENT_ERROR stats detail not allowed\r\n"},
		{"flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n"},
	} {
		c.ask(x[0], x[1])
	}
}

// TestDetail: commands by prefix.
func TestDetail(t *testing.T) {
	c := start(t, plan{}).dial()
	c.ask("get a:0\r\nstats detail dump\r\nstats detail on\r\n", "END\r\nEND\r\nOK\r\n")
	c.ask("set a:1 0 0 1\r\nx\r\nget a:1 a:2 none b:1\r\ngat 0 a:1\r\ndelete a:1\r\ndelete a:1\r\n",
		"STORED\r\nVALUE a:1 0 1\r\nx\r\nEND\r\nVALUE a:1 0 1\r\nx\r\nEND\r\nDELETED\r\nNOT_FOUND\r\n")
	c.ask("stats detail dump\r\n", "PREFIX a get 3 hit 2 set 1 del 2\r\nPREFIX b get 1 hit 0 set 0 del 0\r\nEND\r\n")
	c.ask("stats detail off\r\nget a:1\r\nstats detail dump\r\n", "OK\r\nEND\r\nPREFIX a get 3 hit 2 set 1 del 2\r\nPREFIX b get 1 hit 0 set 0 del 0\r\nEND\r\n")
	c.ask("stats reset\r\nstats detail dump\r\n", "RESET\r\nEND\r\n")
}

// TestDetailKeepsItsLines: a prefix that the binary protocol can say and a line cannot
// show is not counted: whoever reads the dump would take it for other answers.
func TestDetailKeepsItsLines(t *testing.T) {
	r := start(t, plan{set: server.Settings{PrefixDelimiter: ':'}})
	b, c := r.dial(), r.dial()
	for _, key := range []string{"a\r\nEND\r\nSTORED\r\n:x", "a b:x", "a\x00:x", "b:\r\nx"} {
		b.send("\x80\x00\x00" + string(rune(len(key))) + strings.Repeat("\x00", 7) + string(rune(len(key))) + strings.Repeat("\x00", 12) + key)
		b.expect("\x81\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x09" + strings.Repeat("\x00", 12) + "Not found")
	}
	c.ask("stats detail dump\r\n", "PREFIX b get 1 hit 0 set 0 del 0\r\nEND\r\n")
}

// TestTuning: what administrators change shows in the settings.
func TestTuning(t *testing.T) {
	c := start(t, plan{}).dial()
	c.ask("slabs automove 2\r\nslabs automove ratio 0.5\r\nslabs automove window 30\r\nslabs automove freeratio 0.02\r\nlru tune 10 25 0.1 3\r\nlru mode flat\r\nlru temp_ttl 30\r\nlru_crawler sleep 200\r\nlru_crawler tocrawl 9\r\ncache_memlimit 32\r\n",
		strings.Repeat("OK\r\n", 10))
	for name, want := range map[string]string{
		"slab_automove": "2", "slab_automove_ratio": "0.50", "slab_automove_window": "30", "slab_automove_freeratio": "0.020",
		"hot_lru_pct": "10", "warm_lru_pct": "25", "hot_max_factor": "0.10", "warm_max_factor": "3.00", "lru_segmented": "no",
		"temp_lru": "yes", "temporary_ttl": "30", "lru_crawler_sleep": "200", "lru_crawler_tocrawl": "9", "maxbytes": "33554432",
	} {
		if got := c.stat(" settings", name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := c.stat("", "limit_maxbytes"); got != "33554432" {
		t.Errorf("limit_maxbytes is %s", got)
	}
}

// TestCrawler: a pass unlinks what has expired and nobody asks for.
func TestCrawler(t *testing.T) {
	c := start(t, plan{}).dial()
	c.ask("set a 0 -1 1\r\nx\r\nset b 0 0 1\r\nx\r\nset c 0 -1 1\r\nx\r\n", "STORED\r\nSTORED\r\nSTORED\r\n")
	if got := c.stat("", "curr_items"); got != "3" {
		t.Fatalf("curr_items %s", got)
	}
	c.ask("lru_crawler crawl all\r\n", "OK\r\n")
	until(t, "a pass", func() bool { return c.stat("", "curr_items") == "1" })
	if got := c.stat("", "crawler_reclaimed"); got != "2" {
		t.Errorf("crawler_reclaimed %s", got)
	}
	c.ask("lru_crawler disable\r\nlru_crawler crawl all\r\n", "OK\r\nCLIENT_ERROR lru crawler disabled\r\n")
}
