//go:build vm && linux

package vmtest

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/internal/chat"
)

// TestGuestTranscripts runs the transcripts that the server's own tests run in
// process, here with processes of the domains that they name: over a UNIX socket,
// and over TCP with CIPSO labels. Those that name no domain are run in several. Those
// whose clock is set are not run: a server's own goes on whatever the machine's does, see
// TestGuestClock.
func TestGuestTranscripts(t *testing.T) {
	inGuest(t)
	files, err := filepath.Glob("/chat/*.chat")
	must(t, err)
	const tcp = "127.0.0.1:11303"
	cipso(t, "127.0.0.1")
	ran, timed := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		script, err := chat.Parse(file, string(text))
		must(t, err)
		uses := func(op chat.Op, arg string) bool {
			return slices.ContainsFunc(script.Steps, func(s chat.Step) bool { return s.Op == op && (arg == "" || s.Arg == arg) })
		}
		if uses(chat.Policy, "") {
			t.Errorf("%s brings a policy; this test has no way to load it", file)
			continue
		}
		if uses(chat.At, "") {
			timed++
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".chat")
		defaults := []string{domain("kv_plain_t", "s0")}
		if !uses(chat.As, "") {
			defaults = append(defaults, domain("kv_client_t", "s0:c1"), domain("kv_admin_t", "s0:c1,c2"))
		}
		for _, as := range defaults {
			// A process always has a domain: only over TCP one can be nobody.
			if !uses(chat.As, "nobody") {
				t.Run(name+"/unix/"+as, func(t *testing.T) {
					transcript(t, script, as, nil, func(as string) (net.Conn, error) { return dialAs(as, "unix", socketPath) })
				})
				ran++
			}
			t.Run(name+"/tcp/"+as, func(t *testing.T) {
				transcript(t, script, as, []string{"--listen=127.0.0.1,127.0.0.2", "-p", "11303"}, func(as string) (net.Conn, error) {
					if as == "nobody" {
						return dialAs(domain("kv_client_t", "s0"), "tcp", "127.0.0.2:11303") // not labelled
					}
					return dialAs(as, "tcp", tcp)
				})
			})
			ran++
		}
	}
	t.Logf("%d transcripts, %d of them with a clock, %d runs", len(files), timed, ran)
	if len(files) < 13 || timed > 3 || ran < 2*(len(files)-timed) {
		t.Error("too few")
	}
}

// TestGuestClock sets the machine's clock forward and back: nothing expires by that.
func TestGuestClock(t *testing.T) {
	inGuest(t)
	script, err := chat.Parse("clock", `> set a 0 100 1
> x
< STORED
at 1h
> get a
< VALUE a 0 1
< x
< END
at -48h
> get a
< VALUE a 0 1
< x
< END
> touch a 1000
< TOUCHED
at 47h
> get a
< VALUE a 0 1
< x
< END
`)
	must(t, err)
	transcript(t, script, domain("kv_plain_t", "s0"), nil, func(as string) (net.Conn, error) { return dialAs(as, "unix", socketPath) })
}

// transcript runs one against a server of its own.
func transcript(t *testing.T, script *chat.Script, otherwise string, args []string, connect func(as string) (net.Conn, error)) {
	must(t, os.WriteFile("/run/contexts", []byte("kv_item session:* system_u:object_r:kv_session_t\n"), 0o600))
	s := startServer(t, append([]string{"--contexts", "/run/contexts", "--audit-log", auditLog}, args...)...)
	r := &chat.Runner{
		Timeout: patience,
		Audit:   s.nextAudit,
		Dial: func(as string) (net.Conn, error) {
			if as == "" {
				as = otherwise
			}
			return connect(as)
		},
		At: func(when string) error {
			d, err := time.ParseDuration(when)
			if err != nil {
				return err
			}
			at := unix.NsecToTimespec(time.Now().Add(d).UnixNano())
			return unix.ClockSettime(unix.CLOCK_REALTIME, &at)
		},
	}
	if err := r.Run(script); err != nil {
		t.Error(err)
	}
	s.stop()
	b, err := os.ReadFile(auditLog)
	must(t, err)
	for line := range strings.Lines(string(b[s.audit:])) {
		if !strings.Contains(line, "avc:  granted ") { // this suite's policy audits some grants
			t.Errorf("a record that the transcript does not expect: %s", line)
		}
	}
}
