package mac

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/avc"
)

// text is a writer for several goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func (t *text) lines() []string {
	s := strings.TrimSuffix(t.String(), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open makes a monitor over the built-in policy unless cfg says otherwise.
func open(t testing.TB, cfg Config) *Monitor {
	t.Helper()
	if cfg.Mode == 0 {
		cfg.Mode = PolicyFile
	}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if cfg.AuditWriter == nil && cfg.AuditLog == "" {
		cfg.AuditWriter = new(text)
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (m *Monitor) sid(t testing.TB, ctx string) avc.SID {
	t.Helper()
	a := m.Decide(m.Generation(), Question{Kind: AskContext, Text: ctx})
	if a.Err != nil {
		t.Fatalf("%s: %v", ctx, a.Err)
	}
	return a.SID
}

// may asks whether s may do p on an item of label t.
func (m *Monitor) may(t testing.TB, g *Generation, s, o string, p avc.Perms) bool {
	t.Helper()
	a := m.Decide(g, Question{Kind: AskAccess, Class: avc.ClassItem, Source: m.sid(t, s), Target: m.sid(t, o)})
	return g.Judge(a.Decision, p).Allowed
}

func tcp(addr string) *Peer {
	return &Peer{FD: -1, Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 40000), Local: netip.MustParseAddrPort("127.0.0.1:11211")}
}

func unixPeer(uid, gid uint32) *Peer {
	return &Peer{FD: -1, HasCred: true, UID: uid, GID: gid, Path: "/run/kv.sock"}
}

// eventually waits for something that happens on another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

// fake decides as it is told.
type fake struct {
	Decider
	access func(s, t string, c avc.Class) (avc.Decision, error)
	create func(s, t string, c avc.Class, name string) (string, error)
}

func (f *fake) Access(s, t string, c avc.Class) (avc.Decision, error) {
	if f.access == nil {
		return f.Decider.Access(s, t, c)
	}
	return f.access(s, t, c)
}

func (f *fake) Create(s, t string, c avc.Class, name string) (string, error) {
	if f.create == nil {
		return f.Decider.Create(s, t, c, name)
	}
	return f.create(s, t, c, name)
}

// answers collects what is answered.
type answers struct {
	mu   sync.Mutex
	got  []Answer
	tags map[uint64]int
	qs   map[uint64]Question
	wg   sync.WaitGroup
}

func (w *answers) Answered(tag uint64, q Question, a Answer) {
	w.mu.Lock()
	w.got = append(w.got, a)
	if w.tags == nil {
		w.tags, w.qs = map[uint64]int{}, map[uint64]Question{}
	}
	w.tags[tag]++
	w.qs[tag] = q
	w.mu.Unlock()
	w.wg.Done()
}

func (w *answers) ask(m *Monitor, g *Generation, q Question, tag uint64) {
	w.wg.Add(1)
	m.Ask(g, q, w, tag)
}

const (
	plain   = "system_u:system_r:kv_plain_t:s0"
	client1 = "system_u:system_r:kv_client_t:s0:c1"
	client2 = "system_u:system_r:kv_client_t:s0:c2"
	reader  = "system_u:system_r:kv_reader_t:s0"
	admin   = "system_u:system_r:kv_admin_t:s0-s0:c0.c1023"
	item    = "system_u:object_r:kv_item_t:s0"
	item1   = "system_u:object_r:kv_item_t:s0:c1"
	session = "system_u:object_r:kv_session_t:s0"
	nobody  = "system_u:object_r:unlabeled_t:s0"
)

var (
	errnoNoLabel = error(unix.ENOPROTOOPT)
	errOther     = error(unix.EBADF)
)
