package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sememcached/internal/testca"
	"sememcached/server"
)

// tlsOptionCases are arguments of -o about TLS with the refusal that they meet;
// "" is none. The texts are memcached's. ours: memcached's help has the words, and
// memcached refuses them.
var tlsOptionCases = []struct {
	arg, refusal string
	ours         bool
}{
	{"ssl_chain_cert", "Missing ssl_chain_cert argument", false},
	{"ssl_key", "Missing ssl_key argument", false},
	{"ssl_keyformat", "Missing ssl_keyformat argument", false},
	{"ssl_keyformat=x", "could not parse argument to ssl_keyformat", false},
	{"ssl_keyformat=1", "", false},
	{"ssl_keyformat=2", "", false},
	{"ssl_keyformat=PEM", "", true},
	{"ssl_keyformat=der", "", true},
	{"ssl_keyformat=ENGINE", "ssl_keyformat ENGINE is not supported: expected PEM or DER", true},
	{"ssl_verify_mode", "Missing ssl_verify_mode argument", false},
	{"ssl_verify_mode=x", "could not parse argument to ssl_verify_mode", false},
	{"ssl_verify_mode=-1", "Invalid ssl_verify_mode. Use help to see valid options.", false},
	{"ssl_verify_mode=4", "Invalid ssl_verify_mode. Use help to see valid options.", false},
	{"ssl_verify_mode=3", "", false},
	{"ssl_ciphers", "Missing ssl_ciphers argument", false},
	{"ssl_ciphers=HIGH:!aNULL", "", false},
	{"ssl_ca_cert", "Missing ssl_ca_cert argument", false},
	{"ssl_wbuf_size", "Missing ssl_wbuf_size argument", false},
	{"ssl_wbuf_size=x", "could not parse argument to ssl_wbuf_size", false},
	{"ssl_wbuf_size=-1", "could not parse argument to ssl_wbuf_size", false},
	{"ssl_wbuf_size=32", "", false},
	{"ssl_session_cache", "", false},
	{"ssl_session_cache=no", "", false},
	{"ssl_kernel_tls", "", false},
	{"ssl_min_version", "Missing ssl_min_version argument", false},
	{"ssl_min_version=x", "could not parse argument to ssl_min_version", false},
	{"ssl_min_version=4", "Invalid ssl_min_version. Use help to see valid options.", false},
	{"ssl_min_version=-1", "Invalid ssl_min_version. Use help to see valid options.", false},
	{"ssl_min_version=0", "", false},
	{"ssl_min_version=3", "", false},
	{"ssl_other", `Illegal suboption "ssl_other"`, true}, // 1.6.18 quotes the whole list
}

func TestTLSOptions(t *testing.T) {
	memcached := needTool(t, "memcached")
	named := map[string]bool{}
	for _, c := range tlsOptionCases {
		_, err := parseFlags([]string{"-o", c.arg})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.refusal {
			t.Errorf("-o %s: expected refusal %q, found %q", c.arg, c.refusal, got)
		}
		name, _, _ := strings.Cut(c.arg, "=")
		named[name] = true
		if c.ours || c.refusal == "" {
			continue
		}
		// The oracle refuses it likewise, before it does anything else.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out, err := exec.CommandContext(ctx, memcached, "-u", "root", "-l", "127.0.0.1", "-o", c.arg).CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), c.refusal) {
			t.Errorf("-o %s: memcached says %q, %v", c.arg, out, err)
		}
	}
	for _, row := range tlsOptions {
		if !named[row.name] {
			t.Errorf("-o %s: no case", row.name)
		}
	}
}

func TestTLSOptionValues(t *testing.T) {
	o, err := parseFlags([]string{
		"-Z", "-o", "ssl_chain_cert=/c,ssl_key=/k,ssl_keyformat=2,ssl_verify_mode=2,ssl_ca_cert=/a", "-o",
		"ssl_ciphers=AES128-SHA:AES256-SHA,ssl_wbuf_size=32,ssl_session_cache,ssl_kernel_tls,ssl_min_version=3",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := server.TLS{
		Enabled: true, ChainCert: "/c", Key: "/k", KeyFormat: server.KeyDER, VerifyMode: 2, CACert: "/a",
		Ciphers: "AES128-SHA:AES256-SHA", WriteBuffer: 32 << 10, SessionCache: true, KernelTLS: true, MinVersion: tls.VersionTLS13,
	}
	if o.server.TLS != want {
		t.Errorf("found %+v\nwant  %+v", o.server.TLS, want)
	}
	if got := strings.Join(o.noted, " "); got != "ssl_wbuf_size ssl_kernel_tls" {
		t.Errorf("noted: %q", got)
	}
	if o, err = parseFlags([]string{"--enable-ssl", "-o", "ssl_chain_cert=c.pem"}); err != nil || !filepath.IsAbs(o.server.TLS.ChainCert) {
		t.Errorf("a relative path: %+v, %v", o, err)
	}
}

// TestTLSRefusals: what refuses a start, with memcached's exit code and words; the
// forms of a key that are taken.
func TestTLSRefusals(t *testing.T) {
	dir := t.TempDir()
	ca, err := testca.New("test")
	if err != nil {
		t.Fatal(err)
	}
	chain, key, _, err := ca.WriteServer(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	put := func(name string, parts ...[]byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	both := put("both.pem", text(chain), text(key))
	bothKeyFirst := put("keyfirst.pem", text(key), text(chain))
	block, _ := pem.Decode(text(key))
	der := put("key.der", block.Bytes)
	locked := put("locked.pem", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	_, otherText, err := ca.Issue(testca.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	other := put("other.pem", otherText)
	nothing := filepath.Join(dir, "nothing")

	for _, c := range []struct{ options, refusal string }{
		{"", "Error loading the certificate chain: (null) : "},
		{"ssl_key=" + key, "Error loading the certificate chain: (null) : "},
		{"ssl_chain_cert=" + nothing + ",ssl_key=" + key, "Error loading the certificate chain: " + nothing + " : no such file or directory"},
		{"ssl_chain_cert=" + key + ",ssl_key=" + key, "Error loading the certificate chain: " + key + " : expected certificates in PEM form"},
		{"ssl_chain_cert=" + chain, "Error loading the key: " + chain + " : expected a private key"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + nothing, "Error loading the key: " + nothing + " : no such file or directory"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + chain, "Error loading the key: " + chain + " : expected a private key"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + locked, "Error loading the key: " + locked + " : the key is encrypted"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key + ",ssl_keyformat=2", "Error loading the key: " + key},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + der, "Error loading the key: " + der},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key + ",ssl_keyformat=7", "Error loading the key: " + key + " : expected ssl_keyformat 1"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + other, "Error validating the certificate: "},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key + ",ssl_ca_cert=" + nothing, "Error loading the CA certificate: " + nothing + " : no such file or directory"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key + ",ssl_ca_cert=" + key, "Error loading the CA certificate: " + key + " : expected certificates in PEM form"},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key + ",ssl_ciphers=FOO", "Error setting the provided cipher(s): FOO : "},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + key, ""},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + der + ",ssl_keyformat=2", ""},
		{"ssl_chain_cert=" + chain + ",ssl_key=" + both, ""},
		{"ssl_chain_cert=" + both, ""},
		{"ssl_chain_cert=" + bothKeyFirst, ""},
	} {
		args := []string{"-Z", "--mac", "policy", "--check-config"}
		if c.options != "" {
			args = append(args, "-o", c.options)
		}
		var stdout, stderr bytes.Buffer
		code := run(args, &stdout, &stderr)
		want := 0
		if c.refusal != "" {
			want = exitUsage
		}
		if code != want || !strings.HasPrefix(stderr.String(), c.refusal) {
			t.Errorf("-Z -o %s:\nexit %d, %q\nwant %d, %q", c.options, code, stderr.String(), want, c.refusal)
		}
	}
	// A start refuses likewise.
	o, err := parseFlags([]string{"-Z", "-o", "ssl_chain_cert=" + nothing})
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.New(nil, nil, &o.server, nil)
	if err == nil {
		t.Error("a server without an engine")
	}
	var coded *exitError
	if err := refusedTLS(server.CheckTLS(o.server.TLS, slog.New(slog.DiscardHandler))); !errors.As(err, &coded) || coded.code != exitUsage {
		t.Errorf("%v", err)
	}
}
