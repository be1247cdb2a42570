package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
)

// warmStart opens an engine on the file of a warm restart.
func warmStart(t *testing.T, path, settings string) (*engine.Secured, *engine.Warm, error) {
	t.Helper()
	eng, _, _ := setup{}.open(t)
	w, err := eng.OpenWarm(engine.WarmConfig{Path: path, Settings: settings})
	return eng, w, err
}

// TestWarm: items go from one process to the next, once, and only with the same settings.
func TestWarm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "items")
	for _, c := range []struct {
		settings string
		mode     os.FileMode
		found    bool
	}{{"-m 64", 0o600, true}, {"-m 32", 0o600, false}, {"-m 64", 0o666, false}} {
		eng, w, err := warmStart(t, path, "-m 64")
		if err != nil {
			t.Fatal(err)
		}
		d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		d.Store(engine.OpSet, "k", "v")
		d.Close()
		if err := errors.Join(w.Close(), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		eng, _, err = warmStart(t, path, c.settings)
		if err != nil {
			t.Fatal(err)
		}
		d = enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
		if v, _, ok := d.Value("k"); ok != c.found || ok && v != "v" {
			t.Errorf("%s, mode %o: expected the item: %v, found %q, %v", c.settings, c.mode, c.found, v, ok)
		}
		d.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: expected no file while the server runs, found %v", c.settings, err)
		}
	}
}

// TestWarmLeavesOthersAlone: what no warm restart has written is neither removed nor
// replaced, whatever its mode.
func TestWarmLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	make := map[string]func(path string) error{
		"directory": func(path string) error { return os.Mkdir(path, 0o777) },
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o666) },
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"text":      func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("hello\n", 2000)), 0o666) },
		"bbolt": func(path string) error {
			db, err := bbolt.Open(path, 0o666, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }), db.Close())
		},
		"data": func(path string) error {
			_, _, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
			shut()
			return nil
		},
	}
	for name, f := range make {
		path := filepath.Join(dir, name)
		if err := f(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil { // Mkdir and the others heed the umask
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = warmStart(t, path, "-m 64")
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "name a file for -e alone") {
			t.Errorf("%s: expected a refusal that names the file, found %v", name, err)
		}
		after, err := os.Lstat(path)
		if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
			t.Errorf("%s: the file is not what it was: %v", name, err)
		}
		if name == "data" {
			continue
		}
		eng, _, _ := setup{}.open(t)
		if d, err := eng.OpenData(engine.DataConfig{Path: path}); err == nil {
			d.Close()
			t.Errorf("%s: expected that it is no data file either", name)
		} else if name != "empty" && name != "text" && name != "bbolt" && strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: expected no advice to change its mode, found %v", name, err)
		}
	}
	// A file with the name under which the next one is written.
	path := filepath.Join(dir, "items")
	if err := os.WriteFile(path+".new", []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := warmStart(t, path, "-m 64"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path + ".new"); err != nil || string(b) != "theirs" {
		t.Errorf("a start has changed %s.new: %q, %v", path, b, err)
	}
}
