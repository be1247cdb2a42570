package engine

import (
	"sync"
	"time"

	"sememcached/avc"
	"sememcached/mac"
)

// A flush is (due time, subject): which labels it empties is decided label by
// label when it is due, under the policy of that moment. A newer flush replaces
// an older one that is still pending only for the labels where the newer one is
// allowed itself, so a flush that is not allowed cannot be used to cancel one
// that is. One subject has one flush at most: its newest replaces its older ones
// everywhere, their rights being the same.
type flush struct {
	order uint64  // of issue; larger is newer
	due   uint32  // on the store's clock
	ssid  avc.SID // retained while listed
	peer  *mac.Peer
	done  bool // executed; kept while an older one is pending
}

// flushList holds the pending flushes, oldest first.
type flushList struct {
	eng *Secured

	mu sync.Mutex
	// +checklocks:mu
	list []*flush
	// +checklocks:mu
	order uint64
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
	w.counters.CmdFlush++
	f := &flush{ssid: c.Client.ssid, peer: c.Client.Peer}
	if c.Exptime > 0 {
		// memcached flushes what is older than the second before the due time.
		f.due = e.exptime(c.Exptime, w.now) - 1
	}
	if f.due > w.now {
		e.flushes.add(f, time.Duration(f.due-w.now)*time.Second)
		return OK
	}
	f.due = w.now
	return e.Background(w, c, func() {
		e.flushes.add(f, 0)
		e.flushes.runDue(f.due)
	})
}

// add lists a flush and arms a timer for it.
func (l *flushList) add(f *flush, after time.Duration) {
	sids := l.eng.mon.SIDs()
	l.mu.Lock()
	l.order++
	f.order = l.order
	keep := l.list[:0]
	for _, old := range l.list {
		if old.ssid == f.ssid {
			sids.Release(old.ssid)
			continue
		}
		keep = append(keep, old)
	}
	sids.Retain(f.ssid)
	l.list = append(keep, f)
	l.mu.Unlock()
	if after > 0 {
		time.AfterFunc(after, l.eng.RunFlushes)
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
	for {
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
// where a newer flush has taken f's place.
func (l *flushList) execute(f *flush, newer []*flush) {
	e := l.eng
	for _, label := range e.labelsInUse() {
		if e.off {
			e.store.FlushLabel(uint32(label), f.due)
			continue
		}
		if l.replaced(label, newer) {
			continue
		}
		v := e.judge(f.ssid, label, avc.ClassItem, avc.Remove)
		if v.Allowed {
			e.store.FlushLabel(uint32(label), f.due)
		}
		e.auditOff(f.peer, f.ssid, label, v, OpFlush)
	}
}

func (l *flushList) replaced(label avc.SID, newer []*flush) bool {
	for _, n := range newer {
		if l.eng.judge(n.ssid, label, avc.ClassItem, avc.Remove).Allowed {
			return true
		}
	}
	return false
}
