package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

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
	if o.licence {
		_, err := fmt.Fprintf(stdout, "%s\n\n%s", versionLine(), licence)
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

// checkConfig says who would decide, without starting anything. Whatever would
// refuse a start, but for what only the kernel knows, such as a port that is in
// use, is refused here.
func checkConfig(o *options, stdout io.Writer) error {
	for _, w := range o.warnings {
		o.mac.Log.Warn(w)
	}
	mon, err := openMonitor(o)
	if err != nil {
		return err
	}
	defer mon.Close()
	if err := server.CheckTLS(o.server.TLS, o.mac.Log); err != nil {
		return refusedTLS(err)
	}
	if err := checkRest(o); err != nil {
		return err
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

// serve runs the server until a signal or the shutdown command ends it. An end at
// which not all was written that was to be kept is an error: who replaces the program or the
// machine next has to know.
func serve(o *options) (err error) {
	signals := holdHangups()
	log := o.mac.Log
	for _, w := range o.warnings {
		log.Warn(w)
	}
	if len(o.noted) > 0 {
		log.Info("accepted, of no effect here: " + strings.Join(o.noted, " "))
	}
	if err := raiseLimits(o); err != nil {
		return err
	}
	mon, err := openMonitor(o)
	if err != nil {
		return err
	}
	defer mon.Close()
	log.Info(mon.Describe())
	if o.server.UDPPort != 0 && o.server.UnixPath == "" && o.mac.ContextsFile == "" && mon.Enabled() && !mon.KernelLabels() {
		log.Warn("every client of UDP is nobody and may do nothing, as sources can be forged: name them by a line of --contexts, such as client udp:10.0.0.0/8 CONTEXT")
	}

	o.server.SASLUsers = server.SASLUsersFromEnv()
	warnModes(o, log)
	o.server.PortFile = os.Getenv("MEMCACHED_PORT_FILENAME")
	if o.server.Sockets, err = server.OpenSockets(&o.server, mon.KernelLabels()); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	if err := dropPrivileges(o.user, mon.AuditsToKernel(), log); err != nil {
		return err
	}
	if o.cores { // which a change of user has turned off
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	if o.lock {
		lockMemory(log)
	}
	store, err := storage.New(storage.Config{
		Limit:    o.memory,
		MaxItem:  o.server.MaxItem,
		NoEvict:  o.server.NoEvictions,
		NoCAS:    o.server.NoCAS,
		ChunkMin: o.server.ChunkSize,
		Factor:   o.server.GrowthFactor,

		ChunkMax:   o.tuning.SlabChunkMax,
		ClassSizes: o.classSizes,
	})
	if err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	defer store.Close()
	eng := engine.New(engine.Config{Store: store, Monitor: mon, DenyError: o.deny, NoCAS: o.server.NoCAS})
	defer eng.Close()

	defer removePidfile(o.pidfile) // after the items are written: scripts wait for its end
	data, err := openData(o, eng, log)
	if err != nil {
		return err
	}
	defer func() {
		if lost := data.Close(); err == nil && lost != nil {
			err = exitf(exitIOError, "sememcached: not all items are kept: %w", lost)
		}
	}()

	o.server.PreferLoops = o.server.TLS.Enabled
	srv, err := server.New(eng, mon, &o.server, log)
	if refused := refusedTLS(err); refused != err {
		return refused
	}
	if err != nil {
		return exitf(exitFailure, "sememcached: %w", err)
	}
	stop := handleSignals(signals, srv, mon, o.server.TLS.Enabled, log) // before a file tells that the server is there
	defer stop()
	if err := srv.Listen(); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	writePidfile(o.pidfile, log)
	if isDaemon() {
		warnSilentDaemon(o, mon, log)
		if err := daemonReady(o); err != nil {
			return exitf(exitOSError, "sememcached: %w", err)
		}
	}
	if o.server.TLS.Enabled {
		keepHeapFloor(heapFloor(o.memory))
	}
	defer watchdog(srv)()
	notify("READY=1\nSTATUS=" + mon.Describe())
	defer notify("STOPPING=1")
	return srv.Serve(context.Background())
}
