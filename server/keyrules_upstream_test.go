package server_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sememcached/policy/cnp"
	"sememcached/protocol"
	"sememcached/server"
)

// What Cilium's parser was tested for, in our own words: a rule, what a client
// sends, and whether it is allowed (cilium/proxy, proxylib/memcached).
var upstream = []struct {
	name, rule, send string
	reply            string // "": refused
}{
	{"T1 set, no key", `{command: set}`, "set key 0 0 5\r\nhello\r\n", "STORED\r\n"},
	{"T2 set, another key", `{command: set, keyExact: trolo}`, "set key 0 0 5\r\nhello\r\n", ""},
	{"T3 get of several keys", `{command: get}`, "get key1 key2 key3\r\n", "END\r\n"},
	{"T5 get without a rule", `{command: set}`, "get key1 key2 key3\r\n", ""},
	{"T6 gat of several keys", `{command: gat}`, "gat 5 key1 key2 key3\r\n", "END\r\n"},
	{"T8 gat without a rule", `{command: set}`, "gat 5 key1 key2 key3\r\n", ""},
	{"T9 delete", `{command: delete}`, "delete key\r\n", "NOT_FOUND\r\n"},
	{"T10 delete without a rule", `{command: set}`, "delete key\r\n", ""},
	{"T11 incr", `{command: incr}`, "incr key 5\r\n", "NOT_FOUND\r\n"},
	{"T12 incr, another key", `{command: incr, keyExact: otherKey}`, "incr key 5\r\n", ""},
	{"T13 touch", `{command: touch, keyExact: key}`, "touch key 55\r\n", "NOT_FOUND\r\n"},
	{"T14 touch, another key", `{command: touch, keyExact: otherKey}`, "touch key 55\r\n", ""},
	{"T15 slabs", `{command: slabs}`, "slabs automove 1\r\n", "OK\r\n"},
	{"T16 slabs without a rule", `{command: touch, keyExact: otherKey}`, "slabs automove 1\r\n", ""},
	{"T17 lru_crawler", `{command: lru_crawler}`, "lru_crawler metadump all\r\n", "OK\r\nEND\r\n"},
	{"T18 stats", `{command: stats}`, "stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n"},
	{"T19 flush_all", `{command: flush_all}`, "flush_all 15\r\n", "OK\r\n"},
	{"T20 flush_all without a rule", `{command: get}`, "flush_all 15\r\n", ""},
	{"T21 watch", `{command: watch}`, "watch mutations\r\n", "OK\r\n"},
	{"T23 everything", `{command: "*"}`, "set key 0 0 5\r\nhello\r\n", "STORED\r\n"},
	{"B1 exact key", `{command: get, keyExact: Hello}`, packet(0x00, "Hello", "", "", 0), reply(0x00, 1, "Not found")},
	{"B2 prefix", `{command: get, keyPrefix: Hell}`, packet(0x00, "Hello", "", "", 0), reply(0x00, 1, "Not found")},
	{"B3 regular expression", `{command: get, keyRegex: "^.el.o$"}`, packet(0x00, "Hello", "", "", 0), reply(0x00, 1, "Not found")},
	{"B4 without a rule", `{command: set}`, packet(0x00, "Hello", "", "", 0), ""},
	{"K1 no extras", `{command: get, keyExact: Test1}`, packet(0x00, "Test1", "", "", 0), reply(0x00, 1, "Not found")},
	{"K2 extras", `{command: touch, keyExact: Test1}`, packet(0x1c, "Test1", "\x00\x00\x00\x01", "", 0), reply(0x1c, 1, "Not found")},
	{"K3 extras and no key", `{command: flush_all}`, packet(0x08, "", "\x00\x00\x00\x0f", "", 0), reply(0x08, 0, "")},
}

// TestUpstreamInProcess judges the cases by parser and rules alone.
func TestUpstreamInProcess(t *testing.T) {
	for _, x := range upstream {
		f, err := cnp.Parse("rules.yaml", []byte(policyOf("a "+x.rule)), cnp.Strict)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := cnp.ParseIdentities("ids.yaml", []byte(us("a")))
		if err != nil {
			t.Fatal(err)
		}
		s, err := cnp.Compile(cnp.Input{Files: []*cnp.File{f}, Identities: ids})
		if err != nil {
			t.Fatal(err)
		}
		m := s.Identity(0, cnp.Listener{})
		var r protocol.Request
		var out protocol.Outcome
		if x.send[0] == protocol.MagicRequest {
			_, out, _ = protocol.ParseBinary([]byte(x.send), nil, &r)
		} else {
			_, out, _ = protocol.Parse([]byte(x.send), nil, &r)
		}
		if out != protocol.Ready {
			t.Errorf("%s: %v", x.name, out)
			continue
		}
		need, keyless, _ := server.Need(&r, cnp.Strict)
		var lacks cnp.Mask
		switch {
		case keyless:
			lacks = m.LacksKeyless(need)
		case r.Keys != nil:
			text, keys := cnp.Join(strings.Fields(string(r.Keys))...)
			lacks = m.LacksKeys(need, text, keys)
		default:
			lacks = m.Lacks(need, r.Key)
		}
		if allowed := lacks == 0; allowed != (x.reply != "") {
			t.Errorf("%s: allowed %v", x.name, allowed)
		}
	}
}

// TestUpstream runs the cases on a socket: whole, a byte at a time, and twice in
// one packet; whatever is allowed is answered, and whatever is not is too.
func TestUpstream(t *testing.T) {
	for _, x := range upstream {
		t.Run(x.name, func(t *testing.T) {
			binary := x.send[0] == protocol.MagicRequest
			want := x.reply
			switch {
			case want == "" && binary:
				want = reply(x.send[1], 0x24, "CLIENT_ERROR access denied")
			case want == "":
				want = refused
			}
			r := startRuled(t, cnp.Strict, policyOf("a "+x.rule), us("a"))
			r.dial().ask(x.send, want)
			c := r.dial()
			for i := range len(x.send) - 1 {
				c.send(x.send[i : i+1])
			}
			c.quiet()
			c.ask(x.send[len(x.send)-1:], want)
			if !strings.HasPrefix(x.send, "watch") && !strings.HasPrefix(x.send, "lru_crawler") {
				r.dial().ask(x.send+x.send, want+want)
			}
		})
	}
}

// TestUpstreamEndToEnd: the policies of its run-time tests, both protocols.
func TestUpstreamEndToEnd(t *testing.T) {
	found := func(key, value string) string {
		return "VALUE " + key + " 0 " + fmt.Sprint(len(value)) + "\r\n" + value + "\r\nEND\r\n"
	}
	for _, x := range []struct{ name, rules, ok, denied string }{
		{"allow", `{command: get}, {command: set}`, "get:allowed set:allowed get:disallowed set:disallowed", ""},
		{"disallow set", `{command: get}`, "get:allowed get:disallowed", "set:allowed set:disallowed"},
		{"allow key", `{command: get}, {command: set, keyExact: allowed}`, "get:allowed get:disallowed set:allowed", "set:disallowed"},
		{"allow key get", `{command: get, keyExact: allowed}, {command: set, keyExact: allowed}`, "get:allowed set:allowed", "get:disallowed set:disallowed get:both"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := startRuled(t, cnp.Strict, policyOf("a "+x.rules, `b {command: "*"}`),
				fmt.Sprintf("identities:\n- labels: {app: a}\n  peers: [\"cidr:127.0.0.1\"]\n- labels: {app: b}\n  peers: [\"cidr:127.0.0.2\", \"uid:%d\"]\n", os.Getuid()+1))
			admin, text, bin := r.dialFrom("127.0.0.2"), r.dial(), r.dial()
			for _, k := range []string{"allowed", "disallowed"} {
				admin.ask("set "+k+" 0 0 3\r\nold\r\n", "STORED\r\n")
			}
			for _, list := range []struct {
				what string
				ok   bool
			}{{x.ok, true}, {x.denied, false}} {
				for _, w := range strings.Fields(list.what) {
					verb, key, _ := strings.Cut(w, ":")
					var textSend, textWant, binSend, binWant string
					if verb == "get" {
						textSend, textWant = "get "+key+"\r\n", found(key, "old")
						binSend = packet(0x00, key, "", "", 0)
						if key == "both" {
							textSend, binSend = "get allowed disallowed\r\n", packet(0x0d, "disallowed", "", "", 0)
						}
						binWant = "old"
					} else {
						textSend, textWant = "set "+key+" 0 0 3\r\nold\r\n", "STORED\r\n"
						binSend, binWant = packet(0x01, key, storeExtras, "old", 0), ""
					}
					if !list.ok {
						text.ask(textSend, refused)
						bin.ask(binSend, reply(binSend[1], 0x24, "CLIENT_ERROR access denied"))
						continue
					}
					text.ask(textSend, textWant)
					bin.send(binSend)
					head := make([]byte, 24)
					for i := range head {
						head[i], _ = bin.r.ReadByte()
					}
					body := make([]byte, int(head[11]))
					for i := range body {
						body[i], _ = bin.r.ReadByte()
					}
					if head[7] != 0 || !strings.HasSuffix(string(body), binWant) {
						t.Errorf("%s: status %d, %q", w, head[7], body)
					}
				}
			}
			// Without the policy everything works again.
			r.write("rules.yaml", "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {endpointSelector: {}, ingress: [{fromEntities: [all]}]}\n")
			if err := r.mon.Reload(); err != nil {
				t.Fatal(err)
			}
			text.ask("flush_all\r\n", "OK\r\n")
		})
	}
}
