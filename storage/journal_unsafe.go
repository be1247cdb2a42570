package storage

import "unsafe"

// prefetchEnd asks for the lines behind b's end that the next n bytes go to: what
// other records are appended to meanwhile does not push them out of the second-level
// cache.
func prefetchEnd(b []byte, n int) {
	if n = min(n, cap(b)-len(b)); n > 0 {
		// SAFETY: the address is within b's array, and nothing is read or written there.
		prefetchWrite(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), len(b)), uintptr(n-1))
	}
}
