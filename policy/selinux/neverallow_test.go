package selinux_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"sememcached/internal/debpolicy"
	"sememcached/policy/selinux"
)

// breaks are rules that a site might add, against what the module promises, each
// with what secilc says of it.
const breaks = `
(allow sememcached_t security_t (security (setenforce)))
(allow kvtest_reader_t kv_item_t (kv_item (relabelto)))
`

var violations = []*regexp.Regexp{
	regexp.MustCompile(`(?s)neverallow.*\(allow sememcached_t security_t \(security \(setenforce\)\)\)`),
	regexp.MustCompile(`(?s)neverallow.*\(allow kvtest_reader_t kv_item_t \(kv_item \(relabelto\)\)\)`),
}

// TestNeverallow: a rule against the module's own neverallow rules does not get into
// a policy: in either form of the module, with either of Debian's policies.
func TestNeverallow(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles whole policies")
	}
	clients, err := os.ReadFile("testdata/clients.cil")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flavor string
		ref    bool
	}{{"default", false}, {"mls", true}} {
		t.Run(c.flavor, func(t *testing.T) {
			files := selinux.Module(c.flavor == "mls", c.ref)
			cil := files[0].Text
			if c.ref {
				cil = fromRefpolicy(t, files)
			}
			dir := t.TempDir()
			file, out := filepath.Join(dir, "module.cil"), filepath.Join(dir, "out.bin")
			if err := os.WriteFile(file, []byte(cil+string(clients)+breaks), 0o600); err != nil {
				t.Fatal(err)
			}
			err := debpolicy.Compile(c.flavor, "-c", "33", "-o", out, file)
			if errors.Is(err, debpolicy.ErrMissing) {
				missing(t, "%v", err)
			}
			if err == nil {
				t.Fatal("expected secilc to refuse the policy, found that it compiles")
			}
			for _, v := range violations {
				if !v.MatchString(err.Error()) {
					t.Errorf("expected %v in what secilc says, found\n%v", v, err)
				}
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("expected no policy, found one (%v)", err)
			}
		})
	}
}
