package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"sememcached/engine"
)

// dataFlags are the flags about what outlives the process.
type dataFlags struct {
	file     string
	sync     string
	interval time.Duration
	load     string
	warm     string
}

func addDataFlags(f *pflag.FlagSet, d *dataFlags) {
	f.StringVarP(&d.warm, "memory-file", "e", "", "warm restart: write the items to this file at an orderly stop, and load it at the next start with the same settings (`file`)")
	f.StringVar(&d.file, "data", "", "keep the items in this data file while the server runs, and load it at the start (`file`)")
	f.StringVar(&d.sync, "sync", "interval", "when a change is on the disk: interval (a crash loses the last one), always (before it is answered) or none (never waited for) (`when`)")
	f.DurationVar(&d.interval, "sync-interval", 100*time.Millisecond, "time between two writes to the data file (`time`)")
	f.StringVar(&d.load, "load", "eager", "serve after the data file has been loaded (eager), or meanwhile (lazy) (`when`)")
}

// finish checks the flags; given says which were.
func (d *dataFlags) finish(given func(name string) bool) error {
	if _, err := d.mode(); err != nil {
		return err
	}
	switch {
	case d.load != "eager" && d.load != "lazy":
		return exitf(exitUsage, "sememcached: --load=%s: expected eager or lazy", d.load)
	case d.interval < time.Millisecond || d.interval > time.Hour:
		return exitf(exitUsage, "sememcached: --sync-interval=%s: expected 1ms to 1h", d.interval)
	case d.file != "" && d.warm != "":
		return exitf(exitUsage, "sememcached: expected one of --data and -e, found both: a data file outlives restarts as well")
	case d.file == "" && (given("sync") || given("sync-interval") || given("load")):
		// Somebody who says when to write believes that something is written.
		return exitf(exitUsage, "sememcached: --sync, --sync-interval and --load are about --data, which is missing")
	}
	for _, p := range []*string{&d.file, &d.warm} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return exitf(exitOSError, "sememcached: %w", err)
		}
		*p = abs
	}
	return nil
}

func (d *dataFlags) mode() (engine.SyncMode, error) {
	for _, m := range []engine.SyncMode{engine.SyncInterval, engine.SyncAlways, engine.SyncNone} {
		if d.sync == m.String() {
			return m, nil
		}
	}
	return 0, exitf(exitUsage, "sememcached: --sync=%s: expected interval, always or none", d.sync)
}

// keeper is what has to be closed when the server has ended.
type keeper struct{ close func() error }

// Close writes what is left.
func (k keeper) Close() error {
	if k.close == nil {
		return nil
	}
	return k.close()
}

// openData loads what an earlier process has left and keeps what this one stores.
func openData(o *options, eng *engine.Secured, log *slog.Logger) (keeper, error) {
	d := &o.data
	switch {
	case d.file != "":
		mode, _ := d.mode()
		data, err := eng.OpenData(engine.DataConfig{
			Path: d.file, Sync: mode, Interval: d.interval, Lazy: d.load == "lazy", Memory: o.memory, Log: log,
		})
		if err != nil {
			return keeper{}, exitf(exitOSError, "sememcached: --data: %w", err)
		}
		ctl := startControl(controlPath(d.file), eng, data, log)
		return keeper{func() error {
			ctl.close()
			return data.Close()
		}}, nil
	case d.warm != "":
		warm, err := eng.OpenWarm(engine.WarmConfig{Path: d.warm, Settings: o.warmSettings(), Log: log})
		if err != nil {
			return keeper{}, exitf(exitOSError, "sememcached: -e: %w", err)
		}
		return keeper{warm.Close}, nil
	}
	return keeper{}, nil
}

// warmSettings are what has to be the same for a warm restart, as with memcached.
func (o *options) warmSettings() string {
	s := &o.server
	return fmt.Sprintf("-m %d -I %d -f %g -n %d cas %v", o.memory, s.MaxItem, s.GrowthFactor, s.ChunkSize, !s.NoCAS)
}
