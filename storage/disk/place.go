package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// noPlace is that no file can be made in a directory.
type noPlace struct {
	dir string
	err error
}

func (e *noPlace) Error() string {
	return fmt.Sprintf("%v: expected a directory in which the user that the server runs as (-u) may make files, found %s", e.err, e.dir)
}

func (e *noPlace) Unwrap() error { return e.err }

// MakeTemp makes a file, of mode 0600, beside the one at path, which it may become. Its
// name begins with a dot.
func MakeTemp(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-")
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // the name that was drawn says nothing
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			return nil, &noPlace{dir, err}
		}
		return nil, &fs.PathError{Op: "make a file in", Path: dir, Err: err}
	}
	return f, err
}

// ErrMoved is that a file's name does not lead to it any more.
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
