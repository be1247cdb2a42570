package engine_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/storage"
)

// step is one operation of a random client.
func (m *machine) step() {
	who, key := m.next(len(m.drivers)), m.key()
	d := m.drivers[who]
	switch op := m.next(48); {
	case op < 8:
		m.get(d, who, key)
	case op < 11:
		m.touch(d, who, key)
	case op < 24:
		m.store(d, who, key)
	case op < 28:
		m.arith(d, who, key)
	case op < 31:
		m.remove(d, who, key)
	case op < 35:
		m.metaGet(d, who, key)
	case op < 37:
		m.relabel(d, who, key)
	case op < 38:
		m.choose(d, who)
	case op < 40:
		m.look(d, who, key)
	case op < 41:
		m.flush(d, who)
	case op < 42:
		m.dump(d, who)
	case op < 43 && m.next(4) == 0:
		m.prefix(d, who)
	case op < 45:
		m.reload()
	case op < 46:
		m.counts["crawl"]++
		m.note("crawl")
		m.eng.Storage().CrawlStep(&m.crawl, m.eng.Clock())
	default:
		m.wait(int64(m.next(4)))
	}
}

func (m *machine) status(what string, got, want engine.Status) {
	m.t.Helper()
	m.counts[what]++
	if got != want {
		m.fail("%s: expected status %d, found %d", what, want, got)
	}
}

// wait lets time pass, and flushes that were to come be executed.
func (m *machine) wait(seconds int64) {
	m.note("%d s pass", seconds)
	m.advance(seconds)
	used := m.used()
	m.eng.RunFlushes()
	now := m.eng.Clock()
	for i, f := range m.pending {
		if f.done || f.due > now {
			continue
		}
		f.done = true
		if f.labels == nil {
			f.labels = used
		}
		for _, label := range modelLabels {
			if f.labels[label] && !m.superseded(f, label, m.pending[i+1:]) && m.may(f.who, label, avc.Remove) {
				m.flushed[label] = max(m.flushed[label]+1, f.due) // each flush has a second of its own
			}
		}
	}
	m.pending = slices.DeleteFunc(m.pending, func(f *modelFlush) bool { return f.done && f.due+20 < now })
	for key, it := range m.items {
		if m.dead(it) {
			delete(m.items, key)
		}
	}
}

// used are the labels that items have. A flush forgets others, for no item can be
// older than it; but one that is relabelled later can.
func (m *machine) used() map[string]bool {
	set := map[string]bool{}
	m.eng.Storage().Labels(func(label uint32, st storage.LabelStats) bool {
		if st.Items > 0 {
			set[m.mon.SIDs().String(avc.SID(label))] = true
		}
		return true
	})
	return set
}

// superseded: a newer flush takes the place of an older one that is still to come
// only where it is allowed itself; of one's own always.
func (m *machine) superseded(f *modelFlush, label string, newer []*modelFlush) bool {
	for _, n := range newer {
		if n.issued < f.due && (n.who == f.who || m.may(n.who, label, avc.Remove)) {
			return true
		}
	}
	return false
}

func (m *machine) flush(d *enginetest.Driver, who int) {
	delay := int64(0)
	if m.next(2) == 0 {
		delay = int64(2 + m.next(10))
	}
	m.note("client %d: flush_all %d", who, delay)
	used := m.used()
	d.Call(engine.OpFlush, "").Exptime = delay
	m.status("flush", d.Run(m.eng.Flush), engine.OK)
	now := m.eng.Clock()
	f := &modelFlush{who: who, issued: now, due: now}
	if delay > 0 {
		f.due = now + uint32(delay) - 1
	} else {
		f.labels = used
	}
	m.pending = append(m.pending, f)
	// What is stored again in the second of a flush is dated after it; the tests of
	// the store look at that. Here every flush has its second for itself.
	m.wait(2)
}

// reload changes who may do what.
func (m *machine) reload() {
	m.counts["reload"]++
	r := m.rights
	r.mu.Lock()
	for range 1 + m.next(3) {
		k := [2]string{modelSubjects[m.next(len(modelSubjects))], modelLabels[m.next(len(modelLabels))]}
		if m.next(3) == 0 {
			r.denied[k] = avc.Perms(m.next(1 << 10))
		} else {
			delete(r.denied, k)
		}
		m.note("%s on %s lacks %#x", k[0], k[1], r.denied[k])
	}
	move := [2]string{modelLabels[m.next(len(modelLabels))], modelLabels[m.next(len(modelLabels))]}
	r.moves[move] = m.next(3) == 0
	r.mu.Unlock()
	if err := m.mon.Reload(); err != nil {
		m.fail("reload: %v", err)
	}
}

// hitText reads a key with the form of gets.
func (m *machine) hitText(d *enginetest.Driver, c *engine.Call) (string, engine.Status) {
	c.Form = engine.FormTextCAS
	var out []byte
	st := d.Run(func(w *engine.Worker, c *engine.Call) (st engine.Status) {
		out, st = m.eng.Get(w, c, out[:0])
		return st
	})
	if !c.Pinned.Nil() {
		out = append(out, c.Body...)
		m.eng.Storage().Unpin(c.Pinned)
	}
	return string(out), st
}

func (m *machine) get(d *enginetest.Driver, who int, key string) {
	it := m.find(key)
	gat := m.next(4) == 0
	op, need, exptime := engine.OpGet, avc.Perms(avc.Read), int64(0)
	if gat {
		op, need, exptime = engine.OpGat, avc.Read|avc.Setattr, m.exptime()
	}
	m.note("client %d: %s %s %d", who, engine.Table[op].Name, key, exptime)
	c := d.Call(op, key)
	c.Exptime = exptime
	out, st := m.hitText(d, c)
	hit := it != nil && m.may(who, it.label, need)
	if !hit {
		m.status(engine.Table[op].Name, st, engine.Miss)
		m.agree(key, false)
		return
	}
	m.status(engine.Table[op].Name, st, engine.OK)
	if want := fmt.Sprintf("VALUE %s %d %d %d\r\n%s\r\n", key, it.flags, len(it.value), it.cas, it.value); out != want {
		m.fail("expected %.200q, found %.200q", want, out)
	}
	if gat {
		it.exptime = m.until(exptime)
	}
	m.agree(key, true)
}

func (m *machine) touch(d *enginetest.Driver, who int, key string) {
	it, exptime := m.find(key), m.exptime()
	m.note("client %d: touch %s %d", who, key, exptime)
	d.Call(engine.OpTouch, key).Exptime = exptime
	st := d.Run(m.eng.Touch)
	if it == nil || !m.may(who, it.label, avc.Setattr) {
		m.status("touch", st, engine.Miss)
		m.agree(key, false)
		return
	}
	m.status("touch", st, engine.OK)
	it.exptime = m.until(exptime)
	m.agree(key, true)
}

// storeNeeds is what a store needs: on the item that is there, and on the label of
// the one that would be made; and what its denial looks like.
var storeNeeds = map[engine.Op]struct {
	exists, absent avc.Perms
	denial         engine.Status
}{
	engine.OpSet:     {avc.Write, avc.Create, engine.Denied},
	engine.OpAdd:     {avc.Getattr, avc.Create, engine.Denied},
	engine.OpReplace: {avc.Write, 0, engine.NotStored},
	engine.OpAppend:  {avc.Append, 0, engine.NotStored},
	engine.OpPrepend: {avc.Append, 0, engine.NotStored},
	engine.OpCAS:     {avc.Write, 0, engine.Miss},
}

func (m *machine) store(d *enginetest.Driver, who int, key string) {
	ops := []engine.Op{engine.OpSet, engine.OpSet, engine.OpSet, engine.OpSet, engine.OpAdd, engine.OpReplace, engine.OpAppend, engine.OpPrepend, engine.OpCAS}
	op := ops[m.next(len(ops))]
	value, flags, exptime := m.value(), uint32(m.next(1<<16)), m.exptime()
	need := storeNeeds[op]
	c := d.Call(op, key)
	c.Flags, c.Exptime = flags, exptime
	it := m.find(key)
	if op == engine.OpCAS && it != nil {
		c.CAS = it.cas + uint64(m.next(3)/2)
	}
	cas := c.CAS
	lost := false
	if !m.nested && m.next(3) == 0 {
		if lost = m.reserve(d, who, key, op, value); !lost {
			copy(c.Upload.Value(), value)
		}
		// While the value arrives, others go on.
		m.nested = true
		other := (who + 1) % len(m.drivers)
		switch m.next(4) {
		case 0:
			m.remove(m.drivers[other], other, key)
		case 1:
			m.store(m.drivers[other], other, key)
		case 2:
			m.wait(int64(m.next(3)))
		case 3:
			m.reload()
		}
		m.nested = false
		it = m.find(key)
	} else {
		c.Value = []byte(value)
	}
	m.note("client %d: %s %s flags %d exptime %d %d bytes cas %d, thrown away %v", who, engine.Table[op].Name, key, flags, exptime, len(value), cas, lost)
	var st engine.Status
	if lost {
		st = d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return m.eng.StoreRefused(w, c, engine.Denied) })
	} else {
		st = d.Run(m.eng.Store)
	}
	fresh := modelItem{flags: flags, value: value, exptime: m.until(exptime), stored: m.eng.Clock(), cas: c.NewCAS}
	want := engine.Stored
	switch {
	case it == nil && need.absent == 0:
		want = engine.NotStored
		if op == engine.OpCAS {
			want = engine.Miss
		}
	case it == nil && !m.may(who, m.newLabel(who), need.absent):
		want = need.denial
	case it == nil && lost:
		want = engine.NoMemory
	case it == nil:
		fresh.label = m.newLabel(who)
	case !m.may(who, it.label, need.exists):
		want = need.denial
	case op == engine.OpAdd:
		want = engine.NotStored
	case lost && op == engine.OpCAS:
		want = engine.Miss
	case lost && op != engine.OpSet:
		want = engine.NotStored
	case lost:
		want = engine.NoMemory
		delete(m.items, key)
	case op == engine.OpCAS && cas != it.cas:
		want = engine.Exists
	case op == engine.OpAppend:
		fresh.flags, fresh.exptime, fresh.label, fresh.value = it.flags, it.exptime, it.label, it.value+value
	case op == engine.OpPrepend:
		fresh.flags, fresh.exptime, fresh.label, fresh.value = it.flags, it.exptime, it.label, value+it.value
	default:
		fresh.label = it.label
	}
	m.status("store", st, want)
	if want == engine.Stored {
		m.unique(c.NewCAS)
		m.put(key, fresh)
	}
	m.agree(key, op == engine.OpAdd)
}

// reserve begins an upload, and says whether the value will be thrown away: who
// could not store it now takes no memory.
func (m *machine) reserve(d *enginetest.Driver, who int, key string, op engine.Op, value string) (lost bool) {
	it, need, want := m.find(key), storeNeeds[op], engine.OK
	switch {
	case it != nil && op != engine.OpAdd:
		if !m.may(who, it.label, need.exists) {
			want = engine.Denied
		}
	case need.absent == 0 || !m.may(who, m.newLabel(who), need.absent):
		want = engine.Denied
	}
	m.note("client %d: reserve for %s %s %d bytes", who, engine.Table[op].Name, key, len(value))
	st := d.Run(func(w *engine.Worker, c *engine.Call) engine.Status { return m.eng.Reserve(w, c, len(value)) })
	m.status("upload", st, want)
	return want == engine.Denied
}

func (m *machine) arith(d *enginetest.Driver, who int, key string) {
	it, delta, initial, exptime := m.find(key), uint64(m.next(1<<16)), uint64(m.next(1000)), m.exptime()
	decr, vivify := m.next(2) == 0, m.next(3) == 0
	op := engine.OpIncr
	if decr {
		op = engine.OpDecr
	}
	m.note("client %d: %s %s %d vivify %v", who, engine.Table[op].Name, key, delta, vivify)
	c := d.Call(op, key)
	c.Delta = delta
	denial := engine.Miss
	if vivify {
		c.Opt = &engine.Options{Vivify: true, VivifyTTL: exptime, Initial: initial}
		denial = engine.Denied
	}
	st := d.Run(m.eng.Arith)
	switch {
	case it == nil && !vivify:
		m.status("arith", st, engine.Miss)
	case it == nil && !m.may(who, m.newLabel(who), avc.Create):
		m.status("arith", st, engine.Denied)
	case it == nil:
		m.status("arith", st, engine.OK)
		got := m.cas(key)
		m.put(key, modelItem{label: m.newLabel(who), value: fmt.Sprint(initial), exptime: m.until(exptime), stored: m.eng.Clock(), cas: got})
	case !m.may(who, it.label, avc.Calculate):
		m.status("arith", st, denial)
	default:
		digits, _, _ := strings.Cut(it.value, " ")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			m.status("arith", st, engine.NonNumeric)
			break
		}
		m.status("arith", st, engine.OK)
		switch {
		case !decr:
			n += delta
		case n < delta:
			n = 0
		default:
			n -= delta
		}
		if c.Number != n {
			m.fail("expected %d, found %d", n, c.Number)
		}
		s := fmt.Sprint(n)
		if len(s) > len(it.value) { // stored anew
			m.put(key, modelItem{label: it.label, flags: it.flags, value: s, exptime: it.exptime, stored: m.eng.Clock(), cas: m.unique(c.NewCAS)})
			break
		}
		it.value, it.cas = s+strings.Repeat(" ", len(it.value)-len(s)), m.unique(c.NewCAS)
	}
	m.agree(key, st == engine.OK)
}

// cas is the unique of what has just been made.
func (m *machine) cas(key string) uint64 {
	got := m.state(key)
	if got == nil {
		return m.lastCAS // expired at once
	}
	return m.unique(got.cas)
}

func (m *machine) remove(d *enginetest.Driver, who int, key string) {
	it := m.find(key)
	c := d.Call(engine.OpDelete, key)
	need, stale, compare := avc.Perms(avc.Remove), m.next(3) == 0, m.next(4) == 0
	if stale {
		c.Opt, need = &engine.Options{Invalidate: true, Meta: true}, avc.Setattr
	}
	if compare {
		c.WithCAS, c.CAS = true, 1
		if it != nil && m.next(2) == 0 {
			c.CAS = it.cas
		}
	}
	cas := c.CAS
	m.note("client %d: delete %s stale %v cas %v %d", who, key, stale, compare, cas)
	st := d.Run(m.eng.Delete)
	switch {
	case it == nil || !m.may(who, it.label, need):
		m.status("delete", st, engine.Miss)
	case compare && cas != it.cas:
		m.status("delete", st, engine.Exists)
	case stale:
		m.status("delete", st, engine.OK)
		it.stale, it.sent, it.cas = true, false, m.cas(key)
	default:
		m.status("delete", st, engine.OK)
		delete(m.items, key)
	}
	m.agree(key, false)
}
