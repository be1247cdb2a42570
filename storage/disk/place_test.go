package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sememcached/storage/disk"
)

// TestPlace: a file is in its place, or the error says what is there.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	path, aside := filepath.Join(dir, "items"), filepath.Join(dir, "aside")
	f, err := disk.Open(path, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(true)
	if err := f.Place(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	if err := f.Place(); !errors.Is(err, disk.ErrMoved) || !strings.Contains(err.Error(), "found none") {
		t.Errorf("moved away: %v", err)
	}
	if err := os.Symlink(aside, path); err != nil {
		t.Fatal(err)
	}
	if err := f.Place(); err != nil {
		t.Errorf("a link to it: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Place(); !errors.Is(err, disk.ErrMoved) || !strings.Contains(err.Error(), "found another one") {
		t.Errorf("replaced: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory was
		t.Fatal(err)
	}
	if err := f.Place(); !errors.Is(err, disk.ErrMoved) {
		t.Errorf("without its directory: %v", err)
	}
}

// TestNoPlace: where no file can be made, the directory is named, not the file's
// temporary name.
func TestNoPlace(t *testing.T) {
	if os.Getuid() == 0 {
		if _, err := os.Stat("/proc/self"); err != nil {
			t.Skip("needs a directory in which root may make no file: /proc is not there")
		}
	}
	dir := "/proc/self" // nobody may, root neither
	_, err := disk.MakeTemp(filepath.Join(dir, "items"))
	if err == nil || strings.Contains(err.Error(), ".new-") || !strings.Contains(err.Error(), dir) {
		t.Errorf("expected an error about %s, found %v", dir, err)
	}
	_, err = disk.MakeTemp(filepath.Join(t.TempDir(), "no", "items"))
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), ".new-") {
		t.Errorf("expected that there is no directory, found %v", err)
	}
}
