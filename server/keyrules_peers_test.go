package server_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/server"
)

// peers is an identity file: a label app=NAME and a pattern, NAME PATTERN after
// NAME PATTERN.
func peers(lines ...string) string {
	text := "identities:\n"
	for i := 0; i < len(lines); i += 2 {
		text += "- labels: {app: " + lines[i] + "}\n  peers: [\"" + lines[i+1] + "\"]\n"
	}
	return text
}

// fleet is what each of the clients of these tests may do: its own key, and the
// tracker reads all of them.
var fleet = policyOf(
	`awing {command: get, keyExact: awing}, {command: set, keyExact: awing}`,
	`xwing {command: get, keyExact: xwing}, {command: set, keyExact: xwing}`,
	`tracker {command: get}`,
)

// TestKeyRulesTLS: the name in a certificate that the handshake has verified is the
// identity, in new and in resumed sessions of both versions; another name, a name
// of another kind and none at all are a stranger's.
func TestKeyRulesTLS(t *testing.T) {
	ca := newCA(t, "test")
	dir := t.TempDir()
	chain, key, authority, err := ca.WriteServer(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []mac.Mode{mac.Off, mac.PolicyFile} {
		ids := peers("awing", "spiffe://fleet/awing", "xwing", "spiffe://fleet/x*", "tracker", "cn:tracker", "tracker", "dns:*.tracker.example")
		r := startRuled(t, cnp.Strict, fleet, ids, func(p *plan) {
			p.mode = mode
			p.set.TLS = server.TLS{Enabled: true, ChainCert: chain, Key: key, CACert: authority, VerifyMode: 1}
		})
		s := &tlsRig{rig: r.rig, ca: ca, dir: dir}
		for _, x := range []struct {
			name string
			leaf *testca.Leaf
			may  string // app=
		}{
			{"a SPIFFE ID", &testca.Leaf{URIs: []string{"spiffe://fleet/awing"}}, "awing"},
			{"a SPIFFE ID by a pattern", &testca.Leaf{URIs: []string{"spiffe://fleet/xwing/5"}}, "xwing"},
			{"a common name", &testca.Leaf{CNs: []string{"tracker"}}, "tracker"},
			{"a DNS name", &testca.Leaf{DNS: []string{"a.tracker.example"}}, "tracker"},
			{"a longer SPIFFE ID", &testca.Leaf{URIs: []string{"spiffe://fleet/awing2"}}, ""},
			{"another trust domain", &testca.Leaf{URIs: []string{"spiffe://empire/awing"}}, ""},
			{"two SPIFFE IDs", &testca.Leaf{URIs: []string{"spiffe://fleet/awing", "spiffe://fleet/xwing"}}, ""},
			{"a common name that reads as a SPIFFE ID", &testca.Leaf{CNs: []string{"spiffe://fleet/awing"}}, ""},
			{"no certificate", nil, ""},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				cfg := s.config(x.leaf)
				cfg.MinVersion, cfg.MaxVersion = version, version
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(2)
				for range 2 {
					c := s.secure(cfg)
					for _, k := range []string{"awing", "xwing"} {
						stored, miss := refused, refused
						if x.may == k {
							stored = "STORED\r\n"
						}
						if x.may == k || x.may == "tracker" {
							miss = "END\r\n"
						}
						c.ask("set "+k+" 0 0 1\r\n1\r\n", stored)
						if x.may == k {
							c.ask("get "+k+"\r\n", "VALUE "+k+" 0 1\r\n1\r\nEND\r\n")
							c.ask("set "+k+" 0 -1 1\r\n1\r\n", "STORED\r\n")
						}
						c.ask("get "+k+"\r\n", miss)
					}
					c.ask("flush_all\r\nversion\r\n", refused+"VERSION 1.6.45\r\n")
				}
			}
		}
		// Who somebody is may change under a connection that is open.
		c := s.secure(s.config(&testca.Leaf{URIs: []string{"spiffe://fleet/awing"}}))
		c.ask("get awing\r\n", "END\r\n")
		r.write("ids.yaml", peers("awing", "spiffe://fleet/bwing", "tracker", "spiffe://fleet/awing", "xwing", "cn:x"))
		if err := r.mon.Reload(); err != nil {
			t.Fatal(err)
		}
		c.ask("get xwing awing\r\n", "END\r\n")
		c.ask("set awing 0 0 1\r\n1\r\n", refused)
	}
}

// loginUsers is a file of three users.
func loginUsers(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("awing:a\nxwing:x\nother:o\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKeyRulesSASL: whoever has logged in is the user of that name, for the requests
// after the reply; a new attempt first takes the old name away.
func TestKeyRulesSASL(t *testing.T) {
	login := func(user, password string) string {
		return packet(0x21, "PLAIN", "", "\x00"+user+"\x00"+password, 0)
	}
	const denied = "CLIENT_ERROR access denied"
	in, out := reply(0x21, 0, "Authenticated"), func(opcode byte) string { return reply(opcode, 0x20, "Auth failure.") }
	get := func(key string) string { return packet(0x00, key, "", "", 0) }
	set := func(key string) string { return packet(0x11, key, storeExtras, "1", 0) } // quiet: a success is silent
	noop, nooped := packet(0x0a, "", "", "", 0), reply(0x0a, 0, "")
	for _, mode := range []mac.Mode{mac.Off, mac.PolicyFile} {
		r := startRuled(t, cnp.Strict, fleet, peers("awing", "sasl:awing", "xwing", "sasl:xwing", "tracker", "cidr:10.0.0.0/8"), func(p *plan) {
			p.mode = mode
			p.set.SASL, p.set.SASLUsers = true, loginUsers(t)
		})
		c := r.dial()
		c.ask(packet(0x20, "", "", "", 0), reply(0x20, 0, "PLAIN"))
		c.ask(login("awing", "a"), in)
		c.ask(get("awing"), reply(0x00, 1, "Not found"))
		c.ask(get("xwing"), reply(0x00, 0x24, denied))
		c.ask(set("awing")+set("xwing")+noop, reply(0x11, 0x24, denied)+nooped)
		// Pipelined: each is judged as the user of its moment.
		c.ask(login("xwing", "x")+get("awing")+get("xwing")+set("xwing")+login("awing", "a")+get("xwing")+set("awing")+noop,
			in+reply(0x00, 0x24, denied)+reply(0x00, 1, "Not found")+in+reply(0x00, 0x24, denied)+nooped)
		c.ask(packet(0x04, "awing", "", "", 0), reply(0x04, 0x24, denied))
		// A user without rules is a stranger.
		c.ask(login("other", "o")+get("awing")+packet(0x0b, "", "", "", 0), in+reply(0x00, 0x24, denied)+reply(0x0b, 0, "1.6.45"))
		// A failure leaves nobody.
		c.ask(login("awing", "a")+login("awing", "wrong")+get("awing"), in+out(0x21)+out(0x00))
		c.expectClosed()
		// Nobody may do anything before.
		c = r.dial()
		c.ask(get("awing"), out(0x00))
		c.expectClosed()
	}
}

// TestKeyRulesLogin: the same with the users of -Y, in the text protocol.
func TestKeyRulesLogin(t *testing.T) {
	r := startRuled(t, cnp.Strict, fleet, peers("awing", "sasl:awing", "xwing", "sasl:xwing", "tracker", "cidr:10.0.0.0/8"), func(p *plan) {
		p.set.AuthFile = loginUsers(t)
	})
	c := r.dial()
	c.ask("get awing\r\n", "CLIENT_ERROR unauthenticated\r\n")
	c.ask("set x 0 0 7\r\nawing a\r\n", "STORED\r\n")
	c.ask("set awing 0 0 1\r\n1\r\nget awing\r\n", "STORED\r\nVALUE awing 0 1\r\n1\r\nEND\r\n")
	c.ask("get xwing\r\nget awing xwing\r\nset xwing 0 0 1\r\n1\r\n", refused+refused+refused)
	x := r.dial()
	x.ask("set x 0 0 7\r\nxwing x\r\nget xwing\r\nget awing\r\n", "STORED\r\nEND\r\n"+refused)
	o := r.dial()
	o.ask("set x 0 0 7\r\nother o\r\nget xwing\r\nmn\r\n", "STORED\r\n"+refused+"MN\r\n")
	_ = c.SetDeadline(time.Now().Add(patience))
	c.ask("get awing\r\n", "VALUE awing 0 1\r\n1\r\nEND\r\n")
}

// TestKeyRulesCounted: refusals are counted, with labels and without.
func TestKeyRulesCounted(t *testing.T) {
	for _, mode := range []mac.Mode{mac.Off, mac.PolicyFile} {
		r := startRuled(t, cnp.Strict, policyOf(`a {command: stats}, {command: get, keyExact: a}`), us("a"), func(p *plan) { p.mode = mode })
		c := r.dial()
		c.ask("get a b\r\nset a 0 0 1 noreply\r\n1\r\nset a 0 0 1\r\n1\r\nflush_all\r\nget a\r\n", refused+refused+refused+"END\r\n")
		if got := c.stat(" mac", "key_rule_denials"); got != "4" {
			t.Errorf("mode %v: %q refusals are counted, expected 4", mode, got)
		}
	}
}
