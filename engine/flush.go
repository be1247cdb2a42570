package engine

import (
	"fmt"
	"sync"
	"time"

	"sememcached/avc"
	"sememcached/mac"
)

// A flush is (due time, subject): which labels it empties is decided label by
// label when it is due, under the policy of that moment. A newer flush replaces
// an older one that is still pending only for the labels where the newer one is
// allowed itself, so a flush that is not allowed cannot be used to cancel one
// that is. One subject has one pending flush at most: its newest replaces its
// older ones everywhere, their rights being the same. A flush that is due is
// pending no longer and is executed, whatever comes before its turn does.
type flush struct {
	issued uint32  // on the store's clock
	due    uint32  // the same; not before issued
	ssid   avc.SID // retained while listed
	peer   *mac.Peer
	done   bool        // executed; kept while an older one is pending
	gone   bool        // replaced by a newer one of the same subject
	lost   bool        // a label could not be flushed: the disk has failed
	timer  *time.Timer // of a delayed one
}

// flushList holds the pending flushes, oldest first.
type flushList struct {
	eng *Secured

	mu sync.Mutex
	// +checklocks:mu
	list []*flush
	// closed: nothing is executed any more. It is set with run and mu held.
	closed bool
	// run serialises the execution of flushes; it is taken before mu.
	run sync.Mutex
}

// Flush implements Interface.
func (e *Secured) Flush(w *Worker, c *Call) Status {
	if c.retry != nil && c.retry.job != nil {
		return e.Background(w, c, nil)
	}
	if st := e.Authorize(w, c); st != OK {
		return st
	}
	if e.refuses() {
		return Failed
	}
	w.counters.CmdFlush++
	f := &flush{issued: w.now, due: w.now, ssid: c.Client.ssid, peer: c.Client.Peer}
	if c.Exptime > 0 {
		// memcached flushes what is older than the second before the due time.
		f.due = e.exptime(c.Exptime, w.now) - 1
	}
	if f.due > w.now {
		e.flushes.add(f)
		if !e.alwaysSynced() {
			return OK
		}
		return e.background(w, c, func() Status {
			if e.data.Barrier() != nil {
				return Failed
			}
			return OK
		})
	}
	f.due = w.now
	return e.background(w, c, func() Status {
		e.flushes.add(f)
		e.flushes.runDue(f.due)
		if e.flushes.isLost(f) {
			return Failed
		}
		return OK
	})
}

// isLost says whether the disk has failed while f was executed.
func (l *flushList) isLost(f *flush) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.lost
}

// keep has the delayed flushes written to the data file, if there is one. l.mu is
// held.
func (l *flushList) keep() {
	if d := l.eng.data; d != nil {
		d.keepPending(l.text())
	}
}

// text is the delayed flushes as a data file has them, a line each. l.mu is held.
func (l *flushList) text() (text []byte) {
	for _, f := range l.list {
		if f.due > f.issued && !f.done {
			text = fmt.Appendf(text, "%d %d %s\n", f.issued, f.due, l.eng.mon.SIDs().String(f.ssid))
		}
	}
	return text
}

// add lists a flush, and arms a timer for one that is delayed.
func (l *flushList) add(f *flush) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(f)
	l.arm(f)
}

// arm makes a delayed flush be executed when it is due. l.mu is held.
func (l *flushList) arm(f *flush) {
	if f.due > f.issued && !l.closed {
		now := l.eng.Clock()
		f.timer = time.AfterFunc(time.Duration(max(f.due, now)-now)*time.Second, func() { l.fire(f) })
	}
}

// put lists a flush. l.mu is held.
func (l *flushList) put(f *flush) {
	sids := l.eng.mon.SIDs()
	sids.Retain(f.ssid)
	keep := l.list[:0]
	for _, old := range l.list {
		if old.ssid == f.ssid && (old.done || old.due > f.issued) {
			old.gone = true
			if old.timer != nil {
				old.timer.Stop()
			}
			sids.Release(old.ssid)
			continue
		}
		keep = append(keep, old)
	}
	n := len(l.list)
	l.list = append(keep, f)
	if len(l.list) < n {
		clear(l.list[len(l.list):n])
	}
	l.keep()
}

// fire executes what is due when a timer says so. The clock of the store may
// have been set back since the timer was armed: then it is armed again.
func (l *flushList) fire(f *flush) {
	l.eng.RunFlushes()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.eng.Clock(); !f.done && !f.gone && !l.closed {
		f.timer.Reset(time.Duration(max(f.due, now+1)-now) * time.Second)
	}
}

// Close ends what the engine does by itself: delayed flushes are not executed any
// more, and when it returns none looks at the store. Workers must have ended. The
// store and the monitor are the caller's to close after it.
func (e *Secured) Close() {
	l := &e.flushes
	l.run.Lock()
	defer l.run.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, f := range l.list {
		if f.timer != nil {
			f.timer.Stop()
		}
	}
}

// RunFlushes executes the delayed flushes that are due by now. The engine's own
// timers call it; tests with a clock of their own call it themselves.
func (e *Secured) RunFlushes() {
	if ep := e.announce(); ep != nil {
		defer ep.Close()
	}
	e.flushes.runDue(e.Clock())
}

// runDue executes every flush that is due at now, oldest first.
func (l *flushList) runDue(now uint32) {
	l.run.Lock()
	defer l.run.Unlock()
	for !l.closed {
		f, newer := l.next(now)
		if f == nil {
			return
		}
		l.execute(f, newer)
		l.finish(f)
	}
}

// next returns the oldest flush that is due, and those issued after it.
func (l *flushList) next(now uint32) (*flush, []*flush) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.list {
		if !f.done && f.due <= now {
			return f, append([]*flush(nil), l.list[i+1:]...)
		}
	}
	return nil, nil
}

// finish marks f executed and drops every executed flush that no older pending
// one has to be compared with.
func (l *flushList) finish(f *flush) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.done = true
	defer l.keep()
	pending := false
	keep := l.list[:0]
	for _, f := range l.list {
		if !f.done {
			pending = true
		}
		if f.done && !pending {
			l.eng.mon.SIDs().Release(f.ssid)
			continue
		}
		keep = append(keep, f)
	}
	clear(l.list[len(keep):])
	l.list = keep
}

// execute empties every label that f's subject may remove from, but for those
// where a newer flush has taken f's place. The audit records come when the labels
// are empty, so that whoever reads one finds what it speaks of done.
func (l *flushList) execute(f *flush, newer []*flush) {
	e := l.eng
	var labels []avc.SID
	var records []*mac.Record
	for _, label := range e.labelsInUse() {
		if e.off {
			labels = append(labels, label)
			continue
		}
		if l.replaced(f, label, newer) {
			continue
		}
		v := e.judge(f.ssid, label, avc.ClassItem, avc.Remove)
		if v.Allowed {
			labels = append(labels, label)
		}
		if r := e.recordOff(f.peer, f.ssid, label, v, OpFlush); r != nil {
			records = append(records, r)
		}
	}
	if err := e.flushLabels(labels, f.due); err != nil {
		l.mu.Lock()
		f.lost = true
		l.mu.Unlock()
	}
	for _, r := range records {
		e.mon.Audit(r)
	}
}

// replaced says whether one of the newer flushes was issued while f was pending,
// and is allowed on the label.
func (l *flushList) replaced(f *flush, label avc.SID, newer []*flush) bool {
	for _, n := range newer {
		if n.issued < f.due && l.eng.judge(n.ssid, label, avc.ClassItem, avc.Remove).Allowed {
			return true
		}
	}
	return false
}
