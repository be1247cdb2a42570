package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sememcached/storage/disk"
)

// TestCheckConfigLocked: the systemd unit checks as root, without the privilege to look into the directory of the
// user that the server runs as. What is there cannot be judged, so it is not refused.
func TestCheckConfigLocked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs a directory of another user: run it as root")
	}
	const nobody = 65534
	dir := t.TempDir()
	lib := filepath.Join(dir, "lib")
	kept := filepath.Join(lib, "items")
	if err := os.Mkdir(lib, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Open(kept, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(true); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{kept, lib} {
		if err := os.Chown(p, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its lost privileges
		dropOverride(t)
		if _, err := os.ReadDir(lib); !os.IsPermission(err) {
			t.Errorf("expected that the directory cannot be read, found %v", err)
		}
		for _, d := range []dataFlags{{file: kept}, {file: filepath.Join(lib, "absent")}, {warm: kept}, {warm: filepath.Join(lib, "absent")}} {
			if err := checkKept(&d); err != nil {
				t.Errorf("%+v: %v", d, err)
			}
		}
		for _, kind := range []fs.FileMode{0, fs.ModeSocket} {
			if err := checkPlace(filepath.Join(lib, "x"), kind); err != nil {
				t.Error(err)
			}
		}
	}()
	<-done
}

// dropOverride takes from the thread what lets root into every directory.
func dropOverride(t *testing.T) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Error(err)
		return
	}
	data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		t.Error(err)
	}
}

// TestCheckConfigSocket: a start refuses a link where its socket is to be, and so does the check.
func TestCheckConfigSocket(t *testing.T) {
	link := filepath.Join(t.TempDir(), "s")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	if err := checkPlace(link, fs.ModeSocket); err == nil || !strings.Contains(err.Error(), link) {
		t.Errorf("expected an error about %s, found %v", link, err)
	}
}
