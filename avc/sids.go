package avc

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrFull is returned by Intern for a new context when every number is taken.
var ErrFull = errors.New("too many security contexts")

// DefaultMaxSIDs is the size of a table made by NewSIDs(0).
const DefaultMaxSIDs = 65536

const chunkLen = 256

// SIDs interns contexts. String, Retain and Release are lock-free; Intern and
// Sweep share a lock that is never held while somebody else's code runs.
//
// Unlike libselinux's sidtab, where sidput does nothing and the table only
// grows, it is bounded and numbers come back: see the package comment.
type SIDs struct {
	chunks []atomic.Pointer[chunk] // never resized; a chunk is made when its first number is
	max    SID
	used   atomic.Int64
	text   atomic.Int64 // bytes of the contexts

	mu       sync.Mutex
	byString map[string]SID // +checklocks:mu
	next     SID            // +checklocks:mu the lowest number never given out
	free     []SID          // +checklocks:mu
	onFree   func(SID)      // told of freed numbers; nil: nobody
	fates    map[SID]fate   // +checklocks:mu the ones on the way out
	pressure func()         // +checklocks:mu
}

type chunk [chunkLen]slot

type slot struct {
	context atomic.Pointer[string] // nil: no such SID
	refs    atomic.Int64
}

// fate is how far a SID is on its way out, and the newest generation when it
// got there.
type fate struct {
	doomed bool // else marked
	seq    uint64
}

// NewSIDs makes a table for up to max contexts; 0 is DefaultMaxSIDs.
func NewSIDs(max int) *SIDs {
	if max <= 0 {
		max = DefaultMaxSIDs
	}
	return &SIDs{
		chunks:   make([]atomic.Pointer[chunk], max/chunkLen+1), // number 0 is not used
		max:      SID(max),
		byString: make(map[string]SID),
		next:     1,
		fates:    make(map[SID]fate),
	}
}

// Max is the number of contexts that the table can hold.
func (t *SIDs) Max() int { return int(t.max) }

// Len is the number of contexts in the table, those on their way out included.
func (t *SIDs) Len() int { return int(t.used.Load()) }

// maxText is for how many bytes of contexts, for each number, there should be room:
// usual ones are well below, and one may be as long as a page.
const maxText = 512

// SetPressure names the function that Intern calls, with no lock held, whenever
// a new context leaves the table three quarters full or more, or with more text than
// is good. It must not block.
func (t *SIDs) SetPressure(f func()) {
	t.mu.Lock()
	t.pressure = f
	t.mu.Unlock()
}

func (t *SIDs) slot(s SID) *slot {
	if int(s/chunkLen) >= len(t.chunks) {
		return nil
	}
	c := t.chunks[s/chunkLen].Load()
	if c == nil {
		return nil
	}
	return &c[s%chunkLen]
}

// Intern returns the number of the context ctx, retained once for the caller.
// The text must be canonical: two spellings are two numbers. ErrFull is the
// only error; "" is not a context and has SID 0.
func (t *SIDs) Intern(ctx string) (SID, error) {
	if ctx == "" {
		return 0, nil
	}
	s, pressure, err := t.intern(ctx)
	if pressure != nil {
		pressure()
	}
	return s, err
}

func (t *SIDs) intern(ctx string) (SID, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.byString[ctx]; ok {
		t.slot(s).refs.Add(1)
		delete(t.fates, s)
		return s, nil, nil
	}
	var s SID
	switch n := len(t.free); {
	case n > 0:
		s = t.free[n-1]
		t.free = t.free[:n-1]
	case t.next <= t.max:
		s = t.next
		t.next++
	default:
		return 0, t.pressure, ErrFull
	}
	c := &t.chunks[s/chunkLen]
	if c.Load() == nil {
		c.Store(new(chunk))
	}
	own := strings.Clone(ctx) // ctx may be cut from a request
	sl := t.slot(s)
	sl.refs.Store(1)
	sl.context.Store(&own)
	t.byString[own] = s
	if text := t.text.Add(int64(len(own))); t.used.Add(1) >= int64(t.max)*3/4 || text > int64(t.max)*maxText {
		return s, t.pressure, nil
	}
	return s, nil, nil
}

// String is the context of s, or "" if s is 0 or free. It takes no lock and
// allocates nothing.
func (t *SIDs) String(s SID) string {
	if sl := t.slot(s); sl != nil {
		if p := sl.context.Load(); p != nil {
			return *p
		}
	}
	return ""
}

// Retain adds a reference to s. The caller must know that s is in use: see the
// package comment. Retain(0) does nothing.
func (t *SIDs) Retain(s SID) {
	if sl := t.slot(s); s != 0 && sl != nil {
		sl.refs.Add(1)
	}
}

// Release drops a reference to s. Nothing is freed here; see Sweep. Release(0)
// does nothing. A release without its reference is a broken invariant that
// could give a label in use to somebody else, and panics.
func (t *SIDs) Release(s SID) {
	if sl := t.slot(s); s != 0 && sl != nil && sl.refs.Add(-1) < 0 {
		panic(fmt.Sprintf("avc: SID %d released more often than retained", s))
	}
}

// Sweep moves every SID that nobody holds one stage further. now is the newest
// generation; passed is one that every worker has passed to, learned before the
// call. live asks the store whether items carry a label; it is called without
// locks. Sweep reports how many SIDs it freed and how many are on their way out.
//
// Whoever needs numbers calls it three times, publishes a generation after each
// of the first two, and waits until every worker has passed to it.
func (t *SIDs) Sweep(now, passed uint64, live func(SID) bool) (freed, leaving int) {
	idle := t.unreferenced()
	n := 0
	for _, s := range idle {
		if !live(s) {
			idle[n] = s
			n++
		}
	}
	idle = idle[:n]

	gone, leaving := t.advance(idle, now, passed)
	// Between context and context nobody has the number: what others keep by it
	// can be thrown away.
	t.mu.Lock()
	tell := t.onFree
	t.mu.Unlock()
	if tell != nil {
		for _, s := range gone {
			tell(s)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, gone...)
	t.used.Add(-int64(len(gone)))
	return len(gone), leaving
}

// OnFree names a function that is told of every number whose context is gone,
// before the number may be given to another one. It is called by Sweep, without
// locks.
func (t *SIDs) OnFree(fn func(SID)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onFree = fn
}

// advance moves the idle SIDs one stage further, and returns those whose last
// stage has ended, and how many are on their way.
func (t *SIDs) advance(idle []SID, now, passed uint64) (gone []SID, leaving int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Whatever was held again since its stage began starts anew.
	still := make(map[SID]bool, len(idle))
	for _, s := range idle {
		still[s] = true
	}
	for s := range t.fates {
		if !still[s] {
			delete(t.fates, s)
		}
	}
	for _, s := range idle {
		sl := t.slot(s)
		f, leaving := t.fates[s]
		switch {
		case sl.context.Load() == nil:
		case sl.refs.Load() != 0:
			delete(t.fates, s)
		case !leaving:
			t.fates[s] = fate{seq: now}
		case passed <= f.seq:
		case !f.doomed:
			t.fates[s] = fate{doomed: true, seq: now}
		default:
			delete(t.fates, s)
			ctx := *sl.context.Load()
			delete(t.byString, ctx)
			t.text.Add(-int64(len(ctx)))
			sl.context.Store(nil)
			gone = append(gone, s)
		}
	}
	return gone, len(t.fates)
}

// unreferenced lists the SIDs without references.
func (t *SIDs) unreferenced() []SID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var idle []SID
	for s := SID(1); s < t.next; s++ {
		if sl := t.slot(s); sl.context.Load() != nil && sl.refs.Load() == 0 {
			idle = append(idle, s)
		}
	}
	return idle
}
