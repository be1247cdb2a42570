package engine

import (
	"sememcached/avc"
	"sememcached/mac"
)

// labelTable remembers which label a new item gets, by client and selector: a
// small direct-mapped table in front of the monitor's shared layer. The zero
// table is empty.
type labelTable struct {
	entries [1024]labelEntry
}

type labelEntry struct {
	seq   uint64
	ssid  avc.SID
	sel   mac.Selector
	label avc.SID // 0: empty
}

func (t *labelTable) slot(ssid avc.SID, sel mac.Selector) *labelEntry {
	h := uint32(ssid)*0x9e3779b1 ^ uint32(sel)*0x85ebca6b
	return &t.entries[h>>22]
}

func (t *labelTable) lookup(seq uint64, ssid avc.SID, sel mac.Selector) (avc.SID, bool) {
	e := t.slot(ssid, sel)
	if e.label == 0 || e.seq != seq || e.ssid != ssid || e.sel != sel {
		return 0, false
	}
	return e.label, true
}

func (t *labelTable) insert(seq uint64, ssid avc.SID, sel mac.Selector, label avc.SID) {
	*t.slot(ssid, sel) = labelEntry{seq: seq, ssid: ssid, sel: sel, label: label}
}

// newLabel is the label that an item gets which the call creates. ok is false
// when it is not at hand: the caller resolves createQuestion. valid is false
// when no label can be given: creating is denied then.
func (w *Worker) newLabel(g *mac.Generation, c *Call, sel mac.Selector) (label avc.SID, valid, ok bool) {
	if w.eng.off {
		return 0, true, true
	}
	if s := c.Client.create; s != 0 {
		return s, true, true
	}
	if s, ok := w.labels.lookup(g.Seq, c.Client.ssid, sel); ok {
		return s, true, true
	}
	if c.retry == nil || c.retry.n == 0 {
		return 0, false, false
	}
	q := createQuestion(c, sel)
	a := c.retry.find(&q)
	if a == nil {
		return 0, false, false
	}
	if a.Err != nil || a.SID == 0 {
		return g.Unlabeled, false, true
	}
	return a.SID, true, true
}

// createQuestion is the question behind newLabel.
func createQuestion(c *Call, sel mac.Selector) mac.Question {
	return mac.Question{Kind: mac.AskCreate, Class: avc.ClassItem, Source: c.Client.ssid, Selector: sel}
}

// selector computes which rule labels a new item under the call's key.
func (w *Worker) selector(g *mac.Generation, c *Call) mac.Selector {
	if w.eng.off || c.Client.create != 0 {
		return 0
	}
	return g.Selector(c.Key)
}
