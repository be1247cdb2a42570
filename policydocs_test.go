package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a fenced part of a page.
type block struct {
	line int
	lang string
	text string
}

func blocks(t *testing.T, page string) (out []block) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	n, open := 0, false
	for line := range strings.Lines(string(b)) {
		n++
		switch fence, ok := strings.CutPrefix(line, "```"); {
		case ok && open:
			open = false
		case ok:
			open = true
			out = append(out, block{line: n + 1, lang: strings.TrimSpace(fence)})
		case open:
			out[len(out)-1].text += line
		}
	}
	return out
}

// TestPolicyAuthors runs docs/policy-authors.md: each sh block in one
// directory, in order; the lines of a text block must be in the output of the sh
// block before it, in order.
func TestPolicyAuthors(t *testing.T) {
	for _, name := range []string{"secilc", "nc"} {
		if _, err := exec.LookPath(name); err != nil {
			missingTool(t, "%s is not installed", name)
		}
	}
	const page = "docs/policy-authors.md"
	dir, bin := t.TempDir(), program(t)
	t.Cleanup(func() {
		// Whatever fails, the server does not stay.
		if b, err := os.ReadFile(filepath.Join(dir, "server.pid")); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	})
	output, commands, compared := "", 0, 0
	for _, b := range blocks(t, page) {
		if b.lang == "text" {
			rest := output
			for want := range strings.Lines(b.text) {
				compared++
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("%s:%d: expected %q in\n%s", page, b.line, want, output)
				}
				rest = after
			}
			continue
		}
		commands++
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		cmd := exec.CommandContext(ctx, "sh", "-c", b.text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		// A file and not a pipe: the server holds it open.
		file := filepath.Join(t.TempDir(), "output")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = f, f
		err = cmd.Run()
		cancel()
		f.Close()
		raw, _ := os.ReadFile(file)
		output = strings.ReplaceAll(string(raw), "\r", "")
		if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1 is the answer no
			log, _ := os.ReadFile(filepath.Join(dir, "server.log"))
			t.Fatalf("%s:%d: %v\n%s\n%s", page, b.line, err, output, log)
		}
	}
	if commands < 13 || compared < 35 {
		t.Errorf("expected at least 13 blocks of commands and 35 lines of output, found %d and %d", commands, compared)
	}
}
