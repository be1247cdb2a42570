package server

import (
	"crypto/tls"
	"time"
)

// stats are the names that TLS adds to "stats".
func (t *tlsService) stats(j *statsJob) {
	if t.set.SessionCache {
		j.num("ssl_new_sessions", t.newSessions.Load())
	}
	j.num("ssl_handshake_errors", t.handshakeErrors.Load())
	j.num("ssl_proto_errors", t.protoErrors.Load())
	j.num("time_since_server_cert_refresh", uint64(max(t.now().Sub(t.current.Load().loaded), 0)/time.Second))
}

// minVersions are memcached's names of the versions.
var minVersions = map[uint16]string{
	0:                "tlsv1.2",
	tls.VersionTLS10: "tlsv1.0", tls.VersionTLS11: "tlsv1.1", tls.VersionTLS12: "tlsv1.2", tls.VersionTLS13: "tlsv1.3",
}

// verifyBits are the numbers of OpenSSL that memcached shows for its modes: peer 1,
// fail without one 2, once 4.
var verifyBits = [...]uint64{0, 1, 3, 7}

// settings are the names of "stats settings" about TLS.
func (set *TLS) settings(j *statsJob) {
	or := func(v, otherwise string) string {
		if v == "" {
			return otherwise
		}
		return v
	}
	format, buffer := set.KeyFormat, set.WriteBuffer
	if format == 0 {
		format = KeyPEM
	}
	if buffer == 0 {
		buffer = 16 << 10
	}
	j.flag("ssl_enabled", set.Enabled)
	j.str("ssl_chain_cert", or(set.ChainCert, "(null)"))
	j.str("ssl_key", or(set.Key, "(null)"))
	j.num("ssl_verify_mode", verifyBits[set.VerifyMode&3])
	j.num("ssl_keyformat", uint64(format))
	j.str("ssl_ciphers", or(set.Ciphers, "NULL"))
	j.str("ssl_ca_cert", or(set.CACert, "NULL"))
	j.num("ssl_wbuf_size", uint64(buffer))
	j.flag("ssl_session_cache", set.SessionCache)
	j.flag("ssl_kernel_tls", set.KernelTLS)
	j.str("ssl_min_version", minVersions[set.MinVersion])
}
