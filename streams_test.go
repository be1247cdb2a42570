package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"sememcached/server"
)

// observers are contexts that may dump and watch, and nothing above their own
// category: tenant one, tenant two, an administrator, and one of UDP.
const observers = `client cidr:127.0.2.1/32 system_u:system_r:observer_t:s0:c1
client cidr:127.0.2.2/32 system_u:system_r:observer_t:s0:c2
client cidr:127.0.2.3/32 system_u:system_r:kv_client_t:s0:c2
client cidr:127.0.2.9/32 system_u:system_r:kv_admin_t:s0-s0:c0.c1023
client udp:127.0.2.1/32 system_u:system_r:kv_client_t:s0:c1
`

// observerPolicy adds a domain that may do to items what MCS lets it, list keys
// and watch, but not see connections.
func observerPolicy(t testing.TB, server string) string {
	return compileCIL(t, `(type observer_t)
(typeattributeset kv_domain (observer_t))
(allow observer_t kv_item_type (kv_item (create getattr setattr remove read write append calculate)))
(allow observer_t kv_server_t (kv_server (`+server+`)))
`)
}

// TestListingsAreFiltered: each client lists what it has getattr on, and nobody
// without kv_server dump lists anything.
func TestListingsAreFiltered(t *testing.T) {
	ts := startServer(t, testConfig{policy: observerPolicy(t, "stats dump config"), contexts: observers})
	one, two, none, admin := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2"), ts.dialFrom("127.0.2.3"), ts.dialFrom("127.0.2.9")
	one.want("set a:1 0 0 1\r\nx\r\nset b:1 0 0 1\r\nx\r\n", "STORED\r\nSTORED\r\n")
	two.want("set a:2 0 0 1\r\nx\r\nset c:2 0 0 1\r\nx\r\n", "STORED\r\nSTORED\r\n")
	keys := func(c *client) string { return strings.TrimPrefix(c.ask("lru_crawler mgdump all\r\n"), "OK\r\n") }
	for _, x := range []struct {
		c    *client
		want string
	}{{one, "mg a:1\r\nmg b:1\r\nEN\r\n"}, {two, "mg a:2\r\nmg c:2\r\nEN\r\n"}, {admin, "mg a:1\r\nmg a:2\r\nmg b:1\r\nmg c:2\r\nEN\r\n"}, {none, accessDenied}} {
		if got := keys(x.c); got != x.want {
			t.Errorf("got %q, want %q", got, x.want)
		}
	}
	one.want("stats cachedump 1 0\r\n", "ITEM a:1 [1 b; 0 s]\r\nITEM b:1 [1 b; 0 s]\r\nEND\r\n")
	two.want("stats cachedump 1 1\r\n", "ITEM a:2 [1 b; 0 s]\r\nEND\r\n")
	if got := one.ask("lru_crawler metadump all\r\n"); strings.Count(got, "key=") != 2 || strings.Contains(got, "3A2 ") {
		t.Errorf("metadump: %q", got)
	}
	// Prefixes under which somebody else has items are not told.
	one.want("stats detail on\r\nget a:1 b:1 c:1 d:1\r\nstats detail dump\r\n", "OK\r\nVALUE a:1 0 1\r\nx\r\nVALUE b:1 0 1\r\nx\r\nEND\r\n"+
		"PREFIX b get 1 hit 1 set 0 del 0\r\nPREFIX d get 1 hit 0 set 0 del 0\r\nEND\r\n")
	if got := admin.ask("stats detail dump\r\n"); strings.Count(got, "PREFIX") != 4 {
		t.Errorf("detail dump of the administrator: %q", got)
	}
}

// TestPrefixesAreFiltered: the same for the prefixes of "stats detail dump", however
// -D says that they end.
func TestPrefixesAreFiltered(t *testing.T) {
	for _, delimiter := range []string{"", "/"} {
		t.Run("-D "+delimiter, func(t *testing.T) {
			set := server.Settings{}
			end := ":"
			if delimiter != "" {
				set.PrefixDelimiter, end = delimiter[0], delimiter
			}
			ts := startServer(t, testConfig{policy: observerPolicy(t, "stats dump config"), contexts: observers, server: set})
			one, two := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
			one.want("stats detail on\r\nset secret"+end+"1 0 0 1\r\nx\r\n", "OK\r\nSTORED\r\n")
			two.want("get own"+end+"1\r\nstats detail dump\r\n", "END\r\nPREFIX own get 1 hit 0 set 0 del 0\r\nEND\r\n")
		})
	}
}

var eventKey = regexp.MustCompile(`type=(\w+) key=(\S+) (?:status=(\w+))?`)

// TestWatchIsFiltered: events of items are shown by getattr on the item, those
// without an item to the same subject only, connections to those who may dump.
func TestWatchIsFiltered(t *testing.T) {
	ts := startServer(t, testConfig{policy: observerPolicy(t, "stats watch"), contexts: observers})
	watch := func(from string) *client {
		c := ts.dialFrom(from)
		if _, err := io.WriteString(c, "watch fetchers mutations deletions connevents\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := c.r.ReadString('\n'); err != nil || line != "OK\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return c
	}
	admin := ts.dialFrom("127.0.2.9")
	admin.want("get warm\r\n", "END\r\n")
	w1, w2, wa := watch("127.0.2.1"), watch("127.0.2.2"), watch("127.0.2.9")
	none := ts.dialFrom("127.0.2.3")
	none.want("watch\r\n", accessDenied)
	one, two := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
	one.want("set a 0 0 1\r\nx\r\nget a no1\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n")
	two.want("get a no2\r\nset a 0 0 1\r\ny\r\ndelete a\r\nset b 0 0 1\r\ny\r\n", "END\r\n"+accessDenied+"NOT_FOUND\r\nSTORED\r\n")
	one.want("get b end\r\ndelete a\r\n", "END\r\nDELETED\r\n")
	two.want("get end\r\n", "END\r\n")
	events := func(c *client, last string) string {
		t.Helper()
		var got []string
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			if m := eventKey.FindStringSubmatch(line); m != nil {
				got = append(got, strings.TrimSuffix(m[1]+" "+m[2]+" "+m[3], " "))
			} else if strings.Contains(line, "type=conn_") {
				got = append(got, "conn")
			}
			if strings.Contains(line, last) {
				return strings.Join(got, ", ")
			}
		}
	}
	// One sees its own, and of two's only what it could see itself: nothing.
	if got, want := events(w1, "type=deleted"), "item_get a not_found, item_store a stored, item_get a found, item_get no1 not_found, "+
		"item_get b not_found, item_get end not_found, item_get a found, deleted a"; got != want {
		t.Errorf("one:\n got %s\nwant %s", got, want)
	}
	if got, want := events(w2, "key=end"), "item_get a not_found, item_get no2 not_found, item_get a not_found, item_get a not_found, "+
		"item_get b not_found, item_store b stored, item_get end not_found"; got != want {
		t.Errorf("two:\n got %s\nwant %s", got, want)
	}
	// The administrator sees all items, and connections, but not what others missed.
	fmt.Fprint(admin, "get the_end\r\n")
	got := events(wa, "key=the_end")
	if !strings.Contains(got, "item_store b stored") || !strings.Contains(got, "deleted a") || !strings.Contains(got, "conn") || strings.Contains(got, "no1") {
		t.Errorf("the administrator: %s", got)
	}
}

// TestUDPSubjects: a client of UDP is who a udp: line says, and nobody else.
func TestUDPSubjects(t *testing.T) {
	ts := startServer(t, testConfig{policy: observerPolicy(t, "stats dump"), contexts: observers, server: server.Settings{UDPPort: -1}})
	one := ts.dialFrom("127.0.2.1")
	m := regexp.MustCompile(`addr udp:(\S+)`).FindStringSubmatch(one.ask("stats conns\r\n"))
	if m == nil {
		t.Fatal("no UDP port")
	}
	one.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	for _, x := range []struct{ from, send, want string }{
		{"127.0.2.1", "mac whoami\r\n", "MAC system_u:system_r:kv_client_t:s0:c1\r\n"},
		{"127.0.2.1", "get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n"},
		{"127.0.2.1", "mac create -\r\n", "CLIENT_ERROR not available over UDP\r\n"},
		{"127.0.2.1", "relabel k system_u:object_r:kv_item_t:s0\r\n", "CLIENT_ERROR not available over UDP\r\n"},
		// Over TCP these addresses are somebody.
		{"127.0.2.9", "get k\r\n", "END\r\n"},
		{"127.0.2.9", "set k 0 0 1\r\ny\r\n", accessDenied},
		{"127.0.2.9", "stats\r\n", accessDenied},
	} {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(x.from)}}
		c, err := d.Dial("udp", m[1])
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write(append([]byte{0, 1, 0, 0, 0, 1, 0, 0}, x.send...)); err != nil {
			t.Fatal(err)
		}
		var buf [2048]byte
		n, err := c.Read(buf[:])
		if err != nil || string(buf[8:n]) != x.want {
			t.Errorf("%s from %s: %q, %v; want %q", x.send, x.from, buf[:n], err, x.want)
		}
		c.Close()
	}
}

// TestNoAllocations: mg and binary get, hit, missed and denied, cost the collector
// nothing.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ts := startServer(t, testConfig{contexts: tenants})
	ts.dialFrom("127.0.2.1").want("set k 5 0 2\r\nhi\r\n", "STORED\r\n")
	hit := string(binary.BigEndian.AppendUint32(nil, 5)) + "hi"
	reply := func(status byte, extras byte, body string) string {
		b := []byte{0x81, 0x00, 0, 0, extras, 0, 0, status}
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		b = append(b, make([]byte, 12)...)
		return string(b) + body
	}
	for _, x := range []struct{ name, from, request, reply string }{
		{"mg hit", "127.0.2.1", "mg k v s f k O1\r\n", "VA 2 s2 f5 kk O1\r\nhi\r\n"},
		{"mg miss", "127.0.2.1", "mg none v\r\n", "EN\r\n"},
		{"mg denied", "127.0.2.2", "mg k v\r\n", "EN\r\n"},
		{"binary hit", "127.0.2.1", frame(0x00, 0, 0, "", "k", ""), reply(0, 4, hit)},
		{"binary miss", "127.0.2.1", frame(0x00, 0, 0, "", "none", ""), reply(1, 0, "Not found")},
		{"binary denied", "127.0.2.2", frame(0x00, 0, 0, "", "k", ""), reply(1, 0, "Not found")},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := ts.dialFrom(x.from)
			const depth, rounds = 50, 400
			request, got := []byte(strings.Repeat(x.request, depth)), make([]byte, depth*len(x.reply))
			turn := func() {
				if _, err := c.Conn.Write(request); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c.Conn, got); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				turn()
			}
			cas := regexp.MustCompile(`^(.{16}).{8}`) // of the first reply
			if want := x.reply; x.name[0] == 'm' && string(got[:len(want)]) != want ||
				x.name[0] == 'b' && cas.ReplaceAllString(string(got[:len(want)]), "$1") != cas.ReplaceAllString(want, "$1") {
				t.Fatalf("got %q, want %q", got[:len(want)], want)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				turn()
			}
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > depth*rounds/100 {
				t.Errorf("%d allocations in %d requests", n, depth*rounds)
			}
		})
	}
}
