package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestPidfile: what is wrong with a pid file is a warning; the file of another server
// is replaced, as memcached does, but not removed.
func TestPidfile(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")

	writePidfile("", log)
	writePidfile(path, log)
	if said.Len() > 0 || pidIn(path) != os.Getpid() {
		t.Errorf("expected process %d and silence, found %d: %s", os.Getpid(), pidIn(path), &said)
	}
	if _, err := os.Stat(path + ".tmp"); err == nil {
		t.Error("the temporary file is still there")
	}
	writePidfile(path, log) // its own is none of another
	if said.Len() > 0 {
		t.Error(&said)
	}

	other := strconv.Itoa(os.Getppid())
	writeFile(t, path, other+"\n")
	writePidfile(path, log)
	if !strings.Contains(said.String(), "The pid file contained the following (running) pid: "+other) {
		t.Errorf("expected a warning about process %s, found %q", other, &said)
	}
	writeFile(t, path, other+"\n")
	removePidfile(path)
	if pidIn(path) != os.Getppid() {
		t.Error("the file of another process was removed")
	}

	// Where no file can be made beside it, it is written in place.
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	writeFile(t, path, "what is this\n")
	writePidfile(path, log)
	if said.Len() > 0 || pidIn(path) != os.Getpid() {
		t.Errorf("in place: found %d: %s", pidIn(path), &said)
	}
	removePidfile(path)
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}

	said.Reset()
	writePidfile(filepath.Join(dir, "no", "pid"), log)
	if !strings.Contains(said.String(), filepath.Join(dir, "no", "pid")) || !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("expected a warning that names the file, found %q", &said)
	}
}

// TestDaemonWithoutPidfile: a pid file that cannot be written does not refuse the
// start, and with -v the log goes where standard error goes, to the end.
func TestDaemonWithoutPidfile(t *testing.T) {
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sock := filepath.Join(dir, "kv.sock")
	cmd := exec.Command(bin, "-d", "-v", "-A", "-u", whoami(t), "-s", sock, "-P", filepath.Join(dir, "no", "pid"))
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(newClient(t, conn).statOf("stats", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the last line of the log", func() bool {
		b, err := os.ReadFile(log.Name())
		return err == nil && bytes.Contains(b, []byte("no/pid")) && bytes.Contains(b, []byte("Signal handled"))
	})
}

// TestFlagFaults: a value that is none is told from what was expected.
func TestFlagFaults(t *testing.T) {
	for args, want := range map[string]string{
		"-p abc":            `-p, --port: expected a whole number, found "abc"`,
		"-f x":              `-f, --slab-growth-factor: expected a number, found "x"`,
		"--sync-interval 5": `--sync-interval: expected a time such as 100ms or 2s, found "5"`,
		"--no-such":         "--no-such",
	} {
		_, err := parseFlags(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected %s, found %v", args, want, err)
		}
	}
}
