package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs the whole tool with small numbers for a moment; its figures mean nothing.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	server := filepath.Join(dir, "sememcached")
	if out, err := exec.Command("go", "build", "-o", server, "sememcached").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report := filepath.Join(dir, "r.md")
	if err := run([]string{"-server", server, "-n", "1", "-time", "100ms", "-warm", "0", "-scale", "1000", "-pin=false", "-results", report}, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		_, table, ok := strings.Cut(string(b), "## "+r.name+"\n")
		table, _, _ = strings.Cut(table, "\n## ")
		if !ok || strings.Count(table, "\n| ") != 1+len(r.points) {
			t.Errorf("%s: expected a line for each of %d points:\n%s", r.name, len(r.points), table)
		}
	}
}
