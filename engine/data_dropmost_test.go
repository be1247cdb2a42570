package engine_test

import (
	"path/filepath"
	"testing"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// TestDropMost: labels stay as long as segments that name them, of which one transaction drops some only.
func TestDropMost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	file, peer := people(t)
	f, err := disk.Open(path, disk.Options{Zero: 1_799_999_000, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range disk.DropMost + 100 {
		b := disk.Batch{CAS: 100}
		key := "filler"
		if i == 0 {
			b.Labels = []disk.Label{{ID: 1, Context: "system_u:object_r:kv_departed_t:s0"}}
		}
		if i == disk.DropMost+50 {
			key = "k"
		}
		b.Append(storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, Label: 1, Stored: 70, Exptime: 71, CAS: 9, Key: []byte(key), Value: []byte("v")}), 1)
		if _, err := f.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
	eng, _, _ := setup{mac: mac.Config{ContextsFile: file}}.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	admin := enginetest.NewDriver(t, eng, peer(3))
	for _, v := range []string{"1", "2"} {
		admin.Store(engine.OpSet, "other", v)
		if err := data.Barrier(); err != nil {
			t.Fatal(err)
		}
	}
	if err := data.CommitRewriting(); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(false)
	c, err := f.Live(1000, func(*storage.Record, *disk.Label) error { return nil })
	t.Logf("%+v", c)
	if err != nil {
		t.Error(err)
	}
}
