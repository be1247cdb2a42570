package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"sememcached/policy"
)

// TestExplainByServer asks a running server, as an administrator and as a
// tenant, on the wire and by the command.
func TestExplainByServer(t *testing.T) {
	ts := startServer(t, testConfig{contexts: `
client cidr:127.0.0.2/32 system_u:system_r:kv_client_t:s0:c1
client cidr:127.0.0.1/32 system_u:system_r:kv_plain_t:s0
`})
	tenant := func(send string) string {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		c, err := d.Dial("tcp", ts.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(send)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	if got := tenant("set theirs 0 0 1\r\nx\r\n"); got != "STORED\r\n" {
		t.Fatal(got)
	}
	if got := tenant("mac explain theirs read\r\n"); got != "CLIENT_ERROR access denied\r\n" {
		t.Errorf("a tenant: expected access denied, found %q", got)
	}
	if got := tenant("mac explain absent read\r\n"); got != "CLIENT_ERROR access denied\r\n" {
		t.Errorf("a tenant: expected the same for a key that is absent, found %q", got)
	}

	ask := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(append([]string{"policy", "explain", "--server", ts.tcp}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	// It is the policy's own explanation, whole.
	p, err := policy.Read(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	want := p.ExplainQuery(policy.Query{
		Source: "system_u:system_r:kv_plain_t:s0", Target: "system_u:object_r:kv_item_t:s0:c1", Class: "kv_item", Perms: []string{"read", "write"},
	}).String()
	if code, out, errs := ask("-k", "theirs", "-p", "read,write"); code != 1 || out != want || errs != "" {
		t.Errorf("exit %d, %q\nexpected\n%s\nfound\n%s", code, errs, want, out)
	}
	c, err := net.Dial("tcp", ts.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("set mine 0 0 1\r\nx\r\nmac explain mine nonsense\r\nmac explain mine\r\nmac explain mine read\r\nversion\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"STORED", "CLIENT_ERROR unknown permission", "CLIENT_ERROR bad command line format", "EXPLAIN mine "} {
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("expected %q, found %q, %v", want, line, err)
		}
	}
	for line := ""; !strings.HasPrefix(line, "VERSION"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}

	if code, out, _ := ask("-k", "mine", "-p", "read"); code != 0 || !strings.HasPrefix(out, "allowed: ") {
		t.Errorf("exit %d, %q", code, out)
	}
	// The same for programs: what explain --json prints.
	for key, allowed := range map[string]bool{"mine": true, "theirs": false} {
		label := map[bool]string{true: "system_u:object_r:kv_item_t:s0", false: "system_u:object_r:kv_item_t:s0:c1"}[allowed]
		code, out, errs := ask("-k", key, "-p", "read,write", "--json")
		var local, localErrs bytes.Buffer
		localCode := run([]string{"policy", "explain", "-s", "system_u:system_r:kv_plain_t:s0", "-t", label, "-c", "kv_item", "-p", "read,write", "--json"}, &local, &localErrs)
		var e policy.Explanation
		if err := json.Unmarshal([]byte(out), &e); err != nil || e.Allowed != allowed || e.Failed {
			t.Errorf("expected JSON that says allowed %v, found %v %q", allowed, err, out)
		}
		if code != localCode || out != local.String() || errs != "" {
			t.Errorf("%s: exit %d, %q\nexpected\n%s\nfound\n%s", key, code, errs, &local, out)
		}
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{`no item has the key "absent"`, []string{"-k", "absent", "-p", "read"}},
		{"unknown permission", []string{"-k", "mine", "-p", "fly"}},
		{"takes -k and -p", []string{"-k", "mine"}},
		{"takes -k and -p", []string{"-k", "mine", "-p", "read", "-s", "x"}},
		{"takes -k and -p", []string{"-k", "mine", "-p", "read", "--json", "-P", "x"}},
		{"takes -k and -p", []string{"-k", "mine", "-p", "read", "more"}},
		{"unknown permission", []string{"-k", "mine", "-p", "fly", "--json"}},
		{"without blanks", []string{"-k", "a b", "-p", "read"}},
	} {
		if code, _, errs := ask(c.args...); code != exitNoAnswer || !strings.Contains(errs, c.want) {
			t.Errorf("%v: expected exit 2 and %q, found %d and %q", c.args, c.want, code, errs)
		}
	}
}

// TestAuditLineExplains: what a denial logs is what explain takes.
func TestAuditLineExplains(t *testing.T) {
	ts := startServer(t, testConfig{contexts: `
client cidr:127.0.0.1/32 system_u:system_r:kv_reader_t:s0
`})
	c, err := net.Dial("tcp", ts.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("set a'b\x01c 0 0 1\r\nx\r\nversion\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for line := ""; !strings.HasPrefix(line, "VERSION"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	lines := ts.takeAudit()
	if len(lines) == 0 {
		t.Fatal("expected a denial in the log")
	}
	for _, line := range lines {
		var out, errs bytes.Buffer
		if code := run([]string{"policy", "explain", "--line", line}, &out, &errs); code != 1 || !strings.Contains(out.String(), "add: (allow kv_reader_t ") {
			t.Errorf("%s\nexit %d\n%s%s", line, code, &out, &errs)
		}
	}
}
