package server_test

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/server"
)

// shown is the server's certificate as the client of c has seen it, and resumed
// whether its session is an earlier one.
func shown(c *client) (serial string, resumed bool) {
	cs := c.Conn.(*tls.Conn).ConnectionState()
	return cs.PeerCertificates[0].SerialNumber.String(), cs.DidResume
}

// trust writes the authorities that the server believes.
func (r *tlsRig) trust(cas ...*testca.CA) {
	r.t.Helper()
	var text []byte
	for _, ca := range cas {
		text = append(text, ca.PEM()...)
	}
	if err := os.WriteFile(r.set.CACert+".new", text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.set.CACert+".new", r.set.CACert); err != nil {
		r.t.Fatal(err)
	}
}

// expectEnd reads the end of a connection, orderly or not: it has been closed.
func (c *client) expectEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got %.300q, %v; expected the end", b, err)
	}
}

// TestTLSRefresh: new files are used for new handshakes, by command and by method;
// broken ones change nothing.
func TestTLSRefresh(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	c := r.secure(r.config(nil))
	first, _ := shown(c)
	if _, _, _, err := r.ca.WriteServer(r.dir, true); err != nil {
		t.Fatal(err)
	}
	c.ask("refresh_certs\r\n", "OK\r\n")
	second, _ := shown(r.secure(r.config(nil)))
	if first == second {
		t.Error("the new certificate is not used")
	}
	c.ask("version\r\n", "VERSION 1.6.45\r\n") // whoever was there stays

	chain, err := os.ReadFile(r.set.ChainCert)
	if err != nil {
		t.Fatal(err)
	}
	cut := r.ca.PEM()[:300] // what follows is still to be written
	for _, bad := range []struct{ file, text, answer string }{
		{r.set.Key, "nonsense", "Error loading the key: "},
		{r.set.ChainCert, "nonsense", "Error loading the certificate chain: "},
		{r.set.CACert, "nonsense", "Error loading the CA certificate: "},
		{r.set.ChainCert, string(chain) + string(cut), "Error loading the certificate chain: "},
		{r.set.CACert, string(r.ca.PEM()) + string(cut), "Error loading the CA certificate: "},
	} {
		good, err := os.ReadFile(bad.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(bad.file, []byte(bad.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.send("refresh_certs\r\n")
		if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, bad.answer+bad.file+" : ") || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("%q, %v", line, err)
		}
		if err := r.srv.RefreshCerts(); err == nil {
			t.Error("RefreshCerts takes a broken file")
		}
		if now, _ := shown(r.secure(r.config(nil))); now != second {
			t.Error("a broken file has changed the certificate")
		}
		if err := os.WriteFile(bad.file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.srv.RefreshCerts(); err != nil {
		t.Error(err)
	}
	// The key of another certificate.
	other, err := testca.New("other")
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := other.Issue(testca.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.set.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	c.send("refresh_certs\r\n")
	if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Error validating the certificate: ") {
		t.Errorf("%q, %v", line, err)
	}

	if err := start(t, plan{}).srv.RefreshCerts(); err == nil || err.Error() != "Error TLS not enabled" {
		t.Errorf("without TLS: %v", err)
	}
}

// TestTLSFilesChange: changed files are used without anybody asking; a certificate
// that comes before its key is waited for.
func TestTLSFilesChange(t *testing.T) {
	r := startTLS(t, plan{}, nil)
	first, _ := shown(r.secure(r.config(nil)))
	next := t.TempDir()
	chain, key, _, err := r.ca.WriteServer(next, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(chain, r.set.ChainCert); err != nil {
		t.Fatal(err)
	}
	r.srv.LookAtCertFiles()
	r.srv.LookAtCertFiles()
	if now, _ := shown(r.secure(r.config(nil))); now != first {
		t.Error("a certificate without its key is used")
	}
	if !strings.Contains(r.log.String(), "changed TLS files are not used") {
		t.Errorf("the log does not say so: %s", r.log)
	}
	said := strings.Count(r.log.String(), "not used")
	r.srv.LookAtCertFiles()
	if strings.Count(r.log.String(), "not used") != said {
		t.Error("it is said again though nothing has changed")
	}
	if err := os.Rename(key, r.set.Key); err != nil {
		t.Fatal(err)
	}
	until(t, "the new certificate is used", func() bool { // by the server itself
		c := r.secure(r.config(nil))
		defer c.Close()
		now, _ := shown(c)
		return now != first
	})
}

// TestTLSFilesHalfWritten: files are read when they have stayed the same from one look
// to the next, and not before.
func TestTLSFilesHalfWritten(t *testing.T) {
	dir := t.TempDir()
	chain, key, authority, err := newCA(t, "test").WriteServer(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := server.CertFilesChanged(server.TLS{Enabled: true, ChainCert: chain, Key: key, CACert: authority})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want bool) {
		t.Helper()
		if changed() != want {
			t.Errorf("%s: to be read: %v, expected %v", when, !want, want)
		}
	}
	expect("at the start", false)
	expect("later", false)
	f, err := os.OpenFile(authority, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		if _, err := f.Write(newCA(t, "next").PEM()); err != nil {
			t.Fatal(err)
		}
		expect("while it is written", false)
	}
	expect("when it is written", true)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	expect("when a file has just gone", false)
	expect("when it stays away", true)
}

// TestTLSFilesThroughLinks: Kubernetes replaces a link to a directory.
func TestTLSFilesThroughLinks(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t, "test")
	for _, d := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := ca.WriteServer(filepath.Join(dir, d), false); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	if err := os.Symlink("1", data); err != nil {
		t.Fatal(err)
	}
	r := startTLS(t, plan{}, func(s *server.TLS) {
		s.ChainCert, s.Key, s.CACert = filepath.Join(data, "chain.pem"), filepath.Join(data, "key.pem"), filepath.Join(data, "ca.pem")
	})
	r.ca = ca
	first, _ := shown(r.secure(r.config(nil)))
	if err := os.Symlink("2", data+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+".new", data); err != nil {
		t.Fatal(err)
	}
	r.srv.LookAtCertFiles()
	r.srv.LookAtCertFiles()
	if now, _ := shown(r.secure(r.config(nil))); now == first {
		t.Error("the files behind the new link are not used")
	}
}

// TestTLSSessions: sessions are resumed only with ssl_session_cache.
func TestTLSSessions(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, on := range []bool{false, true} {
			r := startTLS(t, plan{}, func(s *server.TLS) { s.SessionCache = on })
			cfg := r.config(nil)
			cfg.MaxVersion = version
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			r.secure(cfg)
			c := r.secure(cfg)
			if _, resumed := shown(c); resumed != on {
				t.Errorf("version %x, session cache %v: resumed %v", version, on, resumed)
			}
			if on && c.stat("", "ssl_new_sessions") != "1" {
				t.Errorf("version %x: ssl_new_sessions %s", version, c.stat("", "ssl_new_sessions"))
			}
		}
	}
}

// TestTLSNoLongerTrusted: when an authority is taken away, its clients' connections
// are closed, their sessions are not resumed, and the others notice nothing.
func TestTLSNoLongerTrusted(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := plan{}
		p.set.Threads = 2
		r := startTLS(t, p, func(s *server.TLS) { s.VerifyMode, s.SessionCache = 1, true })
		other := newCA(t, "other")
		r.trust(r.ca, other)
		if err := r.srv.RefreshCerts(); err != nil {
			t.Fatal(err)
		}
		// One client of the authority that goes, one of the authority that stays, and one
		// without a certificate; each with sessions to resume, and resumed once.
		clientOf := func(ca *testca.CA) *tls.Config {
			cfg := r.config(nil)
			cfg.MaxVersion = version
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			if ca != nil {
				pair, err := ca.Pair(testca.Leaf{CNs: []string{"client"}})
				if err != nil {
					t.Fatal(err)
				}
				// Whether the server would take it or not; without that, crypto/tls does not show
				// a certificate of an authority that the server has not named.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			r.secure(cfg)
			return cfg
		}
		goes, stays, none := clientOf(other), clientOf(r.ca), clientOf(nil)
		var going, staying []*client
		for range 3 {
			going = append(going, r.secure(goes))
			staying = append(staying, r.secure(stays), r.secure(none))
		}
		for _, c := range append(going[:1:1], staying...) {
			if _, resumed := shown(c); !resumed {
				t.Errorf("version %x: a session is not resumed", version)
			}
		}
		r.trust(r.ca)
		if err := r.srv.RefreshCerts(); err != nil {
			t.Fatal(err)
		}
		for _, c := range going {
			c.expectEnd()
		}
		for _, c := range staying {
			c.ask("version\r\n", "VERSION 1.6.45\r\n")
		}
		if _, err := r.connect(goes); err == nil {
			t.Errorf("version %x: a session of a client that is not trusted any more is resumed", version)
		}
		for _, cfg := range []*tls.Config{stays, none} {
			if _, resumed := shown(r.secure(cfg)); resumed {
				t.Errorf("version %x: a session from before the refresh is resumed", version)
			}
			if _, resumed := shown(r.secure(cfg)); !resumed {
				t.Errorf("version %x: a session from after the refresh is not resumed", version)
			}
		}
	}
}

// TestTLSExpired: a certificate that has expired since its session began does not
// resume it, and a refresh closes its connections.
func TestTLSExpired(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := startTLS(t, plan{}, func(s *server.TLS) { s.VerifyMode, s.SessionCache = 2, true })
		cfg := r.config(&testca.Leaf{CNs: []string{"brief"}, NotAfter: time.Now().Add(time.Hour)})
		cfg.MaxVersion = version
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		c := r.secure(cfg)
		r.secure(cfg)
		r.srv.SetTLSClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
		if _, err := r.connect(cfg); err == nil {
			t.Errorf("version %x: an expired certificate resumes a session", version)
		}
		c.ask("version\r\n", "VERSION 1.6.45\r\n")
		if err := r.srv.RefreshCerts(); err != nil {
			t.Fatal(err)
		}
		c.expectEnd()
	}
}

// TestTLSTrustsNobody: client certificates are asked for and no authority is named:
// the system's are not taken instead.
func TestTLSTrustsNobody(t *testing.T) {
	r := startTLS(t, plan{}, func(s *server.TLS) { s.VerifyMode, s.CACert = 2, "" })
	if _, err := r.connect(r.config(&testca.Leaf{CNs: []string{"x"}})); err == nil {
		t.Error("a certificate of nobody's is taken")
	}
}

// TestTLSRefreshUnderLoad: certificates and authorities change, again and again,
// while clients connect and work. No request of a client that is trusted all the
// time fails.
func TestTLSRefreshUnderLoad(t *testing.T) {
	p := plan{}
	p.set.Threads = 2
	r := startTLS(t, p, func(s *server.TLS) { s.VerifyMode, s.SessionCache = 1, true })
	other := newCA(t, "other")
	var end atomic.Bool
	var group sync.WaitGroup
	var conns, kept, refused atomic.Int64
	work := func(cfg *tls.Config, trusted bool) {
		for !end.Load() {
			c, err := tls.Dial("tcp", r.addr.String(), cfg)
			for range 20 {
				if err != nil {
					break
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				buf := make([]byte, len("MN\r\n"))
				if _, err = c.Write([]byte("mn\r\n")); err == nil {
					_, err = io.ReadFull(c, buf)
				}
			}
			if c != nil {
				c.Close()
			}
			switch {
			case err == nil:
				kept.Add(1)
			case trusted:
				t.Errorf("a trusted client: %v", err)
				return
			default:
				refused.Add(1)
			}
			conns.Add(1)
		}
	}
	configOf := func(ca *testca.CA) *tls.Config {
		cfg := r.config(nil)
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		pair, err := ca.Pair(testca.Leaf{CNs: []string{"client"}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		return cfg
	}
	for range 2 {
		good, doubtful := configOf(r.ca), configOf(other)
		group.Go(func() { work(good, true) })
		group.Go(func() { work(doubtful, false) })
	}
	for i := range 20 {
		if _, _, _, err := r.ca.WriteServer(r.dir, false); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			r.trust(r.ca, other)
		}
		if err := r.srv.RefreshCerts(); err != nil {
			// The server looks at the files by itself too, and may have met a certificate
			// whose key was on its way; so may this call not.
			t.Fatal(err)
		}
		n := conns.Load()
		until(t, "clients connect", func() bool { return conns.Load() > n+2 || t.Failed() })
	}
	end.Store(true)
	group.Wait()
	if kept.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d connections worked, %d were refused or closed: expected some of each", kept.Load(), refused.Load())
	}
	if conns, _, _, _ := r.srv.Held(); conns != 0 {
		until(t, "all connections are gone", func() bool { n, _, _, _ := r.srv.Held(); return n == 0 })
	}
}

// TestTLSTrustedByWhatWasSent: a client whose certificates are enough for the new
// authorities stays, beside one with the same certificate of its own that has not sent
// the one between, in whatever order they have come.
func TestTLSTrustedByWhatWasSent(t *testing.T) {
	for _, wholeFirst := range []bool{true, false} {
		r := startTLS(t, plan{}, func(s *server.TLS) { s.VerifyMode = 2 })
		between, err := r.ca.Sub("between")
		if err != nil {
			t.Fatal(err)
		}
		r.trust(r.ca, between)
		if err := r.srv.RefreshCerts(); err != nil {
			t.Fatal(err)
		}
		pair, err := between.Pair(testca.Leaf{CNs: []string{"client"}})
		if err != nil {
			t.Fatal(err)
		}
		secure := func(whole bool) *client {
			cfg, own := r.config(nil), pair
			if whole {
				own.Certificate = [][]byte{pair.Certificate[0], between.Cert.Raw}
			}
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
			return r.secure(cfg)
		}
		clients := map[bool]*client{}
		clients[wholeFirst] = secure(wholeFirst)
		clients[!wholeFirst] = secure(!wholeFirst)
		r.trust(r.ca)
		if err := r.srv.RefreshCerts(); err != nil {
			t.Fatal(err)
		}
		clients[false].expectEnd()
		clients[true].ask("mn\r\n", "MN\r\n")
	}
}
