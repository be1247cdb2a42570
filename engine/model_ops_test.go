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

// composer keeps what a reply may tell.
type composer struct{ view engine.View }

func (x *composer) Compose(dst []byte, v *engine.View) ([]byte, engine.Tail) {
	x.view = *v
	return dst, engine.TailValue
}

func (m *machine) metaGet(d *enginetest.Driver, who int, key string) {
	it := m.find(key)
	o := &engine.Options{Value: m.next(2) == 0, Attrs: m.next(2) == 0, NoBump: m.next(4) == 0}
	need := avc.Perms(avc.Getattr)
	if o.Value {
		need = avc.Read
	}
	if o.Attrs {
		need |= avc.Getattr
	}
	if m.next(4) == 0 {
		o.Touch, o.TTL = true, m.exptime()
		need |= avc.Setattr
	}
	denial := engine.Miss
	if m.next(3) == 0 {
		o.Vivify, o.VivifyTTL = true, int64(5+m.next(20))
		denial = engine.Denied
	}
	m.note("client %d: mg %s v %v attrs %v u %v T %v %d N %v %d", who, key, o.Value, o.Attrs, o.NoBump, o.Touch, o.TTL, o.Vivify, o.VivifyTTL)
	c := d.Call(engine.OpMetaGet, key)
	x := &composer{}
	c.Opt, c.Composer = o, x
	out, st := m.hitText(d, c)
	switch {
	case it == nil && !o.Vivify:
		m.status("mg", st, engine.Miss)
	case it == nil && !m.may(who, m.newLabel(who), avc.Create):
		m.status("mg", st, engine.Denied)
	case it == nil:
		m.status("mg", st, engine.OK)
		if !x.view.Created || !x.view.Won || out != "" {
			m.fail("made: %+v, %.100q", x.view, out)
		}
		label := m.newLabel(who)
		made := &modelItem{label: label, exptime: m.until(o.VivifyTTL), stored: m.date(label, m.eng.Clock()), cas: m.cas(key), sent: true}
		if got := m.state(key); got != nil {
			made.access, made.fetched = got.access, got.fetched
		}
		m.items[key] = made
	case !m.may(who, it.label, need):
		m.status("mg", st, denial)
		m.agree(key, false)
		return
	default:
		m.status("mg", st, engine.OK)
		setattr := m.may(who, it.label, avc.Setattr)
		won, sent := it.stale && !it.sent && setattr, it.sent && setattr
		if x.view.Won != won || x.view.Sent != sent || x.view.Stale != it.stale || x.view.Size != len(it.value) || x.view.CAS != it.cas || x.view.Flags != it.flags || out != it.value {
			m.fail("expected won %v sent %v of %v, found %+v, %.100q", won, sent, it, x.view, out)
		}
		if won {
			it.sent = true
		}
		if o.Touch {
			it.exptime = m.until(o.TTL)
		}
	}
	m.agree(key, !o.NoBump)
}

func (m *machine) relabel(d *enginetest.Driver, who int, key string) {
	it := m.find(key)
	label := append(modelLabels, "nonsense", "system_u:object_r:no_such_t:s0")[m.next(len(modelLabels)+2)]
	m.note("client %d: relabel %s %s", who, key, label)
	d.Call(engine.OpRelabel, key).Context = []byte(label)
	st := d.Run(m.eng.Relabel)
	switch {
	case !slices.Contains(modelLabels, label):
		m.status("relabel", st, engine.BadContext)
	case it == nil || !m.may(who, it.label, avc.Getattr|avc.Setattr|avc.RelabelFrom):
		m.status("relabel", st, engine.Miss)
	case !m.may(who, label, avc.RelabelTo) || !m.rights.mayMove(it.label, label):
		m.status("relabel", st, engine.Denied)
	default:
		m.status("relabel", st, engine.OK)
		n := *it
		n.label, n.cas = label, m.cas(key)
		got := m.state(key)
		if got != nil {
			// Under a label that was flushed since, it is as old as it was, or just
			// new enough.
			if got.stored != it.stored && got.stored != m.date(label, it.stored) {
				m.fail("stored %d, now %d", it.stored, got.stored)
			}
			n.stored, n.access, n.fetched = got.stored, got.access, got.fetched
		}
		m.items[key] = &n
	}
	m.agree(key, false)
}

// choose sets the label of the items that the client makes.
func (m *machine) choose(d *enginetest.Driver, who int) {
	label := append(modelLabels, "-", "nonsense")[m.next(len(modelLabels)+2)]
	m.note("client %d: mac create %s", who, label)
	d.Call(engine.OpCreateContext, "").Context = []byte(label)
	st := d.Run(m.eng.CreateContext)
	switch {
	case label == "-":
		m.status("create", st, engine.OK)
		m.create[who] = ""
	case label == "nonsense":
		m.status("create", st, engine.BadContext)
	case !m.may(who, label, avc.Create):
		m.status("create", st, engine.Denied)
	default:
		m.status("create", st, engine.OK)
		m.create[who] = label
	}
}

// look asks for the label of an item, or for rights on it.
func (m *machine) look(d *enginetest.Driver, who int, key string) {
	it := m.find(key)
	if m.next(2) == 0 {
		m.note("client %d: mac label %s", who, key)
		c := d.Call(engine.OpLabel, key)
		st := d.Run(m.eng.Label)
		if it == nil || !m.may(who, it.label, avc.Getattr) {
			m.status("label", st, engine.Miss)
			return
		}
		m.status("label", st, engine.OK)
		if want := "LABEL " + key + " " + it.label; string(c.Text) != want {
			m.fail("expected %q, found %q", want, c.Text)
		}
		return
	}
	m.note("client %d: mac check %s", who, key)
	c := d.Call(engine.OpCheck, key)
	c.Context = []byte("read write")
	st := d.Run(m.eng.Check)
	if it == nil || !m.may(who, it.label, avc.Getattr) {
		m.status("check", st, engine.Miss)
		return
	}
	m.status("check", st, engine.OK)
	var lacks string
	for _, p := range []struct {
		name string
		bit  avc.Perms
	}{{"read", avc.Read}, {"write", avc.Write}} {
		if !m.may(who, it.label, p.bit) {
			lacks += " " + p.name
		}
	}
	want := "ALLOWED read write"
	if lacks != "" {
		want = "DENIED" + lacks
	}
	if string(c.Text) != want {
		m.fail("expected %q, found %q", want, c.Text)
	}
}

// visible are the keys with a prefix on which the client has the permission.
func (m *machine) visible(who int, prefix string, need avc.Perms) (keys []string) {
	all := make([]string, 0, len(m.items))
	for key := range m.items {
		all = append(all, key)
	}
	slices.Sort(all)
	for _, key := range all {
		if it := m.find(key); it != nil && strings.HasPrefix(key, prefix) && m.may(who, it.label, need) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (m *machine) dump(d *enginetest.Driver, who int) {
	prefix := []string{"", "a:", "b:1", "none"}[m.next(4)]
	m.note("client %d: dump %q", who, prefix)
	want := m.visible(who, prefix, avc.Getattr)
	c := d.Call(engine.OpDump, "")
	m.status("dump", d.Run(m.eng.Authorize), engine.OK)
	list := m.eng.NewDump(c, []byte(prefix), nil)
	var got []string
	for more := true; more; {
		more = m.eng.Dump(list, func(it *engine.DumpItem) bool {
			key := string(it.Key)
			got = append(got, key)
			if w := m.items[key]; w == nil || it.CAS != w.cas || it.Flags != w.flags || it.ValueSize != len(w.value) {
				m.fail("listed: %s %+v", key, *it)
			}
			return true
		})
	}
	if !slices.Equal(got, want) {
		m.fail("expected the keys %v, found %v", want, got)
	}
}

func (m *machine) prefix(d *enginetest.Driver, who int) {
	prefix := []string{"a:", "b:1", "c:2", "none"}[m.next(4)]
	m.note("client %d: delete prefix %q", who, prefix)
	keys := m.visible(who, prefix, avc.Remove)
	c := d.Call(engine.OpDeletePrefix, "")
	d.Run(func(w *engine.Worker, c *engine.Call) engine.Status {
		m.eng.Known(w, c)
		return engine.OK
	})
	m.counts["prefix"]++
	if n, _ := m.eng.DeletePrefix(c, []byte(prefix)); n != uint64(len(keys)) {
		m.fail("expected %d items to go, found %d", len(keys), n)
	}
	for _, key := range keys {
		delete(m.items, key)
		m.agree(key, false)
	}
}
