package disk

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// Formats of the file, a ladder: each rung says what changed. A file of an older
// format is brought to the present one, rung by rung, when it is opened for
// writing; one of a newer format is refused.
const (
	// formatFirst is the format of the package comment without "pending".
	formatFirst = 1
	// formatPending added delayed flushes: a file without them is read as one
	// with none.
	formatPending = 2
	// formatTail added the tail: a program that does not know of it would lose what
	// is there.
	formatTail = 3

	// Format is the present format.
	Format = formatTail
)

// upgrades[n] brings a file of format n to n+1.
var upgrades = map[uint32]func(tx *bbolt.Tx) error{
	formatFirst: func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketFacts).Put(factPending, nil)
	},
	formatPending: func(*bbolt.Tx) error { return nil }, // a file without a tail has an empty one
}

// Names of buckets and facts.
var (
	bucketFacts  = []byte("sememcached")
	bucketLabels = []byte("labels")
	bucketLog    = []byte("log")
	bucketTail   = []byte("tail")

	factFormat   = []byte("format")
	factCreated  = []byte("created")
	factZero     = []byte("zero")
	factClean    = []byte("clean")
	factSettings = []byte("settings")
	factPending  = []byte("pending")
	factEpoch    = []byte("epoch")

	keyTail = []byte("tail")
)

// readFormat returns the format of an open file.
func readFormat(tx *bbolt.Tx) (uint32, error) {
	facts := tx.Bucket(bucketFacts)
	if facts == nil || tx.Bucket(bucketLabels) == nil || tx.Bucket(bucketLog) == nil {
		return 0, fmt.Errorf("%w: a bbolt database of another program", ErrForeign)
	}
	v := facts.Get(factFormat)
	if len(v) != 4 {
		return 0, fmt.Errorf("expected a format number of 4 bytes, found %d", len(v))
	}
	f := binary.LittleEndian.Uint32(v)
	if f < formatFirst || f > Format {
		return 0, fmt.Errorf("expected format %d to %d, found %d: the file was written by another version of sememcached", formatFirst, Format, f)
	}
	return f, nil
}

// climb brings the file to the present format.
func climb(tx *bbolt.Tx) error {
	f, err := readFormat(tx)
	if err != nil {
		return err
	}
	for ; f < Format; f++ {
		if err := upgrades[f](tx); err != nil {
			return fmt.Errorf("from format %d to %d: %w", f, f+1, err)
		}
		if err := tx.Bucket(bucketFacts).Put(factFormat, binary.LittleEndian.AppendUint32(nil, f+1)); err != nil {
			return err
		}
	}
	return nil
}
