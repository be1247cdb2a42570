package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The file of -P is for scripts that signal the server. As in memcached a start does
// not depend on it: the user of -u often may not write where it is wanted, and what
// reads such a file copes with its absence.

// writePidfile puts this process's id into the file. Why it could not, and whose id
// is replaced there although that process runs, are warnings.
func writePidfile(path string, log *slog.Logger) {
	if path == "" {
		return
	}
	if pid := pidIn(path); pid > 0 && pid != os.Getpid() && syscall.Kill(pid, 0) != syscall.ESRCH {
		log.Warn(fmt.Sprintf("WARNING: The pid file contained the following (running) pid: %d; it has this server's now: expected a file of its own for each server", pid), "file", path)
	}
	if err := replacePidfile(path); err != nil {
		log.Warn(fmt.Sprintf("Could not write the pid file: %v; serving goes on without one: expected a place that the user of -u may write to, such as a directory of its own", err))
	}
}

// replacePidfile makes a reader see the old contents or the new ones, but needs a
// directory in which files may be made: where that is forbidden and the file is
// there, it is written in place.
func replacePidfile(path string) error {
	text := fmt.Appendf(nil, "%d\n", os.Getpid())
	fd, err := unix.Open(path+".tmp", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		if inPlace := os.WriteFile(path, text, 0o644); inPlace != nil {
			return inPlace
		}
		return nil
	}
	f := os.NewFile(uintptr(fd), path+".tmp")
	_, err = f.Write(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		os.Remove(path + ".tmp")
	}
	return err
}

// removePidfile removes the file if it is still this process's.
func removePidfile(path string) {
	if path != "" && pidIn(path) == os.Getpid() {
		os.Remove(path)
	}
}

// pidIn is the process id in a file, 0 if there is none.
func pidIn(path string) int {
	if st, err := os.Stat(path); err != nil || st.Mode()&fs.ModeType != 0 || st.Size() > 64 {
		return 0
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
