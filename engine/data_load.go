package engine

import (
	"fmt"
	"time"

	"sememcached/avc"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// loading is the state of reading the file back. The log is read from its end
// to its beginning, so that the first record of a key that is met is the last
// one that was written: nothing older is ever in the store, not for a moment, while clients
// are served already, and where memory is smaller than the file the newest items
// are the ones that are kept.
type loading struct {
	reader   *disk.Reader
	sids     map[uint32]avc.SID // by the file's number; retained
	before   uint64             // segments before it are read
	began    time.Time
	reported time.Time
	total    int64 // bytes of the log
	read     int64
	unknown  int
}

// loadWaiter is a call that waits for the file to be loaded.
type loadWaiter struct {
	w   *Worker
	tag uint64
}

// beginLoad prepares the loading of the log.
func (d *Data) beginLoad(labels []disk.Label) {
	e := d.eng
	l := &loading{
		sids: map[uint32]avc.SID{}, before: d.file.Next(), began: time.Now(), reported: time.Now(),
		reader: d.file.Backwards(d.segments, d.file.Next()),
	}
	for _, s := range d.segments {
		l.total += s.Bytes
	}
	d.labels = labelIDs{byContext: map[string]*fileLabel{}, bySID: map[avc.SID]*fileLabel{}}
	for _, x := range labels {
		d.labels.next = max(d.labels.next, x.ID)
		d.labels.byContext[x.Context] = &fileLabel{id: x.ID, context: x.Context, flushed: x.Flushed, last: l.before}
		s, known, err := e.resolve(x.Context)
		if err != nil {
			d.log.Error("data: items of a label are not loaded", "label", x.Context, "error", err)
			continue
		}
		if !known && x.Context != "" {
			l.unknown++
			d.log.Warn("data: the policy does not know a context: its items act as unlabeled", "context", x.Context)
		}
		l.sids[x.ID] = s
		if x.Flushed != 0 {
			e.store.RestoreFlush(uint32(s), x.Flushed)
		}
		d.loadLabels = append(d.loadLabels, s)
	}
	d.n.unknown.Store(int64(l.unknown))
	d.n.loadTotal.Store(l.total)
	d.n.logBytes.Store(l.total)
	d.n.segments.Store(int64(len(d.segments)))
	d.load = l
	d.loading.Store(true)
	d.journal.BeginLoad()
}

// loadStep reads the next chunk of the log.
func (d *Data) loadStep() error {
	l := d.load
	now := d.eng.Clock()
	var bad error
	more, err := l.reader.Next(func(c *disk.Chunk) {
		l.read += int64(len(c.Records))
		bad = d.restore(c, now)
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	d.n.loadRead.Store(l.read)
	if time.Since(l.reported) >= time.Second {
		l.reported = time.Now()
		d.log.Info("data: loading", "items", d.n.loaded.Load(), "percent", 100*l.read/max(l.total, 1))
	}
	if !more {
		d.endLoad(nil)
	}
	return nil
}

// restore puts the records of a chunk into the store, the last one first.
func (d *Data) restore(c *disk.Chunk, now uint32) error {
	at := make([]int, 0, c.Count)
	var r storage.Record
	for i := 0; i < len(c.Records); {
		n, err := storage.ParseRecord(c.Records[i:], &r)
		if err != nil {
			return fmt.Errorf("%s: the file is damaged: offset %d of a chunk: %w", d.cfg.Path, i, err)
		}
		at = append(at, i)
		i += n
	}
	for i := len(at) - 1; i >= 0; i-- {
		_, _ = storage.ParseRecord(c.Records[at[i]:], &r)
		var label avc.SID
		if r.Kind == storage.RecordItem && (r.Label != 0 || !d.eng.off) {
			var ok bool
			if label, ok = d.load.sids[r.Label]; !ok {
				r = storage.Record{Kind: storage.RecordGone, Instance: r.Instance, Key: r.Key}
				d.n.labelless.Add(1)
			}
		}
		switch d.journal.Restore(&r, uint32(label), now) {
		case storage.RestoredItem:
			d.n.loaded.Add(1)
		case storage.RestoredDead:
			if r.Kind == storage.RecordItem {
				d.n.expired.Add(1)
			}
		case storage.RestoredNoRoom:
			d.n.noRoom.Add(1)
		}
	}
	return nil
}

// endLoad ends the loading, early if there is more, or because of err.
func (d *Data) endLoad(err error) {
	l := d.load
	if l == nil {
		return
	}
	d.load = nil
	strays := d.n.noRoom.Load()+d.n.labelless.Load() > 0
	d.journal.EndLoad(strays)
	d.n.loadTime.Store(int64(time.Since(l.began)))
	if strays {
		d.rewrite.strays = l.before
	} else {
		d.dropLoadLabels()
	}
	d.mu.Lock()
	waiters := d.loadWaiters
	d.loadWaiters = nil
	d.loading.Store(false)
	d.mu.Unlock()
	close(d.loaded)
	for _, w := range waiters {
		w.w.post(answer{tag: w.tag, written: true})
	}
	if err != nil {
		return
	}
	if n := d.n.noRoom.Load(); n > 0 {
		d.log.Warn("data: memory is too small for the file: the oldest items were not loaded and leave it", "items", n)
	}
	d.log.Info("data: loaded", "file", d.cfg.Path, "items", d.n.loaded.Load(), "expired", d.n.expired.Load(),
		"seconds", fmt.Sprintf("%.3f", time.Since(l.began).Seconds()))
}

// dropLoadLabels lets go of the labels of the file: all items are in memory.
func (d *Data) dropLoadLabels() {
	d.mu.Lock()
	labels := d.loadLabels
	d.loadLabels = nil
	d.mu.Unlock()
	for _, s := range labels {
		d.eng.mon.SIDs().Release(s)
	}
}

// awaitLoad parks a call until the file has been loaded; false: it has been. What
// the file holds under the call's key is not known before, and so not whether the
// client may remove it.
func (d *Data) awaitLoad(w *Worker, c *Call) bool {
	if !d.loading.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loading.Load() {
		return false
	}
	r := c.waiting()
	r.loads, r.parked = true, true
	d.loadWaiters = append(d.loadWaiters, loadWaiter{w, c.Tag})
	return true
}

// unloaded lists the labels of items that are in the file and may not be in the
// store.
func (d *Data) unloaded() []avc.SID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]avc.SID(nil), d.loadLabels...)
}
