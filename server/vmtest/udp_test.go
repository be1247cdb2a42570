//go:build vm && linux

package vmtest

import (
	"io"
	"os"
	"testing"
)

// TestGuestUDP: a datagram that comes with a label is from whom the label says, over any udp:
// line; one without is from whom such a line says its address is.
func TestGuestUDP(t *testing.T) {
	inGuest(t)
	must(t, os.WriteFile("/run/contexts", []byte("client udp:127.0.0.1/32 "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	startServer(t, "--listen=127.0.0.1", "-p", "11303", "-U", "11303", "--contexts", "/run/contexts")
	const frame = "\x00\x07\x00\x00\x00\x01\x00\x00" // request 7, datagram 0 of 1
	ask := func(context, request, reply string) {
		t.Helper()
		c, err := dialAs(context, "udp", "127.0.0.1:11303")
		must(t, err)
		defer c.Close()
		_, err = c.Write([]byte(frame + request))
		must(t, err)
		got := make([]byte, len(frame+reply))
		if n, err := io.ReadFull(c, got); err != nil || string(got) != frame+reply {
			t.Errorf("%s: %q: expected %q, found %q, %v", context, request, reply, got[min(n, len(frame)):n], err)
		}
	}
	one, two := domain("kv_client_t", "s0:c1"), domain("kv_client_t", "s0:c2")
	reader := "MAC " + domain("kv_reader_t", "s0:c7") + "\r\n"
	ask(one, "mac whoami\r\n", reader)

	noCipso := cipso(t, "127.0.0.1")
	ask(one, "mac whoami\r\n", "MAC "+one+"\r\n")
	ask(two, "mac whoami\r\n", "MAC "+two+"\r\n")
	ask(one, "set u 0 0 1\r\nx\r\n", "STORED\r\n")
	ask(two, "get u\r\n", "END\r\n")
	ask(one, "get u\r\n", "VALUE u 0 1\r\nx\r\nEND\r\n")
	noCipso()
	ask(one, "mac whoami\r\n", reader)
}
