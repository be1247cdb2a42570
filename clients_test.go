package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
)

// TestLibmemcached drives the server with the tools of libmemcached.
func TestLibmemcached(t *testing.T) {
	ts := startServer(t, testConfig{})
	servers := "--servers=" + ts.tcp
	tool := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(needTool(t, name), append([]string{servers}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	file := filepath.Join(t.TempDir(), "cached.txt")
	writeFile(t, file, "the content\nof a file\n")
	tool("memccp", file)
	if got := tool("memccat", "cached.txt"); !strings.Contains(got, "the content\nof a file") {
		t.Errorf("memccat: %q", got)
	}
	if got := tool("memcstat"); !strings.Contains(got, "curr_items: 1") || !strings.Contains(got, "version: 1.6.45") {
		t.Errorf("memcstat:\n%s", got)
	}
	tool("memcrm", "cached.txt")
	if out, err := exec.Command(needTool(t, "memccat"), servers, "cached.txt").CombinedOutput(); err == nil {
		t.Errorf("memccat after memcrm: %q", out)
	}
	slap := tool("memcslap", "--concurrency=8", "--execute-number=500", "--test=get")
	if !regexp.MustCompile(`Time to get +4000 keys`).MatchString(slap) {
		t.Errorf("memcslap:\n%s", slap)
	}
}

// TestMemccapable runs the protocol tests of libmemcached. Two of its text cases
// want the answer of memcached 1.6.18 to a delete with surplus words, which
// memcached 1.6.45 does not give.
func TestMemccapable(t *testing.T) {
	ts := startServer(t, testConfig{})
	host, port, _ := net.SplitHostPort(ts.tcp)
	out, _ := exec.Command(needTool(t, "memccapable"), "-h", host, "-p", port).CombinedOutput()
	pass, fail := 0, []string{}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasSuffix(line, "[pass]"):
			pass++
		case strings.HasSuffix(line, "[FAIL]"):
			fail = append(fail, strings.Fields(line)[1])
		}
	}
	for _, name := range fail {
		if !strings.HasPrefix(name, "delete") {
			t.Errorf("%s failed", name)
		}
	}
	if pass < 52 || pass+len(fail) != 54 {
		t.Errorf("%d passed, %d failed; want 52 of 54\n%s", pass, len(fail), out)
	}
}

// TestGomemcache uses the Go client on TCP and on a UNIX socket.
func TestGomemcache(t *testing.T) {
	ts := startServer(t, testConfig{})
	for _, addr := range []string{ts.tcp, ts.unix} {
		mc := memcache.New(addr)
		check := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s over %s: got %v, want %v", what, addr, err, want)
			}
		}
		check("set", mc.Set(&memcache.Item{Key: "a", Value: []byte("one"), Flags: 7}), nil)
		check("add", mc.Add(&memcache.Item{Key: "a", Value: []byte("x")}), memcache.ErrNotStored)
		it, err := mc.Get("a")
		check("get", err, nil)
		if err == nil && (string(it.Value) != "one" || it.Flags != 7) {
			t.Errorf("get: %q, flags %d", it.Value, it.Flags)
		}
		it.Value = []byte("two")
		check("cas", mc.CompareAndSwap(it), nil)
		check("cas again", mc.CompareAndSwap(it), memcache.ErrCASConflict)
		check("append", mc.Append(&memcache.Item{Key: "a", Value: []byte("!")}), nil)
		check("replace", mc.Replace(&memcache.Item{Key: "none", Value: []byte("x")}), memcache.ErrNotStored)
		check("set number", mc.Set(&memcache.Item{Key: "n", Value: []byte("41")}), nil)
		n, err := mc.Increment("n", 1)
		check("incr", err, nil)
		if n != 42 {
			t.Errorf("incr: %d", n)
		}
		check("touch", mc.Touch("a", 100), nil)
		many, err := mc.GetMulti([]string{"a", "n", "none"})
		check("multi-get", err, nil)
		if len(many) != 2 || string(many["a"].Value) != "two!" {
			t.Errorf("multi-get: %v", many)
		}
		big := bytes.Repeat([]byte("0123456789abcdef"), 60_000)
		check("set big", mc.Set(&memcache.Item{Key: "big", Value: big}), nil)
		it, err = mc.Get("big")
		check("get big", err, nil)
		if err == nil && !bytes.Equal(it.Value, big) {
			t.Error("the big value came back changed")
		}
		check("delete", mc.Delete("a"), nil)
		check("delete again", mc.Delete("a"), memcache.ErrCacheMiss)
		check("flush", mc.FlushAll(), nil)
		_, err = mc.Get("n")
		check("get after flush", err, memcache.ErrCacheMiss)
		mc.Close()
	}
}

// TestNetcat is the first thing a newcomer does.
func TestNetcat(t *testing.T) {
	ts := startServer(t, testConfig{})
	host, port, _ := net.SplitHostPort(ts.tcp)
	cmd := exec.Command(needTool(t, "nc"), host, port)
	cmd.Stdin = strings.NewReader("set k 0 0 2\r\nhi\r\nget k\r\nmac whoami\r\nmac label k\r\nquit\r\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nc: %v\n%s", err, out)
	}
	const want = "STORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\nMAC system_u:system_r:kv_plain_t:s0\r\nLABEL k system_u:object_r:kv_item_t:s0\r\n"
	if string(out) != want {
		t.Errorf("got %q\nwant %q", out, want)
	}
}

// TestAudit2allow gives the audit lines of a run to Debian's audit2allow and
// expects the rules that would have been needed.
func TestAudit2allow(t *testing.T) {
	tool := needTool(t, "audit2allow")
	ts := startServer(t, testConfig{contexts: tenants})
	alice := ts.dialFrom("127.0.2.1")
	alice.want("set shared 0 0 1\r\na\r\n", "STORED\r\n")
	ts.takeAudit()
	reader := ts.dialFrom("127.0.2.3")
	reader.want("get shared\r\n", "END\r\n")
	// That was the categories; now a reader who has them: it is the type rules
	// that deny.
	r1 := ts.dialFrom("127.0.2.4")
	r1.want("get shared\r\n", "VALUE shared 0 1\r\na\r\nEND\r\n")
	r1.want("set shared 0 0 1\r\nb\r\ndelete shared\r\nincr shared 1\r\nstats reset\r\n",
		accessDenied+"NOT_FOUND\r\nNOT_FOUND\r\n"+accessDenied)
	log := filepath.Join(t.TempDir(), "audit.log")
	writeFile(t, log, strings.Join(ts.takeAudit(), "\n")+"\n")
	out, err := exec.Command(tool, "-p", "policy/default.bin", "-i", log).CombinedOutput()
	if err != nil {
		b, _ := os.ReadFile(log)
		t.Fatalf("audit2allow: %v\n%s\n%s", err, out, b)
	}
	for _, rule := range []string{
		"This avc is a constraint violation",
		"allow kv_reader_t kv_item_t:kv_item { calculate remove write };",
		"allow kv_reader_t kv_server_t:kv_server config;",
	} {
		if !strings.Contains(string(out), rule) {
			t.Errorf("audit2allow does not say %q:\n%s", rule, out)
		}
	}
}

// tenants is the contexts file of the tenant tests: two tenants, apart by
// category, by address and by user id; readers; an administrator.
var tenants = func() string {
	var b strings.Builder
	for _, l := range []struct {
		n    int
		ctx  string
		user int
	}{
		{1, "system_u:system_r:kv_client_t:s0:c1", 2001},
		{2, "system_u:system_r:kv_client_t:s0:c2", 2002},
		{3, "system_u:system_r:kv_reader_t:s0", 2003},
		{4, "system_u:system_r:kv_reader_t:s0:c1", 2004},
		{9, "system_u:system_r:kv_admin_t:s0-s0:c0.c1023", 2009},
	} {
		fmt.Fprintf(&b, "client uid:%d %s\nclient cidr:127.0.2.%d/32 %s\n", l.user, l.ctx, l.n, l.ctx)
	}
	b.WriteString("kv_item session:* system_u:object_r:kv_session_t\n")
	return b.String()
}()
