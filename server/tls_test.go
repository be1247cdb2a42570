package server_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/server"
)

// tlsRig is a server with TLS and the authority of both sides.
type tlsRig struct {
	*rig
	ca  *testca.CA
	dir string
	set server.TLS
}

func newCA(t testing.TB, name string) *testca.CA {
	t.Helper()
	ca, err := testca.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// startTLS runs a server with TLS until the end of the test.
func startTLS(t testing.TB, p plan, edit func(*server.TLS)) *tlsRig {
	t.Helper()
	r := &tlsRig{ca: newCA(t, "test"), dir: t.TempDir()}
	chain, key, ca, err := r.ca.WriteServer(r.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	r.set = server.TLS{Enabled: true, ChainCert: chain, Key: key, CACert: ca}
	if edit != nil {
		edit(&r.set)
	}
	p.set.TLS = r.set
	r.rig = start(t, p)
	return r
}

// config is a client's, with a certificate if one is given.
func (r *tlsRig) config(leaf *testca.Leaf) *tls.Config {
	r.t.Helper()
	c := &tls.Config{RootCAs: r.ca.Pool(), ServerName: "localhost"}
	if leaf != nil {
		pair, err := r.ca.Pair(*leaf)
		if err != nil {
			r.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// connect makes a handshake. In TLS 1.3 a client learns only by reading that its
// certificate is refused, so a request is made too.
func (r *tlsRig) connect(c *tls.Config) (*client, error) {
	r.t.Helper()
	raw, err := net.Dial(r.addr.Network(), r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patience))
	tc := tls.Client(raw, c)
	cl := &client{tc, r.t, bufio.NewReaderSize(tc, 64<<10)}
	if err := tc.Handshake(); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(tc, "mn\r\n"); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(cl.r, make([]byte, len("MN\r\n"))); err != nil {
		return nil, err
	}
	return cl, nil
}

// secure is connect for those who must succeed.
func (r *tlsRig) secure(c *tls.Config) *client {
	r.t.Helper()
	cl, err := r.connect(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return cl
}

func TestTLSCommands(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			r := startTLS(t, plan{}, nil)
			cfg := r.config(nil)
			cfg.MinVersion, cfg.MaxVersion = version, version
			c := r.secure(cfg)
			c.ask("set a 5 0 3\r\nabc\r\nget a\r\n", "STORED\r\nVALUE a 5 3\r\nabc\r\nEND\r\n")
			c.ask("mg a v f\r\nmn\r\n", "VA 3 f5\r\nabc\r\nMN\r\n")
			c.ask("refresh_certs\r\n", "OK\r\n")
			c.ask("refresh_certs noreply\r\nmn\r\n", "MN\r\n")

			b := r.secure(cfg)
			b.Close()
			bin := r.secure(cfg) // its dialect is known by the mn of secure
			bin.ask("version\r\n", "VERSION 1.6.45\r\n")

			c.send("quit\r\n")
			c.expectClosed() // an end without close_notify would be an error
		})
	}
}

// TestTLSBinary: the first byte tells the protocol, as without TLS.
func TestTLSBinary(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	raw, err := tls.Dial("tcp", r.addr.String(), r.config(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	noop := append([]byte{0x80, 0x0a}, make([]byte, 22)...)
	if _, err := raw.Write(noop); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 24)
	if _, err := io.ReadFull(raw, got); err != nil || got[0] != 0x81 || got[1] != 0x0a {
		t.Fatalf("noop: % x, %v", got, err)
	}
}

// TestTLSLarge: uploads into reserved items, pinned items, and replies that fill
// every buffer on the way while the client reads nothing.
func TestTLSLarge(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	c := r.secure(r.config(nil))
	value := strings.Repeat("0123456789abcdef", 60_000)
	c.ask("set big 0 0 960000\r\n"+value+"\r\n", "STORED\r\n")
	const times = 20
	c.send(strings.Repeat("get big\r\n", times) + "mn\r\n")
	until(t, "the connection is blocked", func() bool {
		_, _, unsent, pinned := r.srv.Held()
		return unsent > 0 || pinned > 0
	})
	for range times {
		c.expect("VALUE big 0 960000\r\n" + value + "\r\nEND\r\n")
	}
	c.expect("MN\r\n")
	if _, _, unsent, pinned := r.srv.Held(); unsent != 0 || pinned != 0 {
		t.Errorf("%d bytes and %d items are held after all has been read", unsent, pinned)
	}
	// A client that goes away in the middle leaves nothing pinned.
	c.send(strings.Repeat("get big\r\n", times))
	until(t, "the connection is blocked", func() bool {
		_, _, _, pinned := r.srv.Held()
		return pinned > 0
	})
	c.Conn.(*tls.Conn).NetConn().Close()
	until(t, "the connection is gone", func() bool {
		conns, _, _, _ := r.srv.Held()
		return conns == 0
	})
}

// TestTLSPieces: records, and the bytes of records, that come one at a time.
func TestTLSPieces(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	left, right := net.Pipe()
	defer left.Close()
	raw, err := net.Dial("tcp", r.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	go func() { // byte by byte to the server
		b := make([]byte, 1)
		for {
			if _, err := right.Read(b); err != nil {
				return
			}
			if _, err := raw.Write(b); err != nil {
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(right, raw) }()
	tc := tls.Client(left, r.config(nil))
	_ = tc.SetDeadline(time.Now().Add(patience))
	c := &client{tc, t, bufio.NewReader(tc)}
	c.ask("set k 0 0 5\r\nhello\r\nget k\r\n", "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n")
	for _, b := range "get k\r\n" {
		c.send(string(b)) // a record for each
	}
	c.expect("VALUE k 0 5\r\nhello\r\nEND\r\n")
	c.ask(strings.Repeat("get k\r\n", 300), strings.Repeat("VALUE k 0 5\r\nhello\r\nEND\r\n", 300))
}

// TestTLSParked: a connection whose request waits for a decision, and what has been
// sent after it.
func TestTLSParked(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	c := r.secure(r.config(nil))
	c.ask("set a 0 0 1\r\n1\r\n", "STORED\r\n")
	open := r.eng.gate("a")
	c.send("get a\r\n")
	c.quiet()
	c.send("set b 0 0 1\r\n2\r\n")
	c.send("get b\r\n")
	c.quiet()
	open()
	c.expect("VALUE a 0 1\r\n1\r\nEND\r\nSTORED\r\nVALUE b 0 1\r\n2\r\nEND\r\n")
}

func TestTLSWatch(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	w := r.secure(r.config(nil))
	w.ask("watch mutations\r\n", "OK\r\n")
	c := r.secure(r.config(nil))
	c.ask("set seen 0 0 1\r\nx\r\n", "STORED\r\n")
	line, err := w.r.ReadString('\n')
	if err != nil || !strings.Contains(line, "key=seen status=stored") {
		t.Fatalf("%q, %v", line, err)
	}
}

// TestTLSCrossed: plain text to a port with TLS, and TLS to a plain one. Both ends
// are told soon, and nothing is left behind.
func TestTLSCrossed(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	c := r.dial()
	c.send("version\r\n" + strings.Repeat("x", 1000))
	c.expectClosed()
	until(t, "the handshake has failed", func() bool {
		return r.secure(r.config(nil)).stat("", "ssl_handshake_errors") == "1"
	})

	plain := start(t, plan{})
	for _, name := range []string{"with a name", ""} {
		tc, err := tls.Dial("tcp", plain.addr.String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil {
			tc.Close()
			t.Fatal("a plain port speaks TLS")
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Fatal(err)
		}
	}
	// One byte of it is not yet TLS.
	p := plain.dial()
	p.send("\x16")
	p.quiet()
	p.ask("\r\nversion\r\n", "CLIENT_ERROR bad command line format\r\nVERSION 1.6.45\r\n")
}

// TestTLSListeners: notls:, btls: and mtls: in one server whose mode is 1.
func TestTLSListeners(t *testing.T) {
	p := plan{}
	p.set.Port, p.set.Interfaces = -1, []string{"notls:127.0.0.1,127.0.0.1", "btls:127.0.0.1", "tag[x]:mtls:127.0.0.1"}
	r := startTLS(t, p, func(s *server.TLS) { s.VerifyMode = 1 })
	addrs := r.srv.Addrs()
	r.addr = addrs[0]
	c := r.dial()
	c.ask("version\r\n", "VERSION 1.6.45\r\n")
	named := &testca.Leaf{CNs: []string{"somebody"}}
	for i, want := range []struct{ with, without, asked bool }{{}, {true, true, true}, {true, true, false}, {true, false, true}} {
		if i == 0 {
			continue
		}
		r.addr = addrs[i]
		asked := false
		cfg := r.config(nil)
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		}
		if _, err := r.connect(cfg); (err == nil) != want.without {
			t.Errorf("listener %d without a certificate: %v", i, err)
		}
		if asked != want.asked {
			t.Errorf("listener %d asks for a certificate: %v", i, asked)
		}
		if _, err := r.connect(r.config(named)); (err == nil) != want.with {
			t.Errorf("listener %d with a certificate: %v", i, err)
		}
	}
}

// TestTLSPrefixesNeedTLS: without -Z they are refused in memcached's words.
func TestTLSPrefixesNeedTLS(t *testing.T) {
	for _, prefix := range []string{"notls", "btls", "mtls"} {
		r := start(t, plan{})
		srv, err := server.New(r.eng, nil, &server.Settings{Port: -1, Interfaces: []string{prefix + ":127.0.0.1"}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Listen(); err == nil || !strings.Contains(err.Error(), "'"+prefix+"' option is valid only when SSL is enabled") {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

// TestTLSSlow: clients that say nothing, or half of something, hold up nobody.
func TestTLSSlow(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	for i := range 200 {
		raw, err := net.Dial("tcp", r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if i%2 == 0 {
			if _, err := raw.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := r.secure(r.config(nil))
	if got := c.stat("", "curr_connections"); got != "201" {
		t.Errorf("curr_connections %s: those whose handshake is under way count", got)
	}
	c.ask("version\r\n", "VERSION 1.6.45\r\n")
}

// TestTLSHandshakeTime: a handshake that takes too long is ended and counted.
func TestTLSHandshakeTime(t *testing.T) {
	defer server.SetHandshakeTime(50 * time.Millisecond)()
	r := startTLS(t, plan{}, nil)
	c := r.dial()
	c.expectClosed()
	// Who asks has no more time for its own handshake, and on a loaded machine may fail as well.
	until(t, "it is counted", func() bool {
		asker, err := r.connect(r.config(nil))
		if err != nil {
			return false
		}
		n, err := strconv.Atoi(asker.stat("", "ssl_handshake_errors"))
		return err == nil && n >= 1
	})
	until(t, "none is under way", func() bool { return r.srv.HandshakesUnderway() == 0 })
}

// TestTLSShutdown: a server that stops says so to its clients, and forgets those
// whose handshake is under way.
func TestTLSShutdown(t *testing.T) {
	for _, graceful := range []bool{false, true} {
		r := startTLS(t, plan{}, nil)
		c := r.secure(r.config(nil))
		half, err := net.Dial("tcp", r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		_ = half.SetDeadline(time.Now().Add(patience))
		until(t, "both are counted", func() bool { return c.stat("", "curr_connections") == "2" })
		r.srv.Shutdown(graceful)
		c.expectClosed() // with close_notify: else io.ErrUnexpectedEOF
		if n, err := half.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
			t.Errorf("the unfinished handshake: %d, %v", n, err)
		}
	}
}

// TestTLSVersions: what is older than ssl_min_version is refused.
func TestTLSVersions(t *testing.T) {
	for _, c := range []struct {
		min, client uint16
		ok          bool
	}{
		{0, tls.VersionTLS11, false},
		{0, tls.VersionTLS12, true},
		{tls.VersionTLS10, tls.VersionTLS10, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		r := startTLS(t, plan{}, func(s *server.TLS) { s.MinVersion = c.min })
		cfg := r.config(nil)
		cfg.MinVersion, cfg.MaxVersion = c.client, c.client
		if _, err := r.connect(cfg); (err == nil) != c.ok {
			t.Errorf("least version %x, client's %x: %v", c.min, c.client, err)
		}
	}
}

// TestTLSCiphers: the list of ssl_ciphers is what is offered.
func TestTLSCiphers(t *testing.T) {
	r := startTLS(t, plan{}, func(s *server.TLS) { s.Ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:!aNULL" })
	cfg := r.config(nil)
	cfg.MaxVersion = tls.VersionTLS12
	c := r.secure(cfg)
	if got := c.Conn.(*tls.Conn).ConnectionState().CipherSuite; got != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Errorf("%s is used", tls.CipherSuiteName(got))
	}
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	if _, err := r.connect(cfg); err == nil {
		t.Error("a suite that is not in the list is taken")
	}
}

// TestTLSStats: the names that TLS adds, and the settings.
func TestTLSStats(t *testing.T) {
	r := startTLS(t, plan{}, func(s *server.TLS) { s.SessionCache, s.VerifyMode = true, 1 })
	cfg := r.config(nil)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	c := r.secure(cfg)
	general := c.stats("")
	for _, line := range []string{"ssl_new_sessions 1", "ssl_handshake_errors 0", "ssl_proto_errors 0", "time_since_server_cert_refresh 0"} {
		if !strings.Contains(general, "STAT "+line+"\r\n") {
			t.Errorf("stats has no line %q", line)
		}
	}
	settings := c.stats(" settings")
	for _, line := range []string{
		"ssl_enabled yes", "ssl_chain_cert " + r.set.ChainCert, "ssl_key " + r.set.Key, "ssl_verify_mode 1", "ssl_keyformat 1",
		"ssl_ciphers NULL", "ssl_ca_cert " + r.set.CACert, "ssl_wbuf_size 16384", "ssl_session_cache yes", "ssl_kernel_tls no", "ssl_min_version tlsv1.2",
	} {
		if !strings.Contains(settings, "STAT "+line+"\r\n") {
			t.Errorf("stats settings has no line %q", line)
		}
	}
	if s := start(t, plan{}).dial().stats(""); strings.Contains(s, "ssl_") {
		t.Error("stats without TLS has names of TLS")
	}
}

// TestTLSBroken: a record that does not decrypt ends the connection and is counted.
func TestTLSBroken(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	c := r.secure(r.config(nil))
	if _, err := c.Conn.(*tls.Conn).NetConn().Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c.r); err == nil || len(b) > 0 || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("%q, %v", b, err)
	}
	if got := r.secure(r.config(nil)).stat("", "ssl_proto_errors"); got != "1" {
		t.Errorf("ssl_proto_errors %s", got)
	}
}
