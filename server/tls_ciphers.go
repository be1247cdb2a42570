package server

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// opensslNames are OpenSSL's names of the cipher suites of TLS 1.2 and before that
// Go has (openssl-ciphers(1)). Those of TLS 1.3 are not chosen, as in
// SSL_CTX_set_cipher_list(3).
var opensslNames = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA256":     tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-AES128-SHA256":       tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES128-SHA256":                 tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// cipherWords are words of an OpenSSL cipher list that stand for several suites.
// Each says which names it means. What such words would add or remove beyond the
// suites that Go has (no authentication, export, RC4, ...) is not here anyway.
var cipherWords = map[string]func(name string) bool{
	"DEFAULT":  modern,
	"ALL":      func(string) bool { return true },
	"HIGH":     func(string) bool { return true },
	"ECDHE":    func(n string) bool { return strings.HasPrefix(n, "ECDHE-") },
	"EECDH":    func(n string) bool { return strings.HasPrefix(n, "ECDHE-") },
	"kEECDH":   func(n string) bool { return strings.HasPrefix(n, "ECDHE-") },
	"kRSA":     func(n string) bool { return strings.HasPrefix(n, "AES") },
	"RSA":      func(n string) bool { return !strings.Contains(n, "ECDSA") },
	"aRSA":     func(n string) bool { return !strings.Contains(n, "ECDSA") },
	"ECDSA":    func(n string) bool { return strings.Contains(n, "ECDSA") },
	"aECDSA":   func(n string) bool { return strings.Contains(n, "ECDSA") },
	"AES":      func(n string) bool { return strings.Contains(n, "AES") },
	"AES128":   func(n string) bool { return strings.Contains(n, "AES128") },
	"AES256":   func(n string) bool { return strings.Contains(n, "AES256") },
	"AESGCM":   func(n string) bool { return strings.Contains(n, "GCM") },
	"CHACHA20": func(n string) bool { return strings.Contains(n, "CHACHA20") },
	"SHA":      func(n string) bool { return strings.HasSuffix(n, "-SHA") },
	"SHA1":     func(n string) bool { return strings.HasSuffix(n, "-SHA") },
	"SHA256":   func(n string) bool { return strings.HasSuffix(n, "-SHA256") && !strings.Contains(n, "GCM") },
}

// absentWords are words for what Go never offers: they can be excluded, in vain,
// and not asked for.
var absentWords = []string{
	"aNULL", "eNULL", "NULL", "EXPORT", "EXP", "LOW", "MEDIUM", "DES", "3DES", "RC2", "RC4", "MD5", "IDEA", "SEED", "CAMELLIA", "ARIA",
	"PSK", "SRP", "DSS", "aDSS", "ADH", "AECDH", "DH", "DHE", "EDH", "kEDH", "kDH", "kECDH", "GOST", "SSLv2", "SSLv3", "AESCCM", "AESCCM8",
}

// modern says whether a suite has forward secrecy and authenticated encryption.
func modern(name string) bool {
	return strings.HasPrefix(name, "ECDHE-") && (strings.Contains(name, "GCM") || strings.Contains(name, "CHACHA20"))
}

// parseCiphers reads an OpenSSL cipher list: names and words separated by ':', ','
// or ' '; A+B is what is of both; !X and -X take away; +X changes the order only. Suites can be named as
// OpenSSL or as IANA names them. The order is not kept: crypto/tls prefers by
// strength. An empty list is nil, Go's own choice.
func parseCiphers(list string) ([]uint16, error) {
	if list == "" {
		return nil, nil
	}
	chosen, killed := map[uint16]bool{}, map[uint16]bool{}
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ',' || r == ' ' || r == ';' }) {
		if strings.HasPrefix(item, "@") {
			continue // @STRENGTH and @SECLEVEL=n order and bound what OpenSSL has
		}
		sign, name := byte(0), item
		if name[0] == '!' || name[0] == '-' || name[0] == '+' {
			sign, name = name[0], name[1:]
		}
		ids, known := suitesOf(name)
		if !known && (sign == 0 || !slices.Contains(absentWords, name)) {
			return nil, fmt.Errorf("expected names of cipher suites of TLS 1.2 that Go has, such as ECDHE-RSA-AES128-GCM-SHA256, found %q", item)
		}
		for _, id := range ids {
			switch sign {
			case '!':
				killed[id] = true
				delete(chosen, id)
			case '-':
				delete(chosen, id)
			case '+': // would move them to the end of the order
			default:
				chosen[id] = !killed[id]
			}
		}
	}
	var suites []uint16
	for id, ok := range chosen {
		if ok {
			suites = append(suites, id)
		}
	}
	if len(suites) == 0 {
		return nil, fmt.Errorf("expected at least one cipher suite, found none in %q", list)
	}
	slices.Sort(suites)
	return suites, nil
}

// suitesOf are the suites of a name, a word, or several of them joined by +.
func suitesOf(name string) (ids []uint16, known bool) {
	if id, ok := opensslNames[name]; ok {
		return []uint16{id}, true
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.Name == name && s.SupportedVersions[0] != tls.VersionTLS13 {
			return []uint16{s.ID}, true
		}
	}
	words := strings.Split(name, "+")
	for _, w := range words {
		if cipherWords[w] == nil {
			return nil, false
		}
	}
	for n, id := range opensslNames {
		if !slices.ContainsFunc(words, func(w string) bool { return !cipherWords[w](n) }) {
			ids = append(ids, id)
		}
	}
	return ids, true
}
