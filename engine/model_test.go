package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sememcached/avc"
	"sememcached/engine"
	"sememcached/engine/enginetest"
	"sememcached/mac"
	"sememcached/storage"
)

// The model is a plain map with the rules of the engine: who may do what is a table
// of its own, and what each command needs is written down here once more. A program
// of random bytes drives engine and model; the status and the reply of every step,
// and the item afterwards, must agree. With a small limit the engine may have
// evicted what the model knows, but never more than it counts. The policy (the
// table of rights) changes with reloads in between.

type modelItem struct {
	label       string
	flags       uint32
	value       string
	exptime     uint32 // on the store's clock; 0: never
	stored      uint32
	cas         uint64
	stale, sent bool
	access      uint32 // these two only a hit may change
	fetched     bool
}

func (it *modelItem) String() string {
	return fmt.Sprintf("%s flags %d cas %d exptime %d stored %d access %d fetched %v stale %v sent %v %d bytes %.40q",
		it.label, it.flags, it.cas, it.exptime, it.stored, it.access, it.fetched, it.stale, it.sent, len(it.value), it.value)
}

type modelFlush struct {
	who         int
	issued, due uint32
	labels      map[string]bool // in use when it was executed; nil: it is to come
	done        bool
}

// rights is who may do what on which label; the security server asks it on
// goroutines of its own.
type rights struct {
	mu     sync.Mutex
	denied map[[2]string]avc.Perms // +checklocks:mu (subject, label)
	moves  map[[2]string]bool      // +checklocks:mu label changes that are refused
}

func (r *rights) may(subject, label string, need avc.Perms) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied[[2]string{subject, label}]&need == 0
}

func (r *rights) mayMove(from, to string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.moves[[2]string{from, to}]
}

// modelLabels are the labels of items; client i makes items of label i.
var modelLabels = []string{
	"system_u:object_r:kv_item_t:s0", "system_u:object_r:kv_session_t:s0", "system_u:object_r:kv_item_t:s0:c1", "system_u:object_r:kv_item_t:s0:c2",
	"system_u:object_r:kv_session_t:s0:c7", "system_u:object_r:kv_item_t:s0:c1,c2",
}

// modelSubjects are the contexts of the people in the contexts file.
var modelSubjects = []string{
	"system_u:system_r:kv_client_t:s0", "system_u:system_r:kv_reader_t:s0", "system_u:system_r:kv_admin_t:s0", "system_u:system_r:kv_client_t:s0:c4",
}

type machine struct {
	t       testing.TB
	eng     *engine.Secured
	mon     *mac.Monitor
	advance func(int64)
	rights  *rights
	drivers []*enginetest.Driver
	create  []string // of each client: the label that it has chosen, or ""
	program []byte
	small   bool
	items   map[string]*modelItem
	flushed map[string]uint32
	pending []*modelFlush
	crawl   storage.Crawl
	lost    uint64
	lastCAS uint64
	nested  bool
	log     []string
	counts  map[string]int
}

func newMachine(t testing.TB, cfg storage.Config, entries int, program []byte) *machine {
	r := &rights{denied: map[[2]string]avc.Perms{}, moves: map[[2]string]bool{}}
	file, peer := people(t)
	s := &scripted{
		access: func(s, t string, c avc.Class, d avc.Decision) (avc.Decision, error) {
			d.Allowed = c.All()
			if c == avc.ClassItem {
				r.mu.Lock()
				d.Allowed &^= r.denied[[2]string{s, t}]
				r.mu.Unlock()
			}
			return d, nil
		},
		create: func(s, _, _, _ string) (string, error) { return modelLabels[slices.Index(modelSubjects, s)], nil },
		transition: func(o, n, _ string) error {
			if !r.mayMove(o, n) {
				return mac.ErrRefused
			}
			return nil
		},
	}
	eng, mon, now := setup{mac: mac.Config{ContextsFile: file, AVCSize: entries, Decider: s.wrap}, entries: entries, store: cfg}.open(t)
	m := &machine{
		t: t, eng: eng, mon: mon, advance: func(n int64) { now.Add(n) }, rights: r, program: program, small: cfg.Limit != 0,
		items: map[string]*modelItem{}, flushed: map[string]uint32{}, create: make([]string, len(modelSubjects)), counts: map[string]int{},
	}
	for i := range modelSubjects {
		m.drivers = append(m.drivers, enginetest.NewDriver(t, eng, peer(uint32(i+1))))
	}
	return m
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

func (m *machine) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nlast steps:\n  %s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-25):], "\n  "))
}

func (m *machine) note(format string, args ...any) {
	if len(m.log) > 1000 {
		m.log = slices.Delete(m.log, 0, 500)
	}
	m.log = append(m.log, fmt.Sprintf("%d: ", m.eng.Clock())+fmt.Sprintf(format, args...))
}

func (m *machine) key() string { return fmt.Sprintf("%c:%d", 'a'+m.next(3), m.next(30)) }

func (m *machine) value() string {
	n := m.next(256)
	switch {
	case n < 90:
		return fmt.Sprint(m.next(1 << 16))
	case n < 95:
		return "18446744073709551615"
	case n < 98:
		return ""
	case m.small && n > 190:
		n = 1000 * (20 + m.next(200))
	case n > 240:
		n = 100 * m.next(400)
	}
	return strings.Repeat(string(rune('a'+m.next(26))), n)
}

// exptime is a time as on the wire.
func (m *machine) exptime() int64 {
	switch m.next(8) {
	case 0:
		return int64(1 + m.next(12))
	case 1:
		return -1
	case 2:
		return int64(m.eng.Clock()) + 60*60*24*31 // not relative, and long past
	}
	return 0
}

// until is an exptime of the wire on the store's clock, as protocol.txt has it.
func (m *machine) until(wire int64) uint32 {
	switch {
	case wire == 0:
		return 0
	case wire < 0 || wire > 60*60*24*30:
		return 1
	}
	return m.eng.Clock() + uint32(wire)
}

func (m *machine) newLabel(who int) string {
	if m.create[who] != "" {
		return m.create[who]
	}
	return modelLabels[who]
}

func (m *machine) may(who int, label string, need avc.Perms) bool {
	return m.rights.may(modelSubjects[who], label, need)
}

// date is the store time of an item of the label that is stored now, or was at.
func (m *machine) date(label string, at uint32) uint32 {
	if f := m.flushed[label]; f != 0 && at <= f {
		return f + 1
	}
	return at
}

func (m *machine) dead(it *modelItem) bool {
	return it.exptime != 0 && it.exptime <= m.eng.Clock() || m.flushed[it.label] != 0 && it.stored <= m.flushed[it.label]
}

// find is the model's item of a key, nil if it is absent. What the engine has
// evicted is noticed here.
func (m *machine) find(key string) *modelItem {
	it := m.items[key]
	if it == nil {
		return nil
	}
	if m.dead(it) {
		delete(m.items, key)
		return nil
	}
	if m.state(key) == nil {
		m.lost++
		if n := m.eng.Storage().Stats().Evictions; m.lost > n {
			m.fail("key %s is gone (%v); %d items are missing, %d were evicted", key, it, m.lost, n)
		}
		delete(m.items, key)
		return nil
	}
	return it
}

// state is the engine's item of a key, read behind its back.
func (m *machine) state(key string) *modelItem {
	st := m.eng.Storage()
	h := st.Hash(0, []byte(key))
	sh := st.Lock(h)
	defer sh.Unlock()
	it, _ := sh.Find(h, 0, []byte(key), m.eng.Clock())
	if it.Nil() {
		return nil
	}
	return &modelItem{
		label: m.mon.SIDs().String(avc.SID(it.Label())), flags: it.Flags(), value: string(it.Value()), exptime: it.Exptime(), stored: it.StoreTime(),
		cas: it.CAS(), stale: it.Stale(), sent: it.TokenSent(), access: it.LastAccess(), fetched: it.Fetched(),
	}
}

// agree compares the item of a key in both. hit says that this step may have
// marked it as read.
func (m *machine) agree(key string, hit bool) {
	m.t.Helper()
	want, got := m.items[key], m.state(key)
	if want != nil && m.dead(want) {
		want = nil
	}
	switch {
	case want == nil && got == nil:
		return
	case want == nil:
		m.fail("key %s: expected to be absent, found %v", key, got)
	case got == nil:
		if m.find(key) != nil {
			m.fail("key %s: expected %v, found nothing", key, want)
		}
		return
	}
	if hit {
		want.access, want.fetched = got.access, got.fetched
	}
	if *got != *want {
		m.fail("key %s:\nexpected %v\nfound    %v", key, want, got)
	}
}

// put is what a store leaves behind.
func (m *machine) put(key string, it modelItem) {
	it.stored = m.date(it.label, it.stored)
	// A fresh item has not been read; the second that it shows is the store's own
	// affair.
	if got := m.state(key); got != nil {
		it.access, it.fetched = got.access, got.fetched
		if got.fetched {
			m.fail("key %s: stored, and read already", key)
		}
	}
	m.items[key] = &it
}

// unique checks the cas of a store: larger than every one before.
func (m *machine) unique(cas uint64) uint64 {
	m.t.Helper()
	if cas <= m.lastCAS {
		m.fail("cas %d after %d", cas, m.lastCAS)
	}
	m.lastCAS = cas
	return cas
}

func (m *machine) check() {
	m.t.Helper()
	if err := m.eng.Storage().Check(0); err != nil {
		m.fail("%v", err)
	}
	for key := range maps.Clone(m.items) {
		m.agree(key, false)
	}
}

// run executes the program.
func (m *machine) run() {
	for i := 1; len(m.program) > 0; i++ {
		m.step()
		if i%200 == 0 {
			m.check()
		}
	}
	m.check()
	for _, d := range m.drivers {
		d.Close()
	}
}

func modelConfig(mode uint8, seed uint64) (storage.Config, int) {
	cfg := storage.Config{Seed: seed | 1, Shards: []int{1, 4, 256}[int(mode&3)%3]}
	if mode&4 != 0 {
		cfg.Limit = 1 << 20
	}
	if mode&8 != 0 {
		return cfg, 8
	}
	return cfg, 4096
}

// TestModel replays a failure with -seed.
func TestModel(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay: go test ./engine -run TestModel -seed=%d", seed)
	evicted := uint64(0)
	for _, mode := range []uint8{0, 1, 4, 6, 8, 13} {
		t.Run(fmt.Sprintf("mode=%d", mode), func(t *testing.T) { evicted += runModel(t, seed, mode) })
	}
	// Whether a program fills the small memory before it flushes is chance.
	for more := seed + 1; evicted == 0 && more < seed+20 && !testing.Short(); more++ {
		t.Run(fmt.Sprintf("seed=%d", more), func(t *testing.T) { evicted += runModel(t, more, 4) })
	}
	if evicted == 0 && !testing.Short() {
		t.Error("nothing was evicted")
	}
}

// runModel runs a program of the seed and returns how many items were evicted.
func runModel(t *testing.T, seed uint64, mode uint8) (evicted uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(mode)))
	program := make([]byte, 60_000)
	if testing.Short() {
		program = program[:15_000]
	}
	for i := range program {
		program[i] = byte(r.Uint32())
	}
	cfg, entries := modelConfig(mode, seed)
	m := newMachine(t, cfg, entries, program)
	m.run()
	evicted = m.eng.Storage().Stats().Evictions
	if !m.small && evicted > 0 {
		t.Errorf("%d evictions", evicted)
	}
	for _, what := range []string{"get", "gat", "touch", "store", "upload", "arith", "delete", "mg", "relabel", "create", "label", "check", "flush", "dump", "prefix", "reload", "crawl"} {
		if m.counts[what] == 0 {
			t.Errorf("the program has no %s", what)
		}
	}
	return evicted
}

func FuzzEngine(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for mode := range 4 {
		program := make([]byte, 1500)
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(uint8(mode*5), program)
	}
	f.Fuzz(func(t *testing.T, mode uint8, program []byte) {
		cfg, entries := modelConfig(mode, 1)
		newMachine(t, cfg, entries, program).run()
	})
}
