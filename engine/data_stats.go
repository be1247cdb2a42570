package engine

import (
	"strconv"
	"sync/atomic"
	"time"
)

// dataCounters are what "stats data" shows.
type dataCounters struct {
	commits, records, written, rewritten atomic.Int64
	waits                                atomic.Int64 // calls that waited for the disk
	failures, undone                     atomic.Int64
	last, longest                        atomic.Int64 // ns of a commit
	oldest                               atomic.Int64 // UNIX ns of the oldest change that is being written, at the earliest; 0 none
	logBytes                             atomic.Int64
	segments                             atomic.Int64

	loaded, expired, noRoom, labelless, unknown atomic.Int64
	loadRead, loadTotal, loadTime               atomic.Int64
}

// count counts a commit of records, and the bytes that it has made the log longer by.
func (n *dataCounters) count(records uint64, bytes int64, took time.Duration) {
	n.commits.Add(1)
	n.records.Add(int64(records))
	n.written.Add(bytes)
	n.last.Store(int64(took))
	if int64(took) > n.longest.Load() {
		n.longest.Store(int64(took))
	}
}

// StatsData implements Interface.
func (e *Secured) StatsData(emit func(name, value string)) {
	if e.data == nil {
		emit("state", "off")
		return
	}
	e.data.Stats(emit)
}

// Stats appends what "stats data" shows. It may be called by any goroutine.
func (d *Data) Stats(emit func(name, value string)) {
	n := &d.n
	num := func(name string, v int64) { emit(name, strconv.FormatInt(v, 10)) }
	ms := func(name string, ns int64) { emit(name, strconv.FormatFloat(float64(ns)/1e6, 'f', 3, 64)) }
	emit("file", d.cfg.Path)
	emit("sync", d.cfg.Sync.String())
	ms("sync_interval_ms", int64(d.cfg.Interval))
	moved := d.moved.Load()
	switch err := d.Err(); {
	case err != nil:
		emit("state", "failed")
		emit("error", err.Error())
	case moved != nil:
		emit("state", "moved")
		emit("error", (*moved).Error())
	case d.loading.Load():
		emit("state", "loading")
	default:
		emit("state", "ok")
	}
	lag := int64(0)
	if at := n.oldest.Load(); at != 0 {
		lag = max(0, time.Now().UnixNano()-at)
	}
	ms("lag_ms", lag)
	num("pending_bytes", d.journal.Pending())
	num("pending_limit", d.cfg.Limit)
	num("waits", n.waits.Load())
	num("commits", n.commits.Load())
	ms("commit_last_ms", n.last.Load())
	ms("commit_longest_ms", n.longest.Load())
	num("records", n.records.Load())
	num("bytes_written", n.written.Load())
	num("bytes_rewritten", n.rewritten.Load())
	num("file_bytes", d.file.Size())
	num("log_bytes", n.logBytes.Load())
	num("log_segments", n.segments.Load())
	num("failures", n.failures.Load())
	num("undone", n.undone.Load())
	num("load_items", n.loaded.Load())
	num("load_bytes", n.loadRead.Load())
	num("load_bytes_total", n.loadTotal.Load())
	ms("load_ms", n.loadTime.Load())
	num("load_expired", n.expired.Load())
	num("load_no_room", n.noRoom.Load())
	num("load_no_label", n.labelless.Load())
	num("load_unknown_contexts", n.unknown.Load())
}
