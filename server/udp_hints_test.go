package server_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestUDPKeysOfBefore: what is known of the keys of one datagram is not taken for those of the
// next, which stand at the same addresses.
func TestUDPKeysOfBefore(t *testing.T) {
	p := plan{}
	p.set.UDPPort = -1
	r := start(t, p)
	u, c := dialUDP(t, r), r.dial()
	c.ask("get warm\r\n", "END\r\n")
	line := "get"
	for i := range 300 { // more than a turn looks for
		line += fmt.Sprintf(" k%03d", i)
	}
	u.ask(line+"\r\n", "END\r\n")
	pad := strings.Index(line, "k299") - len("set x 0 0 1000 noreply\r\n\r\nset ")
	u.ask(fmt.Sprintf("set x 0 0 %d noreply\r\n%s\r\nset zzzz 0 0 1\r\nv\r\n", pad, strings.Repeat("p", pad)), "STORED\r\n")
	c.ask("get zzzz\r\n", "VALUE zzzz 0 1\r\nv\r\nEND\r\n")
}
