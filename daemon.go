package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sememcached/mac"
)

// daemonEnv marks the child of -d. Go cannot fork, so the program runs itself
// anew; the child tells the parent through a pipe, its descriptor 3, that it
// listens, and only then the parent leaves. Until that moment errors of the child
// still reach the terminal.
const daemonEnv = "SEMEMCACHED_DAEMON"

const daemonFD = 3

func isDaemon() bool { return os.Getenv(daemonEnv) == "1" }

// daemonize is the parent's side of -d.
func daemonize(stderr io.Writer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return exitf(exitOSError, "sememcached: -d: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return exitf(exitOSError, "sememcached: -d: %w", err)
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), daemonEnv+"=1")
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return exitf(exitOSError, "sememcached: -d: %w", err)
	}
	w.Close()
	buf := make([]byte, 1)
	if n, _ := r.Read(buf); n == 1 {
		return cmd.Process.Release()
	}
	err = cmd.Wait()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
		return exitf(cmd.ProcessState.ExitCode(), "")
	}
	return exitf(exitOSError, "sememcached: -d: the daemon ended before it listened: %v", err)
}

// daemonReady is the child's side: leave the directory and the terminal, and
// tell the parent. As memcached does, it stays in the directory for the sake of core
// files (-r), and keeps standard error with -v; so it does for a log that is to go there.
func daemonReady(o *options) error {
	if !o.cores {
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	closed := 2
	if !o.keepsStderr() {
		closed = 3
	}
	for fd := range closed {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	pipe := os.NewFile(daemonFD, "parent")
	if _, err := pipe.Write([]byte{1}); err != nil {
		return err
	}
	return pipe.Close()
}

// keepsStderr says whether a daemon's standard error is kept.
func (o *options) keepsStderr() bool {
	return o.server.Verbosity > 0 || o.mac.AuditLog == "stderr" || o.server.AccessLog.File == "stderr"
}

// warnSilentDaemon tells, while it can be heard, that nobody will read of denials.
// Without a file that distinguishes clients there are none worth a word.
func warnSilentDaemon(o *options, mon *mac.Monitor, log *slog.Logger) {
	if o.keepsStderr() || o.mac.AuditLog != "" || !mon.Enabled() || mon.AuditsToKernel() {
		return
	}
	if o.mac.PolicyFile != "" || o.mac.ContextsFile != "" || len(o.mac.KeyRules.Files) > 0 {
		log.Warn("-d closes standard error, where denials are logged: expected --audit-log FILE (or -v, which keeps it open)")
	}
}

// dropPrivileges becomes the user of -u, as memcached does before it binds.
// Only root can; for anybody else -u is of no effect. audit says that records go
// to the kernel's audit subsystem: the capability to write them, and no other, is
// kept; where it cannot be, log tells.
func dropPrivileges(name string, audit bool, log *slog.Logger) error {
	if os.Geteuid() != 0 || name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return exitf(exitNoUser, "can't find the user %s to switch to", name)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return exitf(exitNoUser, "can't find the user %s to switch to", name)
	}
	if uid == 0 {
		return nil
	}
	if audit {
		if err := keepCapabilities(unix.CAP_AUDIT_WRITE); err != nil {
			log.Warn("the kernel's audit will not take records of user "+name+": CAP_AUDIT_WRITE cannot be kept; they will go to stderr", "error", err)
			audit = false
		}
	}
	if err := syscall.Setgroups(nil); err != nil {
		return exitf(exitOSError, "failed to drop supplementary groups: %w", err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return exitf(exitOSError, "failed to assume identity of user %s: %w", name, err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return exitf(exitOSError, "failed to assume identity of user %s: %w", name, err)
	}
	if audit {
		// All that root may is still there to be used: without this, no start.
		if err := limitCapabilities(unix.CAP_AUDIT_WRITE); err != nil {
			return exitf(exitOSError, "failed to drop the capabilities of root: %w", err)
		}
	}
	return nil
}
