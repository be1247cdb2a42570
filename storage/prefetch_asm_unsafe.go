//go:build amd64 || arm64

package storage

import "unsafe"

// prefetch asks the processor for the cache line at p. It never faults, so p
// may be stale.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchItem asks for the lines from p to p+last.
//
//go:noescape
func prefetchItem(p unsafe.Pointer, last uintptr)

// prefetchWrite is prefetchItem for lines that are to be written: they are taken away
// from other processors' caches.
//
//go:noescape
func prefetchWrite(p unsafe.Pointer, last uintptr)
