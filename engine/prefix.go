package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// Known implements Interface.
func (e *Secured) Known(w *Worker, c *Call) { w.enter(c) }

// found is one item of a batch of DeletePrefix.
type found struct {
	start, end int
	label      avc.SID
}

// DeletePrefix implements Interface. Items are found in batches; each is looked up
// again under its shard's lock before it goes, so that one which has another label
// by then stays.
func (e *Secured) DeletePrefix(c *Call, prefix []byte) (removed uint64, ok bool) {
	if d := e.data; d != nil {
		<-d.loaded
	}
	cur := storage.Cursor{Prefix: prefix, Now: e.Clock()}
	verdicts := map[avc.SID]mac.Verdict{}
	seq := e.mon.Generation().Seq
	var keys []byte
	var batch []found
	for more := true; more; {
		keys, batch = keys[:0], batch[:0]
		more = e.store.Scan(&cur, func(it storage.Item) bool {
			start := len(keys)
			keys = append(keys, it.Key()...)
			batch = append(batch, found{start, len(keys), avc.SID(it.Label())})
			return true
		})
		if now := e.mon.Generation().Seq; now != seq {
			seq = now
			clear(verdicts)
		}
		for _, f := range batch {
			v, known := verdicts[f.label]
			if !known {
				v = e.judge(c.Client.ssid, f.label, avc.ClassItem, avc.Remove)
				verdicts[f.label] = v
				e.auditOff(c.Client.Peer, c.Client.ssid, f.label, v, OpDeletePrefix)
			}
			if e.refuses() {
				return removed, false
			}
			if !v.Allowed {
				continue
			}
			if it, gone := e.removeIf(keys[f.start:f.end], f.label); gone {
				removed++
				if c.Removed != nil {
					c.Removed(seq, it, keys[f.start:f.end])
				}
			}
		}
	}
	if e.alwaysSynced() && e.data.Barrier() != nil {
		return removed, false
	}
	return removed, true
}

// removeIf removes the item of a key if it still has the label, and says what it was.
func (e *Secured) removeIf(key []byte, label avc.SID) (was TraceItem, removed bool) {
	h := e.store.Hash(0, key)
	sh := e.store.Lock(h)
	defer sh.Unlock()
	it, _ := sh.Find(h, 0, key, e.Clock())
	if it.Nil() || avc.SID(it.Label()) != label || e.refuses() {
		return was, false
	}
	was = e.traceItem(it)
	sh.Remove(h, it)
	return was, true
}
