package disk

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"sememcached/storage"
)

// BenchmarkLayout compares the log with a bucket that has a key for each item:
// transactions of 20,000 changes, items of 100 bytes, random keys of a million.
// One op is one transaction. bytes/op is how much the file system was given.
func BenchmarkLayout(b *testing.B) {
	const items, batch = 1_000_000, 20_000
	key := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte("key:"), n*2654435761) }
	value := make([]byte, 100)
	b.Run("log", func(b *testing.B) {
		f, err := Open(filepath.Join(b.TempDir(), "log"), Options{MapSize: 4 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close(true)
		var bt Batch
		rng := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			bt.Reset()
			var rec []byte
			for range batch {
				rec = storage.AppendRecord(rec[:0], &storage.Record{Kind: storage.RecordItem, Key: key(rng.Uint32N(items)), Value: value})
				bt.Append(rec, 1)
			}
			bt.Drop = uint64(max(0, int64(f.Next())-100))
			if _, err := f.Commit(&bt); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("key", func(b *testing.B) {
		db, err := bbolt.Open(filepath.Join(b.TempDir(), "key"), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 4 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		put := func(keys []uint32) {
			err := db.Update(func(tx *bbolt.Tx) error {
				bk, err := tx.CreateBucketIfNotExists([]byte("items"))
				if err != nil {
					return err
				}
				for _, k := range keys {
					rec := storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, Key: []byte("k"), Value: value})
					if err := bk.Put(key(k), rec); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		db.NoSync = true
		keys := make([]uint32, 0, batch)
		for n := range uint32(items) {
			if keys = append(keys, n); len(keys) == cap(keys) {
				put(keys)
				keys = keys[:0]
			}
		}
		db.NoSync = false
		_ = db.Sync()
		rng := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			keys = keys[:0]
			for range batch {
				keys = append(keys, rng.Uint32N(items))
			}
			put(keys)
		}
	})
	b.Run("one", func(b *testing.B) { // a record a transaction
		f, err := Open(filepath.Join(b.TempDir(), "log"), Options{MapSize: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close(true)
		var bt Batch
		rec := storage.AppendRecord(nil, &storage.Record{Kind: storage.RecordItem, Key: []byte("k"), Value: value})
		for b.Loop() {
			bt.Reset()
			bt.Append(rec, 1)
			bt.Drop = uint64(max(0, int64(f.Next())-1000))
			if _, err := f.Commit(&bt); err != nil {
				b.Fatal(err)
			}
		}
	})
}
