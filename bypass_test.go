package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sememcached/demo"
)

// TestSecondParserIsFooled sends what a proxy with a parser of its own has judged
// to memcached: each time what it passed as one allowed command holds another one,
// which memcached executes.
func TestSecondParserIsFooled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mc")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needTool(t, "memcached"), "-u", me.Username, "-s", path, "-a", "777")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var conn net.Conn
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var err error
		if conn, err = net.Dial("unix", path); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	ask := func(s string) string {
		t.Helper()
		if _, err := io.WriteString(conn, s+"mn\r\n"); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, b.String())
			}
			if line == "MN\r\n" {
				return b.String()
			}
			b.WriteString(line)
		}
	}
	pub := func(command string, keys []string) bool {
		for _, k := range keys {
			if !strings.HasPrefix(k, "pub:") {
				return false
			}
		}
		return command == "get" || command == "set"
	}
	long := strings.Repeat("k", 251)
	for _, x := range []struct {
		name, send, want string
		allow            func(string, []string) bool
	}{
		{"bare LF", "get pub:1\ndelete sec:1\r\n", "END\r\nDELETED\r\n", func(c string, _ []string) bool { return c == "get" }},
		{"two lengths", "set pub:a 0 0 12\nxxxxxxxxxxxx\r\ndelete sec:1\r\n", "STORED\r\nDELETED\r\n", pub},
		{"the secret", "set pub:a 0 0 9\nxxxxxxxxx\r\nget sec:1\r\n", "STORED\r\nVALUE sec:1 0 6\r\nsecret\r\nEND\r\n", pub},
		{"bad flags", "set pub:a BAD 0 12\r\ndelete sec:1\r\n", "CLIENT_ERROR bad command line format\r\nDELETED\r\n", pub},
		{"long key", "set pub:" + long + " 0 0 12\r\ndelete sec:1\r\n", "CLIENT_ERROR bad command line format\r\nDELETED\r\n", pub},
	} {
		if got := ask("set sec:1 0 0 6\r\nsecret\r\n"); got != "STORED\r\n" {
			t.Fatal(got)
		}
		p := demo.Proxy{Allow: x.allow}
		frames := p.Frames([]byte(x.send))
		if len(frames) != 1 || !frames[0].Allowed || string(p.Passed([]byte(x.send))) != x.send {
			t.Errorf("%s: the second parser sees %d frames: %+v", x.name, len(frames), frames)
			continue
		}
		switch got := ask(x.send); {
		case got == x.want:
		case strings.HasPrefix(x.want, "CLIENT_ERROR") && got == "CLIENT_ERROR bad command line format\r\n":
			t.Logf("%s: this memcached discards the data of a line that it refuses", x.name)
		default:
			t.Errorf("%s: memcached answers %q, want %q", x.name, got, x.want)
		}
	}
	// It is no strawman: it does refuse what it understands.
	p := demo.Proxy{Allow: pub}
	for _, s := range []string{"get sec:1\r\n", "delete pub:1\r\n", "set sec:1 0 0 1\r\nx\r\n"} {
		if got := p.Passed([]byte(s)); len(got) != 0 {
			t.Errorf("it lets %q pass", got)
		}
	}
	if s := fmt.Sprintf("get %s\r\n", "pub:1"); string(p.Passed([]byte(s))) != s {
		t.Error("it does not let a get pass")
	}
}
