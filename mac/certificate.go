package mac

import (
	"crypto/x509"
	"encoding/asn1"
	"net/url"
	"strings"
)

// commonName is the attribute type of a subject's common name (RFC 5280, 4.1.2.6).
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// CertificateIdentities are the names that a verified client certificate gives
// its holder, for Peer.Extra:
//
//   - spiffe, the URI of a SPIFFE ID, if the certificate has exactly one URI among
//     its alternative names and that is one (X509-SVID, section 2): with several it
//     would be anybody's guess which of them was meant;
//   - dns, each DNS alternative name, in lower case;
//   - cn, the subject's common name, if it has exactly one.
//
// An identity is of the kind of the field that it was read from, whatever its
// text says: a URI "uid:0" is no user id, and "sasl:alice" is nobody's login.
// The caller has verified the certificate.
func CertificateIdentities(cert *x509.Certificate) []Identity {
	var ids []Identity
	if len(cert.URIs) == 1 {
		if id, ok := spiffeID(cert.URIs[0]); ok {
			ids = append(ids, Identity{KindSPIFFE, id})
		}
	}
	for _, name := range cert.DNSNames {
		if name != "" {
			ids = append(ids, Identity{KindDNS, strings.ToLower(name)})
		}
	}
	cn, n := "", 0
	for _, a := range cert.Subject.Names {
		if a.Type.Equal(commonName) {
			cn, _ = a.Value.(string)
			n++
		}
	}
	if n == 1 && cn != "" {
		ids = append(ids, Identity{KindCN, cn})
	}
	return ids
}

// maxSPIFFEID is the longest SPIFFE ID in bytes (SPIFFE-ID, section 2.3).
const maxSPIFFEID = 2048

// spiffeID is the text of a URI that is a SPIFFE ID: scheme, trust domain and path
// and nothing else, of the characters that SPIFFE-ID, sections 2.1 and 2.2, allow.
// None of them can be written in two ways, so that a pattern compares bytes.
func spiffeID(u *url.URL) (id string, ok bool) {
	if u.Scheme != "spiffe" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Host == "" {
		return "", false
	}
	for _, c := range []byte(u.Host) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return "", false
		}
	}
	if u.RawPath != "" {
		return "", false // percent-encoded
	}
	if u.Path != "" {
		for segment := range strings.SplitSeq(strings.TrimPrefix(u.Path, "/"), "/") {
			if !pathSegment(segment) {
				return "", false
			}
		}
	}
	id = "spiffe://" + u.Host + u.Path
	return id, len(id) <= maxSPIFFEID
}

func pathSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
