//go:build vm && linux

package vmtest

import (
	"fmt"
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
// and over TCP with CIPSO labels. Those that name no domain are run in several.
func TestGuestTranscripts(t *testing.T) {
	inGuest(t)
	files, err := filepath.Glob("/chat/*.chat")
	must(t, err)
	const tcp = "127.0.0.1:11303"
	cipso(t, "127.0.0.1")
	ran := 0
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
	t.Logf("%d transcripts, %d runs", len(files), ran)
	if len(files) < 13 || ran < 2*len(files) {
		t.Error("too few")
	}
}

// transcript runs one against a server of its own.
func transcript(t *testing.T, script *chat.Script, otherwise string, args []string, connect func(as string) (net.Conn, error)) {
	must(t, os.WriteFile("/run/contexts", []byte("kv_item session:* system_u:object_r:kv_session_t\n"), 0o600))
	s := startServer(t, append([]string{"--contexts", "/run/contexts", "--audit-log", auditLog}, args...)...)
	clock := newClock(t)
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
			d, err := time.ParseDuration(strings.TrimPrefix(when, "+"))
			if err != nil {
				return err
			}
			return clock.step(d)
		},
	}
	if slices.ContainsFunc(script.Steps, func(s chat.Step) bool { return s.Op == chat.At }) {
		must(t, clock.hold())
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

// clock is the machine's, held still in the middle of a second, so that a
// transcript's seconds are the server's however long its steps take.
type clock struct {
	at   chan time.Duration
	done chan struct{}
	held bool
}

func newClock(t *testing.T) *clock {
	c := &clock{at: make(chan time.Duration), done: make(chan struct{})}
	t.Cleanup(func() { close(c.done) })
	return c
}

// hold stops the clock.
func (c *clock) hold() error {
	now := time.Unix(time.Now().Unix()+1, 100_000_000)
	if err := setClock(now); err != nil {
		return err
	}
	c.held = true
	go func() {
		for {
			select {
			case <-c.done:
				return
			case d := <-c.at:
				now = now.Add(d)
			case <-time.After(50 * time.Millisecond):
			}
			_ = setClock(now)
		}
	}()
	return nil
}

// step sets the clock forward. When it returns, it is.
func (c *clock) step(d time.Duration) error {
	if !c.held {
		return fmt.Errorf("the clock is not held")
	}
	before := time.Now()
	c.at <- d
	for time.Now().Unix()-before.Unix() < int64(d/time.Second) {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func setClock(at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}
