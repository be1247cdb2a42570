package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/mac"
)

// TestRun runs the whole tool for a moment; its figures mean nothing.
func TestRun(t *testing.T) {
	all := variants
	defer func() { variants = all }()
	variants = []variant{all[0], all[2], all[len(all)-1]}
	dir := t.TempDir()
	server := filepath.Join(dir, "sememcached")
	if out, err := exec.Command("go", "build", "-o", server, "sememcached").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report := filepath.Join(dir, "r.md")
	err := run([]string{
		"-server", server, "-n", "1", "-time", "100ms", "-warm", "5ms", "-learn", "50ms", "-keys", "1000", "-pin=false", "-results", report,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		if n := strings.Count(string(b), "| "+v.name+" |"); n != len(loads) {
			t.Errorf("%q: expected a line for each of %d loads, found %d", v.name, len(loads), n)
		}
	}
}

// TestContexts: the files are valid, and name as many contexts as their variant says.
func TestContexts(t *testing.T) {
	for _, v := range variants {
		if v.subjects == 0 {
			continue
		}
		text := contexts(v)
		subjects, objects := map[string]bool{}, map[string]bool{}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			switch {
			case f[0] == "kv_item":
				objects[f[2]] = true
			case strings.HasPrefix(f[1], "cidr:127.1."):
				subjects[f[2]] = true
			}
		}
		if len(subjects) != v.subjects || len(objects) != v.objects {
			t.Errorf("%s: %d subjects, %d objects", v.name, len(subjects), len(objects))
		}
		file := filepath.Join(t.TempDir(), "contexts")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := mac.Open(mac.Config{Mode: mac.PolicyFile, ContextsFile: file})
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		m.Close()
	}
}
