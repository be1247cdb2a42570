package server

import (
	"crypto/tls"
	"fmt"
	"regexp"
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
	"RSA":      func(n string) bool { return strings.HasPrefix(n, "AES") },
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
	"SSLv3":    func(n string) bool { return strings.HasPrefix(n, "AES") && strings.HasSuffix(n, "-SHA") },
	"TLSv1":    func(n string) bool { return strings.HasPrefix(n, "ECDHE-") && strings.HasSuffix(n, "-SHA") },
	"TLSv1.0":  func(n string) bool { return strings.HasPrefix(n, "ECDHE-") && strings.HasSuffix(n, "-SHA") },
	"TLSv1.2":  func(n string) bool { return !strings.HasSuffix(n, "-SHA") },
	"SHA256":   func(n string) bool { return strings.HasSuffix(n, "-SHA256") && !strings.Contains(n, "GCM") },
}

// absentWords are words for what Go never offers: they can be excluded, in vain.
var absentWords = []string{
	"aNULL", "eNULL", "NULL", "EXPORT", "EXP", "LOW", "MEDIUM", "DES", "3DES", "RC2", "RC4", "MD5", "IDEA", "SEED", "CAMELLIA", "ARIA",
	"PSK", "kPSK", "aPSK", "SRP", "kSRP", "aSRP", "DSS", "aDSS", "ADH", "AECDH", "DH", "DHE", "EDH", "kEDH", "kDHE", "kDH", "kDHd", "kDHr", "aDH", "kECDH",
	"kECDHe", "kECDHr", "aECDH", "GOST", "kGOST", "aGOST", "SSLv2", "AESCCM", "AESCCM8", "CAMELLIA128", "CAMELLIA256", "ARIA128", "ARIA256", "SHA384",
	"COMPLEMENTOFALL", "COMPLEMENTOFDEFAULT", "EXPORT40", "EXPORT56", "kRSAPSK", "kECDHEPSK", "kDHEPSK",
}

// absentNames are names of suites that Go has not.
var absentNames = regexp.MustCompile(`^((|RSA-|DHE-|ECDHE-)PSK|SRP|EXP|DHE|EDH|DH|ADH|AECDH|ECDH)-|CAMELLIA|ARIA|DES-CBC|RC[24]|SEED|IDEA|NULL|-SHA384$|-CCM8?$`)

// modern says whether a suite has forward secrecy and authenticated encryption.
func modern(name string) bool {
	return strings.HasPrefix(name, "ECDHE-") && (strings.Contains(name, "GCM") || strings.Contains(name, "CHACHA20"))
}

// parseCiphers reads an OpenSSL cipher list: names and words separated by ':', ','
// or ' '; A+B is what is of both; !X and -X take away; +X changes the order only. Suites can be named as
// OpenSSL or as IANA names them. The order is not kept: crypto/tls prefers by
// strength. An empty list is nil, Go's own choice.
//
// What is asked for and not to be had is passed over, as OpenSSL does, and returned in
// absent: there are lists for all servers, with DHE suites, that Go has not. What is to
// be taken away has to be known.
func parseCiphers(list string) (suites []uint16, absent []string, err error) {
	if list == "" {
		return nil, nil, nil
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
		switch {
		case known:
		case sign == 0:
			absent = append(absent, item)
		case !absentSuites(name):
			return nil, nil, fmt.Errorf("expected names of cipher suites of TLS 1.2, such as ECDHE-RSA-AES128-GCM-SHA256, found %q", item)
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
	for id, ok := range chosen {
		if ok {
			suites = append(suites, id)
		}
	}
	if len(suites) == 0 {
		return nil, nil, fmt.Errorf("expected at least one cipher suite of TLS 1.2 that Go has, such as ECDHE-RSA-AES128-GCM-SHA256, found none in %q", list)
	}
	slices.Sort(suites)
	return suites, absent, nil
}

// absentSuites says whether a name, or words joined by +, stand for suites that Go has not.
func absentSuites(name string) bool {
	if strings.Contains(name, "-") { // no word has one
		return absentNames.MatchString(name)
	}
	absent := false
	for w := range strings.SplitSeq(name, "+") {
		switch {
		case slices.Contains(absentWords, w):
			absent = true
		case cipherWords[w] == nil:
			return false
		}
	}
	return absent
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
