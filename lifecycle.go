package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sememcached/mac"
	"sememcached/server"
)

// holdHangups has a SIGHUP wait, which would end the process, until handleSignals looks
// after it: who starts the server may ask for a reload at any time. INT, TERM and USR1
// end a start as they end any process; nothing has been stored yet.
func holdHangups() chan os.Signal {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGHUP)
	return ch
}

// handleSignals: INT and TERM end the server, USR1 lets running requests finish,
// HUP reads everything again that the server has read from files. The service
// manager, if there is one, is told.
func handleSignals(ch chan os.Signal, srv *server.Server, mon *mac.Monitor, tls bool, log *slog.Logger) (stop func()) {
	// SIGXFSZ: a limit on the size of files is an error of the write that meets it.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	go func() {
		for sig := range ch {
			switch sig {
			case syscall.SIGHUP:
				notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic()))
				hangup(srv, mon, tls, log)
				notify("READY=1")
			case syscall.SIGUSR1:
				log.Info("Gracefully stopping")
				notify("STOPPING=1")
				srv.Shutdown(true)
			default:
				log.Info(fmt.Sprintf("Signal handled: %v.", sig))
				notify("STOPPING=1")
				srv.Shutdown(false)
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
	}
}

// hangup is SIGHUP. Policy, contexts, key rules and users change together or not at
// all; so do the certificates of TLS, and the log files are opened anew.
func hangup(srv *server.Server, mon *mac.Monitor, tls bool, log *slog.Logger) {
	srv.ReopenLogs()
	adopt, err := srv.NewUsers()
	if err == nil {
		err = mon.Reload()
	}
	if err != nil {
		log.Error("reload failed, the old policy, contexts, key rules and users stay", "error", err)
	} else {
		if adopt != nil {
			adopt()
		}
		log.Info("reloaded: " + mon.Describe())
	}
	refreshCerts(srv, tls, log)
}

// notify tells the service manager a state (sd_notify(3)), if there is one. Whether
// the message is taken is the manager's affair.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

// monotonic is CLOCK_MONOTONIC in microseconds.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano() / 1000
}

// watchdog tells the service manager, twice as often as it wants to hear it
// (WATCHDOG_USEC), that every event loop goes on. It returns what stops it.
func watchdog(srv *server.Server) (stop func()) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return func() {}
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				srv.Beat()
				notify("WATCHDOG=1")
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
	}
}
