package server_test

import (
	"testing"

	"sememcached/server"
)

const (
	binaryNoop      = "\x80\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00"
	binaryNoopReply = "\x81\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00"
)

// TestDialects: what a connection may speak, by -B and by a prefix of -l.
func TestDialects(t *testing.T) {
	for _, x := range []struct {
		name         string
		set          server.Settings
		text, binary bool
	}{
		{"auto", server.Settings{}, true, true},
		{"-B ascii", server.Settings{Protocol: "ascii"}, true, false},
		{"-B binary", server.Settings{Protocol: "binary"}, false, true},
		{"proto[binary]", server.Settings{Port: -1, Interfaces: []string{"tag[a]:proto[binary]:127.0.0.1"}}, false, true},
		{"proto[ascii]", server.Settings{Port: -1, Protocol: "binary", Interfaces: []string{"tag_b_:proto[ascii]:127.0.0.1"}}, true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := start(t, plan{set: x.set})
			c := r.dial()
			c.send("mn\r\n")
			if x.text {
				c.expect("MN\r\n")
				c.ask("bogus \x80\r\n", "ERROR\r\n") // it has been decided
			} else {
				c.expectClosed()
			}
			c = r.dial()
			c.send(binaryNoop)
			if x.binary {
				c.expect(binaryNoopReply)
				c.send("mn\r\n")
				c.expectClosed()
			} else {
				c.ask("\r\n", "CLIENT_ERROR bad command line format\r\nERROR\r\n")
			}
		})
	}
	for _, bad := range []string{"proto[x]:127.0.0.1", "proto[ascii127.0.0.1", "tag[]:127.0.0.1", "tag[123456789]:127.0.0.1"} {
		if as, err := server.ParseInterfaces([]string{bad}, 1); err == nil {
			t.Errorf("%s: %v", bad, as)
		}
	}
}

// TestBinaryUploads: values above the inline limit, whole, in pieces, too large, and
// with statistics between them.
func TestBinaryUploads(t *testing.T) {
	r := start(t, plan{})
	c := r.dial()
	frameOf := func(opcode byte, extras, key string, n int) string {
		b := frame(opcode, key, "")
		body := len(extras) + len(key) + n
		b[4] = byte(len(extras))
		b[8], b[9], b[10], b[11] = byte(body>>24), byte(body>>16), byte(body>>8), byte(body)
		return string(b[:24]) + extras + key
	}
	big := make([]byte, 300_000)
	for i := range big {
		big[i] = byte(i)
	}
	for range 3 {
		c.send(frameOf(0x11, "\x00\x00\x00\x05\x00\x00\x00\x00", "big", len(big)))
		for rest := big; len(rest) > 0; {
			n := min(len(rest), 70_001)
			c.send(string(rest[:n]))
			rest = rest[n:]
		}
		c.ask(binaryNoop, binaryNoopReply)
	}
	c.send(string(frame(0x00, "big", "")))
	head := make([]byte, 28)
	for i := range head {
		b, err := c.r.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		head[i] = b
	}
	if head[27] != 5 {
		t.Errorf("flags: % x", head[24:])
	}
	c.expect(string(big))
	// Too large: the value is swallowed and the old one gone.
	c.send(frameOf(0x01, "\x00\x00\x00\x05\x00\x00\x00\x00", "big", 1<<20) + string(make([]byte, 1<<20)))
	c.expect("\x81\x01\x00\x00\x00\x00\x00\x03\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Too large.")
	c.ask(string(frame(0x09, "big", ""))+binaryNoop, binaryNoopReply)
	r.dial().ask("ms big 30000 k O1 s\r\n"+string(big[:30000])+"\r\nmg big s k\r\n", "HD kbig O1 s30000\r\nHD s30000 kbig\r\n")
}
