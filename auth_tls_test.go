package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"sememcached/internal/testca"
	"sememcached/server"
)

// TestSASLOverTLS: SASL within TLS of both versions, with the packets of the protocol
// and with libraries that people use.
func TestSASLOverTLS(t *testing.T) {
	s := startTLSServer(t, testConfig{contexts: saslTenants, server: server.Settings{SASL: true, SASLUsers: usersFile(t)}}, 0)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		open := func() *client {
			raw, err := tls.Dial("tcp", s.tcp, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost", MinVersion: version, MaxVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			return newClient(t, raw)
		}
		exchange(t, open(), binaryGet(7, "k"), "7 0x20 Auth failure.", "EOF")
		exchange(t, open(), plainAuth(1, "alice", "wrong")+plainAuth(2, "nobody", "secret")+binaryGet(3, "k"),
			"1 0x20 Auth failure.", "2 0x20 Auth failure.", "3 0x20 Auth failure.", "EOF")
		exchange(t, open(),
			plainAuth(1, "alice", "secret")+binarySet(2, "a", "1")+binaryGet(3, "a")+
				plainAuth(4, "bob", "builder")+binaryGet(5, "a")+plainAuth(6, "alice", "secret")+binaryGet(7, "a"),
			"1 0x00 Authenticated", "2 0x00 ", "3 0x00 1",
			"4 0x00 Authenticated", "5 0x01 Not found", "6 0x00 Authenticated", "7 0x00 1")
	}
	s = startTLSServer(t, testConfig{server: server.Settings{SASL: true, SASLUsers: usersFile(t)}}, 0)
	ca := filepath.Join(s.dir, "ca.pem")
	t.Run("bmemcached", func(t *testing.T) {
		needTool(t, systemPython)
		needModule(t, exec.Command(systemPython, "-c", "import bmemcached"), "python3-binary-memcached")
		script(t, exec.Command(systemPython, "testdata/clients/sasl.py", s.tcp, ca))
	})
	t.Run("dalli", func(t *testing.T) {
		ruby := needTool(t, "ruby")
		needModule(t, exec.Command(ruby, "-e", `require "dalli"`), "ruby-dalli")
		script(t, exec.Command(ruby, "testdata/clients/sasl.rb", s.tcp, ca))
	})
}

// TestLoginAndCertificate: a client with a certificate and a user name is both, and the
// first line of the contexts file that knows one of them decides.
func TestLoginAndCertificate(t *testing.T) {
	const text = `client sasl:alice                     system_u:system_r:kv_client_t:s0:c7
client spiffe:spiffe://prod/ns/web/*  system_u:system_r:kv_client_t:s0:c1
client sasl:bob                       system_u:system_r:kv_client_t:s0:c9
`
	s := startTLSServer(t, testConfig{contexts: text, server: server.Settings{AuthFile: usersFile(t)}}, 1)
	connect := func(of *testca.CA) *client {
		raw, err := tls.Dial("tcp", s.tcp, s.config(of, testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a"}}))
		if err != nil {
			t.Fatal(err)
		}
		return newClient(t, raw)
	}
	for _, x := range []struct {
		of         *testca.CA
		login      string
		want, what string
	}{
		{s.ca, "alice secret", "system_u:system_r:kv_client_t:s0:c7", "alice, whose line is above the certificate's"},
		{s.ca, "bob builder", webContext, "bob, whose line is below it"},
		{s.ca, "user1 password1", webContext, "a user without a line"},
		{nil, "bob builder", "system_u:system_r:kv_client_t:s0:c9", "bob without a certificate"},
		{nil, "user1 password1", unlabeledContext, "neither has a line"},
	} {
		c := connect(x.of)
		// The certificate alone opens nothing: authentication is asked for.
		login := fmt.Sprintf("set x 0 0 %d\r\n%s\r\n", len(x.login), x.login)
		for _, y := range [][2]string{{"mac whoami\r\n", "CLIENT_ERROR unauthenticated\r\n"}, {login, "STORED\r\n"}} {
			if _, err := io.WriteString(c, y[0]); err != nil {
				t.Fatal(err)
			}
			if line, err := c.r.ReadString('\n'); line != y[1] {
				t.Errorf("%s: %q: %q, %v", x.what, y[0], line, err)
			}
		}
		c.want("mac whoami\r\n", "MAC "+x.want+"\r\n")
	}
}
