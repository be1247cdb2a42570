package mac

import (
	"sync"
	"sync/atomic"
	"time"

	"sememcached/avc"
)

// Epoch is one worker's announcement of the oldest generation it may still be
// using. SIDs are given to other contexts, and what a generation holds is let
// go, only when no worker can be using what came before: quiescence, as RCU has
// it. Every goroutine that uses SIDs or answers it does not hold a reference to
// needs one. A turn looks like this:
//
//	g := e.Begin()
//	... serve requests with g, and with any newer generation
//	e.Rest()
//	... block
type Epoch struct {
	seq atomic.Uint64 // resting when nothing is in use
	m   *Monitor
	_   [48]byte // the next epoch's cache line is another worker's
}

const resting = ^uint64(0)

// NewEpoch makes the epoch of one worker, at rest.
func (m *Monitor) NewEpoch() *Epoch {
	e := &Epoch{m: m}
	e.seq.Store(resting)
	m.epochs.mu.Lock()
	m.epochs.all[e] = struct{}{}
	m.epochs.mu.Unlock()
	return e
}

// Begin starts a turn and returns the generation that it was announced with.
// Called again in a turn it moves on to the newest generation.
func (e *Epoch) Begin() *Generation {
	for {
		g := e.m.Generation()
		if e.Observe(g.Seq) {
			return g
		}
	}
}

// Observe announces that the worker uses nothing older than generation seq. If
// it reports false, a newer generation was published meanwhile, and may not have
// waited for a worker that was at rest: load the generation again and observe
// that one. (Begin does.)
func (e *Epoch) Observe(seq uint64) bool {
	e.seq.Store(seq)
	return e.m.gen.Load().Seq == seq
}

// Rest announces that the worker uses nothing; before it blocks.
func (e *Epoch) Rest() { e.seq.Store(resting) }

// Close takes the epoch out for good.
func (e *Epoch) Close() {
	e.m.epochs.mu.Lock()
	delete(e.m.epochs.all, e)
	e.m.epochs.mu.Unlock()
}

type epochs struct {
	mu  sync.Mutex
	all map[*Epoch]struct{} // +checklocks:mu
}

// passed is the newest generation that every worker has passed to: none uses
// anything older.
func (m *Monitor) passed() uint64 {
	oldest := m.gen.Load().Seq // first: what is published later is not waited for
	m.epochs.mu.Lock()
	defer m.epochs.mu.Unlock()
	for e := range m.epochs.all {
		oldest = min(oldest, e.seq.Load())
	}
	return oldest
}

// retiree is a generation that was replaced, and what it held.
type retiree struct {
	seq  uint64
	held [][]avc.SID
}

// SetLive names the function that tells whether the store holds items of a
// label. It is called on a goroutine of the monitor, without locks. Until it is
// set, every label counts as in use.
func (m *Monitor) SetLive(live func(avc.SID) bool) { m.live.Store(&live) }

func (m *Monitor) isLive(s avc.SID) bool {
	f := m.live.Load()
	return f == nil || *f == nil || (*f)(s)
}

// Collect frees the SIDs that have neither references nor items, and reports
// how many. It publishes generations of the same policy and waits until every
// worker has passed to them: never call it on an event loop. It also happens by
// itself when the table is three quarters full, and in part at every reload.
func (m *Monitor) Collect() int {
	m.collecting.Lock()
	defer m.collecting.Unlock()
	total := 0
	for stage := range 3 {
		m.letGo()
		freed, leaving := m.sids.Sweep(m.gen.Load().Seq, m.passed(), m.isLive)
		total += freed
		if leaving == 0 || stage == 2 {
			break
		}
		seq := m.republish()
		for wait := 50 * time.Microsecond; m.passed() < seq; wait = min(2*wait, 10*time.Millisecond) {
			select {
			case <-m.done:
				return total
			case <-time.After(wait):
			}
		}
	}
	m.n.freed.Add(uint64(total))
	return total
}

// letGo releases what generations held that nobody uses any more, and reports
// whether some are left.
func (m *Monitor) letGo() bool {
	passed := m.passed()
	m.mu.Lock()
	n := 0
	for n < len(m.retired) && m.retired[n].seq < passed {
		n++
	}
	gone := m.retired[:n:n]
	m.retired = m.retired[n:]
	left := len(m.retired) > 0
	if !left {
		m.retired = nil
	}
	m.mu.Unlock()
	for _, r := range gone {
		for _, h := range r.held {
			m.release(h)
		}
	}
	return left
}

// collector is the goroutine that lets go and collects.
func (m *Monitor) collector() {
	defer m.background.Done()
	const (
		sweepEvery   = time.Second
		collectEvery = 100 * time.Millisecond
	)
	var swept, collected time.Time
	var again <-chan time.Time
	wait := time.Millisecond
	for {
		full := false
		select {
		case <-m.done:
			return
		case <-m.full:
			full = true
		case <-m.moved:
			wait = time.Millisecond
		case <-again:
		}
		again = nil
		if full {
			if d := collectEvery - time.Since(collected); d > 0 {
				select {
				case <-m.done:
					return
				case <-time.After(d):
				}
			}
			m.Collect()
			collected = time.Now()
			continue
		}
		if m.letGo() {
			again = time.After(wait)
			wait = min(2*wait, time.Second)
		}
		if time.Since(swept) > sweepEvery {
			m.collecting.Lock()
			freed, _ := m.sids.Sweep(m.gen.Load().Seq, m.passed(), m.isLive)
			m.n.freed.Add(uint64(freed))
			m.collecting.Unlock()
			swept = time.Now()
		}
	}
}

// nudge wakes the collector; c is m.full or m.moved.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
