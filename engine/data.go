package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// SyncMode says when a change is on the disk.
type SyncMode uint8

const (
	// SyncInterval: at the latest one interval, and the time of two commits, after
	// it was answered.
	SyncInterval SyncMode = iota
	// SyncAlways: before it is answered.
	SyncAlways
	// SyncNone: written every interval, and never synced before the end.
	SyncNone
)

func (m SyncMode) String() string { return [...]string{"interval", "always", "none"}[m] }

// DataConfig says where and how a store is kept.
type DataConfig struct {
	Path     string
	Sync     SyncMode
	Interval time.Duration // between commits; 0 is 100 ms
	Lazy     bool          // serve while the file is being loaded
	Limit    int64         // bytes that may wait to be written; 0 is 64 MiB
	Memory   int64         // of items, for the addresses to reserve
	Slack    int64         // by which the log may be longer than twice what is live; 0 is a quarter of Memory, 1 to 64 MiB
	Log      *slog.Logger
}

// Data keeps a store in a data file, behind the store's back: one goroutine, and
// no other, reads and writes the file. Close ends it.
type Data struct {
	eng     *Secured
	cfg     DataConfig
	log     *slog.Logger
	file    *disk.File
	journal *storage.Journal
	epoch   *mac.Epoch // nil where access control is off
	always  bool

	failed atomic.Pointer[error] // the file is closed for good
	moved  atomic.Pointer[error] // the file does not have its name any more
	n      dataCounters

	urgent   chan struct{}
	requests chan func()
	stop     chan struct{}
	done     chan struct{}
	closing  sync.Once
	loaded   chan struct{} // closed when the file has been loaded

	// Everything below belongs to the goroutine; before it starts, to OpenData.
	batch    disk.Batch
	segments []disk.Segment // oldest first
	labels   labelIDs
	rewrite  rewriting
	load     *loading
	unclean  bool // the next batch says that the file is in use

	mu sync.Mutex
	// +checklocks:mu
	flushes []labelFlush // to be written with the next batch
	// +checklocks:mu
	pending []byte // delayed flushes as they are to be in the file
	// +checklocks:mu
	pendingNew bool
	// +checklocks:mu
	loadLabels []avc.SID // labels of items that may not be loaded yet; retained
	// +checklocks:mu
	loadWaiters []loadWaiter
	loading     atomic.Bool // changed under mu
	onlyLabel   avc.SID     // of all items that are loaded, 0 if they have several; set before loading
}

// labelFlush is a flush of one label.
type labelFlush struct {
	context string
	second  uint32
}

const (
	defaultInterval = 100 * time.Millisecond
	defaultLimit    = 64 << 20
)

// OpenData opens or makes the data file and loads it into the engine's store, which must be
// empty; with cfg.Lazy it goes on loading after it has returned. From then on
// every change is written. Call it before the engine is used: the
// store's clock becomes that of the file.
func (e *Secured) OpenData(cfg DataConfig) (*Data, error) {
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Limit <= 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Slack <= 0 {
		cfg.Slack = max(minSlack, min(maxSlack, cfg.Memory/4))
	}
	d := &Data{
		eng: e, cfg: cfg, log: cfg.Log, always: cfg.Sync == SyncAlways,
		urgent: make(chan struct{}, 1), requests: make(chan func()), stop: make(chan struct{}),
		done: make(chan struct{}), loaded: make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	var err error
	d.file, err = disk.Open(cfg.Path, disk.Options{
		NoSync: cfg.Sync == SyncNone, Zero: e.started, MapSize: 4*cfg.Memory + 256<<20,
	})
	if err != nil {
		return nil, err
	}
	if mode := disk.Wide(cfg.Path); mode != 0 {
		d.log.Warn("data: others may read the file, whatever the policy says of its items: chmod 600", "file", cfg.Path, "mode", fmt.Sprintf("%#o", mode))
	}
	if err := d.begin(); err != nil {
		return nil, errors.Join(err, d.file.Close(false))
	}
	e.data = d
	if !cfg.Lazy {
		for d.load != nil {
			if err := d.loadStep(); err != nil {
				e.data = nil
				d.journal.Stop()
				d.endLoad(err)
				return nil, errors.Join(err, d.file.Close(false))
			}
		}
	}
	go d.run()
	e.resumePending()
	return d, nil
}

// begin reads everything but the log.
func (d *Data) begin() error {
	e := d.eng
	facts, err := d.file.Facts()
	if err != nil {
		return err
	}
	if facts.Zero > e.started {
		return fmt.Errorf("%s: expected a clock that is not behind the file's beginning, %s, found %s: set the clock",
			d.cfg.Path, time.Unix(facts.Zero+startOffset, 0).UTC().Format(time.RFC3339), time.Unix(e.clock(), 0).UTC().Format(time.RFC3339))
	}
	e.started = facts.Zero
	if d.always {
		switch err := d.file.MakeTail(); {
		case errors.Is(err, disk.ErrNoRoom):
			d.log.Warn("data: the disk is nearly full: each commit is a whole transaction, which is slower, until there is room at a start; "+
				"once nothing fits any more every change is refused", "error", err)
		case err != nil:
			return err
		}
	}
	if d.segments, err = d.file.Segments(); err != nil {
		return err
	}
	labels, err := d.file.Labels()
	if err != nil {
		return err
	}
	cas, _, err := d.file.Last()
	if err != nil {
		return err
	}
	if !facts.Clean {
		// Numbers that were given out after the last commit must not come again: a
		// client may still hold one.
		cas += 1 << 32
		d.log.Warn("data: the file was not closed in order: what was changed after its last commit is lost", "file", d.cfg.Path)
	}
	e.store.SkipCAS(cas)
	d.unclean = facts.Clean
	if facts.Settings != "" {
		// A warm restart has written it; from the first commit on it is here to stay, and no
		// later one may take it for its own.
		d.batch.SetSettings, d.batch.Settings = true, ""
	}
	d.journal = e.store.StartJournal(d.cfg.Limit, d.wake)
	d.journal.Tick(e.Clock())
	if !e.off {
		d.epoch = e.mon.NewEpoch()
		d.epoch.Begin()
	}
	d.restorePending(facts.Pending)
	d.beginLoad(labels)
	return nil
}

// wake makes the goroutine commit without waiting for the interval's end.
func (d *Data) wake() {
	select {
	case d.urgent <- struct{}{}:
	default:
	}
}

// run is the goroutine.
func (d *Data) run() {
	defer close(d.done)
	tick, look := time.NewTicker(d.cfg.Interval), time.NewTicker(placeInterval)
	defer tick.Stop()
	defer look.Stop()
	for {
		if d.load != nil {
			if err := d.loadStep(); err != nil {
				d.fail(err)
			}
		}
		if d.load != nil {
			select {
			case <-d.stop:
				d.finish()
				return
			case <-tick.C:
				d.commit()
			case <-d.urgent:
				d.extend()
			case <-look.C:
				d.lookPlace()
			case fn := <-d.requests:
				fn()
			default:
			}
			continue
		}
		select {
		case <-d.stop:
			d.finish()
			return
		case <-tick.C:
			d.commit()
		case <-d.urgent:
			d.extend()
		case <-look.C:
			d.lookPlace()
		case fn := <-d.requests:
			fn()
		}
	}
}

// do runs fn on the goroutine, and reports whether it did: not if that has ended.
func (d *Data) do(fn func()) bool {
	ran := make(chan struct{})
	select {
	case d.requests <- func() { fn(); close(ran) }:
		<-ran
		return true
	case <-d.done:
		return false
	}
}

// Barrier returns when everything that was changed before is written: nil, or
// why it is not. It blocks and is not for event loops.
func (d *Data) Barrier() (err error) {
	if !d.do(func() { err = d.commit() }) {
		return errEnded
	}
	return err
}

var errEnded = errors.New("the data file is closed")

// Err is why the file is closed for good, or nil.
func (d *Data) Err() error {
	if p := d.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Close writes what is left and closes the file. An error says that not all of it will
// be found by the next start. The engine must not be used by others any more.
func (d *Data) Close() (err error) {
	d.closing.Do(func() {
		close(d.stop)
		<-d.done
		err = d.Err()
		clean := err == nil
		if err == nil {
			err = d.file.Place()
		}
		if e2 := d.file.Close(clean); err == nil {
			err = e2
		}
		if d.epoch != nil {
			d.epoch.Close()
		}
	})
	return err
}

// finish is the goroutine's last act.
func (d *Data) finish() {
	if d.load != nil {
		// What was not loaded is in the file still.
		d.rewrite.off = true
		d.endLoad(nil)
	}
	_ = d.commit() // a failure is logged, and in Err
	d.journal.Stop()
}
