package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestAncestor: what the selinux_engine plugin of 2010 got wrong, one case each.
func TestAncestor(t *testing.T) {
	ts := startServer(t, testConfig{contexts: tenants})
	one, two := ts.dialFrom("127.0.2.1"), ts.dialFrom("127.0.2.2")
	reader, admin := ts.dialFrom("127.0.2.4"), ts.dialFrom("127.0.2.9")
	stranger := ts.dialFrom("127.0.0.1") // no line of the contexts file

	t.Run("add on an existing item asked nothing", func(t *testing.T) {
		one.want("set a 0 0 1\r\nx\r\n", "STORED\r\n")
		two.want("add a 0 0 1\r\ny\r\n", accessDenied)
		stranger.want("add a 0 0 1\r\ny\r\nadd nothing 0 0 1\r\ny\r\n", accessDenied+accessDenied)
	})
	t.Run("cas told EXISTS before it asked", func(t *testing.T) {
		two.want("cas a 0 0 1 99999\r\ny\r\ncas nothing 0 0 1 99999\r\ny\r\n", "NOT_FOUND\r\nNOT_FOUND\r\n")
	})
	t.Run("a successful cas was answered NOT_STORED", func(t *testing.T) {
		cas := strings.Fields(one.ask("gets a\r\n"))[4]
		one.want("cas a 0 0 1 "+cas+"\r\nz\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nz\r\nEND\r\n")
	})
	t.Run("incr parsed the value before it asked", func(t *testing.T) {
		two.want("incr a 1\r\ndecr a 1\r\n", "NOT_FOUND\r\nNOT_FOUND\r\n")
		one.want("incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
	})
	t.Run("a denied incr ended the server", func(t *testing.T) {
		one.want("set n 0 0 1\r\n5\r\n", "STORED\r\n")
		reader.want("incr n 1\r\nversion\r\n", "NOT_FOUND\r\nVERSION 1.6.45\r\n")
		one.want("get n\r\n", "VALUE n 0 1\r\n5\r\nEND\r\n")
	})
	t.Run("getattr was never asked for", func(t *testing.T) {
		two.want("mac label a\r\n", "NOT_FOUND\r\n")
	})
	t.Run("setattr was never asked for by itself", func(t *testing.T) {
		reader.want("touch a 100\r\ngat 100 a\r\n", "NOT_FOUND\r\nEND\r\n")
		reader.want("get a\r\n", "VALUE a 0 1\r\nz\r\nEND\r\n")
	})
	t.Run("an overwrite keeps the label, an item of another label is refused to nobody who may write it", func(t *testing.T) {
		admin.want("set a 0 0 1\r\nw\r\nmac label a\r\n", "STORED\r\nLABEL a system_u:object_r:kv_item_t:s0:c1\r\n")
	})
	t.Run("flush_all compared exptime, asked again for every item, and hid nothing in the log", func(t *testing.T) {
		for i := range 500 {
			one.want(fmt.Sprintf("set f%d 0 %d 1\r\nx\r\n", i, 1000*(i%2)), "STORED\r\n")
		}
		ts.takeAudit()
		two.want("flush_all\r\n", "OK\r\n")
		if lines := ts.takeAudit(); len(lines) != 1 || !strings.Contains(lines[0], "{ remove }") {
			t.Errorf("500 items of one label refused: want one audit line, got %d:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		one.want("get f0 f1 f499\r\n", "VALUE f0 0 1\r\nx\r\nVALUE f1 0 1\r\nx\r\nVALUE f499 0 1\r\nx\r\nEND\r\n")
		one.want("flush_all\r\nget f0 f1 f499\r\nset f0 0 0 1\r\ny\r\nget f0\r\n", "OK\r\nEND\r\nSTORED\r\nVALUE f0 0 1\r\ny\r\nEND\r\n")
	})
	t.Run("statistics, their reset and verbosity asked nothing", func(t *testing.T) {
		reader.want("stats\r\nstats items\r\nstats reset\r\nverbosity 1\r\nstats mac\r\nstats labels\r\n", strings.Repeat(accessDenied, 6))
		stranger.want("flush_all\r\n", accessDenied)
	})
	t.Run("a client without a label was given one that may do things", func(t *testing.T) {
		stranger.want("mac whoami\r\n", "MAC system_u:object_r:unlabeled_t:s0\r\n")
		stranger.want("set b 0 0 1\r\nx\r\nget n\r\n", accessDenied+"END\r\n")
	})
	t.Run("keys and values went to stderr", func(t *testing.T) {
		one.want("set \"evil\tkey\" 0 0 11\r\nsecret-word\r\n", "STORED\r\n")
		ts.takeAudit()
		two.want("get \"evil\tkey\"\r\n", "END\r\n")
		lines := ts.takeAudit()
		if len(lines) != 1 || strings.Contains(lines[0], "secret-word") || !strings.Contains(lines[0], "key=226576696C096B657922 ") {
			t.Errorf("the key must be there in hexadecimal, the value not at all:\n%s", strings.Join(lines, "\n"))
		}
	})
}
