package engine

import (
	"strconv"

	"sememcached/avc"
	"sememcached/storage"
)

// Get implements Interface.
func (e *Secured) Get(w *Worker, c *Call, dst []byte) ([]byte, Status) {
	if c.Op != OpGet && e.data != nil && c.changes() {
		return e.getChanging(w, c, dst)
	}
	return e.get(w, c, dst)
}

func (e *Secured) get(w *Worker, c *Call, dst []byte) ([]byte, Status) {
	if c.Op != OpGet && c.Op != OpGat {
		return e.metaGet(w, c, dst)
	}
	row := &Table[c.Op]
	h := e.hash(c)
	for {
		g := w.enter(c)
		sh := e.store.Lock(h)
		it := w.find(sh, h, c.Key)
		if it.Nil() {
			sh.Unlock()
			w.countGetMiss(c)
			return dst, Miss
		}
		label := avc.SID(it.Label())
		v, ok := w.check(g, c, label, avc.ClassItem, row.Exists)
		if !ok {
			sh.Unlock()
			st := w.resolve(g, c, accessQuestion(c, label, avc.ClassItem))
			switch st {
			case OK:
				continue
			case Denied:
				w.countGetMiss(c)
				return dst, e.denial(c)
			}
			return dst, st
		}
		if !v.Allowed {
			sh.Unlock()
			w.audit(g, c, v, label, avc.ClassItem)
			w.countGetMiss(c)
			return dst, e.denial(c)
		}
		if c.Form == FormView {
			w.look(c, it)
		}
		w.traceFound(c, it)
		sh.Hit(it, w.now)
		if c.Op == OpGat { // memcached counts it as a touch only
			sh.SetExptime(it, e.exptime(c.Exptime, w.now))
			w.counters.CmdTouch++
			w.counters.TouchHits++
		} else {
			w.counters.CmdGet++
			w.counters.GetHits++
		}
		dst = render(sh, c, it, dst)
		sh.Unlock()
		if v.Audit != 0 {
			w.audit(g, c, v, label, avc.ClassItem)
		}
		return dst, OK
	}
}

// find looks up the live item of a key. An item that is expired or flushed is
// counted, whoever looked, as memcached does.
func (w *Worker) find(sh *storage.Shard, h uint64, key []byte) storage.Item {
	it, why := sh.Find(h, 0, key, w.now)
	w.why = why
	switch why {
	case storage.Expired:
		w.counters.GetExpired++
	case storage.Flushed:
		w.counters.GetFlushed++
	}
	return it
}

// countGetMiss counts a get that found nothing, or was denied: a denial counts
// as the miss it resembles.
func (w *Worker) countGetMiss(c *Call) {
	if c.Op == OpGat {
		w.counters.CmdTouch++
		w.counters.TouchMisses++
		return
	}
	w.counters.CmdGet++
	w.counters.GetMisses++
}

// render appends the item to dst in the call's form, or pins it when it is
// large. The shard is locked.
func render(sh *storage.Shard, c *Call, it storage.Item, dst []byte) []byte {
	switch c.Form {
	case FormNone:
		return dst
	case FormView:
		return compose(sh, c, it, dst)
	}
	text, tail := it.Text(), 0
	n := len(it.Value()) + 2
	if n > pinAbove && sh.Pin(it) {
		c.Pinned = it
		tail = n
	}
	dst = append(dst, "VALUE "...)
	if c.Form == FormText {
		if tail == 0 {
			return append(dst, text...)
		}
		c.Body = text
		return dst
	}
	// The cas goes between the byte count and the end of the first line.
	line := text[:len(text)-n-2]
	dst = append(dst, line...)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, it.CAS(), 10)
	dst = append(dst, '\r', '\n')
	if tail == 0 {
		return append(dst, text[len(text)-n:]...)
	}
	c.Body = text[len(text)-n:]
	return dst
}
