//go:build vm && linux

package vmtest

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func netlabel(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("/netlabelctl", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("netlabelctl %s: %v: %s", args, err, out)
	}
}

// cipso labels what is sent to addr with whole contexts (the "local" tag), until
// the end of the test or until the function that it returns is called.
func cipso(t *testing.T, addr string) func() {
	t.Helper()
	netlabel(t, "cipsov4 add local doi:5")
	netlabel(t, "map del default")
	netlabel(t, "map add default address:0.0.0.0/0 protocol:unlbl")
	netlabel(t, "map add default address:::/0 protocol:unlbl")
	netlabel(t, "map add default address:"+addr+" protocol:cipsov4,5")
	end := sync.OnceFunc(func() {
		netlabel(t, "map del default")
		netlabel(t, "cipsov4 del doi:5")
		netlabel(t, "map add default protocol:unlbl")
	})
	t.Cleanup(end)
	return end
}

// TestGuestNetLabel: over TCP with CIPSO "local" tags the client is who its
// process is, over the contexts file; with static labels it is what they say;
// without either the contexts file decides again.
func TestGuestNetLabel(t *testing.T) {
	inGuest(t)
	must(t, os.WriteFile("/run/contexts", []byte("client * "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	startServer(t, "--listen=127.0.0.1", "-p", "11301", "--contexts", "/run/contexts")
	check := func(context, want string) {
		t.Helper()
		c, err := dialAs(context, "tcp", "127.0.0.1:11301")
		must(t, err)
		defer c.Close()
		c.t = t
		c.want("mac whoami\r\n", "MAC "+want+"\r\n")
	}
	one, two := domain("kv_client_t", "s0:c1"), domain("kv_admin_t", "s0-s0:c0.c1023")
	check(one, domain("kv_reader_t", "s0:c7"))

	noCipso := cipso(t, "127.0.0.1")
	check(one, one)
	check(two, two)
	c, err := dialAs(one, "tcp", "127.0.0.1:11301")
	must(t, err)
	c.t = t
	defer c.Close()
	if want := domain("kv_server_t", "s0:c1"); c.server != want {
		t.Errorf("the client sees the server as %s, not as %s", c.server, want)
	}
	c.want("set k 0 0 1\r\nx\r\nmac label k\r\n", "STORED\r\nLABEL k "+object("kv_item_t", "s0:c1")+"\r\n")
	noCipso()

	netlabel(t, "unlbl add interface:lo address:127.0.0.1 label:"+domain("kv_client_t", "s0:c9"))
	check(two, domain("kv_client_t", "s0:c9"))
	netlabel(t, "unlbl del interface:lo address:127.0.0.1")
	check(one, domain("kv_reader_t", "s0:c7"))
}
