package engine

import (
	"errors"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage/disk"
)

// labelIDs are the labels of the file. A label is persisted as its context; its
// SID is born anew with every process, and may be another context's later, so that
// what is remembered by SID is compared before it is used.
type labelIDs struct {
	byContext map[string]*fileLabel
	bySID     map[avc.SID]*fileLabel
	next      uint32
}

type fileLabel struct {
	id      uint32
	context string
	flushed uint32 // as the file has it
	last    uint64 // the last segment that names it
}

// of returns the file's label for a SID, and puts it into the batch if it is new.
func (d *Data) labelOf(s avc.SID) *fileLabel {
	ctx := d.eng.mon.SIDs().String(s)
	l := d.labels.bySID[s]
	if l == nil || l.context != ctx {
		if l = d.labels.byContext[ctx]; l == nil {
			l = d.newLabel(ctx, d.eng.store.Flushed(uint32(s)))
		}
		d.labels.bySID[s] = l
	}
	l.last = d.file.Next()
	return l
}

// newLabel gives a context a number in the file. No context has number 0.
func (d *Data) newLabel(ctx string, flushed uint32) *fileLabel {
	l := &fileLabel{context: ctx, flushed: flushed}
	if ctx != "" {
		d.labels.next++
		l.id = d.labels.next
	}
	d.labels.byContext[ctx] = l
	d.batch.Labels = append(d.batch.Labels, disk.Label{ID: l.id, Flushed: flushed, Context: ctx})
	return l
}

// putFlushes puts the flushes that have come into the batch.
func (d *Data) putFlushes() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.flushes {
		l := d.labels.byContext[f.context]
		if l == nil {
			l = d.newLabel(f.context, f.second)
		} else if f.second > l.flushed {
			l.flushed = f.second
			d.batch.Labels = append(d.batch.Labels, disk.Label{ID: l.id, Flushed: f.second, Context: l.context})
		}
		l.last = d.file.Next()
	}
	d.flushes = d.flushes[:0]
	if d.pendingNew {
		d.batch.SetPending, d.batch.Pending = true, d.pending
		d.pendingNew = false
	}
}

// dropLabels deletes the labels that nothing in the file names any more, now that
// segments before seq go.
func (d *Data) dropLabels(seq uint64) {
	for ctx, l := range d.labels.byContext {
		if l.last < seq {
			delete(d.labels.byContext, ctx)
			d.batch.Unused = append(d.batch.Unused, l.id)
		}
	}
	for s, l := range d.labels.bySID {
		if l.last < seq {
			delete(d.labels.bySID, s)
		}
	}
}

// resolve finds the SID of a context from the file, retained. A context that the
// policy does not know is interned as it is: it acts as unlabeled until a policy
// knows it again. What is no context at all, and no context, is unlabeled.
func (e *Secured) resolve(ctx string) (s avc.SID, known bool, err error) {
	sids := e.mon.SIDs()
	if e.off {
		s, err = sids.Intern(ctx)
		return s, true, err
	}
	if ctx != "" {
		_, a := e.mon.DecideNow(mac.Question{Kind: mac.AskContext, Class: avc.ClassItem, Text: ctx})
		switch {
		case a.Err == nil && a.SID != 0:
			return a.SID, true, nil
		case errors.Is(a.Err, avc.ErrFull):
			return 0, false, avc.ErrFull
		}
		if plausible(ctx) {
			s, err = sids.Intern(ctx)
			return s, false, err
		}
	}
	g := e.mon.Generation()
	s, err = sids.Intern(sids.String(g.Unlabeled))
	return s, false, err
}

// maxContext bounds a context in bytes, as mac does.
const maxContext = 4000

// plausible says whether a text could be a context of some policy.
func plausible(ctx string) bool {
	colons := 0
	for i := 0; i < len(ctx); i++ {
		if ctx[i] < 0x21 || ctx[i] > 0x7e {
			return false
		}
		if ctx[i] == ':' {
			colons++
		}
	}
	return colons >= 2 && len(ctx) <= maxContext
}
