package mac

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sememcached/avc"
)

// Kind is what a Question asks. The zero value asks nothing and is answered
// with ErrUndecided.
type Kind uint8

// The kinds, with the fields they look at.
const (
	_ Kind = iota
	// AskAccess: may Source use permissions of Class on Target? -> Decision.
	AskAccess
	// AskCreate: which label does a new item get that Source makes, under
	// Selector? -> SID, or Err if it cannot be labelled.
	AskCreate
	// AskContext: is Text, given by a client, a context that the policy knows?
	// -> SID of its canonical form, retained for the receiver; or
	// ErrInvalidContext.
	AskContext
	// AskTransition: may Task change the label of an item from Source to
	// Target (validatetrans)? -> Err nil, or ErrRefused.
	AskTransition
	// AskMember: which label has Source's own instance of Target, an object of
	// Class (type_member)? -> SID.
	AskMember
	// AskRelabel: which label should Target, an object of Class, get when
	// Source takes it over (type_change)? -> SID.
	AskRelabel
)

// Question is asked in one generation. It is comparable: equal questions have
// equal answers.
type Question struct {
	Kind     Kind
	Class    avc.Class
	Source   avc.SID
	Target   avc.SID
	Task     avc.SID
	Selector Selector
	Text     string
}

// normal is q without the fields that its kind does not look at.
func (q Question) normal() Question {
	switch q.Kind {
	case AskAccess, AskMember, AskRelabel:
		return Question{Kind: q.Kind, Class: q.Class, Source: q.Source, Target: q.Target}
	case AskCreate:
		return Question{Kind: q.Kind, Class: avc.ClassItem, Source: q.Source, Selector: q.Selector}
	case AskContext:
		return Question{Kind: q.Kind, Text: q.Text}
	case AskTransition:
		return Question{Kind: q.Kind, Class: avc.ClassItem, Source: q.Source, Target: q.Target, Task: q.Task}
	}
	return Question{}
}

// Answer belongs to generation Seq, in which it was computed, and must not be
// used for another. Seq 0 is of none: the kernel's state has moved under the
// question, Err is ErrStale, and it is to be asked again in the generation now in
// force. The zero value denies.
//
// A SID in the answer to AskContext carries a reference that the receiver
// releases, each receiver its own. A SID in the answer to AskCreate, AskMember
// or AskRelabel carries none: the receiver uses it within the turn of its Epoch,
// and retains it if it keeps it elsewhere than on an item.
type Answer struct {
	Seq      uint64
	Decision avc.Decision
	SID      avc.SID
	Err      error
}

func failed(seq uint64, err error) Answer {
	return Answer{Seq: seq, Decision: avc.Decision{Failed: true, AuditDeny: ^avc.Perms(0)}, Err: err}
}

// Waiter is told the answer to a question that it asked.
type Waiter interface {
	// Answered is called once for each Ask, on a goroutine of the monitor. It
	// must not block, and must not ask the monitor synchronously.
	Answered(tag uint64, q Question, a Answer)
}

// remembered is an entry of the shared layer. A failure is remembered for a
// moment only, so that whatever does not answer is neither asked by everybody
// at once nor given up.
type remembered struct {
	a     Answer
	until int64 // unix nanoseconds; 0: as long as the generation
}

const failureMemory = 250 * time.Millisecond

// avKey is the key of decisions in the shared layer.
type avKey struct {
	ssid, tsid avc.SID
	class      avc.Class
}

// Cached answers q from the shared layer, if it is there: a short lock and no
// computing. About SID 0 there is nothing to compute either. AskContext is never there.
func (m *Monitor) Cached(g *Generation, q Question) (Answer, bool) {
	q = q.normal()
	if a, ok := m.trivial(g, q); ok {
		return a, true
	}
	return m.lookup(g, q)
}

// trivial answers what needs no security server.
func (m *Monitor) trivial(g *Generation, q Question) (Answer, bool) {
	nobody := Answer{Seq: g.Seq, Decision: avc.Nobody(), Err: ErrInvalidContext}
	switch {
	case q.Kind == AskAccess && (q.Source == 0 || q.Target == 0):
		nobody.Err = nil
		return nobody, true
	case q.Kind == AskCreate && (q.Source == 0 || g.Server == 0):
		return nobody, true
	case q.Kind == AskTransition && (q.Source == 0 || q.Target == 0 || q.Task == 0):
		return nobody, true
	case (q.Kind == AskMember || q.Kind == AskRelabel) && (q.Source == 0 || q.Target == 0):
		return nobody, true
	}
	return Answer{}, false
}

func (m *Monitor) lookup(g *Generation, q Question) (Answer, bool) {
	if g.building {
		return Answer{}, false
	}
	var r remembered
	var ok bool
	if q.Kind == AskAccess {
		r, ok = m.access.Lookup(g.Seq, avKey{q.Source, q.Target, q.Class})
	} else {
		r, ok = m.labels.Lookup(g.Seq, q)
	}
	if !ok || r.until != 0 && time.Now().UnixNano() > r.until {
		return Answer{}, false
	}
	return r.a, true
}

// remember enters an answer into the shared layer. What clients write, which is all
// that AskContext is about, is not kept: anybody could fill it with pages of text.
func (m *Monitor) remember(q Question, a Answer) {
	if q.Kind == AskContext {
		return
	}
	r := remembered{a: a}
	if a.Decision.Failed {
		r.until = time.Now().Add(failureMemory).UnixNano()
	}
	if q.Kind == AskAccess {
		m.access.Insert(a.Seq, avKey{q.Source, q.Target, q.Class}, r)
	} else {
		m.labels.Insert(a.Seq, q, r)
	}
}

// asker runs questions on a bounded number of goroutines, each question of a
// generation once, whoever asks it meanwhile.
type asker struct {
	mu      sync.Mutex
	flights map[flightKey]*flight // +checklocks:mu
	queue   []*flight             // +checklocks:mu not started, oldest first
	running int                   // +checklocks:mu
	closed  bool                  // +checklocks:mu
	idle    sync.WaitGroup
}

// maxAskers bounds the goroutines that wait for the security server.
const maxAskers = 8

type flightKey struct {
	seq uint64
	q   Question
}

type flight struct {
	key     flightKey
	g       *Generation
	waiters []waiting // +checklocks:asker.mu
}

type waiting struct {
	w   Waiter
	tag uint64
	q   Question // as asked
}

// Ask answers q in generation g on another goroutine, by w.Answered(tag, q,
// answer); q is as given here. Equal questions of one generation that are under
// way are computed once. A panic or an error of the security server is a failed
// answer. If the kernel's state has moved from g, the answer is of no generation
// and comes when the state has been read again.
func (m *Monitor) Ask(g *Generation, q Question, w Waiter, tag uint64) {
	k := flightKey{g.Seq, q.normal()}
	s := &m.asker
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.flights[k]; ok {
		f.waiters = append(f.waiters, waiting{w, tag, q})
		m.n.shared.Add(1)
		return
	}
	f := &flight{key: k, g: g, waiters: []waiting{{w, tag, q}}}
	s.flights[k] = f
	s.queue = append(s.queue, f)
	if s.running < maxAskers {
		s.running++
		s.idle.Add(1)
		go m.runAsker()
	}
}

// runAsker works until the queue is empty.
func (m *Monitor) runAsker() {
	s := &m.asker
	defer s.idle.Done()
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running--
			s.mu.Unlock()
			return
		}
		f := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		closed := s.closed
		s.mu.Unlock()

		var a Answer
		if closed {
			a = failed(f.g.Seq, ErrUndecided)
		} else {
			a = m.answer(f.g, f.key.q)
		}

		// The answer is in the shared layer by now, if it is of a kind that is kept:
		// whoever does not find the flight any more finds that.
		s.mu.Lock()
		delete(s.flights, f.key)
		waiters := f.waiters
		s.mu.Unlock()
		if f.key.q.Kind == AskContext {
			for range len(waiters) - 1 { // the answer came with one reference
				m.sids.Retain(a.SID)
			}
		}
		for _, w := range waiters {
			w.w.Answered(w.tag, w.q, a)
		}
	}
}

func (s *asker) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// Decide answers q in generation g on the caller's goroutine, which may have to
// wait for the security server: for background work and never for event loops. The
// caller needs an Epoch as they do.
func (m *Monitor) Decide(g *Generation, q Question) Answer { return m.answer(g, q.normal()) }

// DecideNow is Decide in whatever generation is in force when the answer comes:
// where a kernel decides, one may pass while it is asked. It returns that
// generation, to judge by.
func (m *Monitor) DecideNow(q Question) (*Generation, Answer) {
	const tries = 8
	for range tries {
		g := m.Generation()
		if a := m.Decide(g, q); a.Seq == g.Seq {
			return g, a
		}
	}
	g := m.Generation()
	return g, failed(g.Seq, ErrStale)
}

func (m *Monitor) answer(g *Generation, q Question) Answer {
	if a, ok := m.trivial(g, q); ok {
		return a
	}
	if g.building {
		// Wait for the state to be read, so that whoever asks again finds it.
		if err := m.settle(); err != nil {
			m.n.failures.Add(1)
			return failed(g.Seq, err)
		}
		return failed(0, ErrStale)
	}
	// Between a worker's look-up and here somebody else may have asked.
	if a, ok := m.lookup(g, q); ok {
		return a
	}
	m.n.queries.Add(1)
	m.n.inFlight.Add(1)
	a := m.compute(g, q)
	m.n.inFlight.Add(-1)
	if errors.Is(a.Err, ErrStale) {
		m.n.stale.Add(1)
		m.expire(g)
		return a
	}
	if a.Decision.Failed {
		m.n.failures.Add(1)
		m.complain(a.Err)
	}
	if !errors.Is(a.Err, errNumberless) {
		m.remember(q, a)
	}
	return a
}

// errNumberless: a SID of the question has no context, because its number has
// been freed. Only background work can come to ask about such a number. The
// answer denies and is not remembered: the number may be another context's in a
// moment, within the same generation.
var errNumberless = fmt.Errorf("%w: the label is gone", ErrInvalidContext)

func (m *Monitor) compute(g *Generation, q Question) (a Answer) {
	defer func() {
		if r := recover(); r != nil {
			a = failed(g.Seq, fmt.Errorf("%w: panic: %v", ErrUndecided, r))
			m.log.Error("mac: panic while deciding", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	if !g.Usable {
		return Answer{Seq: g.Seq, Decision: avc.Nobody(), Err: ErrUnusable}
	}
	a.Seq = g.Seq
	var ctx string
	var err error
	switch q.Kind {
	case AskAccess:
		source, target := m.sids.String(q.Source), m.sids.String(q.Target)
		if source == "" || target == "" {
			return Answer{Seq: g.Seq, Decision: avc.Nobody(), Err: errNumberless}
		}
		a.Decision, err = g.dec.Access(source, target, q.Class)
	case AskCreate:
		if m.sids.String(q.Source) == "" {
			return Answer{Seq: g.Seq, Err: errNumberless}
		}
		ctx, err = m.newLabel(g, q)
	case AskContext:
		ctx, err = canonicalize(g.dec, q.Text)
	case AskTransition:
		source, target, task := m.sids.String(q.Source), m.sids.String(q.Target), m.sids.String(q.Task)
		if source == "" || target == "" || task == "" {
			return Answer{Seq: g.Seq, Err: errNumberless}
		}
		err = g.dec.Transition(source, target, task, avc.ClassItem)
	case AskMember, AskRelabel:
		source, target := m.sids.String(q.Source), m.sids.String(q.Target)
		if source == "" || target == "" {
			return Answer{Seq: g.Seq, Err: errNumberless}
		}
		compute := g.dec.Member
		if q.Kind == AskRelabel {
			compute = g.dec.Relabel
		}
		ctx, err = compute(source, target, q.Class)
	default:
		err = fmt.Errorf("%w: no such question", ErrUndecided)
	}
	if err == nil && ctx != "" {
		a.SID, err = m.sids.Intern(ctx)
		if q.Kind != AskContext {
			// Whoever gets the answer is in an epoch; see the package comment
			// of avc.
			m.sids.Release(a.SID)
		}
	}
	switch {
	case err == nil || errors.Is(err, ErrInvalidContext) || errors.Is(err, ErrRefused):
		a.Err = err
		return a
	case errors.Is(err, ErrStale):
		return failed(0, ErrStale)
	}
	return failed(g.Seq, fmt.Errorf("%w: %w", ErrUndecided, err))
}

// newLabel is the context of a new item.
func (m *Monitor) newLabel(g *Generation, q Question) (string, error) {
	source, server := m.sids.String(q.Source), m.sids.String(g.Server)
	switch i := int(q.Selector); {
	case i > len(g.bound.label) || -i > len(g.names):
		return "", ErrStale // of another generation
	case i < 0:
		return g.dec.Create(source, server, avc.ClassItem, g.names[-i-1])
	case i > 0:
		l := &g.bound.label[i-1]
		if l.invalid {
			return "", fmt.Errorf("%w: %s", ErrInvalidContext, l.context)
		}
		if !l.levelless {
			return l.context, nil
		}
		base, err := g.dec.Create(source, server, avc.ClassItem, "")
		if err != nil {
			return "", err
		}
		return g.dec.Canonical(l.context + ":" + levelOf(base))
	}
	return g.dec.Create(source, server, avc.ClassItem, "")
}
