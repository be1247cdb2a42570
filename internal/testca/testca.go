// Package testca is a certificate authority for tests and benchmarks: it makes
// certificates of any content, valid or not. Nothing in it is fit for use beyond.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is an authority. It may be used by several goroutines at a time.
type CA struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// New makes an authority of that name, whose certificate is valid for a day.
func New(name string) (*CA, error) { return newCA(name, nil) }

// Sub makes an authority whose certificate is issued by ca.
func (ca *CA) Sub(name string) (*CA, error) { return newCA(name, ca) }

// newCA makes an authority below another, or one that vouches for itself.
func newCA(name string, above *CA) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if above == nil {
		above = &CA{t, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, above.Cert, key.Public(), above.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{cert, key}, err
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
}

// Pool trusts the authority and nobody else.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

// Leaf is what a certificate shall say. The zero Leaf is a client without a name,
// valid for the hour before and the day after.
type Leaf struct {
	CNs       []string // common names
	DNS       []string
	URIs      []string // as they are, also what no URL parser takes
	IPs       []net.IP
	NotBefore time.Time
	NotAfter  time.Time
	Server    bool // a server's certificate, not a client's
	RSA       bool // an RSA key of 2048 bits; else ECDSA P-256
}

// Issue makes a certificate and its key, in PEM form.
func (ca *CA) Issue(l Leaf) (cert, key []byte, err error) {
	var signer crypto.Signer
	if l.RSA {
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, NotBefore: l.NotBefore, NotAfter: l.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cn := range l.CNs {
		t.Subject.ExtraNames = append(t.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: []int{2, 5, 4, 3}, Value: cn})
	}
	if err := l.setNames(t); err != nil {
		return nil, nil, err
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = now.Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = now.Add(24 * time.Hour)
	}
	if l.Server {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.Cert, signer.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// setNames writes the alternative names. Package x509 would write URIs as its parser
// has understood them.
func (l *Leaf) setNames(t *x509.Certificate) error {
	if len(l.URIs) == 0 {
		t.DNSNames, t.IPAddresses = l.DNS, l.IPs
		return nil
	}
	var names []asn1.RawValue
	add := func(tag int, b []byte) {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: b})
	}
	for _, s := range l.DNS {
		add(2, []byte(s))
	}
	for _, s := range l.URIs {
		add(6, []byte(s))
	}
	for _, ip := range l.IPs {
		add(7, ip.To4())
	}
	san, err := asn1.Marshal(names)
	t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}
	return err
}

// Pair is Issue for use in a tls.Config.
func (ca *CA) Pair(l Leaf) (tls.Certificate, error) {
	cert, key, err := ca.Issue(l)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// WriteServer writes the files of a server named localhost and 127.0.0.1 into dir
// and returns their names. Each is replaced by a rename, so that nobody reads half
// of one.
func (ca *CA) WriteServer(dir string, rsaKey bool) (chain, key, authority string, err error) {
	c, k, err := ca.Issue(Leaf{CNs: []string{"localhost"}, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, RSA: rsaKey})
	if err != nil {
		return "", "", "", err
	}
	chain, key, authority = filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	for _, f := range []struct {
		name string
		text []byte
	}{{chain, c}, {key, k}, {authority, ca.PEM()}} {
		if err := os.WriteFile(f.name+".new", f.text, 0o600); err != nil {
			return "", "", "", err
		}
		if err := os.Rename(f.name+".new", f.name); err != nil {
			return "", "", "", err
		}
	}
	return chain, key, authority, nil
}
