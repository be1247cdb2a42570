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
// used. A file that has not said that a warm restart wrote it is never removed: of another
// kind, of another program, or a data file of --data, one that is damaged or that this process may
// not read, it is an error that names the file, whether it has the name itself or the one under
// which the next stop begins to write, FILE.new. So is a place that the next stop could not write to.
func (e *Secured) OpenWarm(cfg WarmConfig) (*Warm, error) {
	w := &Warm{eng: e, cfg: cfg}
	if cfg.Log == nil {
		w.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := ours(w.tmp()); err != nil {
		return nil, fmt.Errorf("where the next stop is to write: %w", err)
	}
	_, err := os.Lstat(cfg.Path)
	switch {
	case err == nil:
		err := w.load()
		if errors.Is(err, errTheirs) {
			return nil, err
		}
		if err != nil {
			w.cfg.Log.Warn("warm restart: the items of the file are not used, starting empty", "error", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// Gone for good, or a power failure would bring back what has changed since.
	if err := errors.Join(remove(cfg.Path), remove(w.tmp()), disk.SyncDir(filepath.Dir(cfg.Path))); err != nil {
		return nil, err
	}
	// Better now than at the end.
	f, err := disk.MakeTemp(cfg.Path)
	if err != nil {
		return nil, err
	}
	return w, errors.Join(f.Close(), os.Remove(f.Name()))
}

// tmp is the name that the file has while it is being written.
func (w *Warm) tmp() string { return w.cfg.Path + ".new" }

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

var (
	// errTheirs: what is there has not said that a warm restart wrote it.
	errTheirs = errors.New("name a file for -e alone, or remove this one")
	// errKept: a data file, or a copy of one, which is there to stay.
	errKept = errors.New("expected a file of a warm restart, found a data file of --data")
)

// openOurs opens a file to read. It is an errTheirs if the file does not say that a warm
// restart wrote it, for whatever reason: then nobody may remove it.
func openOurs(path string) (*disk.File, disk.Facts, error) {
	// What it is comes before how it is: the file of somebody else stays, whatever its mode.
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		return nil, disk.Facts{}, fmt.Errorf("%w: %w", err, errTheirs)
	}
	facts, err := f.Facts()
	if err == nil && facts.Settings == "" {
		err = errKept
	}
	if err != nil {
		return nil, disk.Facts{}, errors.Join(fmt.Errorf("%s: %w: %w", path, err, errTheirs), f.Close(false))
	}
	return f, facts, nil
}

// ours returns nil if a warm restart has written what is at path, or nothing is there.
func ours(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: expected a file or nothing, found a symbolic link to nothing: %w", path, errTheirs)
	}
	f, _, err := openOurs(path)
	if err != nil {
		return err
	}
	return f.Close(false)
}

// CheckWarm says why OpenWarm would refuse the file at path or what is where the stop begins to
// write; a file that it would begin empty beside is no error, none at all is fs.ErrNotExist.
// What this process may not read is no error either: the user that the server runs as may. It
// changes nothing.
func CheckWarm(path string) error {
	for _, p := range []string{path, path + ".new"} {
		if err := ours(p); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CheckData says why OpenData would refuse the file at path, as far as its pages
// and its format tell. It changes nothing.
func CheckData(path string) error {
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	if mode := disk.Wide(path); mode&0o022 != 0 {
		err = fmt.Errorf("%s: %w: expected mode 0600, found %#o", path, disk.ErrWide, mode)
	}
	return errors.Join(err, f.Close(false))
}

// load reads the file into the store. An errTheirs says that the file is not to be removed.
func (w *Warm) load() (err error) {
	e := w.eng
	f, facts, err := openOurs(w.cfg.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(false)) }()
	_, at, err := f.Last()
	if err != nil {
		return err
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
	defer e.resumePending()
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

// Close writes the file, beside its place first, and never over a file that has come there: then
// the items stay in FILE.new, and the error says so. The engine must not be used by others any more.
func (w *Warm) Close() (err error) {
	e := w.eng
	began := time.Now()
	tmp := w.tmp()
	if err := ours(tmp); err != nil {
		return w.failed(err)
	}
	if err := remove(tmp); err != nil {
		return w.failed(err)
	}
	// It says whose it is from the first moment on, and, synced, after a power failure too: the
	// next start removes what was not written to its end.
	f, err := disk.Open(tmp, disk.Options{Zero: e.started, Settings: w.cfg.Settings, MapSize: 1 << 30})
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
	if err := os.Link(tmp, w.cfg.Path); err != nil { // unlike rename, not over another file
		err = fmt.Errorf("%w: the items are in %s, until the next start with -e %s: to keep them, give that file another name, and start with -e and it", err, tmp, w.cfg.Path)
		w.cfg.Log.Error("warm restart: the items are kept under another name", "error", err)
		return err
	}
	if err := errors.Join(os.Remove(tmp), disk.SyncDir(filepath.Dir(tmp))); err != nil {
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
