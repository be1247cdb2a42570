package main

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// commits makes a data file in dir, as a server of 256 MB does, and returns how many
// stores a second it takes when each is a transaction of its own, synced before the next
// one: one record, of the length that the servers write for the same store. There is no server, and no
// network: what a server would add would make it slower.
func commits(dir string, each time.Duration) (rate float64, err error) {
	f, err := disk.Open(filepath.Join(dir, "data"), disk.Options{MapSize: 1280 << 20})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(true)) }()
	rng := rand.New(rand.NewPCG(1, 9))
	r := storage.Record{Kind: storage.RecordItem, Value: []byte(strings.Repeat("v", nbyte))}
	var b disk.Batch
	var rec []byte
	n := 0
	began := time.Now()
	for end := began.Add(each); time.Now().Before(end); n++ {
		r.Key = load.AppendKey(r.Key[:0], uint32(rng.IntN(keys)))
		rec = storage.AppendRecord(rec[:0], &r)
		b.Reset()
		b.Append(rec, 1)
		b.CAS, b.Time = uint64(n), time.Now().UnixMilli()
		// The log is kept short, as a server does it: without, its tree would grow.
		if next := f.Next(); next > keptCommits {
			b.Drop = next - keptCommits
		}
		if _, err := f.Commit(&b); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// keptCommits is how many transactions the log has.
const keptCommits = 100
