package engine_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// TestUndoDrop: a commit that was to drop the beginning of the log fails at its last
// sync, so that what can be read of the file no longer has it. What was changed is undone all the
// same, nothing else goes, and what was gone stays so.
func TestUndoDrop(t *testing.T) {
	for which := 1; which <= 2; which++ {
		t.Run(fmt.Sprint("transaction/", which), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			file, peer := people(t)
			write(t, path, "system_u:object_r:kv_departed_t:s0", "k")
			eng, _, _ := setup{mac: mac.Config{ContextsFile: file}}.open(t)
			data, err := eng.OpenData(engine.DataConfig{Path: path, Sync: engine.SyncAlways})
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			admin := enginetest.NewDriver(t, eng, peer(3))
			defer admin.Close()
			keys := []string{"k", "kept", "changed", "gone", "new"}
			state := func() (s string) {
				for _, key := range keys {
					value, _, _ := admin.Value(key)
					c := admin.Call(engine.OpLabel, key)
					st := admin.Run(eng.Label)
					s += fmt.Sprintf("%s: %q %s %v\n", key, value, c.Text, st)
				}
				return s
			}
			for _, key := range keys[1:4] {
				admin.Store(engine.OpSet, key, "1")
			}
			admin.Call(engine.OpDelete, "gone")
			admin.Run(eng.Delete)
			if err := data.Barrier(); err != nil {
				t.Fatal(err)
			}
			before := state()
			started := make(chan struct{})
			var result sync.WaitGroup
			for _, change := range []func(d *enginetest.Driver) engine.Status{
				func(d *enginetest.Driver) engine.Status { return d.Store(engine.OpSet, "changed", "2") },
				func(d *enginetest.Driver) engine.Status { return d.Store(engine.OpSet, "new", "2") },
				func(d *enginetest.Driver) engine.Status { return d.Store(engine.OpSet, "gone", "2") },
				func(d *enginetest.Driver) engine.Status { d.Call(engine.OpDelete, "k"); return d.Run(eng.Delete) },
			} {
				result.Go(func() {
					<-started
					d := enginetest.NewDriver(t, eng, peer(3))
					defer d.Close()
					if st := change(d); st != engine.Failed {
						t.Errorf("expected a refusal, found %v", st)
					}
				})
			}
			if drop := data.FailSync(started, 4, which); drop == 0 {
				t.Error("expected a commit that drops something")
			}
			result.Wait()
			if after := state(); after != before {
				t.Errorf("before:\n%safter the undo:\n%s", before, after)
			}
		})
	}
}

// TestDropFails: a commit whose changes are on the disk has gone well, also if what it was to
// drop cannot be dropped: the file is closed for good, and nobody is told that his change has failed.
func TestDropFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	file, peer := people(t)
	write(t, path, "system_u:object_r:kv_departed_t:s0", "k")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	// In the place of the first segment something that is none, which a transaction that drops stops at.
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("log")).Put(make([]byte, 8), []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	eng, _, _ := setup{mac: mac.Config{ContextsFile: file}}.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path, Sync: engine.SyncAlways})
	if err != nil {
		t.Fatal(err)
	}
	admin := enginetest.NewDriver(t, eng, peer(3))
	admin.Store(engine.OpSet, "new", "2")
	if err := data.CommitRewriting(); err != nil {
		t.Errorf("expected nil for what is on the disk, found %v", err)
	}
	if data.Err() == nil {
		t.Error("expected a file that is closed for good")
	}
	if err := data.Barrier(); err == nil {
		t.Error("expected that nothing is written any more")
	}
	admin.Close()
	data.Close() // with the error that was looked at
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(false)
	found := map[string]string{}
	if _, err := f.Live(1000, func(r *storage.Record, _ *disk.Label) error { found[string(r.Key)] = string(r.Value); return nil }); err != nil || found["new"] != "2" || found["k"] != "secret" {
		t.Errorf("expected both items on the disk, found %q, %v", found, err)
	}
}
