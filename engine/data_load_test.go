package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// TestUnknownLabelRevives: items under a context that the policy does not know
// act as unlabeled, and are again what they were when a policy is loaded that knows it.
func TestUnknownLabelRevives(t *testing.T) {
	path, policy := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "policy")
	knows, err := os.ReadFile("../policy/default.bin")
	if err != nil {
		t.Fatal(err)
	}
	// A type of another name, of the same length: everything else is as it was.
	lacks := bytes.ReplaceAll(knows, []byte("kv_session_t"), []byte("kv_seasons_t"))
	write(t, path, sessionContext, "k")
	if err := os.WriteFile(policy, lacks, 0o600); err != nil {
		t.Fatal(err)
	}
	file, peer := people(t)
	s := setup{mac: mac.Config{ContextsFile: file, PolicyFile: policy}}
	eng, mon, _ := s.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	look := func(when string, want bool) {
		t.Helper()
		d := enginetest.NewDriver(t, eng, peer(1))
		defer d.Close()
		if v, _, ok := d.Value("k"); ok != want || ok && v != "secret" {
			t.Errorf("%s: expected %v, found %q, %v", when, want, v, ok)
		}
		admin := enginetest.NewDriver(t, eng, peer(3))
		defer admin.Close()
		c := admin.Call(engine.OpLabel, "k")
		if st := admin.Run(eng.Label); st != engine.OK || string(c.Text) != "LABEL k "+sessionContext {
			t.Errorf("%s: expected its label, found %v, %q", when, st, c.Text)
		}
	}
	look("the type is not known", false)
	for i, c := range []struct {
		policy []byte
		want   bool
	}{{knows, true}, {lacks, false}, {knows, true}} {
		if err := os.WriteFile(policy, c.policy, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := mon.Reload(); err != nil {
			t.Fatal(err)
		}
		look(fmt.Sprintf("reload %d", i), c.want)
	}
}

// TestWideMode: who reads the file reads every tenant's items: a mode that lets
// others do so is logged; one that lets them write, and so choose labels, is refused.
func TestWideMode(t *testing.T) {
	for _, c := range []struct {
		mode     os.FileMode
		ok, warn bool
	}{{0o600, true, false}, {0o400, false, false}, {0o640, true, true}, {0o604, true, true}, {0o620, false, false}, {0o602, false, false}, {0o666, false, false}} {
		path := filepath.Join(t.TempDir(), "data")
		write(t, path, itemContext, "k")
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if c.mode == 0o400 && os.Geteuid() == 0 {
			continue // root may
		}
		var log lockedBuffer
		eng, _, _ := setup{}.open(t)
		d, err := eng.OpenData(engine.DataConfig{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			d.Close()
		}
		if ok := err == nil; ok != c.ok {
			t.Errorf("mode %o: expected %v, found %v", c.mode, c.ok, err)
		}
		if err != nil && c.mode&0o022 != 0 && (!strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), path)) {
			t.Errorf("mode %o: expected to be told what to do, found %v", c.mode, err)
		}
		if warn := strings.Contains(log.String(), "level=WARN"); warn != c.warn {
			t.Errorf("mode %o: expected a warning: %v, found %s", c.mode, c.warn, log.String())
		}
	}
}

// TestPeerMay: a copy of the file is for those who may dump, and a refusal is
// audited.
func TestPeerMay(t *testing.T) {
	file, peer := people(t)
	var log lockedBuffer
	eng, mon, _ := setup{mac: mac.Config{ContextsFile: file, AuditWriter: &log}}.open(t)
	for uid, want := range map[uint32]bool{1: false, 2: false, 3: true, 99: false} {
		if ok := eng.PeerMay(peer(uid), engine.OpDump); ok != want {
			t.Errorf("uid %d: expected %v, found %v", uid, want, ok)
		}
	}
	if eng.PeerMay(peer(3), engine.OpGet) {
		t.Error("an operation without a kv_server permission was granted")
	}
	mon.Close() // writes what is left
	if text := log.String(); strings.Count(text, "denied  { dump }") != 3 || !strings.Contains(text, "scontext=system_u:system_r:kv_client_t:s0 tcontext=system_u:system_r:kv_server_t:s0 tclass=kv_server") {
		t.Errorf("expected three denials of dump, found\n%s", text)
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// slowLoad opens an engine that loads a file while it is used, a step for each
// element that is sent to step; closing step lets it go on.
func slowLoad(t *testing.T, path string) (eng *engine.Secured, step chan struct{}, shut func()) {
	t.Helper()
	step = make(chan struct{})
	var going atomic.Bool
	clock := func() int64 {
		if going.Load() && calledBy("loadStep") {
			<-step
		}
		return 1_800_000_000
	}
	mon, err := mac.Open(mac.Config{Mode: mac.PolicyFile, Log: slog.New(slog.DiscardHandler), AuditWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	store, err := storage.New(storage.Config{MaxItem: maxItem, Limit: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	eng = engine.New(engine.Config{Store: store, Monitor: mon, Clock: clock})
	going.Store(true)
	data, err := eng.OpenData(engine.DataConfig{Path: path, Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	return eng, step, func() {
		if err := data.Close(); err != nil {
			t.Error(err)
		}
		eng.Close()
		mon.Close()
		store.Close()
	}
}

func calledBy(name string) bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// TestLoadWhileServing: what is changed while the file is loaded stays changed,
// whatever the file says, and stats tell how far it is.
func TestLoadWhileServing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f, err := disk.Open(path, disk.Options{Zero: 1_799_999_000})
	if err != nil {
		t.Fatal(err)
	}
	const items = 40
	for i := range items { // a chunk each
		var b disk.Batch
		b.Labels = []disk.Label{{ID: 1, Context: itemContext}}
		b.CAS = uint64(i + 1)
		r := storage.Record{Kind: storage.RecordItem, Label: 1, Stored: 70, CAS: uint64(i + 1), Key: fmt.Appendf(nil, "k%d", i), Value: []byte("old")}
		b.Append(storage.AppendRecord(nil, &r), 1)
		if _, err := f.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}

	eng, step, shut := slowLoad(t, path)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	num := func(name string) int {
		n, err := strconv.Atoi(dataStat(eng, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return n
	}
	// The last of the log come first.
	const before = 10
	for range before {
		step <- struct{}{}
	}
	if st := dataStat(eng, "state"); st != "loading" {
		t.Errorf("expected loading, found %s", st)
	}
	if n := num("load_items"); n < before-1 || n > before {
		t.Errorf("expected %d items or one less, found %d", before, n)
	}
	if read, total := num("load_bytes"), num("load_bytes_total"); read == 0 || read >= total {
		t.Errorf("expected a part of %d bytes, found %d", total, read)
	}
	if v, _, ok := d.Value("k39"); !ok || v != "old" {
		t.Errorf("what is loaded is not served: %q, %v", v, ok)
	}
	if v, _, ok := d.Value("k0"); ok {
		t.Errorf("what is not loaded yet is there: %q", v)
	}
	if st := d.Store(engine.OpSet, "k0", "new"); st != engine.Stored {
		t.Errorf("set: %v", st)
	}
	if st := d.Store(engine.OpAdd, "k1", "added"); st != engine.Stored {
		t.Errorf("add: %v", st)
	}
	d.Call(engine.OpDelete, "k38") // loaded
	if st := d.Run(eng.Delete); st != engine.OK {
		t.Errorf("delete of what is loaded: %v", st)
	}
	// A delete of what is not loaded waits until it can be decided.
	other := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	deleted := make(chan engine.Status)
	go func() {
		other.Call(engine.OpDelete, "k2")
		deleted <- other.Run(eng.Delete)
	}()
	close(step)
	st := <-deleted
	for dataStat(eng, "state") == "loading" {
		runtime.Gosched()
	}
	if st != engine.OK {
		t.Errorf("delete of what was not loaded: %v", st)
	}
	check := func(when string) {
		t.Helper()
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		defer d.Close()
		for i := range items {
			key, want := fmt.Sprintf("k%d", i), "old"
			switch i {
			case 0:
				want = "new"
			case 1:
				want = "added"
			case 2, 38:
				want = ""
			}
			if v, _, ok := d.Value(key); ok != (want != "") || v != want {
				t.Errorf("%s: %s: expected %q, found %q, %v", when, key, want, v, ok)
			}
		}
	}
	check("loaded")
	if n := num("load_items"); n < items-4 || n > items {
		t.Errorf("expected about %d items, found %d", items, n)
	}
	d.Close()
	other.Close()
	shut()
	eng, _, _ = openKept(t, setup{}, engine.DataConfig{Path: path})
	check("after a restart")
}

// TestFlushWhileLoading: a flush covers what has not been loaded yet.
func TestFlushWhileLoading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, itemContext, "k")
	eng, step, shut := slowLoad(t, path)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d.Call(engine.OpFlush, "")
	if st := d.Run(eng.Flush); st != engine.OK {
		t.Errorf("flush: %v", st)
	}
	d.Store(engine.OpSet, "later", "v")
	close(step)
	for dataStat(eng, "state") == "loading" {
		runtime.Gosched()
	}
	check := func(when string) {
		t.Helper()
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		defer d.Close()
		if v, _, ok := d.Value("k"); ok {
			t.Errorf("%s: it was flushed, found %q", when, v)
		}
		if _, _, ok := d.Value("later"); !ok {
			t.Errorf("%s: what came after the flush is not there", when)
		}
	}
	check("loaded")
	d.Close()
	shut()
	eng, _, _ = openKept(t, setup{}, engine.DataConfig{Path: path})
	check("after a restart")
}

// TestLoadEndsEarly: a server that ends before it has loaded everything leaves
// in the file what it has not loaded.
func TestLoadEndsEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, itemContext, "k")
	eng, step, shut := slowLoad(t, path)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d.Store(engine.OpSet, "new", "v")
	d.Close()
	ended := make(chan struct{})
	go func() { shut(); close(ended) }()
	close(step)
	<-ended
	eng, _, _ = openKept(t, setup{}, engine.DataConfig{Path: path})
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	for _, key := range []string{"k", "new"} {
		if _, _, ok := d.Value(key); !ok {
			t.Errorf("%s is not there", key)
		}
	}
}
