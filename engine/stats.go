package engine

import (
	"strconv"

	"sememcached/avc"
	"sememcached/storage"
)

// NewWorker implements Interface.
func (e *Secured) NewWorker(wake func()) *Worker {
	w := &Worker{eng: e, wake: wake, table: avc.NewTable(e.entries, e.most)}
	if !e.off {
		w.epoch = e.mon.NewEpoch()
	}
	e.workers.mu.Lock()
	e.workers.all = append(e.workers.all, w)
	e.workers.mu.Unlock()
	return w
}

// Disconnect implements Interface.
func (e *Secured) Disconnect(w *Worker, cl *Client, c *Call) {
	e.Abort(w, c)
	if r := c.retry; r != nil && r.kept != nil {
		e.unpin(c)
	}
	sids := e.mon.SIDs()
	if r := c.retry; r != nil {
		r.parked = false
		r.release(e.mon)
		*r = retry{}
	}
	if cl.ssid != 0 {
		sids.Release(cl.ssid)
	}
	cl.label(sids, 0)
	*cl = Client{}
}

// sum adds up the counters of all workers, since the process began. own is the
// worker whose turn it is, or nil.
func (e *Secured) sum(own *Worker) Counters {
	e.workers.mu.Lock()
	all := e.workers.all[:len(e.workers.all):len(e.workers.all)]
	e.workers.mu.Unlock()
	var t Counters
	for _, w := range all {
		w.Inspect(own, func() { t.add(&w.counters) })
	}
	return t
}

// Counters implements Interface.
func (e *Secured) Counters(w *Worker) Counters {
	t := e.sum(w)
	e.workers.mu.Lock()
	defer e.workers.mu.Unlock()
	t.sub(&e.workers.base)
	return t
}

// ResetStats implements Interface. Counters of access control go on counting: a
// policy author compares them across resets, and libselinux's habit of losing
// them is no model.
func (e *Secured) ResetStats(w *Worker) {
	t := e.sum(w)
	t.keepAccess()
	e.workers.mu.Lock()
	e.workers.base = t
	e.workers.mu.Unlock()
	e.store.ResetStats()
}

// StatsMac implements Interface.
func (e *Secured) StatsMac(emit func(name, value string)) {
	e.mon.Stats(emit)
	if !e.mon.Enabled() {
		return
	}
	t := e.sum(nil)
	num := func(name string, n uint64) { emit(name, strconv.FormatUint(n, 10)) }
	num("avc_lookups", t.AVCLookups)
	num("avc_hits", t.AVCHits)
	num("avc_misses", t.AVCMisses)
	num("parked", t.Parked)
	num("gave_up", t.GaveUp)
	num("failures", t.Failures)
	for k, class := range []avc.Class{avc.ClassItem, avc.ClassServer} {
		for i, n := range t.Denials[k] {
			if n > 0 {
				num("denied_"+class.String()+"_"+class.PermNames(1 << i)[0], n)
			}
		}
	}
}

// StatsLabels implements Interface: items, bytes, hits and evictions of each
// label on which the client has getattr.
func (e *Secured) StatsLabels(c *Call, emit func(name, value string)) {
	sids := e.mon.SIDs()
	type row struct {
		label avc.SID
		st    storage.LabelStats
	}
	var rows []row
	e.store.Labels(func(label uint32, st storage.LabelStats) bool {
		rows = append(rows, row{avc.SID(label), st})
		return true
	})
	for _, r := range rows {
		if e.off || sids.String(r.label) == "" || !e.visible(c, r.label) {
			continue
		}
		ctx := sids.String(r.label)
		emit(ctx+":items", strconv.FormatUint(r.st.Items, 10))
		emit(ctx+":bytes", strconv.FormatUint(r.st.Bytes, 10))
		emit(ctx+":hits", strconv.FormatUint(r.st.Hits, 10))
		emit(ctx+":evictions", strconv.FormatUint(r.st.Evictions, 10))
	}
}

// visible says whether the call's client may see that label's items exist.
func (e *Secured) visible(c *Call, label avc.SID) bool {
	return e.judge(c.Client.ssid, label, avc.ClassItem, avc.Getattr).Allowed
}
