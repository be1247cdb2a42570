package engine

import (
	"bytes"

	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// Whoami implements Interface: Call.Text is "MAC <context>".
func (e *Secured) Whoami(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	w.enter(c)
	c.Text = append(append(c.Text[:0], "MAC "...), e.mon.SIDs().String(c.Client.ssid)...)
	return OK
}

// Label implements Interface: Call.Text is "LABEL <key> <context>".
func (e *Secured) Label(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	sh, it, ad, st := e.lookup(w, c)
	switch st {
	case OK:
	case Denied:
		return e.denial(c)
	default:
		return st
	}
	label := avc.SID(it.Label())
	sh.Unlock()
	ad.write(w, c)
	c.Text = append(append(c.Text[:0], "LABEL "...), c.Key...)
	c.Text = append(append(c.Text, ' '), e.mon.SIDs().String(label)...)
	return OK
}

// itemPerms reads the names of permissions of kv_item; 0 if one of them is none.
func itemPerms(names []byte) (p avc.Perms) {
	for _, name := range bytes.Fields(names) {
		one, ok := avc.ClassItem.Perm(string(name))
		if !ok {
			return 0
		}
		p |= one
	}
	return p
}

// Check implements Interface: Call.Text is "ALLOWED <perms>" when the client
// holds all of Call.Context's permissions on the item, else "DENIED <perms>"
// with those that it lacks. It asks; nothing of the answer is audited.
func (e *Secured) Check(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	need := itemPerms(c.Context)
	if need == 0 {
		return BadPerm
	}
	for {
		sh, it, ad, st := e.lookup(w, c)
		switch st {
		case OK:
		case Denied:
			return e.denial(c)
		default:
			return st
		}
		label := avc.SID(it.Label())
		v, ok := w.check(ad.g, c, label, avc.ClassItem, need)
		sh.Unlock()
		if !ok {
			if st := w.resolve(ad.g, c, accessQuestion(c, label, avc.ClassItem)); st != OK {
				return st
			}
			continue
		}
		ad.write(w, c)
		word, perms := "ALLOWED", need
		if !v.Allowed {
			word, perms = "DENIED", v.Denied
		}
		c.Text = append(c.Text[:0], word...)
		for _, name := range avc.ClassItem.PermNames(perms) {
			c.Text = append(append(c.Text, ' '), name...)
		}
		return OK
	}
}

// context resolves Call.Context, a security context as the client wrote it, to
// its SID in generation g.
func (e *Secured) context(w *Worker, c *Call, g *mac.Generation) (avc.SID, Status) {
	r := c.waiting()
	r.forget(g.Seq, e.mon)
	if r.bad != Failed {
		return 0, r.bad
	}
	if r.context == 0 {
		return 0, w.resolve(g, c, mac.Question{Kind: mac.AskContext, Class: avc.ClassItem, Source: c.Client.ssid, Text: string(c.Context)})
	}
	return r.context, OK
}

// CreateContext implements Interface: the label of the items that the client
// creates from now on, "-" for the ordinary one. create is checked on it now
// and at every store.
func (e *Secured) CreateContext(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	sids := e.mon.SIDs()
	if string(c.Context) == "-" {
		c.Client.label(sids, 0)
		return OK
	}
	for {
		g := w.enter(c)
		label, st := e.context(w, c, g)
		if st == OK && label == 0 {
			continue
		}
		if st != OK {
			if st != Pending {
				c.retry.release(e.mon)
			}
			return st
		}
		v, ok := w.check(g, c, label, avc.ClassItem, Table[OpCreateContext].Absent)
		if !ok {
			switch st := w.resolve(g, c, accessQuestion(c, label, avc.ClassItem)); st {
			case OK:
				continue
			case Pending:
				return st
			}
		}
		w.audit(g, c, v, label, avc.ClassItem)
		if !v.Allowed {
			c.retry.release(e.mon)
			return Denied
		}
		c.Client.label(sids, label)
		c.retry.context = 0 // the reference has moved
		return OK
	}
}

// Relabel implements Interface. The order is: validity of the context; getattr,
// setattr and relabelfrom on the item's label; relabelto on the new one, and
// validatetrans. The item is stored anew: labels never change in place.
func (e *Secured) Relabel(w *Worker, c *Call) Status {
	if e.off {
		return Disabled
	}
	if st, ok := e.resume(c); ok {
		return st
	}
	if e.refuses() {
		return Failed
	}
	st := e.relabel(w, c)
	if st != Pending && c.retry != nil {
		c.retry.release(e.mon)
	}
	return e.settle(w, c, st)
}

func (e *Secured) relabel(w *Worker, c *Call) Status {
	for {
		g := w.enter(c)
		label, st := e.context(w, c, g)
		if st != OK {
			return st
		}
		sh, it, ad, st := e.lookup(w, c)
		switch st {
		case OK:
		case Denied:
			return e.denial(c)
		default:
			return st
		}
		if ad.g != g { // a reload in between: the context has to be looked at again
			sh.Unlock()
			continue
		}
		old := avc.SID(it.Label())
		v, ok := w.check(g, c, label, avc.ClassItem, avc.RelabelTo)
		if !ok {
			sh.Unlock()
			switch st := w.resolve(g, c, accessQuestion(c, label, avc.ClassItem)); st {
			case OK:
				continue
			default:
				return st
			}
		}
		trans := mac.Question{Kind: mac.AskTransition, Class: avc.ClassItem, Source: old, Target: label, Task: c.Client.ssid}
		a := c.waiting().find(&trans)
		if v.Allowed && a == nil {
			sh.Unlock()
			switch st := w.resolve(g, c, trans); st {
			case OK:
				continue
			default:
				return st
			}
		}
		if v.Allowed && a.Err != nil {
			v = refused(g, v, avc.RelabelTo)
		}
		st = Denied
		if v.Allowed {
			st = e.relabelItem(w, c, sh, it, label)
		}
		sh.Unlock()
		ad.write(w, c)
		w.audit(g, c, v, label, avc.ClassItem)
		return st
	}
}

// relabelItem stores a copy of it under another label: same value, flags,
// exptime, store time, instance and marks, a new cas. The store does not evict
// it meanwhile, being what was found last. The shard is locked. An item that came
// in the second of its label's flush is dated after it; under a label that was not
// flushed then, that would be ahead of the clock, and of the next flush.
func (e *Secured) relabelItem(w *Worker, c *Call, sh *storage.Shard, it storage.Item, label avc.SID) Status {
	spec := storage.Spec{
		Key: c.Key, Instance: it.Instance(), Label: uint32(label), Flags: it.Flags(), Exptime: it.Exptime(),
		NValue: len(it.Value()), Now: min(it.StoreTime(), w.now), BinaryKey: it.BinaryKey(),
	}
	h := e.hash(c)
	n, err := sh.Alloc(h, &spec)
	if err != nil {
		w.countRefused(c, NoMemory)
		return NoMemory
	}
	c.NewCAS = e.nextCAS()
	n.SetCAS(c.NewCAS)
	n.SetStale(it.Stale())
	n.SetTokenSent(it.TokenSent())
	copy(n.Value(), it.Value())
	sh.Link(h, n)
	return OK
}
