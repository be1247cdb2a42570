package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"sememcached/engine"
	"sememcached/server"
	"sememcached/storage/disk"
)

// checkRest is the part of --check-config that is neither the policy's nor TLS's:
// the user, the addresses, the files of users, and the places of files that the server writes.
func checkRest(o *options) error {
	if o.user != "" {
		if _, err := user.Lookup(o.user); err != nil {
			return exitf(exitNoUser, "can't find the user %s to switch to", o.user)
		}
	}
	if err := server.CheckAddresses(&o.server); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	o.server.SASLUsers = server.SASLUsersFromEnv()
	warnModes(o, o.mac.Log)
	if err := server.CheckAuth(&o.server, o.mac.Log); err != nil {
		return exitf(exitFailure, "sememcached: %w", err)
	}
	if o.pidfile != "" { // a start goes on without one
		if err := checkPlace(o.pidfile, 0); err != nil {
			o.mac.Log.Warn(fmt.Sprintf("-P: %v; a start goes on without a pid file", err))
		}
	}
	if err := errors.Join(checkPlaces(o), checkKept(&o.data)); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	return nil
}

// checkPlaces says which files cannot be made because there is no directory for
// them, or something else has their name. Permissions are not looked at: they are
// those of the user of -u.
func checkPlaces(o *options) error {
	var errs []error
	for _, p := range []struct {
		flag, path string
		kind       fs.FileMode
	}{
		{"-s", o.server.UnixPath, fs.ModeSocket},
		{"--access-log", o.server.AccessLog.File, 0},
		{"--audit-log", o.mac.AuditLog, 0},
	} {
		if p.path == "" || p.path == "stderr" {
			continue
		}
		if err := checkPlace(p.path, p.kind); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.flag, err))
		}
	}
	return errors.Join(errs...)
}

// checkPlace returns why nothing of a kind can be at path. A log may be a device. What only the user of -u may see is not
// known here: the systemd unit checks as root, without the privilege to look everywhere.
func checkPlace(path string, kind fs.FileMode) error {
	stat := os.Stat
	if kind == fs.ModeSocket {
		stat = os.Lstat // a start refuses a link
	}
	st, err := stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		dir, err := os.Stat(filepath.Dir(path))
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err == nil && !dir.IsDir() {
			err = fmt.Errorf("%s is no directory", filepath.Dir(path))
		}
		return err
	case err != nil:
		return err
	case kind == 0 && st.IsDir(), kind != 0 && st.Mode().Type() != kind:
		return fmt.Errorf("%s: found %v", path, st.Mode())
	}
	return nil
}

// checkKept looks at the file of --data or -e. One that a server has open is good
// enough: it may be the server whose flags are about to change.
func checkKept(d *dataFlags) error {
	flag, path, check := "--data", d.file, engine.CheckData
	if path == "" {
		flag, path, check = "-e", d.warm, engine.CheckWarm
	}
	if path == "" {
		return nil
	}
	err := check(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = checkPlace(path, 0)
	}
	if err == nil || errors.Is(err, disk.ErrLocked) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}
