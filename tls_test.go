package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/server"
)

// tlsServer is a server with TLS on its TCP port, and the authority of its clients.
type tlsServer struct {
	*testServer
	ca  *testca.CA
	dir string
}

func startTLSServer(t testing.TB, cfg testConfig, verify int) *tlsServer {
	t.Helper()
	ca, err := testca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{ca: ca, dir: t.TempDir()}
	chain, key, authority, err := ca.WriteServer(s.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	cfg.server.TLS = server.TLS{Enabled: true, ChainCert: chain, Key: key, CACert: authority, VerifyMode: verify, SessionCache: true}
	s.testServer = startServer(t, cfg)
	return s
}

// writeServer makes an authority and, in a directory, a server's certificate and key.
func writeServer(t testing.TB) (ca *testca.CA, dir, chain, key string) {
	t.Helper()
	ca, err := testca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if chain, key, _, err = ca.WriteServer(dir, false); err != nil {
		t.Fatal(err)
	}
	return ca, dir, chain, key
}

// config is a client's; of, if not nil, issues it a certificate.
func (s *tlsServer) config(of *testca.CA, leaf testca.Leaf) *tls.Config {
	s.t.Helper()
	c := &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"}
	if of != nil {
		pair, err := of.Pair(leaf)
		if err != nil {
			s.t.Fatal(err)
		}
		// It is shown whether or not the server has named its authority.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c
}

// connect is a client whose handshake has succeeded on both sides: a refusal of
// TLS 1.3 comes only with the first reply.
func (s *tlsServer) connect(cfg *tls.Config) (*client, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", s.tcp, cfg)
	if err != nil {
		return nil, err
	}
	cl := newClient(s.t, c)
	if _, err := io.WriteString(c, "mn\r\n"); err != nil {
		return nil, err
	}
	_, err = cl.r.ReadString('\n')
	return cl, err
}

// tlsContexts gives contexts to certificates, and, above them, to what a
// certificate must not be taken for.
const tlsContexts = `
client uid:0                              system_u:system_r:kv_admin_t:s0-s0:c0.c1023
client uid:*                              system_u:system_r:kv_admin_t:s0-s0:c0.c1023
client sasl:*                             system_u:system_r:kv_admin_t:s0-s0:c0.c1023
client spiffe:spiffe://prod/ns/web/*      system_u:system_r:kv_client_t:s0:c1
client spiffe:spiffe://prod/ns/audit      system_u:system_r:kv_reader_t:s0:c1
client dns:*.batch.example                system_u:system_r:kv_client_t:s0:c2
client cn:ops                             system_u:system_r:kv_admin_t:s0-s0:c0.c1023
`

const (
	webContext       = "system_u:system_r:kv_client_t:s0:c1"
	readerContext    = "system_u:system_r:kv_reader_t:s0:c1"
	batchContext     = "system_u:system_r:kv_client_t:s0:c2"
	adminContext     = "system_u:system_r:kv_admin_t:s0-s0:c0.c1023"
	unlabeledContext = "system_u:object_r:unlabeled_t:s0"
	refusedHandshake = ""
)

// TestTLSIdentities: which certificate makes its holder whom. Over UNIX sockets the
// uid lines hold; over TLS no name of a certificate reaches them.
func TestTLSIdentities(t *testing.T) {
	for verify := 1; verify <= 2; verify++ {
		s := startTLSServer(t, testConfig{contexts: tlsContexts}, verify)
		wrong, err := testca.New("test") // of the same name
		if err != nil {
			t.Fatal(err)
		}
		nobody := unlabeledContext
		if verify == 2 {
			nobody = refusedHandshake
		}
		web := testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a"}}
		for _, c := range []struct {
			name string
			of   *testca.CA
			leaf testca.Leaf
			want string
		}{
			{"no certificate", nil, testca.Leaf{}, nobody},
			{"a SPIFFE ID that may", s.ca, web, webContext},
			{"a SPIFFE ID that may read", s.ca, testca.Leaf{URIs: []string{"spiffe://prod/ns/audit"}}, readerContext},
			{"a SPIFFE ID of another name", s.ca, testca.Leaf{URIs: []string{"spiffe://prod/ns/other"}}, unlabeledContext},
			{"a SPIFFE ID of another domain", s.ca, testca.Leaf{URIs: []string{"spiffe://prod.example/ns/web/sa/a"}}, unlabeledContext},
			{"several URIs, one of which may", s.ca, testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a", "spiffe://prod/ns/web/sa/b"}}, unlabeledContext},
			{"several URIs, one of another kind", s.ca, testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a", "uid:0"}}, unlabeledContext},
			{"a URI that reads uid:0", s.ca, testca.Leaf{URIs: []string{"uid:0"}}, unlabeledContext},
			{"a URI that reads sasl:alice", s.ca, testca.Leaf{URIs: []string{"sasl:alice"}}, unlabeledContext},
			{"a URI that reads as the line", s.ca, testca.Leaf{URIs: []string{"spiffe:spiffe://prod/ns/web/sa/a"}}, unlabeledContext},
			{"a name that reads uid:0", s.ca, testca.Leaf{CNs: []string{"uid:0"}, DNS: []string{"uid:0"}}, unlabeledContext},
			{"a name that reads as a SPIFFE ID", s.ca, testca.Leaf{CNs: []string{"spiffe://prod/ns/web/sa/a"}}, unlabeledContext},
			{"a DNS name", s.ca, testca.Leaf{DNS: []string{"other.example", "A1.batch.example"}}, batchContext},
			{"a common name", s.ca, testca.Leaf{CNs: []string{"ops"}}, adminContext},
			{"two common names", s.ca, testca.Leaf{CNs: []string{"ops", "ops"}}, unlabeledContext},
			{"the first line wins", s.ca, testca.Leaf{CNs: []string{"ops"}, DNS: []string{"x.batch.example"}, URIs: web.URIs}, webContext},
			{"another authority", wrong, web, refusedHandshake},
			{"expired", s.ca, testca.Leaf{URIs: web.URIs, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Minute)}, refusedHandshake},
			{"not yet valid", s.ca, testca.Leaf{URIs: web.URIs, NotBefore: time.Now().Add(time.Hour)}, refusedHandshake},
			{"a server's certificate", s.ca, testca.Leaf{URIs: web.URIs, Server: true}, refusedHandshake},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				cfg := s.config(c.of, c.leaf)
				cfg.MaxVersion = version
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(2)
				for _, resumed := range []bool{false, true} {
					cl, err := s.connect(cfg)
					if (err != nil) != (c.want == refusedHandshake) {
						t.Errorf("mode %d, %s, version %x: %v", verify, c.name, version, err)
					}
					if err != nil {
						break
					}
					if got := cl.Conn.(*tls.Conn).ConnectionState().DidResume; got != resumed {
						t.Errorf("mode %d, %s, version %x: resumed %v", verify, c.name, version, got)
					}
					cl.want("mac whoami\r\n", "MAC "+c.want+"\r\n")
					if c.want == unlabeledContext {
						cl.want("set k 0 0 1\r\nx\r\nget k\r\n", accessDenied+"END\r\n")
					}
				}
			}
		}
	}
}

// TestTLSMayAndMayNot: what a SPIFFE identity is allowed and denied, item by item.
func TestTLSMayAndMayNot(t *testing.T) {
	s := startTLSServer(t, testConfig{contexts: tlsContexts}, 1)
	open := func(leaf testca.Leaf) *client {
		t.Helper()
		c, err := s.connect(s.config(s.ca, leaf))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	web := open(testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a"}})
	web.want("set k 0 0 3\r\nweb\r\n", "STORED\r\n")
	web.want("get k\r\n", "VALUE k 0 3\r\nweb\r\nEND\r\n")
	reader := open(testca.Leaf{URIs: []string{"spiffe://prod/ns/audit"}})
	reader.want("get k\r\n", "VALUE k 0 3\r\nweb\r\nEND\r\n")
	reader.want("set k 0 0 1\r\nx\r\ndelete k\r\n", accessDenied+"NOT_FOUND\r\n")
	batch := open(testca.Leaf{DNS: []string{"a.batch.example"}})
	batch.want("get k\r\ndelete k\r\n", "END\r\nNOT_FOUND\r\n")
	if lines := s.takeAudit(); len(lines) != 4 {
		t.Errorf("%d audit lines: %q", len(lines), lines)
	}
	// The UNIX socket of the same engine knows user ids, and no certificates.
	s.dialAs(0).want("mac whoami\r\nget k\r\n", "MAC "+adminContext+"\r\nVALUE k 0 3\r\nweb\r\nEND\r\n")
}

// certificateCases writes certificates into dir, NAME.pem and NAME.key, for clients that
// are not written in Go, and returns the context that each gives where certificates are
// required, or refusedHandshake. The file "cases" lists them: NAME CONTEXT, or NAME refused.
func (s *tlsServer) certificateCases(dir string) map[string]string {
	s.t.Helper()
	wrong, err := testca.New("test") // of the same name as ours
	if err != nil {
		s.t.Fatal(err)
	}
	uris := func(u ...string) testca.Leaf { return testca.Leaf{URIs: u} }
	const may = "spiffe://prod/ns/web/sa/a"
	want := map[string]string{}
	var list strings.Builder
	for _, c := range []struct {
		name string
		of   *testca.CA
		leaf testca.Leaf
		want string
	}{
		{"allowed", s.ca, uris(may), webContext},
		{"reader", s.ca, uris("spiffe://prod/ns/audit"), readerContext},
		{"denied", s.ca, uris("spiffe://prod/ns/other"), unlabeledContext},
		{"several-uris", s.ca, uris(may, "spiffe://prod/ns/web/sa/b"), unlabeledContext},
		{"reads-uid", s.ca, uris("uid:0"), unlabeledContext},
		{"reads-sasl", s.ca, uris("sasl:alice"), unlabeledContext},
		{"wrong-ca", wrong, uris(may), refusedHandshake},
		{"expired", s.ca, testca.Leaf{URIs: []string{may}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Minute)}, refusedHandshake},
		{"not-yet", s.ca, testca.Leaf{URIs: []string{may}, NotBefore: time.Now().Add(time.Hour)}, refusedHandshake},
	} {
		cert, key, err := c.of.Issue(c.leaf)
		if err != nil {
			s.t.Fatal(err)
		}
		writeFile(s.t, filepath.Join(dir, c.name+".pem"), string(cert))
		writeFile(s.t, filepath.Join(dir, c.name+".key"), string(key))
		want[c.name] = c.want
		line := c.want
		if line == refusedHandshake {
			line = "refused"
		}
		fmt.Fprintln(&list, c.name, line)
	}
	writeFile(s.t, filepath.Join(dir, "cases"), list.String())
	return want
}

// TestTLSOpenSSLCases: openssl s_client with the certificates that are refused, and those
// that are taken for somebody.
func TestTLSOpenSSLCases(t *testing.T) {
	openssl := needTool(t, "openssl")
	s := startTLSServer(t, testConfig{contexts: tlsContexts}, 2)
	dir := t.TempDir()
	cases := s.certificateCases(dir)
	cases["none"] = refusedHandshake
	for name, context := range cases {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			args := []string{"s_client", "-connect", s.tcp, "-quiet", "-verify_return_error", "-servername", "localhost", "-CAfile", filepath.Join(s.dir, "ca.pem"), version}
			if name != "none" {
				args = append(args, "-cert", filepath.Join(dir, name+".pem"), "-key", filepath.Join(dir, name+".key"))
			}
			cmd := exec.Command(openssl, args...)
			cmd.Stdin = strings.NewReader("mac whoami\r\nquit\r\n")
			var said strings.Builder
			cmd.Stderr = &said
			out, _ := cmd.Output()
			want := ""
			if context != refusedHandshake {
				want = "MAC " + context + "\r\n"
			}
			if string(out) != want || context == refusedHandshake && !strings.Contains(said.String(), "alert") {
				t.Errorf("%s %s: expected %q, found %q\n%s", name, version, want, out, &said)
			}
		}
	}
}

// TestTLSOpenSSL drives the server with openssl s_client.
func TestTLSOpenSSL(t *testing.T) {
	openssl := needTool(t, "openssl")
	s := startTLSServer(t, testConfig{contexts: tlsContexts}, 1)
	cert, key, err := s.ca.Issue(testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/openssl"}})
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(s.dir, "client.pem"), filepath.Join(s.dir, "client.key")
	writeFile(t, certFile, string(cert))
	writeFile(t, keyFile, string(key))
	for _, extra := range [][]string{{"-tls1_2"}, {"-tls1_3"}, {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"}} {
		args := append([]string{
			"s_client", "-connect", s.tcp, "-quiet", "-verify_return_error", "-servername", "localhost",
			"-CAfile", filepath.Join(s.dir, "ca.pem"), "-cert", certFile, "-key", keyFile,
		}, extra...)
		cmd := exec.Command(openssl, args...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "mac whoami\r\nset k 0 0 2\r\nhi\r\nget k\r\nquit\r\n"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(out)
		const want = "MAC " + webContext + "\r\nSTORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\n"
		if err != nil || string(got) != want {
			t.Errorf("%v: got %q, %v\nwant %q", extra, got, err, want)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", extra, err)
		}
	}
	// Renegotiation, which a client of TLS 1.2 asks for by the letter R, is refused.
	cmd := exec.Command(openssl, "s_client", "-connect", s.tcp, "-tls1_2", "-CAfile", filepath.Join(s.dir, "ca.pem"), "-servername", "localhost")
	cmd.Stdin = strings.NewReader("R\nversion\r\n")
	out, _ := cmd.CombinedOutput()
	if !strings.Contains(string(out), "RENEGOTIATING") || strings.Contains(string(out), "VERSION 1.6") {
		t.Errorf("after a renegotiation: %s", out)
	}
}

// TestTLSPython: the ssl module of Python, and pymemcache over it.
func TestTLSPython(t *testing.T) {
	needTool(t, systemPython)
	needModule(t, exec.Command(systemPython, "-c", "import pymemcache"), "python3-pymemcache")
	tlsScript(t, "tls.py", systemPython)
}

// TestTLSNode: the tls module of Node.js.
func TestTLSNode(t *testing.T) { tlsScript(t, "tls.js", needTool(t, "node")) }

// tlsScript runs a client of another language: host, port, authority, certificate,
// key, the context that its certificate gives it, and a directory of other cases.
func tlsScript(t *testing.T, name, interpreter string) {
	t.Helper()
	s := startTLSServer(t, testConfig{contexts: tlsContexts}, 2)
	cert, key, err := s.ca.Issue(testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/script"}})
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(s.dir, "client.pem"), filepath.Join(s.dir, "client.key")
	writeFile(t, certFile, string(cert))
	writeFile(t, keyFile, string(key))
	cases := t.TempDir()
	s.certificateCases(cases)
	host, port, _ := net.SplitHostPort(s.tcp)
	script(t, exec.Command(interpreter, filepath.Join("testdata/clients", name), host, port,
		filepath.Join(s.dir, "ca.pem"), certFile, keyFile, webContext, cases))
}

// TestTLSSignal: SIGHUP makes a server use new certificates.
func TestTLSSignal(t *testing.T) {
	ca, dir, chain, key := writeServer(t)
	p := startProcess(t, "-u", whoami(t), "--mac", "policy", "-Z", "-o", fmt.Sprintf("ssl_chain_cert=%s,ssl_key=%s", chain, key))
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", p.addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "version\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "VERSION 1.6.45\r\n" {
			t.Errorf("%q, %v", line, err)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	if _, _, _, err := ca.WriteServer(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); serial() == first; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new certificate is not used")
		}
	}
}
