package mac

import (
	"crypto/x509"
	"encoding/asn1"
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
	if uris := uriNames(cert); len(uris) == 1 && isSPIFFEID(uris[0]) {
		ids = append(ids, Identity{KindSPIFFE, uris[0]})
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

// subjectAltName is the extension of the alternative names (RFC 5280, 4.2.1.6), and
// uriName the tag of a URI among them.
var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

const uriName = 6

// uriNames are the URIs among a certificate's alternative names, byte for byte:
// Certificate.URIs has been through a parser that takes several texts for one.
func uriNames(cert *x509.Certificate) (uris []string) {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == uriName {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	return uris
}

// maxSPIFFEID is the longest SPIFFE ID in bytes (SPIFFE-ID, section 2.3).
const maxSPIFFEID = 2048

// isSPIFFEID says whether a URI is a SPIFFE ID: scheme, trust domain and path and
// nothing else, of the characters that SPIFFE-ID, sections 2.1 and 2.2, allow. None
// of them can be written in two ways, so that a pattern may compare bytes.
func isSPIFFEID(uri string) bool {
	rest, ok := strings.CutPrefix(uri, "spiffe://")
	if !ok || len(uri) > maxSPIFFEID {
		return false
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if !spiffeText(domain, false) {
		return false
	}
	for hasPath {
		var segment string
		segment, path, hasPath = strings.Cut(path, "/")
		if !spiffeText(segment, true) || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// spiffeText says whether s, a trust domain or a segment of a path, is not empty
// and of the characters allowed there.
func spiffeText(s string, upper bool) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || upper && c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return s != ""
}
