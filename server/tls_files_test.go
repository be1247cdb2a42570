package server_test

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/server"
)

// TestTLSFilesSaid: what is wrong with certificates and keys is said with the file and
// with what to do; what only turns clients away is a warning.
func TestTLSFilesSaid(t *testing.T) {
	ca := newCA(t, "test")
	dir := t.TempDir()
	file := func(name string, text ...[]byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, slices.Concat(text...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issue := func(l testca.Leaf) (cert, key []byte) {
		l.CNs, l.Server = []string{"localhost"}, true
		cert, key, err := ca.Issue(l)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	now := time.Now()
	cert, key := issue(testca.Leaf{})
	block, _ := pem.Decode(key)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})
	_, other := issue(testca.Leaf{})
	nonsense := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nonsense")})
	oldCert, oldKey := issue(testca.Leaf{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)})
	newCert, newKey := issue(testca.Leaf{NotBefore: now.Add(24 * time.Hour), NotAfter: now.Add(48 * time.Hour)})
	good := server.TLS{Enabled: true, ChainCert: file("good.pem", cert), Key: file("good.key", key)}
	with := func(edit func(*server.TLS)) server.TLS {
		set := good
		edit(&set)
		return set
	}
	for name, c := range map[string]struct {
		set           server.TLS
		refused, said string
	}{
		"good":             {set: good},
		"both in one":      {set: server.TLS{Enabled: true, ChainCert: file("both.pem", key, cert)}},
		"another's key":    {set: with(func(s *server.TLS) { s.Key = file("other.key", other) }), refused: "good.pem and key " + dir + "/other.key: "},
		"authority first":  {set: with(func(s *server.TLS) { s.ChainCert = file("order.pem", ca.PEM(), cert) }), refused: `found there that of "CN=test": name its key, or put the server's own certificate first`},
		"encrypted key":    {set: with(func(s *server.TLS) { s.Key = file("enc.key", encrypted) }), refused: "openssl pkey"},
		"cut off":          {set: with(func(s *server.TLS) { s.ChainCert = file("cut.pem", cert, ca.PEM()[:300]) }), refused: "damaged or not yet written to its end"},
		"cut at the start": {set: with(func(s *server.TLS) { s.ChainCert = file("head.pem", cert, ca.PEM()[30:]) }), refused: "damaged or not yet written to its end"},
		"damaged in the middle": {set: with(func(s *server.TLS) {
			s.CACert = file("hole.pem", ca.PEM()[:200], []byte("*"), ca.PEM()[200:], ca.PEM())
		}), refused: "damaged or not yet written to its end"},
		"no certificate": {set: with(func(s *server.TLS) { s.CACert = file("der.pem", ca.PEM(), nonsense) }), refused: "block 2 of the file"},
		"text between": {set: with(func(s *server.TLS) {
			s.ChainCert = file("text.pem", []byte("# ours\n"), cert, []byte("# theirs\r\n\n"), ca.PEM(), []byte("end"))
		})},
		"expired":        {set: server.TLS{Enabled: true, ChainCert: file("old.pem", oldCert), Key: file("old.key", oldKey)}, said: "old.pem has expired on "},
		"not yet valid":  {set: server.TLS{Enabled: true, ChainCert: file("new.pem", newCert), Key: file("new.key", newKey)}, said: "new.pem is not valid before "},
		"absent suite":   {set: with(func(s *server.TLS) { s.Ciphers = "AES128-SHA:DHE-RSA-AES128-GCM-SHA256" }), said: "DHE-RSA-AES128-GCM-SHA256"},
		"nobody trusted": {set: with(func(s *server.TLS) { s.VerifyMode = 2 }), said: "ssl_ca_cert"},
		"somebody":       {set: with(func(s *server.TLS) { s.VerifyMode, s.CACert = 2, file("ca.pem", ca.PEM()) })},
	} {
		var said bytes.Buffer
		err := server.CheckTLS(c.set, slog.New(slog.NewTextHandler(&said, nil)))
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: expected the refusal %q, found %v", name, c.refused, err)
		}
		if c.said == "" && said.Len() > 0 || !strings.Contains(said.String(), c.said) {
			t.Errorf("%s: expected the warning %q, found %q", name, c.said, said.String())
		}
	}
}
