package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// raiseLimits raises the limits that the flags ask for, while it may: descriptors
// for -c, core files for -r, locked memory for -k.
func raiseLimits(o *options) error {
	if o.cores {
		if err := raiseCores(); err != nil {
			return err
		}
	}
	if o.lock && os.Geteuid() == 0 {
		unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) // lockMemory says what it came to
	}
	return raiseDescriptors(o.server.MaxConns)
}

// raiseDescriptors makes room for the connections of -c and the descriptors that
// the server needs itself. Like memcached it refuses only when the connections
// would not fit.
func raiseDescriptors(conns int) error {
	const own = 128
	want := uint64(conns) + own
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return exitf(exitOSError, "failed to getrlimit number of files: %w", err)
	}
	if l.Cur >= want {
		return nil
	}
	higher := syscall.Rlimit{Cur: want, Max: max(l.Max, want)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil {
		return nil
	}
	l.Cur = l.Max
	if l.Max < uint64(conns) || syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return exitf(exitOSError, "failed to set rlimit for open files. Try starting as root or requesting smaller maxconns value.")
	}
	return nil
}

// raiseCores allows core files, of any size if it may, and makes the runtime end
// by a signal that writes one.
func raiseCores() error {
	l := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if unix.Setrlimit(unix.RLIMIT_CORE, &l) != nil {
		if unix.Getrlimit(unix.RLIMIT_CORE, &l) == nil {
			l.Cur = l.Max
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &l) // what counts is asked next
		}
	}
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil || l.Cur == 0 {
		return exitf(exitOSError, "failed to ensure corefile creation")
	}
	debug.SetTraceback("crash")
	return nil
}

// lockMemory is -k. Go's runtime reserves address space as it grows, and a limit
// on locked memory would end the process then: memory is locked only where there
// is none, or none that counts for the process (CAP_IPC_LOCK, which a change of user
// takes away). As in memcached a failure is a warning.
func lockMemory(log *slog.Logger) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l)
	if err == nil && l.Cur != unix.RLIM_INFINITY {
		if caps, e := permitted(); e != nil || caps&(1<<unix.CAP_IPC_LOCK) == 0 {
			err = unix.EPERM
		}
	}
	if err == nil {
		// Pages are locked when they are touched: item memory is not filled at start.
		err = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
	if err != nil {
		log.Warn("warning: -k invalid, mlockall() failed: " + err.Error() + "; it needs an unlimited RLIMIT_MEMLOCK (LimitMEMLOCK=infinity in a unit)")
	}
}
