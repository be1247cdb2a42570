//go:build vm && linux

package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sememcached/internal/debpolicy"
)

// TestMain is where the binary finds out what it is: a client in the guest, the
// guest's process 1, or a test of the host.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "client":
		os.Exit(clientMain(os.Args[2], os.Args[3]))
	case len(os.Args) > 3 && os.Args[1] == "stage":
		os.Exit(stageMain(os.Args[2], os.Args[3:]))
	case os.Getpid() == 1:
		guestMain(m)
	}
	os.Exit(m.Run())
}

// bootTimeout is for one machine. A loaded machine takes many times as long as one with two quiet cores.
const bootTimeout = 20 * time.Minute

// TestVM boots each machine and judges what its tests report, and then what all of
// them together have logged.
func TestVM(t *testing.T) {
	if guest != nil {
		t.Skip("this is the guest")
	}
	for _, tool := range []string{"qemu-system-x86_64", "secilc", "apt-get", "dpkg-deb", "ldd", "ausearch", "audit2allow"} {
		needTool(t, tool)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	static(t, self)
	pattern := os.Getenv("VMTEST_RUN")
	if pattern == "" {
		pattern = "."
	}
	plan := planned(t, self, pattern)
	kernel, err := kernelImage()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initramfs.cpio")
	if err := os.WriteFile(initrd, buildImage(t, dir, self, kernel), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, m := range machines {
		if len(plan[i]) == 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // a machine has one processor
			console := filepath.Join(dir, m.name+".console")
			out, err := boot(t, m, kernel, initrd, console, pattern)
			if err != nil {
				t.Errorf("qemu: %v", err)
			}
			for _, fault := range judge(out, plan[i]) {
				t.Error(fault)
			}
			if m.bench {
				reportCost(t, out)
			}
			var records []string
			for line := range strings.Lines(out) {
				if r, ok := strings.CutPrefix(line, "@@AUDIT "); ok {
					records = append(records, strings.TrimRight(r, "\n"))
				}
			}
			if t.Failed() && !testing.Verbose() {
				t.Logf("the machine's output:\n%s", out)
			}
			if t.Failed() {
				b, _ := os.ReadFile(console)
				t.Logf("the kernel's console:\n%s", b)
			}
			if m.policy != "" && !m.bench {
				judgeAudit(t, m.name, filepath.Join(dir, m.policy+".bin"), records, pattern == ".")
			}
		})
	}
}

func needTool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if f := filepath.Join(dir, name); exec.Command("test", "-x", f).Run() == nil {
			return f
		}
	}
	missing(t, "%s is not installed", name)
	return ""
}

// missing skips the test with a reason, and fails it in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// static refuses a test binary that would not run without libraries.
func static(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Fatal("the test binary is dynamically linked: run it with CGO_ENABLED=0, as make vm does")
		}
	}
}

// planned lists each machine's tests.
func planned(t *testing.T, self, pattern string) [][]string {
	t.Helper()
	out, err := exec.Command(self, "-test.list", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	plan := make([][]string, len(machines))
	total := 0
	for i := range machines {
		if machines[i].bench && pattern == "." {
			continue
		}
		if plan[i], err = machines[i].tests(string(out), pattern); err != nil {
			t.Fatal(err)
		}
		total += len(plan[i])
		if pattern == "." && len(plan[i]) == 0 {
			t.Errorf("the machine %s has no tests", machines[i].name)
		}
	}
	if total == 0 {
		t.Fatalf("no test of a machine matches %q", pattern)
	}
	return plan
}

// buildImage makes the initramfs.
func buildImage(t *testing.T, dir, self, kernel string) []byte {
	t.Helper()
	root := filepath.Join("..", "..")
	server := filepath.Join(dir, "sememcached")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", server, ".")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	loadgen := filepath.Join(dir, "loadgen")
	build = exec.Command("go", "build", "-trimpath", "-o", loadgen, "./bench/loadgen")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := policies(dir, "testdata", filepath.Join(root, "policy", "default.cil")); err != nil {
		t.Fatal(err)
	}
	img := newImage()
	add := func(name, from string) {
		t.Helper()
		if err := img.copy(name, from); err != nil {
			t.Fatal(err)
		}
	}
	add("init", self)
	add("sememcached", server)
	add("loadgen", loadgen)
	for name := range variants {
		add("policy/"+name+".bin", filepath.Join(dir, name+".bin"))
	}
	debian, err := debianPolicy(filepath.Join("testdata", "debian.cil"))
	if errors.Is(err, debpolicy.ErrMissing) {
		missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(debian)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "debian.bin"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	img.file("policy/debian.bin", b)
	seed := uint64(time.Now().UnixNano())
	asked, err := questions(b, debianQuestions, seed)
	if err != nil {
		t.Fatalf("questions, seed %d: %v", seed, err)
	}
	t.Logf("questions: seed %d", seed)
	img.file("questions", asked)
	for _, m := range modules {
		add("modules/"+m+".ko", filepath.Join(filepath.Dir(kernel), "modules", m+".ko"))
	}
	for into, pattern := range map[string]string{
		"micro": filepath.Join(root, "policy", "testdata", "micro", "*.v33.bin"),
		"chat":  filepath.Join(root, "testdata", "chat", "*.chat"),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, f := range files {
			add(into+"/"+filepath.Base(f), f)
		}
	}
	for _, tool := range []string{"netlabelctl", "ip"} {
		file := needTool(t, tool)
		if err := img.program(file); err != nil {
			t.Fatal(err)
		}
		add(tool, file)
	}
	return img.bytes()
}

// boot runs the machine until it powers off, and returns what came over the
// second serial line.
func boot(t *testing.T, m machine, kernel, initrd, console, pattern string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-monitor", "none", "-serial", "file:" + console, "-serial", "stdio",
		"-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", "1",
		"-kernel", kernel, "-initrd", initrd,
		// On a starved host the kernel's check of its timer, in the first moments,
		// finds it dead, and panics.
		"-append", fmt.Sprintf("console=ttyS0 quiet panic=-1 no_timer_check %s vmmachine=%s vmtest=%s vmcost=%s", m.kernel, m.name, pattern, os.Getenv("VMTEST_SECONDS")),
	}
	if m.bench {
		// The machine's time is the number of its instructions, 4 ns each: what is measured there does not
		// depend on what else this machine does.
		args = append(args, "-icount", "shift=2")
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var out bytes.Buffer
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		out.WriteString(line + "\n")
		if testing.Verbose() && !strings.HasPrefix(line, "@@AUDIT ") {
			fmt.Printf("  %-6s| %6.1fs %s\n", m.name, time.Since(began).Seconds(), line)
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		err = fmt.Errorf("no end after %v", bootTimeout)
	}
	s := cmd.ProcessState
	t.Logf("the machine %s ran %.1f s, %.1f s of a processor", m.name, time.Since(began).Seconds(), (s.UserTime() + s.SystemTime()).Seconds())
	return out.String(), err
}

var (
	planLine   = regexp.MustCompile(`(?m)^@@PLAN (\d+)$`)
	endLine    = regexp.MustCompile(`(?m)^@@END status=(\d+)$`)
	resultLine = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (Test\w*) `)
)

// judge compares the plan, the results and the end mark with what was planned.
func judge(out string, names []string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if m := planLine.FindStringSubmatch(out); m == nil || m[1] != fmt.Sprint(len(names)) {
		fault("the machine's plan: expected %d tests, found %q", len(names), m)
	}
	results := map[string]string{}
	for _, m := range resultLine.FindAllStringSubmatch(out, -1) {
		results[m[2]] = m[1]
	}
	for _, n := range names {
		if r := results[n]; r != "PASS" {
			fault("%s: expected PASS, found %q", n, r)
		}
	}
	if m := endLine.FindStringSubmatch(out); m == nil || m[1] != "0" {
		fault("the machine's end mark: expected status 0, found %q", m)
	}
	return faults
}

// TestJudge: whatever is missing from what the machine says is a failure.
func TestJudge(t *testing.T) {
	const good = "@@PLAN 2\n=== RUN   TestGuestA\n--- PASS: TestGuestA (0.10s)\n--- PASS: TestGuestB (0.10s)\nPASS\n@@END status=0\n"
	names := []string{"TestGuestA", "TestGuestB"}
	if f := judge(good, names); len(f) > 0 {
		t.Errorf("a good run: %q", f)
	}
	for _, change := range [][2]string{
		{"@@PLAN 2", "@@PLAN 1"},
		{"@@PLAN 2\n", ""},
		{"--- PASS: TestGuestB (0.10s)\n", ""},
		{"--- PASS: TestGuestB", "--- FAIL: TestGuestB"},
		{"--- PASS: TestGuestB", "--- SKIP: TestGuestB"},
		{"--- PASS: TestGuestB", "    --- PASS: TestGuestB"},
		{"status=0", "status=1"},
		{"@@END status=0\n", ""},
		{good, ""},
	} {
		if f := judge(strings.Replace(good, change[0], change[1], 1), names); len(f) == 0 {
			t.Errorf("%q instead of %q is no fault", change[1], change[0])
		}
	}
}
