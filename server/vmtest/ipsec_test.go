//go:build vm && linux

package vmtest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func ip(t *testing.T, args string) string {
	t.Helper()
	return run(t, append([]string{"/ip"}, strings.Fields(args)...)...)
}

const (
	hostAddr   = "10.9.0.1" // of the clients
	serverAddr = "10.9.0.2" // in the server's network namespace
)

// twoHosts makes a network namespace for a server and joins it to this one.
func twoHosts(t *testing.T) {
	t.Helper()
	insert(t)
	must(t, os.MkdirAll("/run/netns", 0o755))
	ip(t, "netns add s1")
	t.Cleanup(func() { ip(t, "netns del s1") })
	ip(t, "link add v0 type veth peer name v1 netns s1")
	ip(t, "addr add "+hostAddr+"/24 dev v0")
	ip(t, "link set v0 up")
	ip(t, "-n s1 addr add "+serverAddr+"/24 dev v1")
	ip(t, "-n s1 link set v1 up")
	ip(t, "-n s1 link set lo up")
}

// transforms are the two protocols of labelled IPsec, as ip-xfrm(8) wants them.
var transforms = map[string]string{
	"ah":  "auth hmac(sha256) 0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"esp": "enc cbc(aes) 0x0123456789abcdef0123456789abcdef auth hmac(sha256) 0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

// associate makes the security associations of a protocol on both hosts: one for
// each context that sends from the clients' host, and one for each that answers.
// Nothing negotiates any: what has none is not sent.
func associate(t *testing.T, proto string, from, back []string) {
	t.Helper()
	for _, host := range []string{"", "-n s1 "} {
		spi := 0x400
		state := func(src, dst, context string) {
			ip(t, fmt.Sprintf("%sxfrm state add src %s dst %s proto %s spi %#x ctx %s %s mode transport", host, src, dst, proto, spi, context, transforms[proto]))
			spi++
		}
		for _, c := range from {
			state(hostAddr, serverAddr, c)
		}
		for _, c := range back {
			state(serverAddr, hostAddr, c)
		}
		there, here := "out", "in"
		if host != "" {
			there, here = here, there
		}
		policy := func(src, dst, dir string) {
			// 6 is TCP: names need a file of them. level required: nothing in the clear.
			ip(t, fmt.Sprintf("%sxfrm policy add src %s dst %s proto 6 dir %s ctx %s tmpl proto %s mode transport level required", host, src, dst, dir, object("net_t", "s0"), proto))
		}
		policy(hostAddr, serverAddr, there)
		policy(serverAddr, hostAddr, here)
	}
}

func dissociate(t *testing.T) {
	t.Helper()
	for _, host := range []string{"", "-n s1 "} {
		ip(t, host+"xfrm state flush")
		ip(t, host+"xfrm policy flush")
	}
}

var packets = regexp.MustCompile(`(\d+)\(packets\)`)

// TestGuestIPsec: between two hosts, joined by labelled IPsec, every client is who
// its process is, with AH and with ESP; without it the contexts file decides.
func TestGuestIPsec(t *testing.T) {
	inGuest(t)
	twoHosts(t)
	must(t, os.WriteFile("/run/contexts", []byte("client cidr:10.9.0.0/24 "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	const addr = serverAddr + ":11302"
	startServerAs(t, launch{context: serverContext, user: "root", netns: "s1"}, "--listen="+serverAddr, "-p", "11302", "--contexts", "/run/contexts")
	connect := func(context string) *client {
		t.Helper()
		c, err := dialAs(context, "tcp", addr)
		must(t, err)
		c.t = t
		return c
	}
	one, two, reader := domain("kv_client_t", "s0:c1"), domain("kv_client_t", "s0:c2"), domain("kv_reader_t", "s0:c1")
	clear := func() {
		t.Helper()
		c := connect(one)
		c.want("mac whoami\r\n", "MAC "+domain("kv_reader_t", "s0:c7")+"\r\n")
		_ = c.Close()
	}
	clear()
	for _, proto := range []string{"ah", "esp"} {
		// The socket that answers has the server's type and the client's level.
		associate(t, proto, []string{one, two, reader}, []string{domain("kv_server_t", "s0:c1"), domain("kv_server_t", "s0:c2")})
		c1, c2, r := connect(one), connect(two), connect(reader)
		for _, c := range []*client{c1, c2, r} {
			c.want("mac whoami\r\n", "MAC "+c.context+"\r\n")
			level := strings.SplitN(c.context, ":", 4)[3]
			if want := domain("kv_server_t", level); c.server != want {
				t.Errorf("%s: %s sees the server as %s, not as %s", proto, c.context, c.server, want)
			}
		}
		c1.want("set k 0 0 2\r\n"+proto[:2]+"\r\nmac label k\r\n", "STORED\r\nLABEL k "+object("kv_item_t", "s0:c1")+"\r\n")
		c2.want("get k\r\nset k 0 0 1\r\nx\r\n", "END\r\n"+accessDenied)
		r.want("get k\r\nset k 0 0 1\r\nx\r\n", "VALUE k 0 2\r\n"+proto[:2]+"\r\nEND\r\n"+accessDenied)
		c1.want("delete k\r\n", "DELETED\r\n")
		for _, c := range []*client{c1, c2, r} {
			_ = c.Close()
		}
		// It really went that way.
		used := 0
		for _, m := range packets.FindAllStringSubmatch(ip(t, "-s xfrm state list proto "+proto), -1) {
			if n, _ := strconv.Atoi(m[1]); n > 0 {
				used++
			}
		}
		if used < 5 {
			t.Errorf("%s: %d of 5 associations were used", proto, used)
		}
		dissociate(t)
		clear()
	}
}
