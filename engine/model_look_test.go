package engine_test

import (
	"slices"
	"strings"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
)

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
			// It is as old as it was, but not ahead of the clock, where the flush of its
			// old label may have put it; under a label that was flushed since, just new enough.
			at := min(it.stored, m.eng.Clock())
			if got.stored != at && got.stored != m.date(label, at) {
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
