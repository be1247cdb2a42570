package mac

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/avc"
)

var auditTime = time.Unix(1700000000, 123456789)

func record(key string, p *Peer) *Record {
	r := &Record{
		Time: auditTime, Class: avc.ClassItem, Perms: avc.Read, Scontext: client1, Tcontext: item, Peer: p,
		NKey: uint8(len(key)),
	}
	copy(r.Key[:], key)
	return r
}

func TestAuditLines(t *testing.T) {
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "812"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(proc, "812", "comm"), "web\n")
	var out text
	m := open(t, Config{AuditWriter: &out, ProcRoot: proc})
	unix := unixPeer(1001, 100)
	unix.PID = 812
	gone := *unix
	gone.PID = 813
	v6 := &Peer{Addr: netip.MustParseAddrPort("[fe80::2%eth0]:4000"), Local: netip.MustParseAddrPort("[::ffff:10.0.0.1]:11211")}

	denied := record("user:1", unix)
	permissive := record("user:1", &gone)
	permissive.Permissive = true
	permissive.Perms = avc.Read | avc.Setattr
	granted := record("a b", tcp("192.0.2.7"))
	granted.Granted, granted.Perms, granted.Command = true, avc.Remove, "delete"
	keyless := record("", v6)
	keyless.Class, keyless.Perms, keyless.Command = avc.ClassServer, avc.ServerFlush|avc.ServerConfig, "flush_all"
	odd := record("=}\"\n", &Peer{Path: "/run/k v.sock"})
	odd.Perms = avc.Read | 1<<20
	odd.Scontext, odd.Tcontext = "", "a b=c"

	for _, c := range []struct {
		r    *Record
		want string
	}{
		{denied, `avc:  denied  { read } for  pid=812 comm="web" uid=1001 path="/run/kv.sock" key="user:1" scontext=system_u:system_r:kv_client_t:s0:c1 tcontext=system_u:object_r:kv_item_t:s0 tclass=kv_item permissive=0`},
		{permissive, `avc:  denied  { setattr read } for  pid=813 uid=1001 path="/run/kv.sock" key="user:1" scontext=system_u:system_r:kv_client_t:s0:c1 tcontext=system_u:object_r:kv_item_t:s0 tclass=kv_item permissive=1`},
		{granted, `avc:  granted  { remove } for  laddr=127.0.0.1 lport=11211 faddr=192.0.2.7 fport=40000 key=612062 cmd="delete" scontext=system_u:system_r:kv_client_t:s0:c1 tcontext=system_u:object_r:kv_item_t:s0 tclass=kv_item`},
		{keyless, `avc:  denied  { flush config } for  laddr=10.0.0.1 lport=11211 faddr=fe80::2 fport=4000 cmd="flush_all" scontext=system_u:system_r:kv_client_t:s0:c1 tcontext=system_u:object_r:kv_item_t:s0 tclass=kv_server permissive=0`},
		{odd, `avc:  denied  { read 0x100000 } for  path=2F72756E2F6B20762E736F636B key=3D7D220A scontext=? tcontext=6120623D63 tclass=kv_item permissive=0`},
	} {
		n := len(out.lines())
		m.Audit(c.r)
		m.SyncAudit()
		lines := out.lines()
		if len(lines) != n+1 {
			t.Fatalf("%d lines more, want one: %q", len(lines)-n, lines[n:])
		}
		want := fmt.Sprintf("type=USER_AVC msg=audit(1700000000.123:%d): %s", n+1, c.want)
		if lines[n] != want {
			t.Errorf("got  %s\nwant %s", lines[n], want)
		}
	}
	if m.audit.total.Load() != 5 || m.audit.lost.Load() != 0 {
		t.Errorf("%d written, %d suppressed", m.audit.total.Load(), m.audit.lost.Load())
	}
}

func TestAuditEvents(t *testing.T) {
	var out text
	m := open(t, Config{AuditWriter: &out})
	if err := m.SetBooleans(map[string]bool{"kv_client_flush": false}); err != nil {
		t.Fatal(err)
	}
	m.SetPermissive(true)
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	m.SyncAudit()
	want := []string{
		`^type=USER_MAC_POLICY_LOAD msg=audit\(\d+\.\d{3}:1\): avc:  op=load_policy lsm=selinux seqno=2 res=1$`,
		`^type=USER_MAC_STATUS msg=audit\(\d+\.\d{3}:2\): avc:  op=setenforce lsm=selinux enforcing=0 res=1$`,
		`^type=USER_MAC_POLICY_LOAD msg=audit\(\d+\.\d{3}:3\): avc:  op=load_policy lsm=selinux seqno=4 res=1$`,
	}
	got := out.lines()
	for i, w := range want {
		if i >= len(got) || !regexp.MustCompile(w).MatchString(got[i]) {
			t.Errorf("line %d of %q does not match %s", i, got, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
}

func TestAuditRate(t *testing.T) {
	var out text
	m := open(t, Config{AuditWriter: &out, AuditRate: 10})
	// The first one that is suppressed may be told of before the others are.
	told := func(wantLines, wantSuppressed int) {
		t.Helper()
		m.SyncAudit()
		n, suppressed := 0, 0
		for _, line := range out.lines() {
			if _, count, ok := strings.Cut(line, "): sememcached: suppressed "); ok {
				k, err := strconv.Atoi(strings.TrimSuffix(count, " records"))
				if err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				suppressed += k
				continue
			}
			n++
		}
		if n != wantLines || suppressed != wantSuppressed {
			t.Fatalf("%d records, and %d told of as suppressed; want %d and %d", n, suppressed, wantLines, wantSuppressed)
		}
	}
	r := record("k", nil)
	for range 25 {
		m.Audit(r)
	}
	told(10, 15)
	// Half a second later there is room for five more.
	r.Time = auditTime.Add(500 * time.Millisecond)
	for range 7 {
		m.Audit(r)
	}
	told(15, 17)
	if n := m.audit.lost.Load(); n != 17 {
		t.Errorf("%d suppressed, want 17", n)
	}
	// The clock is set back, and logging goes on.
	r.Time = auditTime.Add(-time.Hour)
	m.Audit(r)
	r.Time = r.Time.Add(time.Second)
	m.Audit(r)
	m.SyncAudit()
	if n := len(out.lines()); n < 18 {
		t.Errorf("%d lines after the clock was set back", n)
	}
}

// stuck is a log that does not take anything for a while.
type stuck struct {
	text
	open chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.open
	return s.text.Write(b)
}

func TestAuditNeverWaitsForTheLog(t *testing.T) {
	out := &stuck{open: make(chan struct{})}
	m := open(t, Config{AuditWriter: out, AuditRate: -1})
	r := record("k", nil)
	const n = 3 * auditRing
	for range n {
		m.Audit(r)
	}
	lost := m.audit.lost.Load()
	if lost < n-auditRing-2*auditBatch || lost >= n {
		t.Errorf("%d of %d suppressed, the ring holds %d", lost, n, auditRing)
	}
	close(out.open)
	m.SyncAudit()
	lines := out.lines()
	told, written := 0, 0
	for _, l := range lines {
		var k int
		if i := strings.Index(l, "suppressed "); i >= 0 {
			if _, err := fmt.Sscanf(l[i:], "suppressed %d", &k); err != nil {
				t.Fatal(err)
			}
			told += k
		} else {
			written++
		}
	}
	if uint64(told) != lost || written+told != n {
		t.Errorf("%d written and %d told of, %d suppressed of %d", written, told, lost, n)
	}
}

func TestAuditLogThatFails(t *testing.T) {
	m := open(t, Config{AuditWriter: broken{}})
	m.Audit(record("k", nil))
	m.SyncAudit()
	if n := m.audit.failures.Load(); n == 0 {
		t.Error("nothing counted")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAuditDoesNotAllocate(t *testing.T) {
	m := open(t, Config{AuditRate: -1})
	r := record("user:1", tcp("127.0.0.1"))
	if a := testing.AllocsPerRun(2000, func() { m.Audit(r) }); a >= 1 { // the writer's own are counted too
		t.Errorf("%v allocations", a)
	}
}

func TestAuditKeepsNothingOfTheRecord(t *testing.T) {
	var out text
	m := open(t, Config{AuditWriter: &out})
	r := record("first", nil)
	for range 100 {
		copy(r.Key[:], "first")
		m.Audit(r)
		copy(r.Key[:], "other")
	}
	m.SyncAudit()
	if n := strings.Count(out.String(), `key="first"`); n != 100 {
		t.Errorf("%d of 100 lines have the key as it was", n)
	}
}

func TestAuditFromManyGoroutines(t *testing.T) {
	var out text
	m := open(t, Config{AuditWriter: &out, AuditRate: -1})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 300 {
				m.Audit(record("k", nil))
			}
			m.SyncAudit()
		}()
	}
	wg.Wait()
	if n := len(out.lines()) + int(m.audit.lost.Load()); n < 1200 {
		t.Errorf("%d lines and suppressed records, want 1200", n)
	}
	seen := map[string]bool{}
	for _, l := range out.lines() {
		if !strings.HasPrefix(l, "type=USER_AVC msg=audit(") || seen[l] {
			t.Fatalf("line %q is torn or twice there", l)
		}
		seen[l] = true
	}
}

func TestAuditFileIsReopened(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	m := open(t, Config{AuditLog: name})
	m.Audit(record("one", nil))
	m.SyncAudit()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	m.Audit(record("two", nil))
	m.SyncAudit()
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	m.Audit(record("three", nil))
	m.SyncAudit()
	eventually(t, "the file is there again", func() bool { _, err := os.Stat(name); return err == nil })
	m.Audit(record("four", nil))
	m.SyncAudit()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	old, err := os.ReadFile(name + ".1")
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(old, []byte(`key="one"`)) || !bytes.Contains(old, []byte(`key="two"`)) || !bytes.Contains(now, []byte(`key="four"`)) {
		t.Errorf("old:\n%s\nnew:\n%s", old, now)
	}
	if n := bytes.Count(append(old, now...), []byte("key=")); n != 4 {
		t.Errorf("%d records in both files, want 4", n)
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm()&0o007 != 0 {
		t.Errorf("mode %v, %v: others can read it", fi.Mode(), err)
	}
	_, err = Open(Config{Mode: PolicyFile, AuditLog: "/nonexistent/log", Log: quiet()})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/log") {
		t.Errorf("a log that cannot be opened: %v", err)
	}
}

// The line is one line of fields without blanks, and the bytes come back.
func FuzzAuditEscape(f *testing.F) {
	for _, s := range []string{"", "user:1", "a b", `say "hi"`, "\x00\xff\n", "k scontext=u:r:t:s0", "}", "6162", "=", "é", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendUntrusted(nil, s))
		if other := string(appendUntrusted(nil, []byte(s))); other != got {
			t.Fatalf("text %q, bytes %q", got, other)
		}
		if back, err := decodeUntrusted(got); err != nil || back != s {
			t.Fatalf("%q is written %q and read %q, %v", s, got, back, err)
		}
		key := s[:min(len(s), 250)]
		r := record(key, &Peer{Path: s})
		r.Scontext, r.Command = s, s
		line := string(appendRecord(nil, r, func(int32) string { return s }))
		if strings.ContainsAny(line, "\n\r\x00") {
			t.Fatalf("more than a line: %q", line)
		}
		fields := map[string]int{}
		for _, w := range strings.Fields(line) {
			name, _, _ := strings.Cut(w, "=")
			fields[name]++
		}
		for _, name := range []string{"avc:", "denied", "{", "}", "for", "scontext", "tcontext", "tclass", "permissive"} {
			if fields[name] != 1 {
				t.Fatalf("%d fields %q in %q", fields[name], name, line)
			}
		}
		if key != "" {
			i := strings.Index(line, " key=")
			end := strings.Index(line[i+1:], " ")
			if back, err := decodeUntrusted(line[i+5 : i+1+end]); err != nil || back != key {
				t.Fatalf("key %q reads %q, %v in %q", key, back, err, line)
			}
		}
	})
}

// decodeUntrusted reads as ausearch -i does.
func decodeUntrusted(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return strings.TrimSuffix(s[1:], `"`), nil
	}
	b, err := hex.DecodeString(s)
	return string(b), err
}

func needTool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: apt-get install %s", name, pkg)
		}
		t.Skipf("%s is missing (%s): its reading of our lines is not tested", name, pkg)
	}
	return path
}

// auditLog writes a log as a run leaves it.
func auditLog(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "audit.log")
	m := open(t, Config{AuditLog: name, AuditRate: 8})
	peer := unixPeer(1001, 100)
	peer.PID = int32(os.Getpid())
	r := record("user:1", peer)
	r.Scontext = DefaultServerContext // at the item's level: no constraint denies it
	m.Audit(r)
	r = record("k scontext=x:x:x:s0 tclass=file", tcp("192.0.2.7"))
	r.Scontext, r.Perms, r.Command = DefaultServerContext, avc.Write|avc.Append, "set"
	m.Audit(r)
	r = record("k", nil)
	r.Scontext, r.Tcontext, r.Class, r.Perms = reader, "system_u:system_r:kv_server_t:s0", avc.ClassServer, avc.ServerFlush
	r.Permissive = true
	m.Audit(r)
	r = record("granted", nil)
	r.Granted, r.Perms = true, avc.Remove
	m.Audit(r)
	r = record("nobody", nil)
	r.Scontext = ""
	m.Audit(r)
	if err := m.Reload(); err != nil { // an event
		t.Fatal(err)
	}
	for range 20 { // suppressed
		r := record("user:1", peer)
		r.Scontext = DefaultServerContext
		m.Audit(r)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAudit2allow(t *testing.T) {
	tool := needTool(t, "audit2allow", "policycoreutils-python-utils")
	name := auditLog(t)
	// Without -p it wants the policy of a kernel with SELinux.
	out, err := exec.Command(tool, "-p", "../policy/default.bin", "-i", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var rules []string
	for l := range strings.Lines(string(out)) {
		if l = strings.TrimSpace(l); strings.HasPrefix(l, "allow ") {
			rules = append(rules, l)
		}
	}
	want := []string{
		"allow kv_reader_t kv_server_t:kv_server flush;",
		"allow kv_server_t kv_item_t:kv_item { append read write };",
	}
	if fmt.Sprint(rules) != fmt.Sprint(want) {
		log, _ := os.ReadFile(name)
		t.Errorf("audit2allow says\n%s\nwant %q, of\n%s", out, want, log)
	}
}

func TestAusearch(t *testing.T) {
	tool := needTool(t, "ausearch", "auditd")
	name := auditLog(t)
	out, err := exec.Command(tool, "-if", name, "-m", "USER_AVC", "--raw").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "avc:  denied"); n < 4 {
		t.Errorf("ausearch finds %d denials:\n%s", n, out)
	}
	out, err = exec.Command(tool, "-if", name, "-m", "USER_MAC_POLICY_LOAD", "--raw").CombinedOutput()
	if err != nil || strings.Count(string(out), "op=load_policy") != 1 {
		t.Errorf("%v, policy loads:\n%s", err, out)
	}
}
