//go:build !amd64 && !arm64

package storage

import "unsafe"

// prefetch does nothing where no instruction is known.
func prefetch(unsafe.Pointer) {}

// prefetchItem does nothing either.
func prefetchItem(unsafe.Pointer, uintptr) {}

// prefetchWrite does nothing either.
func prefetchWrite(unsafe.Pointer, uintptr) {}
