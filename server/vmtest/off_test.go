//go:build vm && linux

package vmtest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// startOff starts a server on a kernel whose security module is another one.
func startOff(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerAs(t, launch{user: "root", mac: "auto"}, args...)
}

// TestOffStart: where SELinux is off the built-in policy decides, or a policy file,
// and --mac=kernel refuses.
func TestOffStart(t *testing.T) {
	inGuest(t)
	b, err := os.ReadFile("/proc/filesystems")
	must(t, err)
	if strings.Contains(string(b), "selinuxfs") {
		t.Fatal("SELinux is on")
	}
	start := func(args ...string) started {
		var out bytes.Buffer
		cmd := exec.Command("/sememcached", append([]string{"-u", "root", "-s", "/run/refused.sock"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		return started{cmd.ProcessState.ExitCode(), out.String()}
	}
	for _, c := range []struct {
		args   string
		status int
		words  []string
	}{
		{"--mac=kernel", 78, []string{"--mac=kernel needs SELinux", "SELinux is off here", "--mac=policy", "--mac=off"}},
		{"--mac=kernel --check-config", 78, []string{"SELinux is off here"}},
		{"--mac=auto --check-config", 0, []string{"access control by built-in policy", "enforcing"}},
		{"--check-config", 0, []string{"access control by built-in policy", "enforcing"}},
		{"--check-config --policy /policy/main.bin", 0, []string{"access control by /policy/main.bin", "enforcing"}},
		{"--mac=policy --check-config", 0, []string{"access control by built-in policy"}},
		{"--mac=auto --peer-labels=kernel", 78, []string{"--peer-labels=kernel needs SELinux"}},
		{"--mac=policy --peer-labels=kernel", 78, []string{"--peer-labels=kernel needs SELinux"}},
		{"--policy /nonesuch", 78, []string{"/nonesuch"}},
		{"--mac=off --check-config", 0, []string{"access control is off"}},
	} {
		if got := start(strings.Fields(c.args)...); got.status != c.status || !hasAll(got.text, c.words) {
			t.Errorf("%s: expected status %d and %q, found %d: %s", c.args, c.status, c.words, got.status, got.text)
		}
	}
}

// TestOffPeers: whatever another security module, or none, answers to SO_PEERSEC is
// nobody's context.
func TestOffPeers(t *testing.T) {
	inGuest(t)
	must(t, os.WriteFile("/run/contexts", []byte("client uid:0 "+domain("kv_reader_t", "s0:c7")+"\n"), 0o600))
	s := startOff(t, "--contexts", "/run/contexts")
	s.log.wait(t, 0, "access control by built-in policy", "enforcing")
	c := dial(t, "")
	c.want("mac whoami\r\nset k 0 0 1\r\nx\r\n", "MAC "+domain("kv_reader_t", "s0:c7")+"\r\n"+accessDenied)
	t.Logf("the kernel calls the server %q", c.server)
	if strings.Count(c.server, ":") > 1 {
		t.Error("that is an SELinux context")
	}
	_ = s.cmd.Process.Signal(unix.SIGHUP)
	s.log.wait(t, 0, "reloaded: ")
	c.want("mac whoami\r\n", "MAC "+domain("kv_reader_t", "s0:c7")+"\r\n")
}
