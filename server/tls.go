package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS is how a server speaks TLS: memcached's -Z and its options ssl_*. The zero
// TLS is off. With it on, every TCP listener speaks TLS, but for those with the
// prefix notls: in -l; UNIX sockets and UDP never do, in memcached neither.
type TLS struct {
	Enabled      bool      // -Z
	ChainCert    string    // ssl_chain_cert: PEM file, the server's certificate first
	Key          string    // ssl_key: file; "": the key is in ChainCert
	KeyFormat    KeyFormat // ssl_keyformat
	VerifyMode   int       // ssl_verify_mode: 0 none, 1 request, 2 require, 3 require (once)
	CACert       string    // ssl_ca_cert: PEM file of the authorities of client certificates; "": none is trusted
	Ciphers      string    // ssl_ciphers: an OpenSSL cipher list, for TLS 1.2 and before; "": Go's choice
	WriteBuffer  int       // ssl_wbuf_size in bytes: shown; 0 means 16 KiB
	SessionCache bool      // ssl_session_cache: sessions can be resumed, by tickets
	KernelTLS    bool      // ssl_kernel_tls: shown
	MinVersion   uint16    // ssl_min_version, as tls.VersionTLS12, which is what 0 means
}

// KeyFormat is the form of a private key's file, by OpenSSL's numbers.
type KeyFormat int

// The formats. The zero value means PEM.
const (
	KeyPEM KeyFormat = 1
	KeyDER KeyFormat = 2
)

// tlsMode is what a listener asks of its clients.
type tlsMode uint8

const (
	tlsUnset   tlsMode = iota // as the server's other listeners: TLS, if it has that
	tlsOff                    // plain text
	tlsDefault                // TLS; client certificates as ssl_verify_mode says
	tlsNoPeer                 // TLS; client certificates are not asked for
	tlsPeer                   // TLS; a client certificate is required
	tlsModes
)

// tlsPrefixes are the prefixes of -l that are about TLS.
var tlsPrefixes = map[string]tlsMode{"notls": tlsOff, "btls": tlsNoPeer, "mtls": tlsPeer}

// decided is the mode of a listener on a server that has TLS, or has not.
func (m tlsMode) decided(on bool) tlsMode {
	switch {
	case !on:
		return tlsOff
	case m == tlsUnset:
		return tlsDefault
	}
	return m
}

// clientAuth is what a mode means where ssl_verify_mode is verify.
func (m tlsMode) clientAuth(verify int) tls.ClientAuthType {
	switch {
	case m == tlsNoPeer || m == tlsDefault && verify == 0:
		return tls.NoClientCert
	case m == tlsDefault && verify == 1:
		return tls.VerifyClientCertIfGiven
	}
	return tls.RequireAndVerifyClientCert
}

// handshakeTime is how long a client may take for its handshake.
var handshakeTime = 10 * time.Second // tests shorten it

// tlsService is the part of a server that only one with TLS has.
type tlsService struct {
	set      TLS
	suites   []uint16
	absent   []string      // of the cipher list: what it asks for and Go has not
	patience time.Duration // with a handshake
	clock    atomic.Pointer[func() time.Time]
	current  atomic.Pointer[tlsState] // what new handshakes use

	underway        atomic.Int64 // handshakes; see loop.wait
	handshakeErrors atomic.Uint64
	protoErrors     atomic.Uint64
	newSessions     atomic.Uint64

	// refreshing is held while files are read and what follows from them is done.
	refreshing sync.Mutex
	files      [3]fileID // +checklocks:refreshing; as they were before the last refresh
	seen       [3]fileID // +checklocks:refreshing; when they were last looked at
}

// tlsState is one reading of the files. It is immutable; a session that was begun
// under one cannot be resumed under another, as each has ticket keys of its own.
type tlsState struct {
	configs [tlsModes]*tls.Config // by the mode of the listener
	roots   *x509.CertPool        // the authorities of client certificates; never nil, so never the system's
	loaded  time.Time
	doubts  []string // what is wrong with the files, though it refuses nothing
}

// CheckTLS says what would refuse a start with these settings, if anything.
// What a start would warn of goes to log.
func CheckTLS(set TLS, log *slog.Logger) error {
	if !set.Enabled {
		return nil
	}
	t, err := newTLSService(set)
	if err == nil {
		t.warn(log)
	}
	return err
}

// newTLSService reads the files. The texts of its errors are memcached's.
func newTLSService(set TLS) (*tlsService, error) {
	if set.ChainCert == "" {
		return nil, tlsErrorf("Error loading the certificate chain: (null) : -Z needs -o ssl_chain_cert=FILE")
	}
	suites, absent, err := parseCiphers(set.Ciphers)
	if err != nil {
		return nil, tlsErrorf("Error setting the provided cipher(s): %s : %v", set.Ciphers, err)
	}
	t := &tlsService{set: set, suites: suites, absent: absent, patience: handshakeTime}
	now := time.Now
	t.clock.Store(&now)
	t.refreshing.Lock()
	defer t.refreshing.Unlock()
	t.files = t.stat()
	st, err := t.load()
	if err != nil {
		return nil, err
	}
	t.current.Store(st)
	return t, nil
}

// TLSError is an error of the TLS settings or files, in memcached's words, which
// refresh_certs sends as they are.
type TLSError string

func (e TLSError) Error() string { return string(e) }

func tlsErrorf(format string, args ...any) error { return TLSError(fmt.Sprintf(format, args...)) }

// now is the time by which certificates are judged.
func (t *tlsService) now() time.Time { return (*t.clock.Load())() }

// load reads the files into a new state.
func (t *tlsService) load() (*tlsState, error) {
	cert, err := t.loadPair()
	if err != nil {
		return nil, err
	}
	st := &tlsState{roots: x509.NewCertPool(), loaded: t.now()}
	st.doubts = t.doubts(cert.Leaf)
	if t.set.CACert != "" {
		text, err := os.ReadFile(t.set.CACert)
		var certs []*x509.Certificate
		if err == nil {
			certs, err = readCertificates(text)
		}
		if err != nil {
			return nil, loadError("CA certificate", t.set.CACert, err)
		}
		for _, c := range certs {
			st.roots.AddCert(c)
		}
	}
	for m := tlsDefault; m < tlsModes; m++ {
		st.configs[m] = t.config(st, m, cert)
	}
	return st, nil
}

// config is what crypto/tls is told for listeners of mode m.
func (t *tlsService) config(st *tlsState, m tlsMode, cert tls.Certificate) *tls.Config {
	c := &tls.Config{
		Time: t.now,
		// A function and not a list: it is called in the midst of a handshake, by the handshaker.
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if s, ok := hello.Conn.(*stream); ok {
				s.giveWay()
			}
			return &cert, nil
		},
		MinVersion:   t.set.MinVersion,
		CipherSuites: t.suites,
		ClientAuth:   m.clientAuth(t.set.VerifyMode),
		ClientCAs:    st.roots,
		// Replies are large or are one record anyway.
		DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled:      !t.set.SessionCache,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		// The chain of a resumed session was verified when it was begun, by the
		// authorities and the clock of then.
		if !cs.DidResume || len(cs.PeerCertificates) == 0 {
			return nil
		}
		return t.current.Load().trusts(cs.PeerCertificates, t.now())
	}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		if !cs.DidResume {
			t.newSessions.Add(1)
		}
		return c.EncryptTicket(cs, ss)
	}
	return c
}

// trusts verifies a client's certificates, its own first, as they are now.
func (st *tlsState) trusts(chain []*x509.Certificate, now time.Time) error {
	opts := x509.VerifyOptions{
		Roots: st.roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opts)
	return err
}
