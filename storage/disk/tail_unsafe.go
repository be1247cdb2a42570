package disk

import "unsafe"

// offset is where a value that bbolt has returned in a transaction, and that is
// not empty, begins in the file.
func (f *File) offset(v []byte) int64 {
	// SAFETY: the two addresses are compared, and nothing is read through them. Within a transaction bbolt
	// does not map the file anew.
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(v))) - f.db.Info().Data)
}
