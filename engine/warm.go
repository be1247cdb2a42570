package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sememcached/avc"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// WarmConfig says where the items of a warm restart are (memcached's -e).
type WarmConfig struct {
	Path     string
	Settings string // what has to be the same in the next process
	Log      *slog.Logger
}

// Warm writes the items to a file when the server ends in order. While it runs there is
// no file: a crash leaves nothing, and the next process begins empty.
//
// Memcached maps its item memory from the file and saves a second one, FILE.meta, with
// its settings, which it removes as soon as it has read it. Ours is a data file as --data
// writes it; the tools read both.
type Warm struct {
	eng *Secured
	cfg WarmConfig
}

// OpenWarm loads and removes the file that an earlier process has left, if it was
// complete, had the same settings, and the clock has not gone back since; if not,
// it is removed and a line of the log says why. Call it before the engine is
// used. A file that no warm restart has written is never removed: of another kind,
// of another program, or a data file of --data, it is an error, and so is a place
// that the next stop could not write to.
func (e *Secured) OpenWarm(cfg WarmConfig) (*Warm, error) {
	w := &Warm{eng: e, cfg: cfg}
	if cfg.Log == nil {
		w.cfg.Log = slog.New(slog.DiscardHandler)
	}
	_, err := os.Stat(cfg.Path)
	switch {
	case err == nil:
		if err := w.load(); err != nil {
			if errors.Is(err, disk.ErrLocked) || errors.Is(err, disk.ErrForeign) || errors.Is(err, errKept) {
				return nil, fmt.Errorf("%w: name a file for -e alone, or remove this one", err) // it is somebody else's
			}
			w.cfg.Log.Warn("warm restart: the items of the file are not used, starting empty", "error", err)
		}
		// Gone for good, or a power failure would bring back what has changed since.
		if err := errors.Join(os.Remove(cfg.Path), disk.SyncDir(filepath.Dir(cfg.Path))); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// Better now than at the end.
	f, err := os.CreateTemp(filepath.Dir(cfg.Path), "."+filepath.Base(cfg.Path)+".new-")
	if err != nil {
		return nil, err
	}
	return w, errors.Join(f.Close(), os.Remove(f.Name()))
}

// errKept: a data file, or a copy of one, which is there to stay.
var errKept = errors.New("expected a file of a warm restart, found a data file of --data")

// CheckWarm says why OpenWarm would refuse the file at path; a file that it would
// begin empty beside is no error. It changes nothing.
func CheckWarm(path string) error {
	settings, err := peek(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, disk.ErrLocked), errors.Is(err, disk.ErrForeign):
		return err
	case err == nil && settings == "":
		return fmt.Errorf("%s: %w", path, errKept)
	}
	return nil
}

// CheckData says why OpenData would refuse the file at path, as far as its pages
// and its format tell. It changes nothing.
func CheckData(path string) error {
	_, err := peek(path)
	if mode := disk.Wide(path); err == nil && mode&0o022 != 0 {
		return fmt.Errorf("%s: %w: expected mode 0600, found %#o", path, disk.ErrWide, mode)
	}
	return err
}

// peek opens a file and returns with which settings it was written.
func peek(path string) (settings string, err error) {
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	facts, err := f.Facts()
	return facts.Settings, errors.Join(err, f.Close(false))
}

// load reads the file into the store.
func (w *Warm) load() (err error) {
	e := w.eng
	// What it is comes before how it is: the file of somebody else stays, whatever its mode.
	f, err := disk.Open(w.cfg.Path, disk.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(false)) }()
	facts, err := f.Facts()
	if err != nil {
		return err
	}
	_, at, err := f.Last()
	if err != nil {
		return err
	}
	if facts.Settings == "" {
		return fmt.Errorf("%s: %w", w.cfg.Path, errKept)
	}
	if mode := disk.Wide(w.cfg.Path); mode&0o022 != 0 {
		return fmt.Errorf("%s: %w: expected mode 0600, found %#o", w.cfg.Path, disk.ErrWide, mode)
	}
	switch {
	case !facts.Clean:
		return fmt.Errorf("%s was not written to its end", w.cfg.Path)
	case facts.Settings != w.cfg.Settings:
		return fmt.Errorf("%s: expected the settings %q, found %q", w.cfg.Path, w.cfg.Settings, facts.Settings)
	case facts.Zero > e.started || at > e.clock()*1000+999:
		return fmt.Errorf("%s: the clock has gone back since it was written", w.cfg.Path)
	}
	started := e.started
	e.started = facts.Zero
	d := &Data{eng: e, cfg: DataConfig{Path: w.cfg.Path}, log: w.cfg.Log, file: f, loaded: make(chan struct{})}
	d.journal = e.store.StartJournal(defaultLimit, func() {})
	defer d.journal.Stop()
	if d.segments, err = f.Segments(); err != nil {
		e.started = started
		return err
	}
	labels, err := f.Labels()
	if err != nil {
		e.started = started
		return err
	}
	cas, _, err := f.Last()
	if err != nil {
		e.started = started
		return err
	}
	e.store.SkipCAS(cas)
	d.restorePending(facts.Pending)
	d.beginLoad(labels)
	for d.load != nil {
		if err := d.loadStep(); err != nil {
			d.endLoad(err)
			d.dropLoadLabels()
			return err
		}
	}
	d.dropLoadLabels()
	return nil
}

// Close writes the file. The engine must not be used by others any more.
func (w *Warm) Close() (err error) {
	e := w.eng
	began := time.Now()
	tmp := w.cfg.Path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w.failed(err)
	}
	f, err := disk.Open(tmp, disk.Options{NoSync: true, Zero: e.started, MapSize: 1 << 30})
	if err != nil {
		return w.failed(err)
	}
	d := &Data{eng: e, cfg: DataConfig{Path: tmp}, log: w.cfg.Log, file: f}
	d.labels = labelIDs{byContext: map[string]*fileLabel{}, bySID: map[avc.SID]*fileLabel{}}
	d.journal = e.store.StartJournal(defaultLimit, func() {})
	defer d.journal.Stop()
	e.flushes.mu.Lock()
	d.pending, d.pendingNew = e.flushes.text(), true
	e.flushes.mu.Unlock()
	if err := d.writeAll(w.cfg.Settings); err != nil {
		return w.failed(errors.Join(err, f.Close(false), os.Remove(tmp)))
	}
	if err := f.Close(true); err != nil {
		return w.failed(errors.Join(err, os.Remove(tmp)))
	}
	if err := errors.Join(os.Rename(tmp, w.cfg.Path), disk.SyncDir(filepath.Dir(tmp))); err != nil {
		return w.failed(err)
	}
	w.cfg.Log.Info("warm restart: written", "file", w.cfg.Path, "items", d.n.records.Load(), "seconds", fmt.Sprintf("%.3f", time.Since(began).Seconds()))
	return nil
}

func (w *Warm) failed(err error) error {
	w.cfg.Log.Error("warm restart: the items are not kept", "error", err)
	return err
}

// warmBatch is how much of the items a transaction writes, in bytes.
const warmBatch = 16 << 20

// writeAll writes every item once.
func (d *Data) writeAll(settings string) error {
	var at storage.Rewriter
	now := d.eng.Clock()
	d.journal.Tick(now)
	for first, more := true, true; more; first = false {
		d.batch.Reset()
		if first {
			d.batch.SetSettings, d.batch.Settings, d.batch.Unclean = true, settings, true
			d.putFlushes()
		}
		for more && d.batch.Bytes() < warmBatch {
			shard := at.Shard
			if d.journal.Rewrite(&at, now, d.add) && shard == d.eng.store.Shards()-1 {
				more = false
			}
		}
		d.batch.CAS, d.batch.Time = d.eng.store.CAS(), time.Now().UnixMilli()
		d.n.records.Add(int64(d.batch.Records()))
		if _, err := d.file.Commit(&d.batch); err != nil {
			return err
		}
		d.journal.Written(true)
	}
	return nil
}
