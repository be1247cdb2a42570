package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrMoved: the file's name does not lead to it any more.
var ErrMoved = errors.New("the file was removed, moved or replaced while it was in use")

// Place returns an error, ErrMoved among its causes, if the file's name leads to no
// file or to another one: what is written then is not what the next start reads. What cannot be
// looked at, as where a directory may not be searched, is taken to be in its place.
// Any goroutine may call it until Close.
func (f *File) Place() error {
	there, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w: expected the file that the server has opened, found none", f.path, ErrMoved)
	case err != nil:
		return nil
	}
	open, err := f.file.Stat()
	if err != nil || os.SameFile(open, there) {
		return nil
	}
	return fmt.Errorf("%s: %w: expected the file that the server has opened, found another one", f.path, ErrMoved)
}
