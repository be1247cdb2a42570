package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// TestKeyRulesLines: gets of any number of keys, however they are spaced and wherever in the
// input they stand, are refused if one of the keys is, and nothing else decides. In Cilium's
// mode one rule must allow all keys.
func TestKeyRulesLines(t *testing.T) {
	for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
		r := startRuled(t, mode, policyOf(`a {command: get, keyPrefix: "aa"}, {command: get, keyPrefix: "ab"}, {command: set, keyPrefix: "s"}`), us("a"))
		c := r.dial()
		c.ask("get aa\r\n", "END\r\n") // the first byte decides about the protocol
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		tail := func() string {
			switch n := rnd.IntN(40); n {
			case 0:
				return strings.Repeat("x", 248)
			case 1:
				return "\x80\x00\x00"
			default:
				return strings.Repeat("x", n)
			}
		}
		get := func() (line, reply string) {
			var b strings.Builder
			b.WriteString(pick(rnd, "get", "gets"))
			n := 1 + rnd.IntN(30)
			if rnd.IntN(8) == 0 {
				n = 250 + rnd.IntN(300) // more than a turn looks for
			}
			bad, wide, mixed := -1, rnd.IntN(3) == 0, rnd.IntN(2) == 0
			if rnd.IntN(3) == 0 {
				bad = rnd.IntN(n)
			}
			seen := map[string]bool{}
			for i := range n {
				b.WriteString(strings.Repeat(" ", 1+rnd.IntN(3)*rnd.IntN(2)*btoi(wide)))
				p := "aa"
				if mixed && rnd.IntN(2) == 0 {
					p = "ab"
				}
				if i == bad {
					p = pick(rnd, "b", "a", "ba", "s")
				} else {
					seen[p] = true
				}
				if p == "a" {
					b.WriteString(p)
				} else {
					b.WriteString(p + tail())
				}
			}
			if wide {
				b.WriteString(strings.Repeat(" ", rnd.IntN(3)))
			}
			b.WriteString("\r\n")
			if bad >= 0 || mode == cnp.Cilium && len(seen) > 1 {
				return b.String(), refused
			}
			return b.String(), "END\r\n"
		}
		for range 150 {
			var send, want bytes.Buffer
			for range 1 + rnd.IntN(12) {
				switch rnd.IntN(8) {
				case 0:
					send.WriteString("set s 0 0 11\r\nget b aa ab\r\n")
					want.WriteString("STORED\r\n")
				case 1:
					send.WriteString("set b 0 0 6\r\nget aa\r\n")
					want.WriteString(refused)
				case 2: // what the scan takes for a frame, whose key is the start of a get
					send.WriteString("\x80\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x08xxxxxxx\n")
					want.WriteString("ERROR\r\n")
					send.WriteString("get aaab\r\n")
					want.WriteString("END\r\n")
				default:
					line, reply := get()
					send.WriteString(line)
					want.WriteString(reply)
				}
			}
			c.ask(send.String(), want.String())
		}
	}
}

// TestKeyRulesParkedLine: the keys of a line that waited are judged again, whole, where they
// have moved to.
func TestKeyRulesParkedLine(t *testing.T) {
	for _, x := range []struct{ rule, want string }{
		{`a {command: get, keyPrefix: k}`, strings.Repeat("END\r\n", 2)},
		{`a {command: get, keyPrefix: k1}`, refused + "END\r\n"},
		{`a {command: get, keyExact: k29}`, refused + refused},
	} {
		r := startRuled(t, cnp.Strict, policyOf(`a {command: get}`), us("a"))
		c := r.dial()
		open := r.eng.gate("k7")
		line := "get"
		for i := range 30 {
			line += fmt.Sprintf(" k%d", i)
		}
		c.send(line + "\r\nget k1 k10 k11\r\n")
		c.quiet()
		r.write("rules.yaml", policyOf(x.rule))
		if err := r.mon.Reload(); err != nil {
			t.Fatal(err)
		}
		open()
		c.expect(x.want)
	}
}

func pick(rnd *rand.Rand, list ...string) string { return list[rnd.IntN(len(list))] }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
