package selinux_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/internal/debpolicy"
	"sememcached/policy"
	"sememcached/policy/selinux"
	"sememcached/policy/unit"
)

// missing ends a test for which the machine lacks something: with a reason on a
// laptop, as a failure in CI.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

const devel = "/usr/share/selinux/devel/Makefile"

// fromRefpolicy compiles the .te, .if and .fc with the reference policy's own
// makefile, and turns the module into CIL as semodule does.
func fromRefpolicy(t *testing.T, files []selinux.File) string {
	t.Helper()
	if _, err := os.Stat(devel); err != nil {
		missing(t, "selinux-policy-dev is not installed: %v", err)
	}
	dir := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"make", "-f", devel, "sememcached.pp"}, {"/usr/libexec/selinux/hll/pp", "sememcached.pp", "sememcached.cil"}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		if strings.Contains(string(out), "arning") {
			t.Errorf("%v warns:\n%s", args, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "sememcached.cil"))
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Text + string(b)
}

// install links the module and the clients of the tests into Debian's whole
// policy. secilc checks all neverallow rules on the way, Debian's and ours.
func install(t *testing.T, name, flavor, cil string) *policy.Policy {
	t.Helper()
	clients, err := os.ReadFile("testdata/clients.cil")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "module.cil")
	if err := os.WriteFile(file, append([]byte(cil), clients...), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := debpolicy.Build(name, flavor, file)
	if errors.Is(err, debpolicy.ErrMissing) {
		missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestModule installs the module in each form into Debian's policies and runs
// what it promises.
func TestModule(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles four whole policies")
	}
	for _, flavor := range []string{"default", "mls"} {
		for _, ref := range []bool{false, true} {
			form := map[bool]string{false: "cil", true: "refpolicy"}[ref]
			t.Run(flavor+"/"+form, func(t *testing.T) {
				files := selinux.Module(flavor == "mls", ref)
				cil := files[0].Text
				if ref {
					cil = fromRefpolicy(t, files)
				}
				p := install(t, "module-"+form, flavor, cil)
				suites := []string{"sememcached.tests", "testdata/clients.tests", "testdata/" + map[string]string{"default": "mcs", "mls": "mls"}[flavor] + ".tests"}
				n := 0
				for _, file := range suites {
					n += runSuite(t, p, file)
				}
				if n < 56 {
					t.Errorf("expected at least 56 expectations, found %d", n)
				}
			})
		}
	}
}

func runSuite(t *testing.T, p *policy.Policy, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unit.Parse(file, string(b))
	if err != nil {
		t.Fatal(err)
	}
	rs, err := s.Run(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if !r.OK {
			t.Errorf("%s:%d: %s\nexpected %s\nfound %s\n%s", r.File, r.Line, r.Name, r.Expected, r.Found, r.Explanation)
		}
	}
	return len(rs)
}

// TestText: what must stand in every form, and what must not.
func TestText(t *testing.T) {
	for _, mls := range []bool{false, true} {
		cil, te := selinux.Module(mls, false)[0].Text, selinux.Module(mls, true)[1].Text
		for text, rules := range map[string][]string{
			cil: {"(neverallow sememcached_t security_t", "(neverallow kv_reader_domain kv_item_type"},
			te:  {"neverallow sememcached_t security_t", "neverallow kv_reader_domain kv_item_type"},
		} {
			for _, rule := range rules {
				if !strings.Contains(text, rule) {
					t.Errorf("expected a rule with %q", rule)
				}
			}
		}
		// l1 stands first wherever low levels are compared: secilc compiles the
		// other order to something else.
		for _, swapped := range []string{"(eq l2 l1)", "(dom l2 l1)", "(domby l2 l1)"} {
			if strings.Contains(cil, swapped) {
				t.Errorf("expected no %s", swapped)
			}
		}
	}
}

// TestFormsAgree: both forms allow clients the same on items and servers.
func TestFormsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles whole policies")
	}
	a := install(t, "module-cil", "default", selinux.Module(false, false)[0].Text)
	b := install(t, "module-refpolicy", "default", fromRefpolicy(t, selinux.Module(false, true)))
	n := 0
	for _, class := range []string{"kv_item", "kv_server"} {
		sources, targets := policy.Interesting(a, b, class)
		for d := range policy.Compare(a, b, func(yield func(policy.Query) bool) {
			for q := range policy.AllPairs(sources, targets, []string{class}) {
				n++
				if !yield(q) {
					return
				}
			}
		}) {
			t.Error(fmt.Sprint("- CIL\n+ refpolicy\n", d))
		}
	}
	if n < 20 {
		t.Errorf("expected at least 20 questions, found %d", n)
	}
}

// TestDataFile: what --data keeps is the server's alone. Who else may write it may
// write every service's data: nobody gets that right from the module.
func TestDataFile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles whole policies")
	}
	for _, flavor := range []string{"default", "mls"} {
		p := install(t, "module-cil", flavor, selinux.Module(flavor == "mls", false)[0].Text)
		file, _ := p.Class("file")
		change := policy.AV(0)
		need := []string{"write", "append", "unlink", "rename"} // who may create depends on users too
		for _, name := range need {
			bit, ok := p.Perm(file, name)
			if !ok {
				t.Fatalf("file has no permission %s", name)
			}
			change |= bit
		}
		domains, err := p.TypesOf("domain")
		if err != nil {
			t.Fatal(err)
		}
		may := func(domain, data string) policy.AV {
			t.Helper()
			s, err := p.ContextOfType(domain)
			if err != nil {
				t.Fatal(err)
			}
			o, err := p.ParseContext("system_u:object_r:" + data + ":s0")
			if err != nil {
				t.Fatal(err)
			}
			return p.ComputeAV(s, o, file).Allowed & change
		}
		others := []string{"slapd_db_t", "mysqld_db_t", "postgresql_db_t"}
		writers, n := 0, 0
		for _, d := range domains {
			n++
			ours := may(d, "sememcached_var_lib_t")
			if ours == 0 {
				continue
			}
			writers++
			if d == "sememcached_t" {
				continue
			}
			for _, data := range others {
				if more := ours &^ may(d, data); more != 0 {
					t.Errorf("%s: %s may %v sememcached_var_lib_t and not %s", flavor, d, p.PermNames(file, more), data)
				}
			}
		}
		server := may("sememcached_t", "sememcached_var_lib_t")
		if server != change {
			t.Errorf("%s: the server may %v", flavor, p.PermNames(file, server))
		}
		t.Logf("%s: %d domains, %d may write the server's data: it, and those that write everybody's", flavor, n, writers)
		if n < 500 || writers < 2 {
			t.Errorf("%s: too few to mean anything", flavor)
		}
	}
}
