package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// openKept opens an engine on a data file; shut ends it.
func openKept(t *testing.T, s setup, cfg engine.DataConfig) (eng *engine.Secured, now *atomic.Int64, shut func()) {
	t.Helper()
	eng, _, now = s.open(t)
	d, err := eng.OpenData(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	shut = func() {
		if once.CompareAndSwap(false, true) {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(shut)
	return eng, now, shut
}

func dataStat(eng *engine.Secured, name string) (value string) {
	eng.StatsData(func(n, v string) {
		if n == name {
			value = v
		}
	})
	return value
}

// TestConformanceKept: an engine with a data file is an engine like any other.
func TestConformanceKept(t *testing.T) {
	for _, cfg := range []engine.DataConfig{
		{Sync: engine.SyncAlways}, {Sync: engine.SyncInterval, Interval: time.Millisecond}, {Sync: engine.SyncInterval, Limit: 1}, {Sync: engine.SyncNone},
	} {
		t.Run(fmt.Sprintf("%s/%d", cfg.Sync, cfg.Limit), func(t *testing.T) {
			enginetest.Conformance(t, func(t *testing.T) *enginetest.Env {
				cfg := cfg
				cfg.Path = filepath.Join(t.TempDir(), "data")
				eng, now, _ := openKept(t, setup{}, cfg)
				return &enginetest.Env{Engine: eng, Peer: &mac.Peer{FD: -1}, Advance: func(s int64) { now.Add(s) }, MaxItem: maxItem}
			})
		})
	}
}

// TestRestart: what is kept of an item, and what is not there any more.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	eng, now, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	large := strings.Repeat("x", 300<<10)
	d.Store(engine.OpSet, "flags", "v", func(c *engine.Call) { c.Flags = 77 })
	d.Store(engine.OpSet, "soon", "v", func(c *engine.Call) { c.Exptime = 10 })
	d.Store(engine.OpSet, "later", "v", func(c *engine.Call) { c.Exptime = 1000 })
	d.Store(engine.OpSet, "gone", "v")
	d.Store(engine.OpSet, "twice", "one")
	d.Store(engine.OpSet, "twice", "two")
	d.Store(engine.OpSet, "large", large)
	d.Upload(engine.OpSet, "upload", []byte(large))
	d.Store(engine.OpSet, "n", "41")
	d.Call(engine.OpDelete, "gone")
	d.Run(eng.Delete)
	d.Call(engine.OpIncr, "n").Delta = 1
	d.Run(eng.Arith)
	_, cas, _ := d.Value("twice")
	d.Close()
	shut()

	later := now.Load() + 20
	eng, _, now = setup{}.open(t)
	now.Store(later)
	data, err := eng.OpenData(engine.DataConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	for key, want := range map[string]string{"flags": "v", "later": "v", "twice": "two", "large": large, "upload": large, "n": "42"} {
		if v, _, ok := d.Value(key); !ok || v != want {
			t.Errorf("%s: expected %.40q, found %.40q, %v", key, want, v, ok)
		}
	}
	for _, key := range []string{"soon", "gone"} {
		if v, _, ok := d.Value(key); ok {
			t.Errorf("%s: expected nothing, found %q", key, v)
		}
	}
	if _, c, _ := d.Value("twice"); c != cas {
		t.Errorf("expected cas %d, found %d", cas, c)
	}
	d.Store(engine.OpSet, "new", "v")
	if _, c, _ := d.Value("new"); c <= cas {
		t.Errorf("expected a cas above %d, found %d", cas, c)
	}
	if got := d.Get("flags"); !strings.Contains(got, " 77 ") {
		t.Errorf("expected flags 77, found %q", got)
	}
}

// TestUnknownLabel: an item whose context the policy does not know acts as
// unlabeled, keeps its context, and comes back with a policy that knows it.
func TestUnknownLabel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	file, peer := people(t)
	const context = "system_u:object_r:kv_departed_t:s0"
	write(t, path, context, "k")
	eng, _, shut := openKept(t, setup{mac: mac.Config{ContextsFile: file}}, engine.DataConfig{Path: path})
	if n := dataStat(eng, "load_unknown_contexts"); n != "1" {
		t.Errorf("expected 1 unknown context, found %s", n)
	}
	for uid, want := range map[uint32]bool{1: false, 2: false} {
		d := enginetest.NewDriver(t, eng, peer(uid))
		if v, _, ok := d.Value("k"); ok != want {
			t.Errorf("client %d: expected %v, found %q, %v", uid, want, v, ok)
		}
		d.Close()
	}
	admin := enginetest.NewDriver(t, eng, peer(3))
	c := admin.Call(engine.OpLabel, "k")
	admin.Run(eng.Label)
	if want := "LABEL k " + context; string(c.Text) != want {
		t.Errorf("expected %q, found %q", want, c.Text)
	}
	admin.Close()
	shut()
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(false)
	found := ""
	if _, err := f.Live(100, func(r *storage.Record, l *disk.Label) error {
		found = l.Context
		return nil
	}); err != nil || found != context {
		t.Errorf("expected the file to keep %q, found %q, %v", context, found, err)
	}
}

// write makes a data file with one item under a label.
func write(t *testing.T, path, context, key string) {
	t.Helper()
	f, err := disk.Open(path, disk.Options{Zero: 1_799_999_000})
	if err != nil {
		t.Fatal(err)
	}
	var b disk.Batch
	b.Labels = []disk.Label{{ID: 1, Context: context}}
	b.CAS = 100
	b.Append(storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, Label: 1, Stored: 70, CAS: 9, Key: []byte(key), Value: []byte("secret")}), 1)
	if _, err := f.Commit(&b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
}

// TestDelayedFlushOutlives: a flush that is due after a restart is executed.
func TestDelayedFlushOutlives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	eng, _, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d.Store(engine.OpSet, "k", "v")
	d.Call(engine.OpFlush, "").Exptime = 100
	d.Run(eng.Flush)
	d.Close()
	shut()
	eng, now, _ := openKept(t, setup{}, engine.DataConfig{Path: path})
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	if _, _, ok := d.Value("k"); !ok {
		t.Fatal("the item is gone before the flush is due")
	}
	now.Add(101)
	eng.RunFlushes()
	if v, _, ok := d.Value("k"); ok {
		t.Errorf("the flush was due: expected nothing, found %q", v)
	}
}

// TestDelayedFlushCatchesUp: a flush that came due while nobody ran is executed before
// anybody is served, and one that is not due yet is executed when it is, however long it
// was to wait in all.
func TestDelayedFlushCatchesUp(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "data")
		eng, _, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		d.Store(engine.OpSet, "k", "v")
		d.Call(engine.OpFlush, "").Exptime = 1000
		d.Run(eng.Flush)
		d.Close()
		shut()
		open := func(after int64) (*engine.Secured, *atomic.Int64, func()) {
			t.Helper()
			eng, _, now := setup{}.open(t)
			now.Add(after)
			data, err := eng.OpenData(engine.DataConfig{Path: path, Lazy: lazy, Sync: engine.SyncAlways})
			if err != nil {
				t.Fatal(err)
			}
			return eng, now, func() {
				if err := data.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		gone := func(eng *engine.Secured) bool {
			d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
			defer d.Close()
			_, _, ok := d.Value("k")
			return !ok
		}

		eng, now, shut := open(998) // its due second, 999, is a second from now
		for dataStat(eng, "state") == "loading" {
			runtime.Gosched()
		}
		if gone(eng) {
			t.Errorf("lazy %v: the item is gone before the flush is due", lazy)
		}
		now.Add(1)
		for deadline := time.Now().Add(20 * time.Second); !gone(eng); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("lazy %v: the flush was due, and is not executed", lazy)
			}
		}
		d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		d.Store(engine.OpSet, "k", "v")
		d.Call(engine.OpFlush, "").Exptime = 1000
		d.Run(eng.Flush)
		d.Close()
		shut()

		eng, _, shut = open(3000)
		if !gone(eng) {
			t.Errorf("lazy %v: the flush came due meanwhile, and the item is served", lazy)
		}
		shut()
	}
}

// TestOpenRefuses: what is no data file, or is damaged, is refused with a reason
// and left as it is.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	write(t, good, "system_u:object_r:kv_item_t:s0", "k")
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(at, n int, with byte) []byte {
		b := append([]byte(nil), whole...)
		for i := at; i < at+n; i++ {
			b[i] = with
		}
		return b
	}
	record := strings.Index(string(whole), "ksecret")
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":    {nil, "expected a data file"},
		"text":     {[]byte(strings.Repeat("hello\n", 1000)), "expected a data file"},
		"cut":      {whole[:len(whole)/4], "cut"},
		"metas":    {cut(24, 8, 0xff), ""}, // the other meta page may do
		"bothmeta": {cut(16, 64, 0), ""},
		"value":    {cut(record, 3, 'z'), "checksum"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.b, 0o600); err != nil {
			t.Fatal(err)
		}
		eng, _, _ := setup{}.open(t)
		d, err := eng.OpenData(engine.DataConfig{Path: path})
		if err == nil {
			d.Close()
		}
		switch {
		case c.want == "":
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path):
			t.Errorf("%s: expected an error that names the file and says %q, found %v", name, c.want, err)
		}
	}
	openKept(t, setup{}, engine.DataConfig{Path: good})
	other, _, _ := setup{}.open(t)
	if _, err := other.OpenData(engine.DataConfig{Path: good}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second server: expected a refusal, found %v", err)
	}
}

// TestDamage: no damage of a file makes Open panic, and what opens has only what
// was stored.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "good")
	f, err := disk.Open(path, disk.Options{Zero: 1_799_999_000})
	if err != nil {
		t.Fatal(err)
	}
	var b disk.Batch
	for i := range 30 {
		b.Reset()
		b.Labels = []disk.Label{{ID: 1, Context: "system_u:object_r:kv_item_t:s0"}}
		b.Append(storage.AppendRecord(nil, &storage.Record{
			Kind: storage.RecordItem, Label: 1, Stored: 70, Key: fmt.Appendf(nil, "k%d", i), Value: []byte(strings.Repeat("v", i*100)),
		}), 1)
		if _, err := f.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for i := range 400 {
		bad := append([]byte(nil), whole...)
		at := (i * 7919) % len(bad)
		bad[at] ^= 1 << (i % 8)
		if i%3 == 0 { // a page
			page := at &^ 4095
			for j := page; j < page+64 && j < len(bad); j++ {
				bad[j] = byte(j * i)
			}
		}
		p := filepath.Join(dir, "bad")
		if err := os.WriteFile(p, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := disk.Open(p, disk.Options{})
		if err != nil {
			refused++
			continue
		}
		opened++
		_, _ = f.Live(100, func(r *storage.Record, l *disk.Label) error {
			if want := strings.Repeat("v", len(r.Value)); string(r.Value) != want || l.Context != "system_u:object_r:kv_item_t:s0" && l.Context != "" {
				t.Errorf("damage at %#x: found key %q, value %.20q, label %q", at, r.Key, r.Value, l.Context)
			}
			return nil
		})
		_ = f.Close(false)
	}
	if opened == 0 || refused == 0 {
		t.Errorf("expected some damage to be noticed at once and some not, found %d and %d", refused, opened)
	}
	t.Logf("%d opened, %d refused", opened, refused)
}

// TestLogIsBounded: the log is written anew when it is long, and what is dropped
// of it is not missed.
func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	cfg := engine.DataConfig{Path: path, Sync: engine.SyncAlways, Slack: 64 << 10}
	s := setup{store: storage.Config{Shards: 4}}
	eng, _, shut := openKept(t, s, cfg)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	want := map[string]string{}
	for i := range 3000 {
		key := fmt.Sprintf("k%d", i*i%97)
		if i%11 == 10 {
			d.Call(engine.OpDelete, key)
			d.Run(eng.Delete)
			delete(want, key)
			continue
		}
		want[key] = fmt.Sprintf("%d %s", i, strings.Repeat("v", i%500))
		if st := d.Store(engine.OpSet, key, want[key]); st != engine.Stored {
			t.Fatalf("expected Stored, found %v", st)
		}
	}
	d.Close()
	n, err := strconv.Atoi(dataStat(eng, "log_bytes"))
	if written := dataStat(eng, "bytes_rewritten"); err != nil || n > 400<<10 || written == "0" {
		t.Errorf("expected a log of 400 KiB at most, written anew in part, found %d bytes, %s", n, written)
	}
	shut()
	eng, _, _ = openKept(t, s, cfg)
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	for i := range 97 {
		key := fmt.Sprintf("k%d", i)
		if v, _, ok := d.Value(key); v != want[key] || ok != (want[key] != "") {
			t.Errorf("%s: expected %.30q, found %.30q, %v", key, want[key], v, ok)
		}
	}
}

// TestSmallerMemory: where memory is smaller than the file the newest items are
// loaded, and what was not does not come back after it has been deleted.
func TestSmallerMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	cfg := engine.DataConfig{Path: path, Slack: 1 << 20, Sync: engine.SyncAlways} // a commit for each
	eng, _, shut := openKept(t, setup{}, cfg)
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	value := strings.Repeat("v", 50<<10)
	for i := range 400 { // 20 MB
		d.Store(engine.OpSet, fmt.Sprintf("k%03d", i), value)
	}
	d.Close()
	shut()
	small := setup{store: storage.Config{Limit: 8 << 20}}
	eng, _, shut = openKept(t, small, cfg)
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	if n := dataStat(eng, "load_no_room"); n == "0" {
		t.Fatal("expected that not everything fits")
	}
	if _, _, ok := d.Value("k399"); !ok {
		t.Error("the newest item is not there")
	}
	// The newest are read first. Which of the others still find room depends on where
	// the free memory of their size is: at least one has not.
	gone := ""
	for i := range 400 {
		key := fmt.Sprintf("k%03d", i)
		if _, _, ok := d.Value(key); !ok {
			gone = key
			break
		}
	}
	if gone == "" {
		t.Fatal("expected an item that was not loaded, found all")
	}
	d.Call(engine.OpDelete, gone)
	if st := d.Run(eng.Delete); st != engine.Miss {
		t.Errorf("expected a miss, found %v", st)
	}
	d.Close()
	shut()
	eng, _, _ = openKept(t, setup{}, cfg)
	d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	if _, _, ok := d.Value(gone); ok {
		t.Error("a deleted item has come back")
	}
}
