package disk

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"sememcached/storage"
)

var update = flag.Bool("update", false, "write testdata anew")

// oldFile is a file of an earlier format.
func oldFile(format uint32) string { return fmt.Sprintf("testdata/format%d.data", format) }

// makeOld writes a file of an earlier format.
func makeOld(t *testing.T, path string, format uint32) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, bolt(&Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return found(tx, format, &Options{Zero: 1_800_000_000}) }); err != nil {
		t.Fatal(err)
	}
	f := &File{db: db, path: path, next: 1}
	var b Batch
	b.CAS, b.Time = 17, 1_800_000_100_000
	b.Labels = []Label{{ID: 1, Context: "system_u:object_r:kv_item_t:s0:c1"}, {ID: 2, Flushed: 80, Context: "system_u:object_r:kv_item_t:s0:c2"}}
	for _, r := range []storage.Record{
		{Kind: storage.RecordItem, Label: 1, Stored: 70, CAS: 5, Flags: 7, Key: []byte("old"), Value: []byte("first")},
		{Kind: storage.RecordItem, Label: 2, Stored: 75, CAS: 6, Key: []byte("flushed"), Value: []byte("x")},
		{Kind: storage.RecordItem, Label: 1, Stored: 70, CAS: 8, Key: []byte("gone"), Value: []byte("x")},
		{Kind: storage.RecordGone, Key: []byte("gone")},
		{Kind: storage.RecordItem, Label: 1, Stored: 90, Exptime: 95, CAS: 9, Key: []byte("expired"), Value: []byte("x")},
		{Kind: storage.RecordItem, Label: 2, Stored: 90, CAS: 17, Bits: storage.RecordStale, Key: []byte("new"), Value: []byte(strings.Repeat("v", 5000))},
	} {
		b.Append(storage.AppendRecord(nil, &r), 1)
	}
	if _, err := f.Commit(&b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade opens files as the programs of earlier formats have written them.
func TestUpgrade(t *testing.T) {
	for format := uint32(formatFirst); format < Format; format++ {
		t.Run(fmt.Sprint(format), func(t *testing.T) { testUpgrade(t, format) })
	}
}

func testUpgrade(t *testing.T, first uint32) {
	old := oldFile(first)
	if *update {
		_ = os.Remove(old)
		makeOld(t, old, first)
	}
	whole, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(readOnly bool, format uint32) {
		t.Helper()
		f, err := Open(path, Options{ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		facts, err := f.Facts()
		if err != nil || facts.Format != format || !facts.Clean || facts.Zero != 1_800_000_000 || len(facts.Pending) != 0 {
			t.Errorf("expected format %d, found %+v, %v", format, facts, err)
		}
		var items []string
		c, err := f.Live(100, func(r *storage.Record, l *Label) error {
			items = append(items, fmt.Sprintf("%s cas %d flags %d bits %d %d bytes %s", r.Key, r.CAS, r.Flags, r.Bits, len(r.Value), l.Context))
			return nil
		})
		want := "new cas 17 flags 0 bits 1 5000 bytes system_u:object_r:kv_item_t:s0:c2\nold cas 5 flags 7 bits 0 5 bytes system_u:object_r:kv_item_t:s0:c1"
		if got := strings.Join(items, "\n"); err != nil || got != want {
			t.Errorf("expected\n%s\nfound\n%s\n%+v, %v", want, got, c, err)
		}
		if cas, at, err := f.Last(); cas != 17 || at != 1_800_000_100_000 || err != nil {
			t.Errorf("expected cas 17, found %d, %d, %v", cas, at, err)
		}
		if err := f.Close(true); err != nil {
			t.Error(err)
		}
	}
	look(true, first)
	look(false, Format)
	look(true, Format)
}

// TestNewer: a file of a format to come is refused and not changed.
func TestNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketFacts).Put(factFormat, binary.LittleEndian.AppendUint32(nil, Format+7))
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("found %d", Format+7)) {
		t.Errorf("expected a refusal that names the format, found %v", err)
	}
}

// TestCompact: a compacted file holds the same.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	f, err := Open(path, Options{Zero: 1_800_000_000})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for i := range 200 {
		b.Reset()
		b.CAS = uint64(i + 2)
		b.Append(storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, Stored: 1, Key: fmt.Appendf(nil, "k%d", i%10), Value: []byte(strings.Repeat("v", 3000+i))}), 1)
		if _, err := f.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	list := func(f *File) string {
		s := map[string]int{}
		if _, err := f.Live(100, func(r *storage.Record, _ *Label) error {
			s[string(r.Key)] = len(r.Value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s)
	}
	small := filepath.Join(dir, "small")
	if c, err := f.Compact(small, 100); err != nil || c.Items != 10 {
		t.Fatalf("expected 10 items, found %+v, %v", c, err)
	}
	g, err := Open(small, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := list(f), list(g); a != b {
		t.Errorf("expected %s, found %s", a, b)
	}
	if cas, _, _ := g.Last(); cas != 201 {
		t.Errorf("expected cas 201, found %d", cas)
	}
	if f.Size() < 4*g.Size() {
		t.Errorf("expected a smaller file, found %d of %d bytes", g.Size(), f.Size())
	}
	if err := g.Close(false); err != nil {
		t.Error(err)
	}
	if err := f.Close(true); err != nil {
		t.Error(err)
	}
}
