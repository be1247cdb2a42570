package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// look fills in the call's view from an item, before the operation changes it.
func (w *Worker) look(c *Call, it storage.Item) *View {
	o := c.Opt
	size := it.Size()
	class, _, _ := w.eng.store.Class(size)
	ttl := w.ttl(it.Exptime())
	o.View = View{
		Size: len(it.Value()), ItemSize: size, Class: class,
		TTL: ttl, AfterTouch: ttl, AfterVivify: ttl,
		CAS: it.CAS(), Flags: it.Flags(),
		LastAccess: w.since(it.LastAccess()), Fetched: it.Fetched(),
		Stale: it.Stale(), Sent: it.TokenSent(), BinaryKey: it.BinaryKey(),
	}
	return &o.View
}

// ttl is what remains of an exptime in seconds, -1 for ever. It may be negative
// or zero for one that has just passed, as a request may set it.
func (w *Worker) ttl(exptime uint32) int64 {
	if exptime == 0 {
		return -1
	}
	return int64(exptime) - int64(w.now)
}

// since is how many seconds ago a second was; 0 for one that is not over.
func (w *Worker) since(second uint32) uint32 {
	if second >= w.now {
		return 0
	}
	return w.now - second
}

// times does what T and N ask for, in their order, so that the last one stays.
func (w *Worker) times(sh *storage.Shard, c *Call, it storage.Item) {
	o, v := c.Opt, &c.Opt.View
	e := w.eng
	if o.Touch {
		x := e.exptime(o.TTL, w.now)
		sh.SetExptime(it, x)
		v.AfterTouch = w.ttl(x)
	}
	if v.Created && o.Vivify {
		x := e.exptime(o.VivifyTTL, w.now)
		v.AfterVivify = w.ttl(x)
		if !o.TouchLast {
			sh.SetExptime(it, x)
		}
	}
}

// compose renders a hit through the call's Composer. The shard is locked.
func compose(sh *storage.Shard, c *Call, it storage.Item, dst []byte) []byte {
	dst, tail := c.Composer.Compose(dst, &c.Opt.View)
	if tail == TailNone {
		return dst
	}
	text := it.Text()
	body := text[len(text)-len(it.Value())-2:]
	if tail == TailValue {
		body = body[:len(body)-2]
	}
	if len(body) > pinAbove && sh.Pin(it) {
		c.Pinned, c.Body = it, body
		return dst
	}
	return append(dst, body...)
}

// metaGet serves mg and me.
func (e *Secured) metaGet(w *Worker, c *Call, dst []byte) ([]byte, Status) {
	o := c.Opt
	if o == nil || c.Composer == nil {
		return dst, Denied
	}
	var buf Row
	row := c.row(&buf)
	h := e.hash(c)
	for {
		g := w.enter(c)
		var sel mac.Selector
		if row.Absent != 0 {
			sel = w.selector(g, c)
		}
		var q mac.Question
		sh := e.store.Lock(h)
		it := w.find(sh, h, c.Key)
		switch {
		case !it.Nil():
			label := avc.SID(it.Label())
			v, ok := w.check(g, c, label, avc.ClassItem, row.Exists)
			if ok {
				return e.metaHit(w, c, g, v, sh, it, dst)
			}
			q = accessQuestion(c, label, avc.ClassItem)
		case row.Absent == 0:
			sh.Unlock()
			w.countMeta(c, false)
			return dst, Miss
		default:
			label, valid, ok := w.newLabel(g, c, sel)
			if !ok {
				q = createQuestion(c, sel)
				break
			}
			v, ok := w.check(g, c, label, avc.ClassItem, row.Absent)
			if ok {
				if !valid {
					v = refused(g, v, row.Absent)
				}
				if v.Allowed && w.unread(g, c, label) {
					sh.Unlock()
					if e.data.awaitLoad(w, c) {
						return dst, Pending
					}
					continue
				}
				return e.metaVivify(w, c, g, v, sh, h, label, dst)
			}
			q = accessQuestion(c, label, avc.ClassItem)
		}
		sh.Unlock()
		switch st := w.resolve(g, c, q); st {
		case OK:
		case Denied:
			w.countMeta(c, false)
			return dst, e.denial(c)
		default:
			return dst, st
		}
	}
}

// countMeta counts a mg, or a me. A denial counts as the miss it resembles, an
// item that the request has made as a hit.
func (w *Worker) countMeta(c *Call, hit bool) {
	n := &w.counters
	switch {
	case c.Op == OpMetaDebug:
		n.CmdMeta++
		return
	case !hit:
		n.CmdGet++
		n.GetMisses++
	case c.Opt.Touch:
		n.CmdTouch++
		n.TouchHits++
	default:
		n.CmdGet++
		n.GetHits++
	}
}

// metaHit answers mg or me on an item that is there, if v allows. It unlocks.
func (e *Secured) metaHit(w *Worker, c *Call, g *mac.Generation, v mac.Verdict, sh *storage.Shard, it storage.Item, dst []byte) ([]byte, Status) {
	label := avc.SID(it.Label())
	if !v.Allowed {
		sh.Unlock()
		w.audit(g, c, v, label, avc.ClassItem)
		w.countMeta(c, false)
		return dst, e.denial(c)
	}
	o := c.Opt
	w.traceFound(c, it)
	view := w.look(c, it)
	view.Equal = o.DropEqual && it.CAS() == c.CAS
	var token mac.Verdict
	if c.Op == OpMetaGet {
		token = e.win(w, c, g, it, label)
		w.times(sh, c, it)
		if !o.NoBump {
			sh.Hit(it, w.now)
		}
	}
	w.countMeta(c, true)
	dst = compose(sh, c, it, dst)
	sh.Unlock()
	w.audit(g, c, v, label, avc.ClassItem)
	if !o.Touch { // else setattr is in v
		w.audit(g, c, token, label, avc.ClassItem)
	}
	return dst, OK
}

// win decides whether this client is the one to recache the item. A client
// without setattr neither takes a token nor sees that somebody has it. The shard
// is locked. The verdict is about setattr where a token was there to be taken, else
// zero: it is to be reported like any other, since a policy made of what the permissive
// mode reports would lack it otherwise.
func (e *Secured) win(w *Worker, c *Call, g *mac.Generation, it storage.Item, label avc.SID) (token mac.Verdict) {
	o, v := c.Opt, &c.Opt.View
	was := it.Exptime()
	if o.TouchFirst {
		was = e.exptime(o.TTL, w.now)
	}
	wins := !v.Sent && (v.Stale || o.Recache && was != 0 && was < e.exptime(o.RecacheTTL, w.now))
	if !wins && !v.Sent {
		return token
	}
	// The same decision as the one just used: it is at hand.
	s, ok := w.check(g, c, label, avc.ClassItem, avc.Setattr)
	if wins {
		token = s
	}
	if !ok || !s.Allowed {
		v.Sent = false
		return token
	}
	if wins {
		v.Won = true
		it.SetTokenSent(true)
	}
	return token
}

// metaVivify makes the empty item of mg N, if v allows. It unlocks.
func (e *Secured) metaVivify(w *Worker, c *Call, g *mac.Generation, v mac.Verdict, sh *storage.Shard, h uint64, label avc.SID, dst []byte) ([]byte, Status) {
	st := e.denial(c)
	if v.Allowed {
		var it storage.Item
		if it, st = e.create(w, c, sh, h, label, nil, 0); st == Stored {
			view := w.look(c, it)
			view.Created, view.Won = true, true
			it.SetTokenSent(true)
			w.times(sh, c, it)
			if !c.Opt.NoBump {
				sh.Hit(it, w.now)
			}
			dst, st = compose(sh, c, it, dst), OK
		}
	}
	w.countMeta(c, st == OK)
	sh.Unlock()
	w.audit(g, c, v, label, avc.ClassItem)
	return dst, st
}

// create makes an item for an operation that vivifies: value, flags, and the
// call's key; it never expires, times gives it its time. The shard is locked.
func (e *Secured) create(w *Worker, c *Call, sh *storage.Shard, h uint64, label avc.SID, value []byte, flags uint32) (storage.Item, Status) {
	spec := storage.Spec{
		Key: c.Key, Label: uint32(label), Flags: flags, NValue: len(value), Now: w.now, BinaryKey: c.Opt.BinaryKey && !Speakable(c.Key),
	}
	it, err := sh.Alloc(h, &spec)
	if err != nil {
		w.countRefused(c, NoMemory)
		return storage.Item{}, NoMemory
	}
	c.NewCAS = e.nextCAS()
	if c.Opt.SetCAS && c.Op != OpMetaGet {
		c.NewCAS = c.Opt.NewCAS
	}
	it.SetCAS(c.NewCAS)
	copy(it.Value(), value)
	sh.Link(h, it)
	if t := c.Trace; t != nil {
		t.New = w.eng.traceItem(it)
	}
	return it, Stored
}
