//go:build race

package storage

// The race detector does not see memory that was mapped behind the back of
// the Go runtime; under it everything comes from the Go heap.

const reserveFactor = 1

func reserve(size int64) ([]byte, error) { return make([]byte, size), nil }

func allocate(size int64) ([]byte, error) { return make([]byte, size), nil }

func commit([]byte) error { return nil }

func discard([]byte) bool { return false }

func release([]byte) error { return nil }

func wantHugePages([]byte) {}

func refuseHugePages([]byte) {}

func populate([]byte) {}

func neverHuge() bool { return false }
