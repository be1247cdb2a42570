package engine

import (
	"errors"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// maxTries bounds how often one request is retried because label, generation
// or presence of its item changed while a verdict was being asked for.
const maxTries = 8

// maxAsked is how many answers one request may need in one generation, and more:
// relabel needs five. What is asked beyond them is asked because something has
// changed, and counts as a try.
const maxAsked = 6

// retry is what a pending call remembers between its executions: the answers it
// has received, all of one generation. They are kept apart from the worker's
// table so that a call that needs two answers makes progress even where the
// table holds only one of them.
type retry struct {
	tries   uint8
	asked   uint8 // questions in generation seq that were no tries
	parked  bool
	n       uint8
	seq     uint64 // the generation of got
	got     [4]answer
	job     *job
	explain *explanation
	context avc.SID // canonical SID of Call.Context in generation seq; retained
	bad     Status  // why Call.Context has none: BadContext, or Denied; else Failed
	kept    *kept   // the result of a call that waits for the disk
	spare   *kept   // zero, for the next one
	loads   bool    // the call waits for the data file to be loaded
}

// Reset prepares the call for the next request of its client. It runs for every
// request: field by field is a third of the cost of assigning a whole Call.
func (c *Call) Reset() {
	if r := c.retry; r != nil && (r.n != 0 || r.tries != 0 || r.asked != 0 || r.job != nil || r.kept != nil) {
		*r = retry{}
	}
	c.Op, c.Form, c.WithCAS = OpNone, FormNone, false
	c.Key, c.Value, c.Context, c.Body = nil, nil, nil, nil
	c.Text = c.Text[:0]
	c.Hash, c.Flags, c.Exptime, c.CAS, c.Delta = 0, 0, 0, 0, 0
	c.Number, c.NewCAS = 0, 0
	c.Upload, c.Pinned = storage.Item{}, storage.Item{}
	c.Opt, c.Composer, c.Trace, c.Gen = nil, nil, nil, nil
}

// Parked says whether the call waits for an answer.
func (c *Call) Parked() bool { return c.retry != nil && c.retry.parked }

// waiting is the call's retry state, made at the first need.
func (c *Call) waiting() *retry {
	if c.retry == nil {
		c.retry = new(retry)
	}
	return c.retry
}

// forget drops answers of another generation than seq.
func (r *retry) forget(seq uint64, mon *mac.Monitor) {
	if r.seq == seq {
		return
	}
	r.release(mon)
	if r.asked > 0 {
		r.tries++
	}
	r.seq, r.n, r.asked = seq, 0, 0
}

// release gives back the reference to the context that the client named.
func (r *retry) release(mon *mac.Monitor) {
	if r.context != 0 {
		mon.SIDs().Release(r.context)
	}
	r.context, r.bad = 0, Failed
}

// find returns the answer to q that this call has received.
func (r *retry) find(q *mac.Question) *mac.Answer {
	for i := range r.got[:r.n] {
		if r.got[i].q == *q {
			return &r.got[i].a
		}
	}
	return nil
}

// keep stores one answer; when there is no room the oldest goes.
func (r *retry) keep(m *answer) {
	if int(r.n) == len(r.got) {
		copy(r.got[:], r.got[1:])
		r.n--
	}
	r.got[r.n] = *m
	r.n++
}

// deliver gives the parked call its answer. It returns false when the call does
// not wait, or waits for something else.
func (r *retry) deliver(w *Worker, m *answer) bool {
	if r == nil || !r.parked {
		return false
	}
	if m.written || r.kept != nil || r.loads {
		if !m.written || r.kept == nil && !r.loads {
			return false
		}
		if r.kept != nil {
			r.kept.done, r.kept.lost = true, m.lost
		}
		r.loads, r.parked = false, false
		return true
	}
	if m.job != nil {
		if m.job != r.job {
			return false
		}
		r.parked = false
		return true
	}
	if r.job != nil {
		return false
	}
	r.parked = false
	r.forget(m.a.Seq, w.eng.mon)
	if m.q.Kind == mac.AskContext {
		r.release(w.eng.mon)
		r.context = m.a.SID
		switch {
		case m.a.Err == nil:
		case errors.Is(m.a.Err, mac.ErrInvalidContext):
			r.bad = BadContext
		default: // nobody could say, or there is no number for it
			r.bad = Denied
		}
		return true
	}
	r.keep(m)
	return true
}

// discard drops an answer that nobody waits for any more.
func (w *Worker) discard(m *answer) {
	if m.job == nil && !m.written && m.q.Kind == mac.AskContext && m.a.SID != 0 {
		w.eng.mon.SIDs().Release(m.a.SID)
	}
}

// learn enters an answer into the worker's tables. A failure is never stored.
func (w *Worker) learn(m *answer) {
	switch {
	case m.a.Err != nil || m.a.Decision.Failed:
	case m.q.Kind == mac.AskAccess:
		w.table.Insert(m.a.Seq, m.q.Source, m.q.Target, m.q.Class, m.a.Decision)
	case m.q.Kind == mac.AskCreate:
		w.labels.insert(m.a.Seq, m.q.Source, m.q.Selector, m.a.SID)
	}
}

// enter begins one execution of the call: it loads the current generation, once,
// unless the call is bound to one, and makes sure that the client's subject
// belongs to it.
func (w *Worker) enter(c *Call) *mac.Generation {
	g := c.Gen
	if g == nil {
		g = w.eng.mon.Generation()
	}
	cl := c.Client
	if cl.seq != g.Seq || !cl.known {
		w.subject(g, cl)
	}
	if c.retry != nil && c.retry.seq != g.Seq {
		c.retry.forget(g.Seq, w.eng.mon)
	}
	return g
}

// subject resolves who the client is in generation g. What somebody else has chosen as
// the label of new items counts no more; where nobody can say who it is, nothing is
// created, and it waits.
func (w *Worker) subject(g *mac.Generation, cl *Client) {
	var s avc.SID
	if cl.Peer != nil && !w.eng.off {
		s = w.eng.mon.Subject(g, cl.Peer)
	}
	if cl.ssid != 0 {
		w.eng.mon.SIDs().Release(cl.ssid)
	}
	cl.ssid, cl.seq, cl.known = s, g.Seq, true
	if cl.create != 0 && s != 0 && s != cl.chose {
		cl.label(w.eng.mon.SIDs(), 0)
	}
}

// check judges need for the call's client on target in generation g. ok is false
// when the decision is not at hand: the caller leaves its lock and calls resolve
// with accessQuestion.
func (w *Worker) check(g *mac.Generation, c *Call, target avc.SID, class avc.Class, need avc.Perms) (v mac.Verdict, ok bool) {
	if w.eng.off {
		return mac.Verdict{Allowed: true}, true
	}
	if need&avc.Calculate != 0 && class == avc.ClassItem {
		need = need&^avc.Calculate | g.Calculate
	}
	w.counters.AVCLookups++
	if g.Usable && need != 0 && w.table.Permits(g.Seq, c.Client.ssid, target, class, need) {
		w.counters.AVCHits++
		return mac.Verdict{Allowed: true, Granted: true}, true
	}
	d, ok := w.table.Lookup(g.Seq, c.Client.ssid, target, class)
	if !ok {
		if c.retry == nil || c.retry.n == 0 {
			w.counters.AVCMisses++
			return mac.Verdict{}, false
		}
		q := accessQuestion(c, target, class)
		a := c.retry.find(&q)
		if a == nil {
			w.counters.AVCMisses++
			return mac.Verdict{}, false
		}
		d = a.Decision
		if a.Err != nil {
			d = avc.Decision{Failed: true}
			w.counters.Failures++
		}
	} else {
		w.counters.AVCHits++
	}
	return g.Judge(d, need), true
}

// accessQuestion is the question behind check.
func accessQuestion(c *Call, target avc.SID, class avc.Class) mac.Question {
	return mac.Question{Kind: mac.AskAccess, Class: class, Source: c.Client.ssid, Target: target}
}

// resolve looks for the answer to q behind the worker's table. OK: it is at hand
// now, execute again. Pending: it has been asked for. Denied: the call has been
// retried too often. It must be called with no lock of the store held.
func (w *Worker) resolve(g *mac.Generation, c *Call, q mac.Question) Status {
	r := c.waiting()
	r.forget(g.Seq, w.eng.mon)
	if r.tries >= maxTries {
		w.counters.GaveUp++
		return Denied
	}
	if q.Kind != mac.AskContext {
		if a, ok := w.eng.mon.Cached(g, q); ok {
			m := answer{q: q, a: a}
			w.learn(&m)
			r.keep(&m)
			return OK
		}
	}
	if r.asked < maxAsked {
		r.asked++
	} else {
		r.tries++
	}
	r.parked = true
	w.counters.Parked++
	w.eng.mon.Ask(g, q, w, c.Tag)
	return Pending
}

// audit reports a verdict. It is called after the locks are released.
func (w *Worker) audit(g *mac.Generation, c *Call, v mac.Verdict, target avc.SID, class avc.Class) {
	if !v.Granted && v.Denied != 0 {
		k := 0
		if class == avc.ClassServer {
			k = 1
		}
		for p, i := v.Denied, 0; p != 0; p, i = p>>1, i+1 {
			if p&1 != 0 {
				w.counters.Denials[k][i]++
			}
		}
	}
	if v.Audit == 0 {
		return
	}
	r := &w.record
	r.Granted, r.Permissive = v.Granted, v.Allowed && !v.Granted
	r.Class, r.Perms = class, v.Audit
	sids := w.eng.mon.SIDs()
	r.Scontext, r.Tcontext = sids.String(c.Client.ssid), sids.String(target)
	r.Peer, r.Command = c.Client.Peer, Table[c.Op].Name
	r.NKey = uint8(copy(r.Key[:], c.Key))
	w.eng.mon.Audit(r)
}

// refused is the verdict v, about p, where something other than an access vector
// has said no: no valid label, or validatetrans. Permissive mode lets that pass
// too, and logs it.
func refused(g *mac.Generation, v mac.Verdict, p avc.Perms) mac.Verdict {
	return mac.Verdict{Allowed: v.Allowed && !g.Enforcing, Denied: p, Audit: p}
}

// denial is how the denial of the call's operation looks.
func (e *Secured) denial(c *Call) Status {
	if e.denyError {
		return Denied
	}
	var buf Row
	if s := c.row(&buf).Denial; s != Failed {
		return s
	}
	return Denied
}

// Authorize implements Interface.
func (e *Secured) Authorize(w *Worker, c *Call) Status {
	row := &Table[c.Op]
	if row.Free || e.off && row.Server != 0 {
		return OK
	}
	if row.Server == 0 {
		return Denied
	}
	for {
		g := w.enter(c)
		v, ok := w.check(g, c, g.Server, avc.ClassServer, row.Server)
		if !ok {
			if st := w.resolve(g, c, accessQuestion(c, g.Server, avc.ClassServer)); st != OK {
				return st
			}
			continue
		}
		w.audit(g, c, v, g.Server, avc.ClassServer)
		if !v.Allowed {
			return Denied
		}
		return OK
	}
}

// Delayed says whether the call waits for, or is being retried after, work on a
// helper goroutine (Interface.Background).
func (c *Call) Delayed() bool { return c.retry != nil && c.retry.job != nil }
