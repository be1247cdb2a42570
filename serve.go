package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"sememcached/engine"
	"sememcached/mac"
	"sememcached/server"
	"sememcached/storage"
)

// serveCommand is the program without a subcommand: the server.
func serveCommand(args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	if o.help {
		return printHelp(stdout)
	}
	if o.versionQ {
		_, err := fmt.Fprintln(stdout, versionLine())
		return err
	}
	o.mac.Log = slog.New(slog.NewTextHandler(stderr, nil))
	if o.check {
		return checkConfig(o, stdout)
	}
	if os.Geteuid() == 0 && o.user == "" {
		return exitf(exitUsage, "must add '-u root' to start as root")
	}
	if o.daemon && !isDaemon() {
		return daemonize(stderr)
	}
	return serve(o)
}

// checkConfig says who would decide, without starting anything.
func checkConfig(o *options, stdout io.Writer) error {
	mon, err := openMonitor(o)
	if err != nil {
		return err
	}
	defer mon.Close()
	if err := server.CheckTLS(o.server.TLS); err != nil {
		return refusedTLS(err)
	}
	_, err = fmt.Fprintln(stdout, mon.Describe())
	return err
}

// openMonitor opens the policy. A refusal carries its own exit code.
func openMonitor(o *options) (*mac.Monitor, error) {
	mon, err := mac.Open(o.mac)
	if err == nil {
		return mon, nil
	}
	var refused *mac.StartError
	if errors.As(err, &refused) {
		return nil, exitf(refused.Code, "sememcached: %w", err)
	}
	return nil, exitf(exitFailure, "sememcached: %w", err)
}

// serve runs the server until a signal or the shutdown command ends it.
func serve(o *options) error {
	log := o.mac.Log
	if err := raiseLimits(o.server.MaxConns); err != nil {
		return err
	}
	mon, err := openMonitor(o)
	if err != nil {
		return err
	}
	defer mon.Close()
	log.Info(mon.Describe())

	if err := dropPrivileges(o.user, mon.AuditsToKernel(), log); err != nil {
		return err
	}
	store, err := storage.New(storage.Config{
		Limit:    o.memory,
		MaxItem:  o.server.MaxItem,
		NoEvict:  o.server.NoEvictions,
		NoCAS:    o.server.NoCAS,
		ChunkMin: o.server.ChunkSize,
		Factor:   o.server.GrowthFactor,
	})
	if err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	defer store.Close()
	eng := engine.New(engine.Config{Store: store, Monitor: mon, DenyError: o.deny, NoCAS: o.server.NoCAS})

	data, err := openData(o, eng, log)
	if err != nil {
		return err
	}
	defer data.Close()

	o.server.PortFile = os.Getenv("MEMCACHED_PORT_FILENAME")
	srv, err := server.New(eng, mon, &o.server, log)
	if refused := refusedTLS(err); refused != err {
		return refused
	}
	if err != nil {
		return exitf(exitFailure, "sememcached: %w", err)
	}
	if err := srv.Listen(); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	if err := writePidfile(o.pidfile); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	defer removePidfile(o.pidfile)
	if isDaemon() {
		if err := daemonReady(); err != nil {
			return exitf(exitOSError, "sememcached: %w", err)
		}
	}
	stop := handleSignals(srv, mon, o.server.TLS.Enabled, log)
	defer stop()
	return srv.Serve(context.Background())
}

// handleSignals: INT and TERM end the server, USR1 lets running requests finish,
// HUP loads policy, contexts and key rules anew, and the certificates of TLS (each
// all of it or nothing), and goes on in a new access log.
func handleSignals(srv *server.Server, mon *mac.Monitor, tls bool, log *slog.Logger) (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
	go func() {
		for sig := range ch {
			switch sig {
			case syscall.SIGHUP:
				srv.ReopenLogs()
				if err := mon.Reload(); err != nil {
					log.Error("reload failed, the old policy, contexts and key rules stay", "error", err)
				} else {
					log.Info("reloaded: " + mon.Describe())
				}
				refreshCerts(srv, tls, log)
			case syscall.SIGUSR1:
				log.Info("Gracefully stopping")
				srv.Shutdown(true)
			default:
				log.Info(fmt.Sprintf("Signal handled: %v.", sig))
				srv.Shutdown(false)
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
	}
}
