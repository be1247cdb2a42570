//go:build vm && linux

package vmtest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/NAME.rules by what the run's denials ask for")

// judgeAudit gives every record of a machine's run to Debian's audit tools: ausearch
// finds all of ours, and audit2allow makes of them exactly the rules of
// testdata/NAME.rules, which are what the run has denied. whole says that all tests
// were run.
func judgeAudit(t *testing.T, name, policy string, records []string, whole bool) {
	t.Helper()
	log := make([]string, len(records))
	for i, r := range records {
		log[i] = auditdLine(r)
	}
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(strings.Join(log, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	denials, grants := ourRecords(log)
	if denials == 0 && !whole {
		t.Logf("%d records, none of a denial of ours", len(log))
		return
	}
	found, err := ausearch(file, "USER_AVC")
	if err != nil {
		t.Fatal(err)
	}
	d, g := ourRecords(strings.Split(found, "\n"))
	t.Logf("%d records; %d denials and %d grants of ours; ausearch finds %d and %d", len(log), denials, grants, d, g)
	if d != denials || g != grants {
		t.Error("ausearch does not find them all")
	}
	rules, err := rulesFor(found, policy)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", name+".rules")
	if *update && whole {
		text := "# The rules that audit2allow makes of everything that a run has denied.\n" + strings.Join(rules, "\n") + "\n"
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	t.Logf("%d rules, %d expected", len(rules), len(want))
	for _, r := range rules {
		if whole && !slices.Contains(want, r) {
			t.Errorf("unexpected: %s", r)
		}
	}
	for _, r := range want {
		if whole && !slices.Contains(rules, r) {
			t.Errorf("missing: %s", r)
		}
	}
	if !whole || name != "micro" {
		return
	}
	// What the command table has asked for follows from its domains' names.
	for _, p := range itemPerms {
		if !slices.ContainsFunc(rules, func(r string) bool {
			return strings.HasPrefix(r, "allow "+lackingDomain(p)+" ") && strings.HasSuffix(r, ":kv_item "+p+";")
		}) {
			t.Errorf("no rule gives %s what it lacks", lackingDomain(p))
		}
	}
	if len(rules) < 30 {
		t.Error("too few rules to mean anything")
	}
}

// TestAuditdLine: records become what auditd would have written.
func TestAuditdLine(t *testing.T) {
	for record, want := range map[string]string{
		"type=1107 audit(1.002:3): pid=1 msg='avc:  denied  { read }'": "type=USER_AVC msg=audit(1.002:3): pid=1 msg='avc:  denied  { read }'",
		"type=2404 audit(1.002:3): x":                                  "type=UNKNOWN[2404] msg=audit(1.002:3): x",
		"type=USER_AVC msg=audit(1.002:3): avc:  denied  { read }":     "type=USER_AVC msg=audit(1.002:3): avc:  denied  { read }",
	} {
		if got := auditdLine(record); got != want {
			t.Errorf("%s: expected %s, found %s", record, want, got)
		}
	}
}
