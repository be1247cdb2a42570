package crashing

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var build = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "crashing-"); err != nil {
		return dir, err
	}
	if out, err := exec.Command("go", "build", "-trimpath", "-o", dir, "sememcached").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// BuildServer returns the program, which is built once for all tests.
func BuildServer(t *testing.T) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sememcached")
}

// NeedTool returns the path of a program that a test cannot do without.
func NeedTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed (make deps-test installs it)", name)
	}
	t.Skipf("%s is not installed (make deps-test installs it)", name)
	return ""
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := build(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}
