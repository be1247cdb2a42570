package disk

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"sememcached/storage"
)

// hookWriter calls fn once, before its second Write: WriteTo has its transaction, and
// has read no page of the tail yet.
type hookWriter struct {
	bytes.Buffer
	n  int
	fn func()
}

func (h *hookWriter) Write(p []byte) (int, error) {
	if h.n++; h.n == 2 {
		h.fn()
	}
	return h.Buffer.Write(p)
}

func liveOf(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(false)
	m := map[string]string{}
	if _, err := f.Live(100, func(r *storage.Record, l *Label) error {
		m[string(r.Key)] = string(r.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

func itemRecord(key, value string, label uint32) []byte {
	return storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, CAS: 1, Stored: 1, Label: label, Key: []byte(key), Value: []byte(value)})
}

// TestCopyGoesOn: a copy that was made while one transaction and some groups were written is restored,
// changed by one transaction, and closed in order. Groups of the other server do not count in it.
func TestCopyGoesOn(t *testing.T) {
	x := newTailFile(t)
	x.b.Append(itemRecord("k", "before", 0), 1)
	x.commit()
	h := &hookWriter{fn: func() {
		x.b.Append(itemRecord("other", "1", 0), 1)
		x.commit()
		x.b.Append(itemRecord("k", "of the other server", 0), 1)
		x.extend()
	}}
	if _, err := x.f.WriteTo(h); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "restored")
	if err := os.WriteFile(path, h.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.Append(itemRecord("k", "acknowledged by this server", 0), 1)
	if _, err := f.Commit(&b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
	if m := liveOf(t, path); m["k"] != "acknowledged by this server" {
		t.Errorf("after a commit, and a close in order: %v", m)
	}
}

// TestForgedGroup: a client's value has a group in it, where a page of the tail begins. It has to name an
// epoch that nobody knows.
func TestForgedGroup(t *testing.T) {
	x := newTailFile(t)
	x.b.Labels = []Label{{ID: 1, Context: "mallory:r:t"}, {ID: 2, Context: "secret:r:t"}}
	x.b.Append(itemRecord("own", "1", 1), 1)
	x.commit()

	rec := itemRecord("forged", "never stored by anybody with that label", 2)
	g := append(make([]byte, tailHead), rec...)
	binary.LittleEndian.PutUint32(g[4:], uint32(len(rec)))
	binary.LittleEndian.PutUint32(g[8:], 1)
	binary.LittleEndian.PutUint32(g[12:], 1)                // the group behind the first one
	binary.LittleEndian.PutUint64(g[16:], x.f.tail.epoch+1) // guessed
	binary.LittleEndian.PutUint32(g, crc32.Checksum(g[4:], castagnoli))
	value := string(make([]byte, tailPage-tailHead-40-len("evil"))) + string(g)
	x.b.Append(itemRecord("evil", value, 1), 1)
	x.extend()
	x.commit()
	x.b.Append(itemRecord("innocent", "1", 1), 1)
	x.extend()

	path := filepath.Join(t.TempDir(), "crashed")
	if err := os.WriteFile(path, x.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(false)
	if _, err := f.Live(100, func(r *storage.Record, l *Label) error {
		if string(r.Key) == "forged" {
			t.Errorf("found %q = %q with label %q", r.Key, r.Value, l.Context)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCopySameEpoch: the first group of the copy's own epoch is overwritten in the copy, the others are
// not. A server that syncs always does not go on in that epoch.
func TestCopySameEpoch(t *testing.T) {
	x := newTailFile(t)
	x.b.Append(itemRecord("k", "before", 0), 1)
	x.commit()
	h := &hookWriter{fn: func() {
		for range 3 {
			x.b.Append(itemRecord("k", "of the other server", 0), 1)
			x.extend()
		}
		x.commit()
		x.b.Append(itemRecord("k", "of the other server, later", 0), 1)
		x.extend()
	}}
	if _, err := x.f.WriteTo(h); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "restored")
	if err := os.WriteFile(path, h.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.Append(itemRecord("k", "acknowledged by this server", 0), 1)
	if ok, err := f.Extend(&b); err != nil {
		t.Fatal(err)
	} else if !ok {
		if _, err := f.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(false); err != nil { // a crash
		t.Fatal(err)
	}
	if m := liveOf(t, path); m["k"] != "acknowledged by this server" {
		t.Errorf("after a crash: %v", m)
	}
}
