package server_test

import (
	"crypto/tls"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
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
		ids, absent, err := server.ParseCiphers(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		} else if got := names(ids); got != want {
			t.Errorf("%q:\n got %s\nwant %s", list, got, want)
		} else if len(absent) > 0 {
			t.Errorf("%q: said to be absent: %q", list, absent)
		}
	}
	if ids, _, err := server.ParseCiphers("DEFAULT"); err != nil || len(ids) != 6 {
		t.Errorf("DEFAULT: %s, %v", names(ids), err)
	}
	if ids, _, err := server.ParseCiphers("HIGH:!aNULL"); err != nil || len(ids) != 17 {
		t.Errorf("HIGH:!aNULL: %s, %v", names(ids), err)
	}
	// Lists for all servers ask for more than Go has, and exclude it too.
	for list, want := range map[string][2]string{
		// Mozilla's intermediate configuration, version 5.7.
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305": {
			"ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ECDHE_RSA_WITH_AES_128_GCM_SHA256 ECDHE_RSA_WITH_AES_256_GCM_SHA384 ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
			"DHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES256-GCM-SHA384 DHE-RSA-CHACHA20-POLY1305",
		},
		"AES128-SHA:FOO": {"RSA_WITH_AES_128_CBC_SHA", "FOO"},
		"AES128-SHA:!ECDHE-RSA-AES256-SHA384:!DES-CBC3-SHA:!DHE+AES:-EDH:!SHA384:!DHE-RSA-AES128-SHA:!AES256-CCM8:!PSK-AES128-CBC-SHA": {"RSA_WITH_AES_128_CBC_SHA", ""},
		"TLSv1.2:!aECDSA:!kRSA:!AES": {"ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", ""},
		"SSLv3:ECDHE+TLSv1:!TLSv1.0": {"RSA_WITH_AES_128_CBC_SHA RSA_WITH_AES_256_CBC_SHA", ""},
	} {
		ids, absent, err := server.ParseCiphers(list)
		if got := [2]string{names(ids), strings.Join(absent, " ")}; err != nil || got != want {
			t.Errorf("%q:\n got %q, %v\nwant %q", list, got, err, want)
		}
	}
	for _, list := range []string{"FOO", "ECDHE+FOO", "RC4", "AES128-SHA:!FOO", "AES128-SHA:-AES128-SHAA", "AES128-SHA:!RC4+FOO", "!AES128-SHA", "AES128-SHA:-AES128-SHA", ":", "TLS_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", "!", "aes128-sha"} {
		if ids, _, err := server.ParseCiphers(list); err == nil {
			t.Errorf("%q is taken: %s", list, names(ids))
		} else if !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// TestCipherListsAgainstOpenSSL: lists of any words, of the suites that Go has, mean
// to OpenSSL what they mean here.
func TestCipherListsAgainstOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	suites, words, absent := server.CipherNames()
	words = slices.DeleteFunc(words, func(w string) bool { return w == "DEFAULT" }) // Go's own
	lists := append(slices.Clone(words), slices.Sorted(maps.Keys(suites))...)
	rnd := rand.New(rand.NewPCG(1, 2))
	items := slices.Concat(lists, absent, lists)
	for range 300 {
		var list []string
		for range 1 + rnd.IntN(5) {
			sign := []string{"", "", "", "!", "-", "+"}[rnd.IntN(6)]
			item := items[rnd.IntN(len(items))]
			if rnd.IntN(4) == 0 {
				item = words[rnd.IntN(len(words))] + "+" + words[rnd.IntN(len(words))]
			}
			list = append(list, sign+item)
		}
		lists = append(lists, strings.Join(list, ":"))
	}
	for _, list := range lists {
		var want, got []string
		// The level comes first, since a list may begin with '-' like an option.
		if out, err := exec.Command(openssl, "ciphers", "@SECLEVEL=0:"+list).Output(); err == nil {
			for name := range strings.SplitSeq(strings.TrimSpace(string(out)), ":") {
				if suites[name] != 0 {
					want = append(want, name)
				}
			}
		}
		if ids, _, err := server.ParseCiphers(list); err == nil {
			for name, id := range suites {
				if slices.Contains(ids, id) {
					got = append(got, name)
				}
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %s\nwant %s", list, got, want)
		}
	}
}
