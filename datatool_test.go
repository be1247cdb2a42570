package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dataTool runs "sememcached data ..." and returns what it prints and its exit code.
func dataTool(t *testing.T, args ...string) (string, int) {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{"data"}, args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestDataTools copies a file that a server uses, and looks into the copy.
func TestDataTools(t *testing.T) {
	dir := t.TempDir()
	data, copied := filepath.Join(dir, "items.data"), filepath.Join(dir, "copy")
	contexts := filepath.Join(dir, "contexts")
	writeFile(t, contexts, "client * system_u:system_r:kv_admin_t:s0-s0:c0.c1023\n")
	p := startProcess(t, "-u", whoami(t), "--mac", "policy", "--contexts", contexts, "--data", data, "--sync-interval", "1h")
	c := p.dial()
	for i := range 20 {
		c.want(fmt.Sprintf("set k%02d 5 0 3\r\nabc\r\n", i), "STORED\r\n")
	}
	c.want("mac relabel k07 system_u:object_r:kv_session_t:s0\r\n", "RELABELED\r\n")
	tool := func(code int, want string, args ...string) string {
		t.Helper()
		out, have := dataTool(t, args...)
		if have != code || !strings.Contains(out, want) {
			t.Errorf("data %s: expected status %d and %q, found %d and\n%s", strings.Join(args, " "), code, want, have, out)
		}
		return out
	}
	tool(2, "in use by another process", "info", data)
	tool(2, "in use by another process", "compact", data)
	tool(0, "20 items", "backup", data, copied) // what the next commit would write is in it
	tool(2, "file exists", "backup", data, copied)
	if st, err := os.Stat(copied); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("expected mode 0600, found %v, %v", st, err)
	}
	tool(0, "is whole: 20 items", "check", copied)
	tool(0, "kv_session_t:s0  1 items", "info", copied)
	out := tool(0, "key=k07 label=system_u:object_r:kv_session_t:s0 flags=5 exptime=-1 ", "dump", "--label", "system_u:object_r:kv_session_t*", "--values", copied)
	if strings.Count(out, "key=") != 1 || !strings.Contains(out, `value="abc"`) {
		t.Errorf("expected one item with its value, found\n%s", out)
	}
	if out := tool(0, "key=k19 ", "dump", "--prefix", "k1", copied); strings.Count(out, "key=") != 10 {
		t.Errorf("expected 10 items, found\n%s", out)
	}
	restored := filepath.Join(dir, "restored")
	tool(0, "20 items", "restore", copied, restored)
	tool(0, "20 items", "compact", restored)
	tool(0, "is whole: 20 items", "check", restored)
	b, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	b[strings.LastIndex(string(b), "k12abc")] ^= 1
	writeFile(t, copied, string(b))
	tool(1, "the file is damaged", "check", copied)
	tool(2, "the file is damaged", "restore", "--force", copied, restored)
	tool(0, "is whole: 20 items", "check", restored)
}

// TestBackupDenied: a copy of all items is for those who may dump.
func TestBackupDenied(t *testing.T) {
	dir := t.TempDir()
	data, contexts := filepath.Join(dir, "items.data"), filepath.Join(dir, "contexts")
	writeFile(t, contexts, "client * system_u:system_r:kv_client_t:s0\n")
	p := startProcess(t, "-u", whoami(t), "--mac", "policy", "--contexts", contexts, "--data", data)
	p.dial().want("set k 0 0 3\r\nabc\r\n", "STORED\r\n")
	copied := filepath.Join(dir, "copy")
	out, code := dataTool(t, "backup", data, copied)
	if code != 2 || !strings.Contains(out, "access denied") {
		t.Errorf("expected status 2 and \"access denied\", found %d and %s", code, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*copy*")); len(left) != 0 || err != nil {
		t.Errorf("expected no copy and no part of one, found %q, %v", left, err)
	}
	waitFor(t, "the audit record", func() bool {
		text := p.stderr.String()
		return strings.Contains(text, "denied  { dump }") && strings.Contains(text, "scontext=system_u:system_r:kv_client_t:s0")
	})
}
