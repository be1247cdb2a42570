package policy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sememcached/policy"
)

// micros is the number of compiled micro policies: one fewer is a failure.
const micros = 121

// microFiles lists the compiled micro policies by name, without ".bin".
func microFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/micro/*.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != micros {
		t.Fatalf("expected %d micro policies, found %d", micros, len(files))
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".bin")
	}
	return files
}

// micro reads testdata/micro/NAME.bin, where name has its version.
func micro(t testing.TB, name string) *policy.Policy {
	t.Helper()
	p, err := policy.Read(microBytes(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func microBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/micro", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(name, "bounds_unchecked.") {
		setBounds(t, b, "child_t", "a_t")
		setBounds(t, b, "grandchild_t", "child_t")
		setBounds(t, b, "kept_t", "b_t")
	}
	return b
}

// setBounds gives a type of a compiled policy bounds. Compilers refuse rules
// beyond the bounds; kernels must cope with them.
func setBounds(t testing.TB, b []byte, name, bounds string) {
	t.Helper()
	binary.LittleEndian.PutUint32(b[typeEntry(t, b, name)+12:], binary.LittleEndian.Uint32(b[typeEntry(t, b, bounds)+4:]))
}

// typeEntry finds a type: u32 length, value, properties, bounds, and the name.
func typeEntry(t testing.TB, b []byte, name string) int {
	t.Helper()
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	for i := range len(b) - 16 - len(name) {
		if bytes.Equal(b[i:i+4], head) && string(b[i+16:i+16+len(name)]) == name && b[i+8] == 1 {
			return i
		}
	}
	t.Fatalf("no type %q", name)
	return 0
}

func mustContext(t testing.TB, p *policy.Policy, s string) policy.Context {
	t.Helper()
	c, err := p.ParseContext(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustClass(t testing.TB, p *policy.Policy, name string) policy.Class {
	t.Helper()
	c, ok := p.Class(name)
	if !ok {
		t.Fatalf("no class %q", name)
	}
	return c
}

// missing ends a test for which the machine lacks something: with a reason on
// a laptop, as a failure in CI.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// tools ends the test if one of the programs is not installed.
func tools(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			missing(t, "%s is not installed", n)
		}
	}
}

// run runs a program and fails with its output.
func run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out, 2000))
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

var (
	driverOnce sync.Once
	driverPath string
	driverErr  error
)

// oracle answers questions about the policy in b with libsepol; see
// testdata/sepoldriver/driver.c for their form. The driver is compiled once.
func oracle(t testing.TB, b []byte, questions []string) []string {
	t.Helper()
	tools(t, "gcc")
	driverOnce.Do(func() {
		dir, err := os.MkdirTemp("", "sepoldriver")
		if err != nil {
			driverErr = err
			return
		}
		driverPath = filepath.Join(dir, "driver")
		out, err := exec.Command("gcc", "-O2", "-Wall", "-o", driverPath, "testdata/sepoldriver/driver.c", "-l:libsepol.a").CombinedOutput()
		if err != nil {
			driverErr = fmt.Errorf("%v\n%s", err, tail(out, 1000))
		}
	})
	if driverErr != nil {
		missing(t, "cannot compile the driver; is libsepol-dev installed? %v", driverErr)
	}
	file := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(driverPath, file)
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("driver: %v\n%s", err, stderr.Bytes())
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("expected %d answers of libsepol, found %d", len(questions), len(answers))
	}
	return answers
}

func TestMain(m *testing.M) {
	code := m.Run()
	if driverPath != "" {
		os.RemoveAll(filepath.Dir(driverPath))
	}
	os.Exit(code)
}

// seeded is a generator whose seed the log tells.
func seeded(t testing.TB, seed uint64) *rand.Rand {
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// ranges makes up ranges of a policy, sound and unsound ones, "" without MLS.
func ranges(p *policy.Policy, r *rand.Rand, n int) []string {
	if !p.MLS() {
		return []string{""}
	}
	sens, cats := p.Sensitivities(), p.Categories()
	lvl := func() string {
		s := pick(r, sens)
		switch r.IntN(4) {
		case 0:
			return s
		case 1:
			return s + ":" + pick(r, cats)
		case 2:
			return s + ":" + pick(r, cats) + "." + pick(r, cats)
		default:
			return s + ":" + pick(r, cats) + "," + pick(r, cats)
		}
	}
	var out []string
	for _, s := range sens {
		out = append(out, ":"+s)
	}
	for len(out) < n {
		l := ":" + lvl()
		if r.IntN(3) > 0 {
			l += "-" + lvl()
		}
		out = append(out, l)
	}
	return out
}

// contexts makes up valid contexts of a small policy: every user, role and
// type, with n ranges.
func contexts(p *policy.Policy, r *rand.Rand, n int) []policy.Context {
	var out []policy.Context
	for _, rng := range ranges(p, r, n) {
		for _, u := range p.Users() {
			for _, ro := range p.Roles() {
				for _, ty := range p.Types() {
					if c, err := p.ParseContext(u + ":" + ro + ":" + ty + rng); err == nil {
						out = append(out, c)
					}
				}
			}
		}
	}
	return out
}
