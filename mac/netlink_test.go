package mac

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func nlmsg(typ uint16, seq uint32, payload ...byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint32(b[8:], seq)
	copy(b[unix.NLMSG_HDRLEN:], payload)
	return b
}

func TestStatusMessages(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"set enforce":         {nlmsg(selnlSetEnforce, 0, 1, 0, 0, 0), true},
		"policy load":         {nlmsg(selnlPolicyLoad, 0, 7, 0, 0, 0), true},
		"after another":       {append(nlmsg(3, 0, 1), append([]byte{0, 0, 0}, nlmsg(selnlPolicyLoad, 0, 7, 0, 0, 0)...)...), true},
		"another":             {nlmsg(3, 0, 1, 2, 3, 4), false},
		"nothing":             {nil, false},
		"cut short":           {nlmsg(selnlPolicyLoad, 0, 7, 0, 0, 0)[:17], false},
		"a length of nothing": {make([]byte, 64), false},
		"too long":            {append([]byte{255, 255, 255, 255}, nlmsg(selnlPolicyLoad, 0)...), false},
	} {
		if got := changes(c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzStatusMessages(f *testing.F) {
	f.Add(nlmsg(selnlSetEnforce, 0, 1, 0, 0, 0))
	f.Add(make([]byte, 40))
	f.Fuzz(func(_ *testing.T, b []byte) { changes(b) })
}

// Where the page cannot be mapped, a word stands for it. It moves with every
// message, and never again is even when nobody listens any more.
func TestStatusLink(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if err := unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 10_000}); err != nil {
		t.Fatal(err)
	}
	mode := uint32(1)
	l := &statusLink{fd: fds[0], word: new(uint32)}
	page := &statusPage{word: l.word, enforced: func() (uint32, bool) { return mode, true }}
	if on, ok := page.enforcing(0); !on || !ok {
		t.Errorf("enforcing %v, %v", on, ok)
	}
	l.move()
	if s := page.sequence(); s != 2 {
		t.Errorf("sequence %d", s)
	}
	if _, ok := page.enforcing(0); ok {
		t.Error("the mode of a sequence that is over")
	}
	mode = 0
	if on, ok := page.enforcing(2); on || !ok {
		t.Errorf("permissive: %v, %v", on, ok)
	}
	var wait sync.WaitGroup
	wait.Add(1)
	go l.run(&wait, func(err error) { t.Errorf("dead: %v", err) })
	// This socket's peer is not the kernel.
	if _, err := unix.Write(fds[1], nlmsg(selnlPolicyLoad, 0, 9, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Millisecond)
	if s := page.sequence(); s != 2 {
		t.Errorf("a message that is not the kernel's moved the sequence to %d", s)
	}
	l.close()
	wait.Wait()
	if on, ok := page.enforcing(page.sequence()); !on || ok {
		t.Errorf("after the end: %v, %v", on, ok)
	}
}

func TestStatusLinkThatDies(t *testing.T) {
	l := &statusLink{fd: -1, word: new(uint32)}
	var wait sync.WaitGroup
	wait.Add(1)
	var reason error
	l.run(&wait, func(err error) { reason = err })
	if !errors.Is(reason, unix.EBADF) {
		t.Errorf("reason %v", reason)
	}
	if s := *l.word; s&1 != 1 {
		t.Errorf("sequence %d is of a state", s)
	}
}

func TestAuditMessage(t *testing.T) {
	b := appendAuditMessage(nil, 7, auditUserAVC, []byte("avc:  denied"), "/usr/bin/a b")
	h := b[:unix.NLMSG_HDRLEN]
	if n := binary.NativeEndian.Uint32(h); int(n) != len(b) {
		t.Errorf("length %d of %d", n, len(b))
	}
	if typ, flags, seq := binary.NativeEndian.Uint16(h[4:]), binary.NativeEndian.Uint16(h[6:]), binary.NativeEndian.Uint32(h[8:]); typ != 1107 || flags != 5 || seq != 7 {
		t.Errorf("type %d flags %d seq %d", typ, flags, seq)
	}
	text := string(b[unix.NLMSG_HDRLEN:])
	if !strings.HasPrefix(text, "avc:  denied exe=2F7573722F62696E2F612062 sauid=") || !strings.HasSuffix(text, " hostname=? addr=? terminal=?\x00") {
		t.Errorf("text %q", text)
	}
	if n := len(appendAuditMessage(nil, 1, auditUserAVC, bytes.Repeat([]byte("x"), 20000), "e")); n > 8970 {
		t.Errorf("a message of %d bytes", n)
	}
}

func TestAuditAcknowledgement(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		done bool
		err  error
	}{
		"success":         {nlmsg(unix.NLMSG_ERROR, 7, 0, 0, 0, 0), true, nil},
		"not permitted":   {nlmsg(unix.NLMSG_ERROR, 7, 0xff, 0xff, 0xff, 0xff), true, unix.EPERM},
		"of another":      {nlmsg(unix.NLMSG_ERROR, 6, 0, 0, 0, 0), false, nil},
		"another message": {nlmsg(1000, 7, 0, 0, 0, 0), false, nil},
		"cut short":       {nlmsg(unix.NLMSG_ERROR, 7, 0, 0), false, nil},
		"nothing":         {nil, false, nil},
	} {
		done, err := acknowledged(c.b, 7)
		if done != c.done || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
}

// Records go to the kernel as long as it takes them, and to the log from the
// first that it does not; that one is not lost.
func TestAuditFallsBackToTheLog(t *testing.T) {
	var out text
	m := open(t, Config{AuditWriter: &out, Log: slog.New(slog.DiscardHandler)})
	var sent []string
	s := &netlinkSink{exe: "/x"}
	s.exchange = func(msg, reply []byte) (int, error) {
		if msg == nil {
			t.Error("no acknowledgement was expected after one")
		}
		sent = append(sent, string(msg[unix.NLMSG_HDRLEN:]))
		e := byte(0)
		var rest byte
		if len(sent) > 2 {
			e, rest = 0xff, 0xff
		}
		return copy(reply, nlmsg(unix.NLMSG_ERROR, s.seq, e, rest, rest, rest)), nil
	}
	var fallback text
	m.audit.sink = s
	m.audit.fallback = func() sink { return &writerSink{w: &fallback} }
	for _, key := range []string{"one", "two", "three", "four"} {
		m.Audit(record(key, nil))
		m.SyncAudit()
	}
	if len(sent) != 3 || !strings.Contains(sent[1], `key="two"`) {
		t.Errorf("sent %q", sent)
	}
	lines := fallback.lines()
	if len(lines) != 2 || !strings.Contains(lines[0], `key="three"`) || !strings.Contains(lines[1], `key="four"`) {
		t.Errorf("logged %q", lines)
	}
	if n := m.audit.total.Load(); n != 4 {
		t.Errorf("%d written", n)
	}
}

// The audit subsystem of this machine takes records or says why not.
func TestAuditNetlinkOfThisMachine(t *testing.T) {
	s, err := openAuditNetlink()
	if err != nil {
		t.Skipf("no audit netlink here: %v", err)
	}
	defer s.close()
	// A record type that only means "user message", so that a test leaves no
	// denial in anybody's log.
	err = s.emit(auditType(1005), time.Now(), []byte("op=sememcached-test res=success"))
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v", err)
	}
}
