package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// TooLarge implements Interface.
func (e *Secured) TooLarge(c *Call, n int) bool {
	return e.store.TooLarge(len(c.Key), c.Flags, n)
}

// Reserve implements Interface.
func (e *Secured) Reserve(w *Worker, c *Call, n int) Status {
	if e.TooLarge(c, n) {
		return TooLarge
	}
	st := e.mayStore(w, c)
	if st == Pending {
		return Pending
	}
	if r := c.retry; r != nil {
		r.tries, r.asked = 0, 0 // the store has its own
	}
	if st != OK {
		return st
	}
	spec := storage.Spec{Key: c.Key, Flags: c.Flags, Exptime: e.exptime(c.Exptime, w.now), NValue: n, Now: w.now}
	if c.Opt != nil {
		spec.BinaryKey = c.Opt.BinaryKey
	}
	it, err := e.store.Reserve(e.hash(c), &spec)
	switch err {
	case nil:
		c.Upload = it
		return OK
	case storage.ErrTooLarge:
		return TooLarge
	}
	return NoMemory
}

// mayStore says whether the call's value would be stored as things are: OK or
// Denied, or Pending. It is no decision, and not audited: that comes when the
// request is complete. An item that is not there and has to be is no better than
// one that the client may not write. One that is there and must not be for an add
// may be gone by then: who may create may send the value.
func (e *Secured) mayStore(w *Worker, c *Call) Status {
	var buf Row
	row := c.row(&buf)
	if row.Exists == 0 {
		return Denied
	}
	h := e.hash(c)
	for {
		g := w.enter(c)
		var sel mac.Selector
		if row.Absent != 0 {
			sel = w.selector(g, c)
		}
		var q mac.Question
		var v mac.Verdict
		valid, ok := true, false
		sh := e.store.Lock(h)
		it := w.find(sh, h, c.Key)
		switch {
		case it.Nil() && row.Absent == 0:
			sh.Unlock()
			return Denied
		case !it.Nil() && c.Op != OpAdd:
			label := avc.SID(it.Label())
			v, ok = w.check(g, c, label, avc.ClassItem, row.Exists)
			q = accessQuestion(c, label, avc.ClassItem)
		default:
			var label avc.SID
			if label, valid, ok = w.newLabel(g, c, sel); !ok {
				q = createQuestion(c, sel)
				break
			}
			v, ok = w.check(g, c, label, avc.ClassItem, row.Absent)
			q = accessQuestion(c, label, avc.ClassItem)
		}
		sh.Unlock()
		switch {
		case !ok:
			if st := w.resolve(g, c, q); st != OK {
				return st
			}
		case v.Allowed && (valid || !g.Enforcing):
			return OK
		default:
			return Denied
		}
	}
}

// Abort implements Interface.
func (e *Secured) Abort(_ *Worker, c *Call) {
	if !c.Upload.Nil() {
		e.store.Release(c.Upload)
		c.Upload = storage.Item{}
	}
}

// countRefused counts a store that the memory could not take. memcached does not
// count those of the binary protocol.
func (w *Worker) countRefused(c *Call, why Status) {
	if c.Opt != nil && !c.Opt.Meta {
		return
	}
	switch why {
	case TooLarge:
		w.counters.StoreTooLarge++
	case NoMemory:
		w.counters.StoreNoMemory++
	}
}

// StoreRefused implements Interface: what memcached does to avoid that a stale
// value outlives a set that failed.
func (e *Secured) StoreRefused(w *Worker, c *Call, why Status) Status {
	if st, ok := e.resume(c); ok {
		return st
	}
	if e.refuses() {
		return Failed
	}
	return e.settle(w, c, e.storeRefused(w, c, why))
}

func (e *Secured) storeRefused(w *Worker, c *Call, why Status) Status {
	if why == Denied {
		return e.storeOnce(w, c, true)
	}
	if c.Op != OpSet {
		w.countRefused(c, why)
		return why
	}
	h := e.hash(c)
	for {
		g := w.enter(c)
		sh := e.store.Lock(h)
		it := w.find(sh, h, c.Key)
		if it.Nil() {
			sh.Unlock()
			if d := e.data; d != nil && d.awaitLoad(w, c) {
				return Pending
			}
			break
		}
		label := avc.SID(it.Label())
		v, ok := w.check(g, c, label, avc.ClassItem, Table[OpSet].Exists)
		if !ok {
			sh.Unlock()
			switch w.resolve(g, c, accessQuestion(c, label, avc.ClassItem)) {
			case OK:
				continue
			case Pending:
				return Pending
			}
			break
		}
		if v.Allowed {
			sh.Remove(h, it)
		}
		sh.Unlock()
		w.audit(g, c, v, label, avc.ClassItem)
		break
	}
	w.countRefused(c, why)
	return why
}

// Store implements Interface.
func (e *Secured) Store(w *Worker, c *Call) Status {
	if st, ok := e.resume(c); ok {
		return st
	}
	st := Failed
	if !e.refuses() {
		st = e.storeOnce(w, c, false)
	}
	if st == Pending {
		return Pending
	}
	e.Abort(w, c) // what was not linked goes back
	return e.settle(w, c, st)
}

// storeOnce decides and executes a store. lost says that its value has been
// discarded.
func (e *Secured) storeOnce(w *Worker, c *Call, lost bool) Status {
	var buf Row
	row := c.row(&buf)
	if row.Exists == 0 {
		w.counters.CmdSet++
		return e.denial(c)
	}
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
		if !it.Nil() {
			label := avc.SID(it.Label())
			v, ok := w.check(g, c, label, avc.ClassItem, row.Exists)
			if ok {
				return e.storeOver(w, c, g, v, sh, h, it, lost)
			}
			sh.Unlock()
			q = accessQuestion(c, label, avc.ClassItem)
		} else {
			if row.Absent == 0 {
				sh.Unlock()
				return w.storeAbsent(c)
			}
			label, valid, ok := w.newLabel(g, c, sel)
			var v mac.Verdict
			if ok {
				v, ok = w.check(g, c, label, avc.ClassItem, row.Absent)
				q = accessQuestion(c, label, avc.ClassItem)
			} else {
				q = createQuestion(c, sel)
			}
			if ok {
				if !valid {
					v = refused(g, v, row.Absent)
				}
				if v.Allowed && w.unread(g, c, label) {
					sh.Unlock()
					if e.data.awaitLoad(w, c) {
						return Pending
					}
					continue
				}
				return e.storeNew(w, c, g, v, sh, h, label, lost)
			}
			sh.Unlock()
		}
		switch st := w.resolve(g, c, q); st {
		case OK:
		case Denied:
			w.counters.CmdSet++
			return e.denial(c)
		default:
			return st
		}
	}
}

// storeAbsent answers a store that needs an item where there is none.
func (w *Worker) storeAbsent(c *Call) Status {
	w.counters.CmdSet++
	if c.Op == OpCAS {
		w.counters.CasMisses++
		return Miss
	}
	return NotStored
}

// storeNew creates an item, if v allows. It unlocks the shard.
func (e *Secured) storeNew(w *Worker, c *Call, g *mac.Generation, v mac.Verdict, sh *storage.Shard, h uint64, label avc.SID, lost bool) Status {
	w.counters.CmdSet++
	st := e.denial(c)
	switch {
	case !v.Allowed:
	case lost:
		st = e.putFailed(w, c, sh, h, storage.ErrNoMemory)
	default:
		exptime := c.Exptime
		if c.Opt != nil && c.Opt.Vivify {
			exptime = c.Opt.VivifyTTL
		}
		st = e.put(w, c, sh, h, storage.Item{}, label, e.exptime(exptime, w.now), false)
	}
	sh.Unlock()
	w.audit(g, c, v, label, avc.ClassItem)
	return st
}

// storeOver stores over the item found, if v allows. It unlocks the shard.
func (e *Secured) storeOver(w *Worker, c *Call, g *mac.Generation, v mac.Verdict, sh *storage.Shard, h uint64, it storage.Item, lost bool) Status {
	w.counters.CmdSet++
	label := avc.SID(it.Label())
	if v.Allowed {
		w.traceFound(c, it)
	}
	var st Status
	switch {
	case !v.Allowed:
		st = e.denial(c)
		if c.Op == OpCAS {
			w.counters.CasMisses++
		}
	case c.Op == OpAdd:
		sh.Bump(it, w.now)
		st = NotStored
	case lost && c.Op == OpCAS:
		// It came, or became the client's, while the value did: the answer is that
		// of before.
		w.counters.CasMisses++
		st = Miss
	case lost && c.Op != OpSet:
		st = NotStored
	case lost:
		st = e.putFailed(w, c, sh, h, storage.ErrNoMemory)
	case (c.WithCAS || c.Op == OpCAS) && it.CAS() != c.CAS:
		if c.Op == OpCAS && c.Opt != nil && c.Opt.Invalidate && c.CAS < it.CAS() {
			// An older value than the item's: better than none, and stale.
			w.counters.CasHits++
			sent := it.TokenSent()
			if st = e.put(w, c, sh, h, it, label, it.Exptime(), true); st == Stored {
				if it, _ = sh.Find(h, 0, c.Key, w.now); !it.Nil() {
					it.SetTokenSent(sent)
				}
			}
			break
		}
		if c.Op == OpCAS {
			w.counters.CasBadval++
		}
		st = Exists
	case c.Op == OpAppend || c.Op == OpPrepend:
		st = e.extend(w, c, sh, h, it, label)
	default:
		if c.Op == OpCAS {
			w.counters.CasHits++
		}
		st = e.put(w, c, sh, h, it, label, e.exptime(c.Exptime, w.now), false)
	}
	sh.Unlock()
	w.audit(g, c, v, label, avc.ClassItem)
	return st
}

// put stores the call's value under label, in place of old if there is one. The
// shard is locked.
func (e *Secured) put(w *Worker, c *Call, sh *storage.Shard, h uint64, old storage.Item, label avc.SID, exptime uint32, stale bool) Status {
	e.storeCAS(c)
	if up := c.Upload; !up.Nil() {
		sh.Adopt(up, uint32(label), c.NewCAS, w.now)
		sh.SetExptime(up, exptime)
		up.SetStale(stale)
		sh.Link(h, up)
		c.Upload = storage.Item{}
		w.stored(c, up)
		return Stored
	}
	spec := storage.Spec{
		Key: c.Key, Label: uint32(label), Flags: c.Flags, Exptime: exptime,
		CAS: c.NewCAS, NValue: len(c.Value), Now: w.now,
	}
	if c.Opt != nil {
		spec.BinaryKey = c.Opt.BinaryKey
	}
	if !old.Nil() {
		if it, ok := sh.Rewrite(h, old, &spec); ok {
			copy(it.Value(), c.Value)
			it.SetStale(stale)
			w.stored(c, it)
			return Stored
		}
	}
	it, err := sh.Alloc(h, &spec)
	if err != nil {
		return e.putFailed(w, c, sh, h, err)
	}
	copy(it.Value(), c.Value)
	it.SetStale(stale)
	sh.Link(h, it)
	w.stored(c, it)
	return Stored
}

// storeCAS gives the call the cas of what it stores: the next one, or the one
// that the client has chosen.
func (e *Secured) storeCAS(c *Call) {
	if c.Opt != nil && c.Opt.SetCAS {
		c.NewCAS = c.Opt.NewCAS
		return
	}
	c.NewCAS = e.nextCAS()
}

// stored fills in the view of an item that has just been stored.
func (w *Worker) stored(c *Call, it storage.Item) {
	if t := c.Trace; t != nil {
		t.Stored, t.New = true, w.eng.traceItem(it)
	}
	if c.Opt != nil {
		w.look(c, it)
	}
}

// putFailed is a store for which there is no memory: a set loses the old value,
// which the caller was allowed to overwrite. The shard is locked. Looking for
// room may have evicted the old item, so it is searched again.
func (e *Secured) putFailed(w *Worker, c *Call, sh *storage.Shard, h uint64, err error) Status {
	if c.Op == OpSet {
		if it, _ := sh.Find(h, 0, c.Key, w.now); !it.Nil() {
			sh.Remove(h, it)
		}
	}
	st := NoMemory
	if err == storage.ErrTooLarge {
		st = TooLarge
	}
	w.countRefused(c, st)
	return st
}

// extend appends or prepends the call's value to it; flags and exptime stay. That
// the key came in base64 is forgotten, as memcached forgets it. The store does not evict it meanwhile, being what was found last. The shard is
// locked.
func (e *Secured) extend(w *Worker, c *Call, sh *storage.Shard, h uint64, it storage.Item, label avc.SID) Status {
	value := c.Value
	if !c.Upload.Nil() {
		value = c.Upload.Value()
	}
	spec := storage.Spec{
		Key: c.Key, Label: uint32(label), Flags: it.Flags(), Exptime: it.Exptime(),
		NValue: len(it.Value()) + len(value), Now: w.now, BinaryKey: (it.BinaryKey() || c.Opt != nil && c.Opt.BinaryKey) && !Speakable(c.Key),
	}
	n, err := sh.Alloc(h, &spec)
	if err != nil {
		// memcached says no more than that here, whatever the reason.
		return NotStored
	}
	e.storeCAS(c)
	n.SetCAS(c.NewCAS)
	dst := n.Value()
	if c.Op == OpAppend {
		copy(dst[copy(dst, it.Value()):], value)
	} else {
		copy(dst[copy(dst, value):], it.Value())
	}
	sh.Link(h, n)
	w.stored(c, n)
	return Stored
}
