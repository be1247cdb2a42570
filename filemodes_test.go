package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileModes: files that everybody may write, and secrets that everybody may read, are
// told of.
func TestFileModes(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, "x")
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	var o options
	o.mac.ContextsFile = file("contexts", 0o666)
	o.mac.PolicyFile = file("policy", 0o644)
	o.server.AuthFile = file("users", 0o644)
	o.server.TLS.Enabled = true
	o.server.TLS.ChainCert = file("chain", 0o644)
	o.server.TLS.Key = file("key", 0o640)
	o.mac.KeyRules.Files = []string{file("rules", 0o602), filepath.Join(dir, "absent")}
	var said bytes.Buffer
	warnModes(&o, slog.New(slog.NewTextHandler(&said, nil)))
	for _, want := range []string{"--contexts: everybody may write " + dir + "/contexts", "-Y: everybody may read " + dir + "/users", "--key-rules: everybody may write " + dir + "/rules"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("expected %q, found %s", want, &said)
		}
	}
	if n := strings.Count(said.String(), "level=WARN"); n != 3 {
		t.Errorf("expected 3 warnings, found %d: %s", n, &said)
	}
	o.server.TLS.Key = "" // then the chain's file has it
	said.Reset()
	if warnModes(&o, slog.New(slog.NewTextHandler(&said, nil))); !strings.Contains(said.String(), "everybody may read "+dir+"/chain") {
		t.Errorf("a key in the chain's file: %s", &said)
	}
}
