package engine

import (
	"strconv"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// audited is a verdict that has been acted upon and is reported after the locks.
type audited struct {
	g     *mac.Generation
	v     mac.Verdict
	label avc.SID
}

func (a *audited) write(w *Worker, c *Call) {
	if a.v.Audit != 0 {
		w.audit(a.g, c, a.v, a.label, avc.ClassItem)
	}
}

// lookup finds the call's item and judges it. OK: the shard is locked, the item
// is there, and the call may do what its row says; the caller changes it,
// unlocks and then audits with w.audited. Miss: absent. Denied: refused, already
// audited, to be answered by e.denial. Pending: as always.
func (e *Secured) lookup(w *Worker, c *Call) (sh *storage.Shard, it storage.Item, ad audited, st Status) {
	var buf Row
	need := c.row(&buf).Exists
	if need == 0 {
		return nil, it, ad, Denied
	}
	h := e.hash(c)
	for {
		g := w.enter(c)
		sh = e.store.Lock(h)
		it = w.find(sh, h, c.Key)
		if it.Nil() {
			if c.Op == OpDelete {
				sh.Forget(0, c.Key)
			}
			sh.Unlock()
			return nil, it, ad, Miss
		}
		label := avc.SID(it.Label())
		v, ok := w.check(g, c, label, avc.ClassItem, need)
		switch {
		case !ok:
			sh.Unlock()
			if st := w.resolve(g, c, accessQuestion(c, label, avc.ClassItem)); st != OK {
				return nil, storage.Item{}, ad, st
			}
		case !v.Allowed:
			sh.Unlock()
			w.audit(g, c, v, label, avc.ClassItem)
			return nil, storage.Item{}, ad, Denied
		default:
			w.traceFound(c, it)
			return sh, it, audited{g: g, v: v, label: label}, OK
		}
	}
}

// Delete implements Interface.
func (e *Secured) Delete(w *Worker, c *Call) Status {
	if st, ok := e.resume(c); ok {
		return st
	}
	if e.refuses() {
		return Failed
	}
	return e.settle(w, c, e.remove(w, c))
}

func (e *Secured) remove(w *Worker, c *Call) Status {
	sh, it, ad, st := e.lookup(w, c)
	switch st {
	case OK:
	case Pending:
		return Pending
	case Denied:
		w.counters.DeleteMisses++
		return e.denial(c)
	default:
		if d := e.data; d != nil && d.awaitLoad(w, c) {
			return Pending
		}
		w.counters.DeleteMisses++
		return st
	}
	switch {
	case c.WithCAS && it.CAS() != c.CAS:
		if c.Opt != nil && c.Opt.Meta {
			w.counters.DeleteMisses++
		}
		st = Exists
	case c.Opt != nil && (c.Opt.Invalidate || c.Opt.Clear):
		st = e.invalidate(w, c, sh, it)
	default:
		sh.Remove(e.hash(c), it)
		w.counters.DeleteHits++
	}
	sh.Unlock()
	ad.write(w, c)
	return st
}

// invalidate is what md does instead of removing: x empties the item, I marks it
// stale so that the next reader wins. The shard is locked.
func (e *Secured) invalidate(w *Worker, c *Call, sh *storage.Shard, it storage.Item) Status {
	o, h := c.Opt, e.hash(c)
	if o.Clear {
		spec := storage.Spec{
			Key: c.Key, Label: it.Label(), Flags: c.Flags, Exptime: e.exptime(o.TTL, w.now),
			CAS: it.CAS(), Now: w.now, BinaryKey: it.BinaryKey() && !Speakable(c.Key),
		}
		n, err := sh.Alloc(h, &spec)
		if err != nil {
			w.countRefused(c, NoMemory)
			return NoMemory
		}
		sh.Link(h, n)
		it = n
	}
	if o.Invalidate {
		if o.Touch {
			sh.SetExptime(it, e.exptime(o.TTL, w.now))
		}
		it.SetStale(true)
		it.SetTokenSent(false)
		it.SetCAS(e.nextCAS())
	}
	if o.SetCAS {
		it.SetCAS(o.NewCAS)
	}
	sh.Changed(it)
	return OK
}

// Touch implements Interface.
func (e *Secured) Touch(w *Worker, c *Call) Status {
	if st, ok := e.resume(c); ok {
		return st
	}
	if e.refuses() {
		return Failed
	}
	return e.settle(w, c, e.touch(w, c))
}

func (e *Secured) touch(w *Worker, c *Call) Status {
	sh, it, ad, st := e.lookup(w, c)
	if st == Pending {
		return Pending
	}
	w.counters.CmdTouch++
	if st != OK {
		w.counters.TouchMisses++
		if st == Denied {
			return e.denial(c)
		}
		return st
	}
	if c.Opt != nil {
		w.look(c, it)
	}
	sh.SetExptime(it, e.exptime(c.Exptime, w.now))
	sh.Touched(it, w.now)
	w.counters.TouchHits++
	sh.Unlock()
	ad.write(w, c)
	return OK
}

// Arith implements Interface.
func (e *Secured) Arith(w *Worker, c *Call) Status {
	if st, ok := e.resume(c); ok {
		return st
	}
	if e.refuses() {
		return Failed
	}
	return e.settle(w, c, e.count(w, c))
}

func (e *Secured) count(w *Worker, c *Call) Status {
	hits, misses := &w.counters.IncrHits, &w.counters.IncrMisses
	if c.Op == OpDecr {
		hits, misses = &w.counters.DecrHits, &w.counters.DecrMisses
	}
	sh, it, ad, st := e.lookup(w, c)
	switch st {
	case OK:
		st = e.arith(w, c, sh, it, avc.SID(it.Label()), hits)
		sh.Unlock()
		ad.write(w, c)
		return st
	case Pending:
		return Pending
	case Denied:
		*misses++
		return e.denial(c)
	case Miss:
		if c.Opt != nil && c.Opt.Vivify {
			if st = e.arithNew(w, c); st == Pending || st == OK {
				return st
			}
		}
	}
	*misses++
	return st
}

// arithNew makes the item of an incr or decr that vivifies. If somebody else has
// made it meanwhile, it is counted up after all.
func (e *Secured) arithNew(w *Worker, c *Call) Status {
	var buf [20]byte
	h := e.hash(c)
	for {
		g := w.enter(c)
		sel := w.selector(g, c)
		label, valid, ok := w.newLabel(g, c, sel)
		q := createQuestion(c, sel)
		var v mac.Verdict
		if ok {
			v, ok = w.check(g, c, label, avc.ClassItem, avc.Create)
			q = accessQuestion(c, label, avc.ClassItem)
		}
		if !ok {
			switch st := w.resolve(g, c, q); st {
			case OK:
				continue
			default:
				return st
			}
		}
		if !valid {
			v = refused(g, v, avc.Create)
		}
		if v.Allowed && w.unread(g, c, label) {
			if e.data.awaitLoad(w, c) {
				return Pending
			}
			continue
		}
		st := e.denial(c)
		if v.Allowed {
			sh := e.store.Lock(h)
			if it, _ := sh.Find(h, 0, c.Key, w.now); !it.Nil() {
				sh.Unlock()
				return e.count(w, c)
			}
			var it storage.Item
			if it, st = e.create(w, c, sh, h, label, strconv.AppendUint(buf[:0], c.Opt.Initial, 10), 0); st == Stored {
				w.look(c, it).Created = true
				w.times(sh, c, it)
				c.Number, st = c.Opt.Initial, OK
			}
			sh.Unlock()
		}
		w.audit(g, c, v, label, avc.ClassItem)
		return st
	}
}

// arith computes and stores the new number. The shard is locked.
func (e *Secured) arith(w *Worker, c *Call, sh *storage.Shard, it storage.Item, label avc.SID, hits *uint64) Status {
	value := it.Value()
	if len(value) == 0 {
		return NonNumeric
	}
	if c.WithCAS && it.CAS() != c.CAS {
		return Exists
	}
	n, ok := number(value)
	if !ok {
		return NonNumeric
	}
	if c.Op == OpIncr {
		n += c.Delta
	} else if n < c.Delta {
		n = 0
	} else {
		n -= c.Delta
	}
	*hits++
	c.Number = n
	var buf [20]byte
	digits := strconv.AppendUint(buf[:0], n, 10)
	if len(digits) > len(value) || it.Pinned() {
		spec := storage.Spec{
			Key: c.Key, Label: uint32(label), Flags: it.Flags(), Exptime: it.Exptime(),
			NValue: max(len(digits), len(value)), Now: w.now, BinaryKey: it.BinaryKey() && !Speakable(c.Key),
		}
		h := e.hash(c)
		next, err := sh.Alloc(h, &spec)
		if err != nil {
			return NoMemory
		}
		fillNumber(next.Value(), digits)
		sh.Link(h, next)
		it = next
	} else {
		fillNumber(value, digits)
		sh.Bump(it, w.now)
	}
	e.storeCAS(c)
	it.SetCAS(c.NewCAS)
	sh.Changed(it)
	if c.Opt != nil {
		w.look(c, it)
		w.times(sh, c, it)
	}
	return OK
}

// fillNumber writes a number over a value that may be longer: blanks follow it,
// and the length on the wire stays, as with memcached.
func fillNumber(v, digits []byte) {
	for i := copy(v, digits); i < len(v); i++ {
		v[i] = ' '
	}
}

// number reads the decimal number of an item as memcached's safe_strtoull does:
// leading white space and a plus sign are skipped, it ends at white space or at
// the end, and it must fit 64 bits.
func number(v []byte) (uint64, bool) {
	i := 0
	for i < len(v) && isSpace(v[i]) {
		i++
	}
	neg := false
	if i < len(v) && (v[i] == '+' || v[i] == '-') {
		neg = v[i] == '-'
		i++
	}
	start := i
	var n uint64
	for ; i < len(v) && v[i] >= '0' && v[i] <= '9'; i++ {
		d := uint64(v[i] - '0')
		if n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if i == start || i < len(v) && !isSpace(v[i]) || neg && n != 0 {
		return 0, false
	}
	return n, true
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }
