package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// missingTool ends a test for which the machine lacks something: with a reason
// on a laptop, as a failure in CI.
func missingTool(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// program makes this test binary the command sememcached: TestMain runs what
// the file's name says. It returns the directory for PATH.
func program(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "sememcached")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyExamples copies docs/examples, so that what is written there is thrown away.
func copyExamples(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("docs/examples")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHelpExamples runs every example of every --help as written.
func TestHelpExamples(t *testing.T) {
	bin := program(t)
	n := 0
	for _, tool := range append(tools(), rulesTool) {
		if len(tool.examples) == 0 {
			t.Errorf("%s has no examples", tool.name)
		}
		for _, e := range tool.examples {
			n++
			if !strings.Contains(tool.help(), "\n  "+e.command+"\n") {
				t.Errorf("%s --help does not show %q", tool.name, e.command)
			}
			cmd := exec.Command("sh", "-c", e.command)
			cmd.Dir = copyExamples(t)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != e.exit {
				t.Errorf("%s\nexpected exit status %d, found %d\n%s", e.command, e.exit, got, out)
			}
		}
	}
	if n < 30 {
		t.Errorf("expected at least 30 examples, found %d", n)
	}
}

// TestHelp: each tool has a help with all that it must say.
func TestHelp(t *testing.T) {
	for _, tool := range tools() {
		var out, errs bytes.Buffer
		if code := run([]string{"policy", tool.name, "--help"}, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%s --help: exit %d, stderr %q", tool.name, code, &errs)
		}
		f, _ := tool.flags()
		for _, want := range append([]string{"\nExamples:\n", "\nExit status: "}, tool.synopsis...) {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s --help lacks %q", tool.name, want)
			}
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "(`") {
				t.Errorf("%s --help: a flag without a name for its argument: %q", tool.name, line)
			}
		}
		if f.HasFlags() && !strings.Contains(out.String(), "\nFlags:\n") {
			t.Errorf("%s --help lacks its flags", tool.name)
		}
	}
}

// TestColour: only on a terminal, never for programs.
func TestColour(t *testing.T) {
	var out bytes.Buffer
	on := &terminal{out: &out, colour: true}
	for _, line := range []string{"allowed: a\n", "denied: b\n  rule: c\n", "not ok 1\n"} {
		if err := on.write(line); err != nil {
			t.Fatal(err)
		}
	}
	want := green + "allowed" + plain + ": a\n" + red + "denied" + plain + ": b\n  rule: c\n" + red + "not ok " + plain + "1\n"
	if out.String() != want {
		t.Errorf("expected %q, found %q", want, out.String())
	}
	out.Reset()
	if err := on.writeJSON(map[string]string{"a": "denied"}); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("expected JSON without colour, found %q, %v", &out, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if wantsColour(w) || wantsColour(&out) {
		t.Error("expected no colour in a pipe")
	}
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Logf("no terminal to try: %v", err)
		return
	}
	defer tty.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !wantsColour(tty) {
		t.Error("expected colour on a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if wantsColour(tty) {
		t.Error("expected no colour where NO_COLOR is set")
	}
}

// TestProgress: nothing in the first second, then a line now and then.
func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	now := func() time.Time { return clock }
	var log, tty bytes.Buffer
	p, q := newProgress(&log, "questions", false, now), newProgress(&tty, "questions", true, now)
	for i := range 100 {
		p.step(i*256, 25600)
		q.step(i*256, 25600)
		if i < 10 && log.Len()+tty.Len() > 0 {
			t.Fatalf("expected nothing within a second, found %q %q", &log, &tty)
		}
		clock = clock.Add(100 * time.Millisecond)
	}
	p.end()
	q.end()
	if want := "questions: 2560 of 25600 (10%), 1 s\nquestions: 5120 of 25600 (20%), 2 s\nquestions: 10240 of 25600 (40%), 4 s\nquestions: 20480 of 25600 (80%), 8 s\n"; log.String() != want {
		t.Errorf("expected %q, found %q", want, &log)
	}
	if !strings.HasSuffix(tty.String(), "\r\x1b[K") || strings.Contains(tty.String(), "\n") {
		t.Errorf("expected one line that goes away, found %q", &tty)
	}
}

// TestWatch changes files under "policy test --watch" and reads what it says.
func TestWatch(t *testing.T) {
	dir := copyExamples(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(program(t), "sememcached"), "policy", "test", "-P", "site.policy", "--watch", "my.test")
	cmd.Dir = dir
	my := filepath.Join(dir, "my.test")
	writeFile(t, my, "contexts tenants.contexts\nvalid system_u:object_r:kv_item_t:s0\n")
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	wait := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("never said %q", want)
	}
	wait("# 1 tests, 0 failed")
	wait("watching")
	writeFile(t, my, "invalid system_u:object_r:kv_item_t:s0\n")
	wait("not ok 1")
	wait("watching")
	writeFile(t, my, "fly\n")
	wait("my.test:1: expected one of allow")
	wait("watching")
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("expected an interrupt to end it well, found %v", err)
	}
	w.Close()
}

// TestMistakes: what people do wrong is answered with what to do.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	queries := filepath.Join(dir, "queries")
	writeFile(t, queries, client1+" "+item1+" kv_item fly\nx:y:z "+item1+" kv_item read\n"+client1+" "+item1+" file read\n"+client1+" "+item1+" kv_item read\n")
	module := filepath.Join(dir, "module.pp")
	writeFile(t, module, "\x8f\xff\x7c\xf9")
	short := filepath.Join(dir, "short")
	b, err := os.ReadFile("docs/examples/site.policy")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, short, string(b[:500]))
	ask := []string{"-s", client1, "-t", item1, "-c", "kv_item", "-p", "read"}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{append([]string{"check", "-P", "docs/examples/site.cil"}, ask...), 2, []string{"site.cil: ", "offset 0x0", "it is text", "secilc"}},
		{append([]string{"check", "-P", module}, ask...), 2, []string{"it is a policy module"}},
		{[]string{"info", "-P", short}, 2, []string{short + ": ", "offset 0x"}},
		{[]string{"info", "-P", "docs/examples/site.policy", "docs/examples/old.policy"}, 2, []string{"expected one policy file, found 2"}},
		{append([]string{"check", "--boolean", "nosuch=on"}, ask...), 2, []string{`"nosuch"; it has kv_client_flush kv_client_stats`}},
		{append([]string{"check", "--boolean", "kv_client_stats"}, ask...), 2, []string{"policy check: --boolean kv_client_stats: expected NAME=on or NAME=off"}},
		{[]string{"info", "-P", "docs/examples/site.policy"}, 0, []string{"booleans          1 (kv_client_stats=on)"}},
		{[]string{"diff", "-P", "docs/examples/site.policy", "-Q", "docs/examples/site.policy", "--queries", queries}, 0, []string{
			"0 of 4 answers differ", "class kv_item has no permission fly", `context "x:y:z": malformed context`, "neither has a class file",
		}},
		{[]string{"diff", "-P", "docs/examples/site.policy", "-Q", "docs/examples/site.policy", "--queries", queries, "--json"}, 0, []string{`"senseless": [`, "kv_item fly"}},
	} {
		var out, errs bytes.Buffer
		if code := run(append([]string{"policy"}, c.args...), &out, &errs); code != c.code {
			t.Errorf("%v: expected exit status %d, found %d\n%s%s", c.args, c.code, code, &out, &errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String()+errs.String(), want) {
				t.Errorf("%v: expected %q, found\n%s%s", c.args, want, &out, &errs)
			}
		}
	}
}
