package server_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"sememcached/server"
)

// TestCipherLists: OpenSSL's lists mean what OpenSSL means, as far as Go has the
// suites.
func TestCipherLists(t *testing.T) {
	names := func(ids []uint16) string {
		var ns []string
		for _, id := range ids {
			ns = append(ns, strings.TrimPrefix(tls.CipherSuiteName(id), "TLS_"))
		}
		slices.Sort(ns)
		return strings.Join(ns, " ")
	}
	for list, want := range map[string]string{
		"":                            "",
		"ECDHE-RSA-AES128-GCM-SHA256": "ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384": "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		"AES256-SHA, AES128-SHA":                                    "RSA_WITH_AES_128_CBC_SHA RSA_WITH_AES_256_CBC_SHA",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":                     "ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		"ECDHE+AESGCM+ECDSA":                                        "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"CHACHA20:!aNULL:!MD5:@STRENGTH":                            "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		"kRSA:-AESGCM:!SHA256":                                      "RSA_WITH_AES_128_CBC_SHA RSA_WITH_AES_256_CBC_SHA",
		"!AES128-SHA:AES128-SHA:AES256-SHA":                         "RSA_WITH_AES_256_CBC_SHA",
		"AES128-SHA:-AES128-SHA:AES256-SHA:AES128-SHA":              "RSA_WITH_AES_128_CBC_SHA RSA_WITH_AES_256_CBC_SHA",
		"AES256-SHA:+AES256-SHA":                                    "RSA_WITH_AES_256_CBC_SHA",
		"ECDHE-ECDSA-AES128-SHA256:SHA256+AES128+kEECDH+aECDSA":     "ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
	} {
		ids, err := server.ParseCiphers(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		} else if got := names(ids); got != want {
			t.Errorf("%q:\n got %s\nwant %s", list, got, want)
		}
	}
	if ids, err := server.ParseCiphers("DEFAULT"); err != nil || len(ids) != 6 {
		t.Errorf("DEFAULT: %s, %v", names(ids), err)
	}
	if ids, err := server.ParseCiphers("HIGH:!aNULL"); err != nil || len(ids) != 17 {
		t.Errorf("HIGH:!aNULL: %s, %v", names(ids), err)
	}
	for _, list := range []string{"FOO", "AES128-SHA:FOO", "ECDHE+FOO", "RC4", "!AES128-SHA", "AES128-SHA:-AES128-SHA", ":", "TLS_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", "!", "aes128-sha"} {
		if ids, err := server.ParseCiphers(list); err == nil {
			t.Errorf("%q is taken: %s", list, names(ids))
		} else if !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: %v", list, err)
		}
	}
}
