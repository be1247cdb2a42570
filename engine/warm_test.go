package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
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

// theirs are files that no warm restart has written, by what they are.
func theirs(t *testing.T) map[string]func(path string) error {
	data := func(path string) error {
		_, _, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
		shut()
		return nil
	}
	return map[string]func(path string) error{
		"directory": func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Mkdir(filepath.Join(path, "in it"), 0o700))
		},
		"fifo":  func(path string) error { return unix.Mkfifo(path, 0o600) },
		"empty": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"text":  func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("hello\n", 2000)), 0o600) },
		"link":  func(path string) error { return os.Symlink("nowhere", path) },
		"bbolt": func(path string) error {
			return inside(path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		},
		"data": data,
		"data, newer": func(path string) error {
			return errors.Join(data(path), inside(path, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("sememcached")).Put([]byte("format"), []byte{99, 0, 0, 0})
			}))
		},
		"data, cut": func(path string) error { return errors.Join(data(path), os.Truncate(path, 10000)) },
	}
}

// inside changes a file behind our back.
func inside(path string, change func(tx *bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(change), db.Close())
}

// stays says that the file at a path must still be what it is now; the function looks.
func stays(t *testing.T, path string) func() {
	t.Helper()
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	var content []byte // of a fifo there is none to wait for
	if before.Mode().IsRegular() {
		content, _ = os.ReadFile(path)
	}
	return func() {
		t.Helper()
		after, err := os.Lstat(path)
		if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
			t.Errorf("the file is not what it was: %v", err)
			return
		}
		if !after.Mode().IsRegular() {
			return
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
			t.Error("the file's content is not what it was")
		}
	}
}

// refused says that err refuses to use the file at path, and says what to do.
func refused(t *testing.T, path string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "name a file for -e alone") {
		t.Errorf("expected a refusal that names %s and says what to do, found %v", path, err)
	}
}

// TestWarmLeavesOthersAlone: what no warm restart has written is neither removed nor
// replaced, whatever its mode, at the start and at the stop, under both names.
func TestWarmLeavesOthersAlone(t *testing.T) {
	for name, makeOne := range theirs(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "items")
			for _, place := range []string{path, path + ".new"} {
				for _, mode := range []os.FileMode{0o700, 0o777} {
					if err := makeOne(place); err != nil {
						t.Fatal(err)
					}
					if name != "link" {
						if err := os.Chmod(place, mode); err != nil {
							t.Fatal(err)
						}
					}
					look := stays(t, place)
					_, _, err := warmStart(t, path, "-m 64")
					refused(t, place, err)
					refused(t, place, engine.CheckWarm(path))
					look()
					if err := os.RemoveAll(place); err != nil {
						t.Fatal(err)
					}
				}
				if err := engine.CheckWarm(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("expected that nothing is there, found %v", err)
				}
				// It comes while the server runs.
				eng, w, err := warmStart(t, path, "-m 64")
				if err != nil {
					t.Fatal(err)
				}
				d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
				d.Store(engine.OpSet, "k", "v")
				d.Close()
				if err := makeOne(place); err != nil {
					t.Fatal(err)
				}
				look := stays(t, place)
				err = w.Close()
				look()
				if err == nil || !strings.Contains(err.Error(), path+".new") {
					t.Errorf("expected an error that names %s.new, found %v", path, err)
				}
				if place == path { // then the items are beside it, for whoever follows the advice
					if err := os.Rename(path+".new", path+".moved"); err != nil {
						t.Fatal(err)
					}
					eng, _, err := warmStart(t, path+".moved", "-m 64")
					if err != nil {
						t.Fatal(err)
					}
					d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
					if v, _, _ := d.Value("k"); v != "v" {
						t.Errorf("expected the item, found %q", v)
					}
					d.Close()
				}
				if err := os.RemoveAll(place); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestDataLeavesOthersAlone: what no server has written is no data file, and of what is no
// file at all nobody is to change the mode.
func TestDataLeavesOthersAlone(t *testing.T) {
	for name, makeOne := range theirs(t) {
		path := filepath.Join(t.TempDir(), "items")
		if err := makeOne(path); err != nil {
			t.Fatal(err)
		}
		if name == "data" {
			continue
		}
		_ = os.Chmod(path, 0o777) // of a link to nothing there is no mode
		look := stays(t, path)
		eng, _, _ := setup{}.open(t)
		if d, err := eng.OpenData(engine.DataConfig{Path: path}); err == nil {
			d.Close()
			t.Errorf("%s: expected that it is no data file", name)
		} else if (name == "directory" || name == "fifo") && strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: expected no advice to change its mode, found %v", name, err)
		}
		look()
	}
}

// warmFile is the file that a warm restart leaves.
func warmFile(t *testing.T, path string) {
	t.Helper()
	eng, w, err := warmStart(t, path, "-m 64")
	if err != nil {
		t.Fatal(err)
	}
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	d.Store(engine.OpSet, "k", "v")
	d.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWarmOurs: a file of a warm restart that is damaged where the items are, and one that was not
// written to its end, under the name that it has until then, are removed at the start.
func TestWarmOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "items")
	warmFile(t, path)
	if err := os.Link(path, path+".new"); err != nil { // as a crash between two steps of the stop leaves it
		t.Fatal(err)
	}
	if err := inside(path, func(tx *bbolt.Tx) error {
		log := tx.Bucket([]byte("log"))
		segment, _ := log.Cursor().First()
		chunk, _ := log.Bucket(segment).Cursor().First()
		return log.Bucket(segment).Put(chunk, []byte("damaged"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := engine.CheckWarm(path); err != nil {
		t.Error(err)
	}
	eng, _, err := warmStart(t, path, "-m 64")
	if err != nil {
		t.Fatal(err)
	}
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	if v, _, ok := d.Value("k"); ok {
		t.Errorf("expected nothing, found %q", v)
	}
	for _, p := range []string{path, path + ".new"} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: expected no file while the server runs, found %v", p, err)
		}
	}
}

// TestWarmTakenOver: a file of a warm restart that a data file was made of is one for good.
func TestWarmTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "items")
	warmFile(t, path)
	_, _, shut := openKept(t, setup{}, engine.DataConfig{Path: path})
	shut()
	look := stays(t, path)
	_, _, err := warmStart(t, path, "-m 64")
	refused(t, path, err)
	refused(t, path, engine.CheckWarm(path))
	look()
	eng, _, _ := openKept(t, setup{}, engine.DataConfig{Path: path})
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	defer d.Close()
	if v, _, _ := d.Value("k"); v != "v" {
		t.Errorf("expected the item, found %q", v)
	}
}

// TestWarmMayNotRead: a file that the server's user may not read, in a directory where it may
// remove it, stays; whoever checks a configuration as another user cannot know.
func TestWarmMayNotRead(t *testing.T) {
	dir, err := os.MkdirTemp("", "warm") // t.TempDir is in a directory of our own
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "items")
	warmFile(t, path)
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(path, 0)); err != nil {
		t.Fatal(err)
	}
	look := stays(t, path)
	eng, _, _ := setup{}.open(t)
	var refusal, check error
	done := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			if err := unix.Setfsuid(65534); err != nil {
				done <- err
				return
			}
		}
		_, refusal = eng.OpenWarm(engine.WarmConfig{Path: path, Settings: "-m 64"})
		check = engine.CheckWarm(path)
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	refused(t, path, refusal)
	if !errors.Is(refusal, os.ErrPermission) {
		t.Errorf("expected that it may not be read, found %v", refusal)
	}
	if check != nil {
		t.Errorf("expected that this cannot be known, found %v", check)
	}
	look()
}
