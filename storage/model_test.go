package storage_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sememcached/storage"
)

// The model is a plain map with the rules of the store. A program of random
// bytes drives both; after every step they must agree. With a small limit the store may
// forget what the model knows, but never more than it says it evicted.

type modelKey struct {
	instance uint32
	key      string
}

type modelItem struct {
	label, flags, exptime, stored uint32
	cas                           uint64
	value                         string
	stale, binary, fetched        bool
	access                        uint32
}

func (m modelItem) text(key string) string {
	return fmt.Sprintf("%s %d %d\r\n%s\r\n", key, m.flags, len(m.value), m.value)
}

type pinnedItem struct {
	it   storage.Item
	text []byte // the view in the arena
	want string
}

type reserved struct {
	it   storage.Item
	key  modelKey
	item modelItem
}

type machine struct {
	t        testing.TB
	s        *storage.Store
	program  []byte
	now      uint32
	items    map[modelKey]modelItem
	flushed  map[uint32]uint32
	pinned   []pinnedItem
	reserved []reserved
	large    bool // large values too, so that the limit is reached
	crawl    storage.Crawl
	cursor   *storage.Cursor
	seen     []string
	lost     uint64 // items evicted, as far as noticed
	log      []string
}

func (m *machine) next(n int) int {
	if len(m.program) == 0 {
		return 0
	}
	v := int(m.program[0])
	m.program = m.program[1:]
	if n > 256 && len(m.program) > 0 {
		v = v<<8 | int(m.program[0])
		m.program = m.program[1:]
	}
	return v % n
}

func (m *machine) key() modelKey {
	k := modelKey{key: fmt.Sprintf("%c:%d", 'a'+m.next(3), m.next(64))}
	if m.next(8) == 0 {
		k.instance = 1
	}
	return k
}

func (m *machine) dead(it modelItem) storage.Absence {
	if it.exptime != 0 && it.exptime <= m.now {
		return storage.Expired
	}
	if f := m.flushed[it.label]; f != 0 && it.stored <= f {
		return storage.Flushed
	}
	return storage.Present
}

// date is the store time of an item of a label that is stored now, or was meant to be at second at.
func (m *machine) date(label, at uint32) uint32 {
	if f := m.flushed[label]; f != 0 && at <= f {
		return f + 1
	}
	return at
}

func (m *machine) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nlast steps:\n  %s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-30):], "\n  "))
}

func (m *machine) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
	if len(m.log) > 1000 {
		m.log = slices.Delete(m.log, 0, 500)
	}
}

// find looks a key up in both and compares. The shard stays locked.
func (m *machine) find(k modelKey) (uint64, *storage.Shard, storage.Item) {
	m.t.Helper()
	h := m.s.Hash(k.instance, []byte(k.key))
	sh := m.s.Lock(h)
	it, why := sh.Find(h, k.instance, []byte(k.key), m.now)
	want, ok := m.items[k]
	switch {
	case !ok && why != storage.Missing, ok && m.dead(want) != why && why != storage.Missing:
		m.fail("find %v: expected %v (known %v), found %v", k, m.dead(want), ok, why)
	case ok && why == storage.Missing:
		if m.dead(want) == storage.Present {
			m.lost++
		}
		delete(m.items, k)
	case ok && why != storage.Present:
		delete(m.items, k)
	case ok:
		m.compare(k, want, it)
	}
	return h, sh, it
}

func (m *machine) compare(k modelKey, want modelItem, it storage.Item) {
	m.t.Helper()
	got := modelItem{
		label: it.Label(), flags: it.Flags(), exptime: it.Exptime(), stored: it.StoreTime(), cas: it.CAS(),
		value: string(it.Value()), stale: it.Stale(), binary: it.BinaryKey(), fetched: it.Fetched(), access: it.LastAccess(),
	}
	size := 48 + 8 + len(k.key) + 1 + len(want.value) + 2
	if want.flags != 0 {
		size += 4
	}
	if got != want || string(it.Key()) != k.key || it.Instance() != k.instance || string(it.Text()) != want.text(k.key) || it.Size() != size {
		got.value, want.value = fmt.Sprintf("%.40q", got.value), fmt.Sprintf("%.40q", want.value)
		m.fail("%v:\nexpected %+v of %d bytes\nfound    %+v of %d bytes, text %.60q", k, want, size, got, it.Size(), it.Text())
	}
}

func (m *machine) value() string {
	n := m.next(256)
	if m.large {
		switch m.next(16) {
		case 0:
			n = m.next(1 << 16)
		case 1:
			n = 20*m.next(1<<16) - m.next(256)
			n = min(max(n, 0), 1_048_000)
		}
	}
	return strings.Repeat(string(rune('a'+m.next(26))), n)
}

func (m *machine) spec(k modelKey, it modelItem) storage.Spec {
	return storage.Spec{
		Instance: k.instance, Key: []byte(k.key), Label: it.label, Flags: it.flags, Exptime: it.exptime, CAS: it.cas,
		NValue: len(it.value), Now: m.now, BinaryKey: it.binary,
	}
}

func (m *machine) newItem() modelItem {
	it := modelItem{label: uint32(m.next(5)), cas: m.s.NextCAS(), value: m.value(), binary: m.next(4) == 0, access: m.now}
	if m.next(3) == 0 {
		it.flags = uint32(m.next(1<<16)) * 65537
	}
	if m.next(3) == 0 {
		it.exptime = m.now + uint32(m.next(6))
	}
	if m.next(20) == 0 {
		it.label += 1 << 25
	}
	return it
}

func (m *machine) step() {
	switch op := m.next(32); {
	case op < 10:
		m.set()
	case op < 16:
		k := m.key()
		m.note("get %v at %d", k, m.now)
		_, sh, it := m.find(k)
		if !it.Nil() {
			sh.Hit(it, m.now)
			w := m.items[k]
			w.fetched, w.access = true, m.now
			m.items[k] = w
		}
		sh.Unlock()
	case op < 19:
		k := m.key()
		m.note("delete %v at %d", k, m.now)
		h, sh, it := m.find(k)
		if !it.Nil() {
			sh.Remove(h, it)
			delete(m.items, k)
		}
		sh.Unlock()
	case op < 21:
		k := m.key()
		_, sh, it := m.find(k)
		if !it.Nil() {
			w := m.items[k]
			w.exptime, w.stale, w.cas = m.now+uint32(m.next(5)), m.next(2) == 0, m.s.NextCAS()
			m.note("touch %v at %d: exptime %d stale %v", k, m.now, w.exptime, w.stale)
			sh.SetExptime(it, w.exptime)
			it.SetStale(w.stale)
			it.SetCAS(w.cas)
			m.items[k] = w
		}
		sh.Unlock()
	case op < 22:
		label := uint32(m.next(5))
		m.note("flush %d at %d", label, m.now)
		m.s.FlushLabel(label, m.now)
		m.flushed[label] = max(m.now, m.flushed[label]+1)
	case op < 23:
		m.now += uint32(m.next(3))
	case op < 25:
		m.pin()
	case op < 26:
		if len(m.pinned) > 0 {
			m.unpin(m.next(len(m.pinned)))
		}
	case op < 28:
		m.reserve()
	case op < 29:
		if len(m.reserved) > 0 {
			m.settle(m.next(len(m.reserved)))
		}
	case op < 30:
		m.note("crawl at %d", m.now)
		m.s.CrawlStep(&m.crawl, m.now)
	case op < 31:
		m.scan()
	default:
		m.scanSome()
	}
}

func (m *machine) set() {
	k, w := m.key(), m.newItem()
	rewrite := m.next(2) == 0
	m.note("set %v at %d: %d bytes, label %d, flags %d, exptime %d, rewrite %v", k, m.now, len(w.value), w.label, w.flags, w.exptime, rewrite)
	h, sh, old := m.find(k)
	defer sh.Unlock()
	w.stored = m.date(w.label, m.now)
	spec := m.spec(k, w)
	if !old.Nil() && rewrite {
		if it, ok := sh.Rewrite(h, old, &spec); ok {
			copy(it.Value(), w.value)
			m.items[k] = w
			m.compare(k, w, it)
			return
		}
		m.compare(k, m.items[k], old)
	}
	it, err := sh.Alloc(h, &spec)
	if err == storage.ErrNoMemory && m.held() > 1<<19 {
		return
	}
	if err != nil {
		m.fail("alloc %d bytes: %v", len(w.value), err)
	}
	copy(it.Value(), w.value)
	if !old.Nil() {
		m.compare(k, m.items[k], old)
	}
	sh.Link(h, it)
	m.items[k] = w
	m.compare(k, w, it)
}

// held is how many bytes of values cannot be evicted.
func (m *machine) held() (n int) {
	for _, p := range m.pinned {
		n += len(p.text)
	}
	for _, r := range m.reserved {
		n += len(r.item.value)
	}
	return n
}

func (m *machine) pin() {
	if len(m.pinned) == 16 {
		m.unpin(0)
	}
	k := m.key()
	m.note("pin %v", k)
	_, sh, it := m.find(k)
	if !it.Nil() {
		if !sh.Pin(it) {
			m.fail("pin refused")
		}
		m.pinned = append(m.pinned, pinnedItem{it, it.Text(), m.items[k].text(k.key)})
	}
	sh.Unlock()
}

func (m *machine) unpin(i int) {
	p := m.pinned[i]
	m.pinned = slices.Delete(m.pinned, i, i+1)
	if string(p.text) != p.want {
		m.fail("a pinned item changed: expected %.80q, found %.80q", p.want, p.text)
	}
	m.s.Unpin(p.it)
}

func (m *machine) reserve() {
	if len(m.reserved) == 16 {
		m.settle(0)
	}
	k, w := m.key(), m.newItem()
	m.note("reserve %v at %d: %d bytes", k, m.now, len(w.value))
	spec := m.spec(k, w)
	w.stored = m.now
	it, err := m.s.Reserve(m.s.Hash(k.instance, []byte(k.key)), &spec)
	if err == storage.ErrNoMemory && m.held() > 1<<19 {
		return
	}
	if err != nil {
		m.fail("reserve %d bytes: %v", len(w.value), err)
	}
	copy(it.Value(), w.value)
	m.reserved = append(m.reserved, reserved{it, k, w})
}

func (m *machine) settle(i int) {
	r := m.reserved[i]
	m.reserved = slices.Delete(m.reserved, i, i+1)
	if m.next(3) == 0 {
		m.note("release %v", r.key)
		m.s.Release(r.it)
		return
	}
	m.note("link %v", r.key)
	h, sh, _ := m.find(r.key)
	sh.Link(h, r.it)
	r.item.stored = m.date(r.item.label, r.item.stored)
	m.items[r.key] = r.item
	m.compare(r.key, r.item, r.it)
	sh.Unlock()
}

// scan visits everything and compares it with the model.
func (m *machine) scan() {
	prefix := [...]string{"", "a", "b:", "c:1", "z"}[m.next(5)]
	m.note("scan %q at %d", prefix, m.now)
	c := storage.Cursor{Prefix: []byte(prefix), Now: m.now}
	var got []string
	for more := true; more; {
		n := 0
		more = m.s.Scan(&c, func(it storage.Item) bool {
			k := modelKey{it.Instance(), string(it.Key())}
			m.compare(k, m.items[k], it)
			got = append(got, fmt.Sprintf("%s %d", k.key, k.instance))
			n++
			return m.next(7) != 0
		})
		if n > 256 {
			m.fail("a scan visited %d items in one call", n)
		}
		if more && m.next(4) == 0 { // go on with a new cursor at the same place
			c = storage.Cursor{Prefix: c.Prefix, Now: c.Now, After: bytes.Clone(c.After), AfterInstance: c.AfterInstance}
		}
	}
	var want []string
	for k, it := range m.items {
		if strings.HasPrefix(k.key, prefix) && m.dead(it) == storage.Present {
			want = append(want, fmt.Sprintf("%s %d", k.key, k.instance))
		}
	}
	slices.Sort(want)
	if m.s.Stats().Evictions == 0 && !slices.Equal(got, want) {
		m.fail("scan %q:\nexpected %q\nfound    %q", prefix, want, got)
	}
	if !slices.IsSorted(got) {
		m.fail("scan %q is not in order: %q", prefix, got)
	}
}

// scanSome continues a long scan while the store changes under it.
func (m *machine) scanSome() {
	if m.cursor == nil {
		m.cursor, m.seen = &storage.Cursor{}, nil
	}
	n := 1 + m.next(40)
	more := m.s.Scan(m.cursor, func(it storage.Item) bool {
		m.seen = append(m.seen, fmt.Sprintf("%s %d", it.Key(), it.Instance()))
		n--
		return n > 0
	})
	for i := 1; i < len(m.seen); i++ {
		if m.seen[i-1] >= m.seen[i] {
			m.fail("a long scan is not in order: %q", m.seen)
		}
	}
	if !more {
		m.cursor = nil
	}
}

func (m *machine) check() {
	m.t.Helper()
	if err := m.s.Check(len(m.pinned) + len(m.reserved)); err != nil {
		m.fail("%v", err)
	}
	if st := m.s.Stats(); m.lost > st.Evictions {
		m.fail("%d items lost, %d evicted", m.lost, st.Evictions)
	}
	perLabel := make(map[uint32]uint64)
	for _, it := range m.items {
		if m.dead(it) == storage.Present {
			perLabel[it.label]++
		}
	}
	if m.s.Stats().Evictions == 0 {
		for label := range perLabel {
			if got := m.s.LabelItems(label); got < perLabel[label] {
				m.fail("label %d: expected at least %d items, found %d", label, perLabel[label], got)
			}
		}
	}
}

// run executes a program and returns how many items it evicted.
func runModel(t testing.TB, cfg storage.Config, program []byte, every int) uint64 {
	s := newStore(t, cfg)
	m := &machine{
		t: t, s: s, program: program, now: 1, items: map[modelKey]modelItem{}, flushed: map[uint32]uint32{},
		large: cfg.Limit < 16<<20,
	}
	for i := 1; len(m.program) > 0; i++ {
		m.step()
		if i%every == 0 {
			m.check()
		}
	}
	for len(m.reserved) > 0 {
		m.settle(0)
	}
	for len(m.pinned) > 0 {
		m.unpin(0)
	}
	m.check()
	for k := range maps.Clone(m.items) {
		_, sh, _ := m.find(k)
		sh.Unlock()
	}
	return s.Stats().Evictions
}

func modelSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("STORAGE_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 0, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("replay with STORAGE_SEED=%d", seed)
	return seed
}

func TestModel(t *testing.T) {
	seed := modelSeed(t)
	for _, shards := range []int{1, 4, 256} {
		for _, limit := range []int64{64 << 20, 2 << 20} {
			t.Run(fmt.Sprintf("shards=%d/limit=%dM", shards, limit>>20), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, uint64(shards)))
				program := make([]byte, 100_000)
				if testing.Short() || storage.RaceEnabled {
					program = program[:20_000]
				}
				for i := range program {
					program[i] = byte(r.Uint32())
				}
				evicted := runModel(t, storage.Config{Shards: shards, Limit: limit, Seed: seed | 1}, program, 500)
				if (limit == 2<<20) != (evicted > 0) && len(program) == 100_000 {
					t.Errorf("%d evictions", evicted)
				}
			})
		}
	}
}

func FuzzStore(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		program := make([]byte, 2000)
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(uint8(r.Uint32()), program)
	}
	f.Fuzz(func(t *testing.T, mode uint8, program []byte) {
		cfg := storage.Config{Seed: 1, Shards: 1 << (mode & 3), Limit: 1 << 20}
		if mode&4 != 0 {
			cfg.Limit = 64 << 20
		}
		runModel(t, cfg, program, 200)
	})
}
