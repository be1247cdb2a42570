package engine

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"sememcached/avc"
	"sememcached/storage"
	"sememcached/storage/disk"
)

// loading is the state of reading the file back. The log is read from its end
// to its beginning, so that the first record of a key that is met is the last
// one that was written: nothing older is ever in the store, not for a moment, while clients
// are served already, and where memory is smaller than the file the newest items
// have the first choice of it.
type loading struct {
	reader   *disk.Reader
	sids     map[uint32]avc.SID // by the file's number; retained
	before   uint64             // segments before it are read
	began    time.Time
	reported time.Time
	total    int64 // bytes of the log
	read     int64
	unknown  int
	chunk    []byte  // a copy of the chunk that is being restored
	parts    [][]int // where its records begin, a part for each goroutine
}

// loaders bounds the goroutines that restore what is read while nobody is served.
const loaders = 4

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
	l.parts = make([][]int, 1)
	if !d.cfg.Lazy {
		l.parts = make([][]int, min(loaders, runtime.NumCPU()))
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
	d.load, d.onlyLabel = l, l.onlyLabel()
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

// restore puts the records of a chunk into the store, the last one first. Those of a
// key are one goroutine's, so that they keep their order.
func (d *Data) restore(c *disk.Chunk, now uint32) error {
	l := d.load
	// A copy: a page that cannot be read is an error here, and would end the process in
	// another goroutine.
	l.chunk = append(l.chunk[:0], c.Records...)
	for i := range l.parts {
		l.parts[i] = l.parts[i][:0]
	}
	var r storage.Record
	for i := 0; i < len(l.chunk); {
		n, err := storage.ParseRecord(l.chunk[i:], &r)
		if err != nil {
			return fmt.Errorf("%s: the file is damaged: offset %d of a chunk: %w", d.cfg.Path, i, err)
		}
		p := &l.parts[0]
		if len(l.parts) > 1 {
			p = &l.parts[d.eng.store.Hash(r.Instance, r.Key)%uint64(len(l.parts))]
		}
		*p = append(*p, i)
		i += n
	}
	var wait sync.WaitGroup
	for _, at := range l.parts[1:] {
		wait.Go(func() { d.restorePart(at, now) })
	}
	d.restorePart(l.parts[0], now)
	wait.Wait()
	return nil
}

// restorePart does so with the records at some places of the chunk.
func (d *Data) restorePart(at []int, now uint32) {
	var r storage.Record
	var loaded, expired, noRoom, labelless int64
	for i := len(at) - 1; i >= 0; i-- {
		_, _ = storage.ParseRecord(d.load.chunk[at[i]:], &r)
		var label avc.SID
		if r.Kind == storage.RecordItem && (r.Label != 0 || !d.eng.off) {
			var ok bool
			if label, ok = d.load.sids[r.Label]; !ok {
				r = storage.Record{Kind: storage.RecordGone, Instance: r.Instance, Key: r.Key}
				labelless++
			}
		}
		switch d.journal.Restore(&r, uint32(label), now) {
		case storage.RestoredItem:
			loaded++
		case storage.RestoredDead:
			if r.Kind == storage.RecordItem {
				expired++
			}
		case storage.RestoredNoRoom:
			noRoom++
		}
	}
	d.n.loaded.Add(loaded)
	d.n.expired.Add(expired)
	d.n.noRoom.Add(noRoom)
	d.n.labelless.Add(labelless)
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
		d.log.Warn("data: memory is too small for the file: items for whose size none was left were not loaded and leave it", "items", n)
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
