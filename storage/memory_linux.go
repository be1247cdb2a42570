//go:build !race

package storage

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reserveFactor is how many times the limit is reserved, at most.
const reserveFactor = 4

// reserve returns a range of addresses that may not be touched before commit.
func reserve(size int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("storage: reserve %d bytes of address space: %w", size, err)
	}
	return b, nil
}

// allocate returns size bytes that read as zero, outside the Go heap.
func allocate(size int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("storage: map %d bytes: %w", size, err)
	}
	return b, nil
}

// commit makes b, a part of a reserved range, readable and writable. Its memory
// reads as zero and is taken from the system when first touched.
func commit(b []byte) error {
	if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return fmt.Errorf("storage: map %d bytes: %w", len(b), err)
	}
	return nil
}

// discard gives the memory of b back to the system; the addresses stay valid
// and read as zero. It reports false where the memory stays as it is, as locked memory does.
func discard(b []byte) bool {
	return len(b) == 0 || unix.Madvise(b, unix.MADV_DONTNEED) == nil
}

// release ends a reservation.
func release(b []byte) error { return unix.Munmap(b) }

// wantHugePages asks the system to use huge pages for b, where it does so on request: a
// look-up of a random item then seldom misses the translation cache. Advisory.
func wantHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// neverHuge reports whether the system gives huge pages to nobody
// (Documentation/admin-guide/mm/transhuge.rst).
func neverHuge() bool {
	b, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled") // without the file there are none
	return !bytes.Contains(b, []byte("[madvise]")) && !bytes.Contains(b, []byte("[always]"))
}

// populate takes the memory of b from the system before it is touched. Advisory.
func populate(b []byte) { _ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) }

// refuseHugePages is the inverse of wantHugePages.
func refuseHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) }
