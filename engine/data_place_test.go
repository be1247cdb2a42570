package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage/disk"
)

// awaitState waits until "stats data" says so.
func awaitState(t *testing.T, eng *engine.Secured, want string) {
	t.Helper()
	for until := time.Now().Add(15 * time.Second); dataStat(eng, "state") != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("state: expected %s within 15 s, found %s", want, dataStat(eng, "state"))
		}
	}
}

// TestDataFileMoved: a file that is taken away from a running server is told of, as long as
// it is away; a copy can be had, and the end is an error.
func TestDataFileMoved(t *testing.T) {
	dir := t.TempDir()
	path, aside := filepath.Join(dir, "data"), filepath.Join(dir, "aside")
	eng, _, _ := setup{}.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	awaitState(t, eng, "moved")
	if text := dataStat(eng, "error"); !strings.Contains(text, path) || !strings.Contains(text, "found none") {
		t.Errorf("error: %s", text)
	}
	if st := d.Store(engine.OpSet, "k", "v"); st != engine.Stored {
		t.Errorf("a store meanwhile: %v", st)
	}
	var copied bytes.Buffer
	if err := data.Backup(&copied); err != nil || copied.Len() == 0 {
		t.Errorf("a backup meanwhile: %d bytes, %v", copied.Len(), err)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	awaitState(t, eng, "ok")

	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitState(t, eng, "moved")
	if text := dataStat(eng, "error"); !strings.Contains(text, "found another one") {
		t.Errorf("error: %s", text)
	}
	d.Close()
	if err := data.Close(); !errors.Is(err, disk.ErrMoved) {
		t.Errorf("the end: expected %v, found %v", disk.ErrMoved, err)
	}
}

// TestDataFileRemovedAlways: who has been promised that every answer is on the disk is not
// answered as if it were; what was answered before can be saved.
func TestDataFileRemovedAlways(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	eng, _, _ := setup{}.open(t)
	data, err := eng.OpenData(engine.DataConfig{Path: path, Sync: engine.SyncAlways})
	if err != nil {
		t.Fatal(err)
	}
	d := enginetest.NewDriver(t, eng, &mac.Peer{FD: -1})
	if st := d.Store(engine.OpSet, "k", "v"); st != engine.Stored {
		t.Fatalf("a store before: %v", st)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	awaitState(t, eng, "failed")
	if st := d.Store(engine.OpSet, "k", "w"); st != engine.Failed {
		t.Errorf("a store after: expected Failed, found %v", st)
	}
	if value, _, ok := d.Value("k"); !ok || value != "v" {
		t.Errorf("a get after: %q, %v", value, ok)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	f, err := os.OpenFile(saved, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(data.Backup(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := data.Close(); !errors.Is(err, disk.ErrMoved) {
		t.Errorf("the end: expected %v, found %v", disk.ErrMoved, err)
	}

	again, _, _ := openKept(t, setup{}, engine.DataConfig{Path: saved})
	d = enginetest.NewDriver(t, again, &mac.Peer{FD: -1})
	defer d.Close()
	if value, _, ok := d.Value("k"); !ok || value != "v" {
		t.Errorf("from the copy: %q, %v", value, ok)
	}
}
