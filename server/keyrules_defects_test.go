package server_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// The defects of Cilium's parser and proxy, each as something that does not
// happen here.

const pubOnly = `a {command: get, keyPrefix: "pub:"}, {command: set, keyPrefix: "pub:"}`

// ruledWithSecret is a server with an item that the client has no rule for.
func ruledWithSecret(t *testing.T, rules string) (r *ruled, c, admin *client) {
	t.Helper()
	r = startRuled(t, cnp.Strict, policyOf(rules, `b {command: "*"}`),
		"identities:\n- labels: {app: a}\n  peers: [\"cidr:127.0.0.1\"]\n- labels: {app: b}\n  peers: [\"cidr:127.0.0.2\"]\n")
	admin = r.dialFrom("127.0.0.2")
	admin.ask("set sec:1 0 0 6\r\nsecret\r\n", "STORED\r\n")
	return r, r.dial(), admin
}

func stillThere(t *testing.T, admin *client) {
	t.Helper()
	admin.ask("get sec:1\r\n", "VALUE sec:1 0 6\r\nsecret\r\nEND\r\n")
}

// D1: a miss hung. D10: a value with a line END lost the framing of replies.
func TestDefectD1D10Replies(t *testing.T) {
	_, c, _ := ruledWithSecret(t, pubOnly)
	c.ask("get pub:none\r\n", "END\r\n")
	c.ask("set pub:end 0 0 9\r\na\r\nEND\r\nb\r\n", "STORED\r\n")
	c.ask("get pub:end\r\nget pub:none\r\n", "VALUE pub:end 0 9\r\na\r\nEND\r\nb\r\nEND\r\nEND\r\n")
}

// D2: an unknown command in a rule allowed everything.
func TestDefectD2UnknownCommand(t *testing.T) {
	for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
		for _, name := range []string{"gett", "GET", "readgroup", "mget"} {
			if _, err := cnp.Parse("f", []byte(policyOf("a {command: "+name+"}")), mode); err == nil {
				t.Errorf("mode %v: %q loads", mode, name)
			}
		}
	}
	r := startRuled(t, cnp.Strict, policyOf("a {command: readGroup}"), us("a"))
	c := r.dial()
	c.ask("get a\r\n", "END\r\n")
	c.ask("delete a\r\n", refused)
	c.ask("flush_all\r\n", refused)
}

// D3 to D6: what two parsers cut differently. One parser has nothing to differ
// from: what is executed is what was judged.
func TestDefectD3ToD6Smuggling(t *testing.T) {
	long := strings.Repeat("k", 251)
	for _, x := range []struct{ name, rules, send, want string }{
		{"D3 bare LF", `a {command: get}`, "get pub:1\ndelete sec:1\r\n", "END\r\n" + refused},
		{"D4 two lengths", pubOnly, "set pub:a 0 0 12\nxxxxxxxxxxxx\r\ndelete sec:1\r\n", "STORED\r\n" + refused},
		{"D5 the secret", pubOnly, "set pub:a 0 0 9\nxxxxxxxxx\r\nget sec:1\r\nget pub:none\r\n", "STORED\r\n" + refused + "END\r\n"},
		{"D6 bad flags", pubOnly, "set pub:a BAD 0 12\r\ndelete sec:1\r\nget pub:none\r\n", "CLIENT_ERROR bad command line format\r\nEND\r\n"},
		{"D6 long key", pubOnly, "set " + long + " 0 0 12\r\ndelete sec:1\r\nget pub:none\r\n", "CLIENT_ERROR bad command line format\r\nEND\r\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, c, admin := ruledWithSecret(t, x.rules)
			c.ask(x.send, x.want)
			stillThere(t, admin)
		})
	}
}

// D7, D8, D9, D13: denials were lost, late, cut short, or without opcode and
// opaque. Each is answered once, in its place.
func TestDefectD7D8D9D13Denials(t *testing.T) {
	_, c, _ := ruledWithSecret(t, `a {command: set, keyPrefix: "pub:"}, {command: get, keyPrefix: "pub:"}`)
	denied := func(op byte) string { return reply(op, 0x24, "CLIENT_ERROR access denied") }
	for range 5 { // D7
		c.ask(packet(0x00, "sec:1", "", "", 0), denied(0x00))
		c.ask(packet(0x00, "pub:1", "", "", 0), reply(0x00, 1, "Not found"))
	}
	quiet := strings.Repeat(packet(0x11, "pub:q", storeExtras, "v", 0), 50) // D8
	c.ask(quiet+packet(0x00, "sec:1", "", "", 0)+packet(0x0a, "", "", "", 0), denied(0x00)+reply(0x0a, 0, ""))
	c.ask(strings.Repeat(packet(0x00, "sec:1", "", "", 0), 1000), strings.Repeat(denied(0x00), 1000)) // D9
	_, text, _ := ruledWithSecret(t, pubOnly)
	text.ask(strings.Repeat("get sec:1\r\nget pub:1\r\n", 1000), strings.Repeat(refused+"END\r\n", 1000))
}

// D11: what the parser did not know made connections hang or close.
func TestDefectD11OtherCommands(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: stats}, {command: verbosity}, {command: get}`), us("a"))
	c := r.dial()
	c.ask("stats reset\r\n", "RESET\r\n")
	c.ask("mn\r\n", "MN\r\n")
	c.ask("mg a v\r\n", "EN\r\n")
	c.ask("verbosity 0\r\n", "OK\r\n")
	c.ask("md a\r\n", refused)
	c.ask("get a\r\n", "END\r\n")
}

// D12: lengths of frames were not checked. D14: nor were negative ones of data.
func TestDefectD12D14Lengths(t *testing.T) {
	for _, head := range []string{
		"\x80\x00\x00\x05\x00\x00\x00\x00\xff\xff\xff\xff", // more than there is
		"\x80\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01", // less than the key
	} {
		_, c, admin := ruledWithSecret(t, pubOnly)
		c.send(head + "\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "pub:a" + packet(0x04, "sec:1", "", "", 0))
		for { // an error, and the end
			if _, err := c.r.ReadByte(); err != nil {
				break
			}
		}
		stillThere(t, admin)
	}
	_, c, admin := ruledWithSecret(t, pubOnly)
	for _, n := range []string{"-1", "-2", "-14", "4294967295", "9999999999999999999999"} {
		c.send(fmt.Sprintf("set pub:a 0 0 %s\r\n", n))
		if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "CLIENT_ERROR bad ") {
			t.Fatalf("%s bytes: %q, %v", n, line, err)
		}
		c.ask("get pub:none\r\n", "END\r\n")
	}
	stillThere(t, admin)
}
