package server_test

import "testing"

// TestHintFramed: what looks like a frame of the binary protocol on a connection that
// speaks text does not make one key of two.
func TestHintFramed(t *testing.T) {
	c := start(t, plan{}).dial()
	c.ask("set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\n", "STORED\r\nSTORED\r\n")
	// A header with a key of 3 bytes, the last of its bytes being the line "get ".
	frame := "\x80\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03" + "xxxxxxx\n" + "get " + "a b c\r\n"
	c.ask(frame, "ERROR\r\nVALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n")
}
