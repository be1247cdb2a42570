package avc

import (
	"testing"
	"unsafe"
)

// The comments of Table count in cache lines.
func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 32 {
		t.Errorf("an entry is %d bytes, want 32", n)
	}
	if n := unsafe.Sizeof(set{}); n != 128 {
		t.Errorf("a set is %d bytes, want two cache lines", n)
	}
}
