package mac_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sememcached/internal/testca"
	"sememcached/mac"
)

// certificate issues a client's certificate and reads it as it would be read from
// the wire.
func certificate(t *testing.T, ca *testca.CA, l testca.Leaf) *x509.Certificate {
	t.Helper()
	pair, err := ca.Pair(l)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// TestCertificateIdentities: each name is of the kind of the field that it stands
// in, and what is ambiguous is no identity.
func TestCertificateIdentities(t *testing.T) {
	ca, err := testca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	type ids = []mac.Identity
	for _, c := range []struct {
		name string
		leaf testca.Leaf
		want ids
	}{
		{"nothing", testca.Leaf{}, nil},
		{"spiffe", testca.Leaf{URIs: []string{"spiffe://prod/ns/web/sa/a"}}, ids{{mac.KindSPIFFE, "spiffe://prod/ns/web/sa/a"}}},
		{"spiffe without a path", testca.Leaf{URIs: []string{"spiffe://prod.example"}}, ids{{mac.KindSPIFFE, "spiffe://prod.example"}}},
		{"all", testca.Leaf{CNs: []string{"Web"}, DNS: []string{"A.web.example", "b.web.example"}, URIs: []string{"spiffe://p/x"}}, ids{
			{mac.KindSPIFFE, "spiffe://p/x"}, {mac.KindDNS, "a.web.example"}, {mac.KindDNS, "b.web.example"}, {mac.KindCN, "Web"},
		}},
		{"two spiffe URIs", testca.Leaf{URIs: []string{"spiffe://prod/a", "spiffe://prod/b"}}, nil},
		{"the same twice", testca.Leaf{URIs: []string{"spiffe://prod/a", "spiffe://prod/a"}}, nil},
		{"spiffe and another URI", testca.Leaf{URIs: []string{"spiffe://prod/a", "https://example.org/"}}, nil},
		{"another URI", testca.Leaf{URIs: []string{"https://prod/a"}}, nil},
		{"a URI that reads uid:0", testca.Leaf{URIs: []string{"uid:0"}}, nil},
		{"a URI that reads gid:0", testca.Leaf{URIs: []string{"gid:0"}}, nil},
		{"a URI that reads sasl:alice", testca.Leaf{URIs: []string{"sasl:alice"}}, nil},
		{"a URI that reads cidr:10.0.0.1", testca.Leaf{URIs: []string{"cidr:10.0.0.1"}}, nil},
		{"a URI that reads as a line", testca.Leaf{URIs: []string{"spiffe:spiffe://prod/a"}}, nil},
		{"a common name that reads uid:0", testca.Leaf{CNs: []string{"uid:0"}}, ids{{mac.KindCN, "uid:0"}}},
		{"a common name that reads as a SPIFFE ID", testca.Leaf{CNs: []string{"spiffe://prod/a"}}, ids{{mac.KindCN, "spiffe://prod/a"}}},
		{"two common names", testca.Leaf{CNs: []string{"a", "b"}}, nil},
		{"a user", testca.Leaf{URIs: []string{"spiffe://user@prod/a"}}, nil},
		{"a port", testca.Leaf{URIs: []string{"spiffe://prod:80/a"}}, nil},
		{"a query", testca.Leaf{URIs: []string{"spiffe://prod/a?b"}}, nil},
		{"an empty query", testca.Leaf{URIs: []string{"spiffe://prod/a?"}}, nil},
		{"a fragment", testca.Leaf{URIs: []string{"spiffe://prod/a#b"}}, nil},
		{"no trust domain", testca.Leaf{URIs: []string{"spiffe:///a"}}, nil},
		{"an upper-case trust domain", testca.Leaf{URIs: []string{"spiffe://Prod/a"}}, nil},
		{"an empty fragment", testca.Leaf{URIs: []string{"spiffe://prod/a#"}}, nil},
		{"an upper-case scheme", testca.Leaf{URIs: []string{"SPIFFE://prod/a"}}, nil},
		{"percent-encoded", testca.Leaf{URIs: []string{"spiffe://prod/%61"}}, nil},
		{"percent-encoded blank", testca.Leaf{URIs: []string{"spiffe://prod/a%20b"}}, nil},
		{"dots", testca.Leaf{URIs: []string{"spiffe://prod/a/../b"}}, nil},
		{"an empty segment", testca.Leaf{URIs: []string{"spiffe://prod/a//b"}}, nil},
		{"a slash at the end", testca.Leaf{URIs: []string{"spiffe://prod/a/"}}, nil},
		{"a pattern", testca.Leaf{URIs: []string{"spiffe://prod/*"}}, nil},
		{"too long", testca.Leaf{URIs: []string{"spiffe://prod/" + strings.Repeat("a", 2048)}}, nil},
		{"as long as may be", testca.Leaf{URIs: []string{"spiffe://prod/" + strings.Repeat("a", 2034)}}, ids{{mac.KindSPIFFE, "spiffe://prod/" + strings.Repeat("a", 2034)}}},
	} {
		if got := mac.CertificateIdentities(certificate(t, ca, c.leaf)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzCertificateIdentities: whatever the alternative names are, they give at most
// one identity of the kind spiffe, which is a text of one spelling without a byte
// that a pattern or a log could take for something else.
func FuzzCertificateIdentities(f *testing.F) {
	for _, s := range []string{"spiffe://prod/a", "uid:0", "sasl:alice", "spiffe://a/%2e%2e/b", "spiffe://a@b/c", "spiffe://a/b\x00", "spiffe://a/b#", "spiffe://a/./b"} {
		f.Add([]byte(s), byte(6))
	}
	f.Fuzz(func(t *testing.T, name []byte, tag byte) {
		san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: int(tag & 15), Bytes: name}})
		if err != nil {
			return
		}
		cert := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}, {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: name}}}
		for _, id := range mac.CertificateIdentities(cert) {
			if id.Kind != mac.KindSPIFFE || id.Value != string(name) || tag&15 != 6 || !spiffeID.MatchString(id.Value) {
				t.Fatalf("%q with tag %d gives %v", name, tag, id)
			}
		}
	})
}

var spiffeID = regexp.MustCompile(`^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)
