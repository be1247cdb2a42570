package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"
)

// loadPair reads the certificate chain and its key.
func (t *tlsService) loadPair() (tls.Certificate, error) {
	chain, err := os.ReadFile(t.set.ChainCert)
	var certs []*x509.Certificate
	if err == nil {
		certs, err = readCertificates(chain)
	}
	if err != nil {
		return tls.Certificate{}, loadError("certificate chain", t.set.ChainCert, err)
	}
	key := chain
	if t.set.Key != "" {
		if key, err = os.ReadFile(t.set.Key); err != nil {
			return tls.Certificate{}, loadError("key", t.set.Key, err)
		}
	}
	file := t.set.Key
	if file == "" {
		file = t.set.ChainCert
	}
	switch t.set.KeyFormat {
	case 0, KeyPEM:
	case KeyDER:
		key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	default:
		return tls.Certificate{}, loadError("key", file, fmt.Errorf("expected ssl_keyformat 1 (PEM) or 2 (DER), found %d", t.set.KeyFormat))
	}
	if err := checkKey(key); err != nil {
		return tls.Certificate{}, loadError("key", file, err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, tlsErrorf("Error validating the certificate: %s and key %s: %v%s", t.set.ChainCert, file, err, mismatch(certs[0]))
	}
	return cert, nil
}

func loadError(what, file string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // the file is named already
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: the user that the server runs as (-u) has to be able to read it", err)
	}
	return tlsErrorf("Error loading the %s: %s : %v", what, file, err)
}

// checkKey says why text holds no private key that can be used, to tell a key that
// cannot be read from one that belongs to another certificate.
func checkKey(text []byte) error {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return errors.New("the key is encrypted, and nobody is there to type its password: write it anew without one, as openssl pkey does, readable for the user of -u only")
		}
		if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return nil
		}
		if _, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return nil
		}
		if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return errors.New("expected a private key of PKCS #8, PKCS #1 or SEC 1, found something else (ssl_keyformat says whether it is PEM or DER)")
		}
		return nil
	}
	return errors.New("expected a private key in PEM form, found none")
}

// mismatch says what to do about a key that is not that of the certificate: the first in
// a chain has to be the server's own, and who has put it last gets to see its authority's name.
func mismatch(first *x509.Certificate) string {
	return fmt.Sprintf(": expected the key of the first certificate in the file, found there that of %q: name its key, or put the server's own certificate first", first.Subject)
}

// doubts are what the settings and files let happen, as in memcached, and what nobody
// means: clients that see to it will be turned away, or all of them.
func (t *tlsService) doubts(own *x509.Certificate) (said []string) {
	day := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	switch now := t.now(); {
	case own == nil:
	case now.After(own.NotAfter):
		said = append(said, fmt.Sprintf("TLS: the certificate in %s has expired on %s: clients that verify it will not connect", t.set.ChainCert, day(own.NotAfter)))
	case now.Before(own.NotBefore):
		said = append(said, fmt.Sprintf("TLS: the certificate in %s is not valid before %s, and it is %s: clients that verify it will not connect", t.set.ChainCert, day(own.NotBefore), day(now)))
	}
	if len(t.absent) > 0 {
		said = append(said, fmt.Sprintf("TLS: ssl_ciphers: passed over, as OpenSSL does with what it has not: %s", strings.Join(t.absent, " ")))
	}
	if t.set.VerifyMode >= 2 && t.set.CACert == "" {
		said = append(said, "TLS: ssl_verify_mode requires client certificates, but no authority is trusted, so that no client can connect: name their authorities by ssl_ca_cert")
	}
	return said
}

// warn says what is doubtful about the files that are in use.
func (t *tlsService) warn(log *slog.Logger) {
	for _, text := range t.current.Load().doubts {
		log.Warn(text)
	}
}
