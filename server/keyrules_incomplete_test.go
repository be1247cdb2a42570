package server_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"sememcached/engine"
	"sememcached/policy/cnp"
	"sememcached/protocol"
	"sememcached/server"
)

// incomplete are the cases of Cilium's tests in which a request has not come whole,
// where its parser asked for more, and some of the same kind: what has come first,
// what comes next, and the replies to that under a rule that allows it. need is what
// the parser says must be there before it can say more, 0 for what it need not know.
var incomplete = []struct {
	name, rule  string
	first, rest string
	need        int
	reply       string
	denied      string
}{
	{"T4 five bytes of a get", `{command: get}`, "get k", "ey1 key2\r\n", 0, "END\r\n", refused},
	{"T7 five bytes of a gat", `{command: gat}`, "gat 5", " key1 key2 key3\r\n", 0, "END\r\n", refused},
	{"T22 all but the LF", `{command: get}`, "get key1 key2 key3\r", "\n", 0, "END\r\n", refused},
	{"T22 and the next", `{command: get}`, "get key1 key2 key3\r", "\nget key4\r\nget key5", 0, "END\r\nEND\r\n", refused + refused},
	{"a set without its value", `{command: set}`, "set key 0 0 5\r\n", "hello\r\n", 22, "STORED\r\n", refused},
	{"a set with some of it", `{command: set}`, "set key 0 0 5\r\nhel", "lo\r\n", 22, "STORED\r\n", refused},
	{"a set without the last LF", `{command: set}`, "set key 0 0 5\r\nhello\r", "\n", 22, "STORED\r\n", refused},
	{"a value that reads as a command", `{command: set}`, "set key 0 0 12\r\nget key\r\n", "xyz\r\n", 30, "STORED\r\n", refused},
	{"ms without its value", `{command: set}`, "ms key 5\r\n", "hello\r\n", 17, "HD\r\n", refused},
	{"B5 ten bytes of a header", `{command: get}`, packet(0x00, "Hello", "", "", 0)[:10], packet(0x00, "Hello", "", "", 0)[10:], 24, reply(0x00, 1, "Not found"), binaryDenied(0x00)},
	{"B6 in two pieces", `{command: get}`, packet(0x00, "Hello", "", "", 0)[:10], packet(0x00, "Hello", "", "", 0)[10:] + packet(0x00, "Hello", "", "", 0)[:10], 24, reply(0x00, 1, "Not found"), binaryDenied(0x00)},
	{"B7 a header and two bytes of the key", `{command: get}`, packet(0x00, "Hello", "", "", 0)[:26], "llo", 29, reply(0x00, 1, "Not found"), binaryDenied(0x00)},
	{"a header alone", `{command: set}`, packet(0x11, "Hello", storeExtras, "value", 0)[:24], packet(0x11, "Hello", storeExtras, "value", 0)[24:] + packet(0x0a, "", "", "", 0), 37, reply(0x0a, 0, ""), binaryDenied(0x11) + reply(0x0a, 0, "")},
	{"all but the last byte of a value", `{command: set}`, packet(0x11, "Hello", storeExtras, "value", 0)[:41], "e" + packet(0x0a, "", "", "", 0), 42, reply(0x0a, 0, ""), binaryDenied(0x11) + reply(0x0a, 0, "")},
}

func binaryDenied(opcode byte) string { return reply(opcode, 0x24, "CLIENT_ERROR access denied") }

// TestIncompleteInProcess: the parser consumes nothing of what is incomplete, and says
// how much there must be.
func TestIncompleteInProcess(t *testing.T) {
	limits := &protocol.Limits{Meta: true}
	parse := func(in string) (n int, out protocol.Outcome, r protocol.Request) {
		if in[0] == protocol.MagicRequest {
			n, out, _ = protocol.ParseBinary([]byte(in), limits, &r)
		} else {
			n, out, _ = protocol.Parse([]byte(in), limits, &r)
		}
		return n, out, r
	}
	for _, x := range incomplete {
		for i := 1; i <= len(x.first); i++ {
			n, out, r := parse(x.first[:i])
			if n != 0 || out != protocol.NeedMore || r.Need <= i {
				t.Errorf("%s, %d bytes: %d are consumed, %v, %d are needed", x.name, i, n, out, r.Need)
			}
			if i == len(x.first) && x.need > 0 && r.Need != x.need {
				t.Errorf("%s: %d bytes are needed, expected %d", x.name, r.Need, x.need)
			}
		}
		n, out, r := parse(x.first + x.rest)
		if out != protocol.Ready || n <= len(x.first) || n > len(x.first)+len(x.rest) {
			t.Errorf("%s: with the rest %d bytes are consumed, %v", x.name, n, out)
		}
		if need, _, _ := server.Need(&r, cnp.Strict); need == 0 {
			t.Errorf("%s: the rules are asked nothing", x.name)
		}
	}
}

// TestIncomplete: on a socket nothing of an incomplete request is answered, executed,
// refused or logged as refused; it is when the rest comes, once; and when the
// rest never comes it is not.
func TestIncomplete(t *testing.T) {
	for _, x := range incomplete {
		for rule, want := range map[string]string{x.rule: x.reply, `{command: version}`: x.denied} {
			t.Run(x.name+" "+rule, func(t *testing.T) {
				t.Parallel()
				r := startRuled(t, cnp.Strict, policyOf("a "+rule, `a {command: stats}`), us("a"))
				var calls atomic.Int64
				r.eng.watch(func(*engine.Call) { calls.Add(1) })
				gone := r.dial()
				gone.send(x.first)
				c := r.dial()
				for i := range len(x.first) {
					c.send(x.first[i : i+1])
				}
				c.quiet()
				gone.Close()
				denials := r.dial().stat(" mac", "key_rule_denials")
				// A store may have been refused by its line: its value is read and dropped.
				if early := strings.Contains(x.first, "\n") && want == x.denied; calls.Load() != 0 || denials != "0" && !early {
					t.Errorf("%d calls and %s denials before the rest has come", calls.Load(), denials)
				}
				c.ask(x.rest, want)
				c.quiet()
				if n := calls.Load(); (n > 0) != (want == x.reply) {
					t.Errorf("%d calls when the rest has come", n)
				}
			})
		}
	}
}

// TestIncompleteB8: an allowed set and a refused get in one packet are answered in
// their order, and the answer to the get waits for that to the set.
func TestIncompleteB8(t *testing.T) {
	r := startRuled(t, cnp.Strict, policyOf(`a {command: set}`), us("a"))
	set, get := packet(0x01, "Hello", storeExtras, "value", 0), packet(0x00, "Hello", "", "", 0)
	open := r.eng.gate("Hello")
	c := r.dial()
	c.send(set + get)
	until(t, "the set to wait", func() bool { return r.srv.Parked() == 1 })
	c.quiet()
	open()
	head, err := c.r.Peek(24)
	if err != nil || head[1] != 0x01 || head[7] != 0 {
		t.Fatalf("the set is answered %x, %v", head, err)
	}
	if _, err := c.r.Discard(24); err != nil {
		t.Fatal(err)
	}
	c.expect(binaryDenied(0x00))
	c.quiet()
}
