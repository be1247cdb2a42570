package server_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sememcached/mac"
	"sememcached/policy/cnp"
)

// policyOf is a policy that gives clients with the label app=NAME rules, each in
// YAML flow style: "NAME RULE" on a line each.
func policyOf(lines ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: test}\nspec:\n  endpointSelector: {}\n  ingress:\n")
	for _, l := range lines {
		name, rule, _ := strings.Cut(l, " ")
		fmt.Fprintf(&b, "  - fromEndpoints: [{matchLabels: {app: %s}}]\n    toPorts: [{ports: [{port: \"11211\", protocol: TCP}], rules: {l7proto: memcache, l7: [%s]}}]\n", name, rule)
	}
	return b.String()
}

// us is the identity file of most tests: whoever runs them, by address or by uid.
func us(name string) string {
	return fmt.Sprintf("identities:\n- labels: {app: %s}\n  peers: [\"cidr:127.0.0.1\", \"uid:%d\"]\n", name, os.Getuid())
}

// ruled is a server with key rules; write changes a file of them.
type ruled struct {
	*rig
	dir string
}

func (r *ruled) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// startRuled starts a server with the policy and the identities.
func startRuled(t testing.TB, mode cnp.Mode, policy, identities string, more ...func(*plan)) *ruled {
	t.Helper()
	r := &ruled{rig: &rig{t: t}, dir: t.TempDir()}
	p := plan{mac: func(cfg *mac.Config) {
		cfg.KeyRules = mac.KeyRulesConfig{Files: []string{r.write("rules.yaml", policy)}, Identities: r.write("ids.yaml", identities), Mode: mode}
	}}
	for _, f := range more {
		f(&p)
	}
	r.rig = start(t, p)
	return r
}

const refused = "CLIENT_ERROR access denied\r\n"

// TestKeyRulesText: the classic commands, allowed and refused, in order, with
// misses, noreply and values.
func TestKeyRulesText(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(
		`a {command: get, keyPrefix: "pub:"}, {command: set, keyPrefix: "pub:"}, {command: get, keyExact: one}, {command: incr, keyRegex: "^n[0-9]$"}, {command: stats}`,
	), us("a"))
	c := r.dial()
	for _, x := range []struct{ send, want string }{
		{"set pub:a 0 0 1\r\nA\r\n", "STORED\r\n"},
		{"get pub:a\r\n", "VALUE pub:a 0 1\r\nA\r\nEND\r\n"},
		{"get pub:miss\r\n", "END\r\n"},
		{"get one\r\n", "END\r\n"},
		{"get onee\r\n", refused},
		{"get sec:a\r\n", refused},
		{"gets pub:a sec:a\r\n", refused},
		{"get pub:a one\r\n", "VALUE pub:a 0 1\r\nA\r\nEND\r\n"},
		{"gat 10 pub:a\r\n", refused},
		{"touch pub:a 10\r\n", refused},
		{"set sec:a 0 0 11\r\nget pub:a\r\n\r\n", refused},
		{"set sec:a 0 0 1 noreply\r\nA\r\nget pub:miss\r\n", "END\r\n"},
		{"delete pub:a noreply\r\nget one\r\n", "END\r\n"},
		{"add pub:b 0 0 1\r\nA\r\n", refused},
		{"cas pub:a 0 0 1 1\r\nA\r\n", refused},
		{"incr n1 1\r\n", "NOT_FOUND\r\n"},
		{"incr n11 1\r\n", refused},
		{"decr n1 1\r\n", refused},
		{"flush_all\r\n", refused},
		{"flush_all noreply\r\nget one\r\n", "END\r\n"},
		{"verbosity 1\r\n", refused},
		{"cache_memlimit 64\r\n", refused},
		{"lru_crawler metadump all\r\n", refused},
		{"watch\r\n", refused},
		{"shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"},
		{"stats cachedump 1 0\r\n", "ITEM pub:a [1 b; 0 s]\r\nEND\r\n"},
		{"mn\r\n", "MN\r\n"},
		{"version\r\n", "VERSION 1.6.45\r\n"},
		{"nonsense\r\n", "ERROR\r\n"},
		{"get \r\n", "CLIENT_ERROR bad command line format\r\n"},
		{"set pub:x 0 0 1\r\nABC", "CLIENT_ERROR bad data chunk\r\n"},
		{"get pub:a\r\nget sec:a\r\nget pub:a\r\n", "VALUE pub:a 0 1\r\nA\r\nEND\r\n" + refused + "VALUE pub:a 0 1\r\nA\r\nEND\r\n"},
	} {
		c.ask(x.send, x.want)
	}
	c.send("quit\r\n")
	c.expectClosed()
}

// TestKeyRulesMeta: a meta command needs everything that it may do.
func TestKeyRulesMeta(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(
		`a {command: get, keyPrefix: "g:"}`,
		`a {command: get, keyPrefix: "gt:"}, {command: gat, keyPrefix: "gt:"}`,
		`a {command: get, keyPrefix: "ga:"}, {command: add, keyPrefix: "ga:"}`,
		`a {command: set, keyPrefix: "s:"}`,
		`a {command: add, keyPrefix: "a:"}, {command: append, keyPrefix: "a:"}`,
		`a {command: append, keyPrefix: "ap:"}, {command: cas, keyPrefix: "c:"}`,
		`a {command: delete, keyPrefix: "d:"}`,
		`a {command: delete, keyPrefix: "dt:"}, {command: touch, keyPrefix: "dt:"}`,
		`a {command: delete, keyPrefix: "dx:"}, {command: set, keyPrefix: "dx:"}`,
		`a {command: incr, keyPrefix: "i:"}`,
		`a {command: incr, keyPrefix: "ia:"}, {command: add, keyPrefix: "ia:"}`,
		`a {command: me, keyPrefix: "me:"}`,
	), us("a"))
	c := r.dial()
	for _, x := range []struct{ send, want string }{
		{"mg g:1 v\r\n", "EN\r\n"},
		{"mg g:1 v q\r\nmn\r\n", "MN\r\n"},
		{"mg x:1 v q\r\nmn\r\n", refused + "MN\r\n"},
		{"mg Zzox b v\r\n", "EN\r\n"}, // g:1
		{"mg eDox b v\r\n", refused},  // x:1
		{"mg g:1 v T10\r\n", refused},
		{"mg g:1 v N10\r\n", refused},
		{"mg gt:1 v T10\r\n", "EN\r\n"},
		{"mg ga:1 v N10\r\n", "VA 0 W\r\n\r\n"},
		{"ms s:1 1\r\nA\r\n", "HD\r\n"},
		{"ms s:1 1 ME\r\nA\r\n", refused},
		{"ms s:1 1 MR\r\nA\r\n", refused},
		{"ms s:1 1 C1\r\nA\r\n", refused},
		{"ms c:1 1 C1\r\nA\r\n", "NF\r\n"},
		{"ms a:1 1 MA\r\nA\r\n", "NS\r\n"},
		{"ms a:1 1 MA N0\r\nA\r\n", "HD\r\n"},
		{"ms ap:1 1 MA N0\r\nA\r\n", refused},
		{"ms ap:1 1 MA\r\nA\r\n", "NS\r\n"},
		{"ms x:1 5 q\r\nmn\r\n1\r\nmn\r\n", refused + "MN\r\n"},
		{"md d:1\r\n", "NF\r\n"},
		{"md d:1 I T30\r\n", refused},
		{"md d:1 x\r\n", refused},
		{"md dt:1 I T30\r\n", "NF\r\n"},
		{"md dx:1 x\r\n", "NF\r\n"},
		{"ma i:1\r\n", "NF\r\n"},
		{"ma i:1 MD\r\n", refused},
		{"ma i:1 N0\r\n", refused},
		{"ma i:1 T30\r\n", refused},
		{"ma ia:1 N0\r\n", "HD\r\n"},
		{"me me:1\r\n", "EN\r\n"},
		{"me g:1\r\n", refused},
		{"mdp d:\r\n", "HD 0\r\n"},
		{"mdp d:x\r\n", "HD 0\r\n"},
		{"mdp d\r\n", refused},
		{"mdp s:\r\n", refused},
	} {
		c.ask(x.send, x.want)
	}
}

// packet is a binary request.
func packet(opcode byte, key, extras, value string, cas byte) string {
	n := len(key) + len(extras) + len(value)
	return string([]byte{
		0x80, opcode, 0, byte(len(key)), byte(len(extras)), 0, 0, 0, 0, 0, byte(n >> 8), byte(n),
		0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, cas,
	}) + extras + key + value
}

// reply is a binary reply without extras, key and cas.
func reply(opcode, status byte, body string) string {
	return string([]byte{
		0x81, opcode, 0, 0, 0, 0, 0, status, 0, 0, 0, byte(len(body)),
		0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0,
	}) + body
}

const (
	storeExtras = "\x00\x00\x00\x00\x00\x00\x00\x00"
	arithExtras = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	noCreate    = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"
)

// TestKeyRulesBinary: opcode and opaque come back; quiet requests are told too.
func TestKeyRulesBinary(t *testing.T) {
	const rules = `a {command: get, keyPrefix: "pub:"}, {command: incr, keyExact: n}, {command: cas, keyExact: c}, {command: set, keyExact: s}, {command: writeGroup, keyExact: w}, {command: gat, keyExact: g}`
	denied := func(mode cnp.Mode, op byte) string {
		if mode == cnp.Cilium {
			return reply(op, 0x08, "access denied")
		}
		return reply(op, 0x24, "CLIENT_ERROR access denied")
	}
	const absent, noop = "Not found", 0x0a
	for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
		r := startRuled(t, mode, policyOf(rules, `a {command: noop}`), us("a"))
		c := r.dial()
		end := packet(noop, "", "", "", 0)
		ended := reply(noop, 0, "")
		for _, x := range []struct {
			send   string
			want   string // "denied": refused
			cilium string // where that differs
		}{
			{packet(0x00, "pub:a", "", "", 0), reply(0x00, 1, absent), ""},
			{packet(0x00, "sec:a", "", "", 0), "denied", ""},
			{packet(0x09, "pub:a", "", "", 0), "", ""},
			{packet(0x09, "sec:a", "", "", 0), "denied", ""},
			{packet(0x0d, "sec:a", "", "", 0), "denied", ""},
			{packet(0x01, "sec:a", storeExtras, "get pub:", 0), "denied", ""},
			{packet(0x11, "sec:a", storeExtras, "value", 0), "denied", ""},
			{packet(0x05, "n", noCreate, "", 0), reply(0x05, 1, absent), ""},
			{packet(0x05, "n", arithExtras, "", 0), "denied", ""},
			{packet(0x01, "c", storeExtras, "v", 9), reply(0x01, 1, absent), "denied"},
			{packet(0x01, "s", storeExtras, "v", 9), "denied", reply(0x01, 1, absent)},
			{packet(0x0e, "w", "", "v", 0), reply(0x0e, 5, "Not stored."), "denied"},
			{packet(0x19, "w", "", "v", 0), reply(0x19, 5, "Not stored."), ""},
			{packet(0x23, "g", "\x00\x00\x00\x01", "", 0), reply(0x23, 1, "g")[:2] + "\x00\x01" + reply(0x23, 1, "g")[4:], "denied"},
			{packet(0x1d, "g", "\x00\x00\x00\x01", "", 0), reply(0x1d, 1, absent), ""},
			{packet(0x1c, "pub:a", "\x00\x00\x00\x01", "", 0), "denied", ""},
			{packet(0x08, "", "", "", 0), "denied", ""},
			{packet(0x18, "", "", "", 0), "denied", ""},
			{packet(0x10, "", "", "", 0), "denied", ""},
			{packet(0x0b, "", "", "", 0), reply(0x0b, 0, "1.6.45"), "denied"},
			{packet(0x55, "", "", "", 0), reply(0x55, 0x81, "Unknown command"), ""},
		} {
			want := x.want
			if mode == cnp.Cilium && x.cilium != "" {
				want = x.cilium
			}
			if want == "denied" {
				want = denied(mode, x.send[1])
			}
			c.ask(x.send+end, want+ended)
		}
		c.send(packet(0x07, "", "", "", 0))
		if mode == cnp.Cilium {
			c.expect(denied(mode, 0x07))
			c.ask(end, ended)
		} else {
			c.expect(reply(0x07, 0, ""))
			c.expectClosed()
		}
	}
}

// TestKeyRulesBinarySpaces: a key of the binary protocol may have spaces, and is one key: what
// stands between them is not judged apart, neither for nor against it.
func TestKeyRulesBinarySpaces(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get, keyPrefix: "a"}, {command: get, keyExact: "x y"}`), us("a"))
	c := r.dial()
	var send, want string
	for _, x := range []struct {
		key     string
		allowed bool
	}{
		{"a b", true},
		{"b a", false},
		{"x y", true},
		{"x", false},
		{"x y z", false},
		{" a", false},
	} {
		send += packet(0x00, x.key, "", "", 0)
		if x.allowed {
			want += reply(0x00, 0x01, "Not found")
		} else {
			want += binaryDenied(0x00)
		}
	}
	c.ask(send, want)
}

// TestKeyRulesLargeValues: a large value is refused before memory is taken for
// it, swallowed to its end, and judged again when that has come.
func TestKeyRulesLargeValues(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: set, keyPrefix: "pub:"}, {command: get}`), us("a"))
	big := strings.Repeat("get sec:1\r\n", 20000)
	c := r.dial()
	used := r.store.Stats().CurrItems
	c.send(fmt.Sprintf("set sec:big 0 0 %d\r\n", len(big)))
	c.quiet()
	c.send(big[:1000])
	c.quiet()
	c.ask(big[1000:]+"\r\nget none\r\n", refused+"END\r\n")
	c.ask(fmt.Sprintf("set sec:big 0 0 %d noreply\r\n%s\r\nget none\r\n", len(big), big), "END\r\n")
	c.ask(fmt.Sprintf("ms sec:big %d q\r\n%s\r\nmn\r\n", len(big), big), refused+"MN\r\n")
	c.ask(fmt.Sprintf("set pub:big 0 0 %d\r\n%s\r\n", len(big), big), "STORED\r\n")
	if n := r.store.Stats().CurrItems; n != used+1 {
		t.Errorf("%d items, want %d", n, used+1)
	}
	// The rules change while the value comes.
	c.send(fmt.Sprintf("set pub:two 0 0 %d\r\n%s", len(big), big[:5000]))
	c.quiet()
	r.write("rules.yaml", policyOf(`a {command: get}`))
	if err := r.mon.Reload(); err != nil {
		t.Fatal(err)
	}
	c.ask(big[5000:]+"\r\nget pub:two\r\n", refused+"END\r\n")
	// Too large an item drops the old one, but for whoever may not set it.
	c.ask(fmt.Sprintf("set pub:big 0 0 %d\r\n", 3<<20), "")
	c.send(strings.Repeat("x", 3<<20) + "\r\n")
	c.expect(refused)
	c.send("mg pub:big s\r\n")
	c.expect(fmt.Sprintf("HD s%d\r\n", len(big)))
}

// TestKeyRulesBadChunkTooLarge: what cannot be stored for two reasons is not a
// way to drop what is there.
func TestKeyRulesBadChunkTooLarge(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get}, {command: add}`), us("a"), func(p *plan) {
		p.store.MaxItem, p.set.MaxItem = 1024, 1024
	})
	c := r.dial()
	c.ask("add a 0 0 1\r\nA\r\n", "STORED\r\n")
	v := strings.Repeat("x", 2000)
	c.send("set a 0 0 2000\r\n" + v + "xx\r\n")
	c.expect(refused)
	if line, err := c.r.ReadString('\n'); err != nil || !strings.Contains(line, "ERROR") {
		t.Fatalf("%q, %v", line, err)
	}
	c.ask("get a\r\n", "VALUE a 0 1\r\nA\r\nEND\r\n")
}

// TestKeyRulesReload: the next request of a live connection is judged by the new
// rules; a bad file changes nothing and says so.
func TestKeyRulesReload(t *testing.T) {
	for _, mode := range []mac.Mode{mac.Off, mac.PolicyFile} {
		r := startRuled(t, cnp.Strict, policyOf(`a {command: get}`), us("a"), func(p *plan) { p.mode = mode })
		c := r.dial()
		c.ask("get a\r\n", "END\r\n")
		c.ask("set a 0 0 1\r\nA\r\n", refused)
		r.write("rules.yaml", policyOf(`a {command: gett}`))
		if err := r.mon.Reload(); err == nil || !strings.Contains(err.Error(), "rules.yaml:8: expected a command") {
			t.Errorf("a bad file: %v", err)
		}
		c.ask("get a\r\n", "END\r\n")
		r.write("rules.yaml", policyOf(`a {command: set}`))
		if err := r.mon.Reload(); err != nil {
			t.Fatal(err)
		}
		c.ask("get a\r\n", refused)
		c.ask("set a 0 0 1\r\nA\r\n", "STORED\r\n")
		// Who one is changes too.
		r.write("ids.yaml", "identities:\n- labels: {app: b}\n  peers: [\"*\"]\n")
		if err := r.mon.Reload(); err != nil {
			t.Fatal(err)
		}
		c.ask("set a 0 0 1\r\nA\r\n", refused)
		if !strings.Contains(r.log.String(), "no identity has the labels app=a") {
			t.Errorf("the log does not warn of a rule for nobody:\n%s", r.log)
		}
	}
}

// TestKeyRulesParked: a request that waited for a verdict is judged by the rules
// that are in force when it goes on.
func TestKeyRulesParked(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: get}`), us("a"))
	c := r.dial()
	open := r.eng.gate("b")
	c.send("get a b c\r\nget a\r\n")
	c.quiet()
	r.write("rules.yaml", policyOf(`a {command: get, keyExact: a}`))
	if err := r.mon.Reload(); err != nil {
		t.Fatal(err)
	}
	open()
	c.expect(refused + "END\r\n")
}

// TestKeyRulesWho: identities by address, by user, by context; strangers;
// networks; ports.
func TestKeyRulesWho(t *testing.T) {
	policy := policyOf(`web {command: get, keyExact: web}`, `user {command: get, keyExact: user}`, `plain {command: get, keyExact: plain}`) + `
  - fromCIDR: [127.0.0.1/32]
    toPorts: [{ports: [{port: "11211", protocol: TCP}], rules: {l7proto: memcache, l7: [{command: get, keyExact: net}]}}]
  - fromEntities: [world]
    toPorts: [{ports: [{port: "11211", protocol: TCP}], rules: {l7proto: memcache, l7: [{command: get, keyExact: world}]}}]
`
	may := func(c *client) string {
		var out []string
		for _, k := range []string{"web", "user", "plain", "net", "world"} {
			c.send("get " + k + "\r\n")
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "END\r\n" {
				out = append(out, k)
			}
		}
		return strings.Join(out, " ")
	}
	peer := func(label, pattern string) string {
		return fmt.Sprintf("- labels: {app: %s}\n  peers: [%q]\n", label, pattern)
	}
	socket := func(p *plan) { p.set.UnixPath = filepath.Join(t.TempDir(), "s") }
	labels := func(p *plan) { p.mode = mac.PolicyFile }
	uid := fmt.Sprintf("uid:%d", os.Getuid())
	for _, x := range []struct {
		name string
		ids  string
		how  []func(*plan)
		want string
	}{
		{"address", peer("web", "cidr:127.0.0.0/8") + peer("user", "*"), nil, "web"},
		{"first wins", peer("user", "*") + peer("web", "cidr:127.0.0.0/8"), nil, "user"},
		{"user", peer("web", "cidr:127.0.0.0/8") + peer("user", uid), []func(*plan){socket}, "user"},
		{"context", peer("plain", "context:*:kv_plain_t:*"), []func(*plan){labels}, "plain"},
		{"other context", peer("plain", "context:*:kv_admin_t:*"), []func(*plan){labels}, "net world"},
		{"stranger", peer("web", "cidr:10.0.0.0/8"), nil, "net world"},
		{"stranger on a socket", peer("web", "cidr:10.0.0.0/8"), []func(*plan){socket}, "world"},
		{"SPIFFE", peer("web", "spiffe://prod/*") + peer("user", "sasl:x") + peer("plain", "dns:x"), nil, "net world"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := startRuled(t, cnp.Strict, policy, "identities:\n"+x.ids, x.how...)
			if got := may(r.dial()); got != x.want {
				t.Errorf("may get %q, want %q", got, x.want)
			}
		})
	}
	for ids, want := range map[string]string{
		peer("web", "nobody"):    `ids.yaml:3: expected * or KIND:PATTERN`,
		peer("web", "uid:x"):     `ids.yaml:3: expected a number`,
		peer("web", "context:*"): `ids.yaml:3: clients have no security contexts with --mac=off`,
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"rules.yaml": policy, "ids.yaml": "identities:\n" + ids} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := mac.Open(mac.Config{Mode: mac.Off, KeyRules: mac.KeyRulesConfig{Files: []string{filepath.Join(dir, "rules.yaml")}, Identities: filepath.Join(dir, "ids.yaml")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ids, err)
		}
	}
}

// TestKeyRulesUDP: over UDP only an identity by udp: counts.
func TestKeyRulesUDP(t *testing.T) {
	for ids, want := range map[string]string{
		"": refused,
		"- labels: {app: a}\n  peers: [\"udp:127.0.0.1\"]\n": "END\r\n",
	} {
		ids = "identities:\n- labels: {app: tcp}\n  peers: [\"*\"]\n" + ids
		r := startRuled(t, cnp.Strict, policyOf(`a {command: get}`, `tcp {command: stats}`), ids, func(p *plan) { p.set.UDPPort = -1 })
		u := dialUDP(t, r.rig)
		u.ask("get a\r\n", want)
		u.ask("set a 0 0 1\r\nA\r\n", refused)
	}
}

// TestKeyRulesListings: listings and watch show the keys that a client may get.
func TestKeyRulesListings(t *testing.T) {
	for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
		r := startRuled(t, mode, policyOf(
			`a {command: get, keyPrefix: "pub:"}, {command: lru_crawler}, {command: stats}, {command: watch}`, `b {command: "*"}`,
		), "identities:\n- labels: {app: a}\n  peers: [\"cidr:127.0.0.1\"]\n- labels: {app: b}\n  peers: [\"cidr:127.0.0.2\"]\n")
		// Somebody else may store.
		store := func(keys ...string) {
			t.Helper()
			c := r.dialFrom("127.0.0.2")
			for _, k := range keys {
				c.ask("set "+k+" 0 0 1\r\nA\r\n", "STORED\r\n")
				c.ask("get "+k+"\r\n", "VALUE "+k+" 0 1\r\nA\r\nEND\r\n")
			}
			c.ask("stats detail on\r\n", "OK\r\n")
			c.ask("get pub:z sec:z\r\n", "END\r\n")
		}
		store("pub:1", "sec:1")
		c := r.dial()
		all := mode == cnp.Cilium
		c.send("lru_crawler mgdump all\r\n")
		c.expect("OK\r\nmg pub:1\r\n")
		if all {
			c.expect("mg sec:1\r\n")
		}
		c.expect("EN\r\n")
		c.ask("stats detail dump\r\n", "PREFIX pub ")
		rest := c.readTo(t, "END\r\n")
		if strings.Contains(rest, "PREFIX sec") != all {
			t.Errorf("mode %v: %q", mode, rest)
		}
		c.ask("watch mutations\r\n", "OK\r\n")
		store("sec:2", "pub:2")
		for want := "pub:2"; ; {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "sec%3A2") && !all {
				t.Errorf("shown: %q", line)
			}
			if strings.Contains(line, strings.ReplaceAll(want, ":", "%3A")) {
				break
			}
		}
	}
}

// dialFrom connects with an address of the client's own.
func (r *rig) dialFrom(from string) *client {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial(r.addr.Network(), r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	r.dials.Add(1)
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c, r.t, bufio.NewReaderSize(c, 64<<10)}
}

// readTo reads until a line.
func (c *client) readTo(t *testing.T, end string) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			t.Fatalf("%v after %q", err, b.String())
		}
		if line == end {
			return b.String()
		}
	}
}
