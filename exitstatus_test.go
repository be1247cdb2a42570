package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNotKept: a server that could not keep what it was told to keep says so by its exit
// status, too: what comes next may be the removal of the only copy.
func TestNotKept(t *testing.T) {
	for _, flag := range []string{"-e", "--data"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "kept")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			p := startProcess(t, "-u", whoami(t), flag, filepath.Join(dir, "items"))
			p.dial().want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := p.ended(); code != exitIOError {
				t.Errorf("expected exit code %d, found %d", exitIOError, code)
			}
			if text := p.stderr.String(); !strings.Contains(text, fmt.Sprintf("not all items are kept: %s", dir)) {
				t.Errorf("expected a word about %s, found:\n%s", dir, text)
			}
		})
	}
}
