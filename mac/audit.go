package mac

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sememcached/avc"
)

// Record is one denial, or one grant under auditallow. All of it is copied.
type Record struct {
	Time       time.Time // zero: now
	Granted    bool
	Permissive bool // denied by the policy and let pass by the mode
	Class      avc.Class
	Perms      avc.Perms
	Scontext   string
	Tcontext   string
	Peer       *Peer // may be nil
	Key        [250]byte
	NKey       uint8
	Command    string // "": not known
}

// auditor takes records from event loops and writes them on a goroutine of its
// own. A record costs a loop a copy under a short lock. When the ring is full, or
// more come than the rate allows, records are counted instead, and a line tells
// how many.
type auditor struct {
	m    *Monitor
	sink sink // the goroutine's
	// kernel says that the records were to go to the kernel's audit subsystem.
	kernel bool
	// fallback is where records go that the kernel does not take.
	fallback func() sink
	wake     chan struct{}
	done     chan struct{}
	wait     sync.WaitGroup

	again atomic.Bool // a reload asks to open the file again
	rate  float64     // lines a second, and at one time; below 0: no limit

	mu         sync.Mutex
	progress   *sync.Cond // of mu: written or closed has changed
	ring       []entry    // +checklocks:mu
	head, n    int        // +checklocks:mu
	taken      uint64     // +checklocks:mu records put into the ring
	written    uint64     // +checklocks:mu of those, handed to the sink and flushed
	suppressed uint64     // +checklocks:mu since the last line that tells
	waiting    int        // +checklocks:mu who waits: tell about the suppressed at once
	closed     bool       // +checklocks:mu
	tokens     float64    // +checklocks:mu
	refilled   time.Time  // +checklocks:mu

	total, lost, failures atomic.Uint64 // written; suppressed or lost; writes that failed

	// Of the goroutine: the log has failed and has not been written to since, and when
	// that was last said.
	failing    bool
	complained time.Time
}

// entry is a record in the ring, or an event of another type.
type entry struct {
	Record
	kind  auditType
	event string
}

// auditType is a record type of the audit subsystem.
type auditType uint16

const (
	auditUserAuth   auditType = 1100 // USER_AUTH
	auditUserAVC    auditType = 1107 // USER_AVC
	auditPolicyLoad auditType = 2310 // USER_MAC_POLICY_LOAD
	auditStatus     auditType = 2313 // USER_MAC_STATUS
)

func (t auditType) String() string {
	switch t {
	case auditUserAuth:
		return "USER_AUTH"
	case auditUserAVC:
		return "USER_AVC"
	case auditPolicyLoad:
		return "USER_MAC_POLICY_LOAD"
	case auditStatus:
		return "USER_MAC_STATUS"
	}
	return "UNKNOWN[" + strconv.Itoa(int(t)) + "]"
}

const (
	auditRing        = 2048
	auditBatch       = 256
	defaultAuditRate = 1000
	tellEvery        = time.Second // how often suppressed records are told of
)

// sink is where lines go. It is used by one goroutine.
type sink interface {
	// emit takes one record; text is the sink's until it returns.
	emit(t auditType, at time.Time, text []byte) error
	// flush writes whatever emit has kept.
	flush() error
	// reopen follows a file that was renamed.
	reopen() error
	close() error
}

func openAuditor(m *Monitor) (*auditor, error) {
	a := &auditor{
		m:    m,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
		ring: make([]entry, auditRing),
		rate: float64(m.cfg.AuditRate),
	}
	if a.rate == 0 {
		a.rate = defaultAuditRate
	}
	a.tokens = a.rate
	a.fallback = func() sink { return &writerSink{w: os.Stderr} }
	a.progress = sync.NewCond(&a.mu)
	var err error
	if a.sink, err = m.openSink(); err != nil {
		return nil, err
	}
	_, a.kernel = a.sink.(*netlinkSink)
	a.wait.Add(1)
	go a.run()
	return a, nil
}

// AuditsToKernel reports whether audit records are sent to the kernel's audit
// subsystem, which takes the capability CAP_AUDIT_WRITE.
func (m *Monitor) AuditsToKernel() bool { return m.audit != nil && m.audit.kernel }

// openSink follows Config.AuditLog.
func (m *Monitor) openSink() (sink, error) {
	switch {
	case m.cfg.AuditWriter != nil:
		return &writerSink{w: m.cfg.AuditWriter}, nil
	case m.cfg.AuditLog == "" && m.decider == decidesKernel:
		s, err := openAuditNetlink()
		if err == nil {
			return s, nil
		}
		m.log.Warn("mac: the kernel's audit does not take our records; they go to stderr", "error", err)
		return &writerSink{w: os.Stderr}, nil
	case m.cfg.AuditLog == "" || m.cfg.AuditLog == "stderr":
		return &writerSink{w: os.Stderr}, nil
	}
	s := &writerSink{path: m.cfg.AuditLog}
	if err := s.reopen(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return s, nil
}

// Audit logs r, sooner or later. It never waits for the log, allocates nothing,
// and keeps nothing of r. A denial that cannot be logged stays a denial.
func (m *Monitor) Audit(r *Record) {
	if a := m.audit; a != nil {
		a.put(r, auditUserAVC, "")
	}
}

func (a *auditor) put(r *Record, kind auditType, event string) {
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	a.mu.Lock()
	if a.n == len(a.ring) || !a.allow(now) {
		a.suppressed++
		first := a.suppressed == 1
		a.mu.Unlock()
		a.lost.Add(1)
		if first {
			nudge(a.wake) // to tell of it in time; the others are told of together
		}
		return
	}
	e := &a.ring[(a.head+a.n)%len(a.ring)]
	e.Record, e.kind, e.event = *r, kind, event
	e.Time = now
	a.n++
	a.taken++
	a.mu.Unlock()
	nudge(a.wake)
}

// allow is the rate limit, a bucket of tokens.
//
// Preconditions: mu is held.
func (a *auditor) allow(now time.Time) bool {
	if a.rate < 0 {
		return true
	}
	if d := now.Sub(a.refilled); d > 0 {
		a.tokens = min(a.rate, a.tokens+d.Seconds()*a.rate)
		a.refilled = now
	} else if d < -time.Second {
		a.refilled = now // the clock was set back
	}
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// SyncAudit waits until every record given before is written.
func (m *Monitor) SyncAudit() {
	if m.audit != nil {
		m.audit.flush()
	}
}

func (a *auditor) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
	defer func() { a.waiting-- }()
	for want := a.taken; !a.closed && (a.written < want || a.suppressed > 0); {
		nudge(a.wake)
		a.progress.Wait()
	}
}

// run is the goroutine that formats and writes, auditBatch records at a time.
func (a *auditor) run() {
	defer a.wait.Done()
	var buf []byte
	var e entry
	var told time.Time
	later := time.NewTimer(tellEvery)
	defer later.Stop()
	pending := true
	for closing := false; ; {
		select {
		case <-a.wake:
		case <-later.C:
			pending = false
		case <-a.done:
			closing = true
		}
		for more := true; more; {
			var n uint64
			for ; n < auditBatch; n++ {
				if !a.take(&e) {
					break
				}
				buf = a.format(buf[:0], &e)
				a.emit(e.kind, e.Time, buf)
			}
			more = n == auditBatch
			lost, wait := a.tell(closing, told)
			if wait > 0 && !pending {
				later.Reset(wait)
				pending = true
			}
			if lost > 0 {
				told = time.Now()
				a.emit(auditUserAVC, told, fmt.Appendf(buf[:0], "sememcached: suppressed %d records", lost))
			}
			a.settle(n)
		}
		if closing {
			return
		}
	}
}

// take takes the oldest record out of the ring.
func (a *auditor) take(e *entry) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		return false
	}
	*e = a.ring[a.head]
	a.ring[a.head] = entry{} // hold no peer
	a.head = (a.head + 1) % len(a.ring)
	a.n--
	return true
}

// tell is how many suppressed records are to be told of now, or when to ask
// again: not more often than every second, unless somebody waits.
func (a *auditor) tell(closing bool, told time.Time) (lost uint64, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.suppressed == 0 {
		return 0, 0
	}
	if d := tellEvery - time.Since(told); d > 0 && a.waiting == 0 && !closing {
		return 0, d
	}
	lost, a.suppressed = a.suppressed, 0
	return lost, 0
}

// settle writes what was emitted, n records of the ring.
func (a *auditor) settle(n uint64) {
	if a.again.CompareAndSwap(true, false) {
		if err := a.sink.reopen(); err != nil { // the old file is written on
			a.failures.Add(1)
			a.m.log.Error("mac: the audit log goes on in the old file", "error", err)
		}
	}
	if err := a.sink.flush(); err != nil {
		a.fail(err)
	} else if s, ok := a.sink.(*writerSink); ok && a.failing && s.unsaid == 0 {
		a.failing = false
		a.m.log.Info("mac: audit records are written again")
	}
	a.mu.Lock()
	a.written += n
	a.progress.Broadcast()
	a.mu.Unlock()
}

func (a *auditor) emit(t auditType, at time.Time, text []byte) {
	if err := a.sink.emit(t, at, text); err != nil {
		if _, ok := a.sink.(*writerSink); ok {
			a.total.Add(1) // fail takes all of the buffer back
		}
		a.fail(err)
		if n, ok := a.sink.(*netlinkSink); ok {
			// Not permitted any more, or never was: the log is better than
			// nothing.
			_ = n.close()
			a.sink = a.fallback()
			if a.sink.emit(t, at, text) == nil {
				a.total.Add(1)
			}
		}
		return
	}
	a.total.Add(1)
}

// fail counts, and says each time that the log begins to fail, and every minute of it.
func (a *auditor) fail(err error) {
	a.failures.Add(1)
	if s, ok := a.sink.(*writerSink); ok && s.dropped > 0 {
		a.lost.Add(s.dropped)
		a.total.Add(-s.dropped) // it was counted when it was buffered
		s.dropped = 0
	}
	if now := time.Now(); !a.failing || now.Sub(a.complained) >= time.Minute {
		a.failing, a.complained = true, now
		a.m.log.Error("mac: audit records cannot be written; denials stay denials", "error", err)
	}
}

// reopen asks for the log to be opened again, as log rotation wants it. The
// goroutine that owns the sink does it, with the next record.
func (a *auditor) reopen() {
	a.again.Store(true)
	nudge(a.wake)
}

func (a *auditor) close() error {
	close(a.done)
	a.wait.Wait()
	a.mu.Lock()
	a.closed = true
	a.progress.Broadcast()
	a.mu.Unlock()
	return a.sink.close()
}

func (a *auditor) stats(num func(string, uint64)) {
	num("mac_audit_written", a.total.Load())
	num("mac_audit_suppressed", a.lost.Load())
	num("mac_audit_failures", a.failures.Load())
}

// auditPolicyLoad records that a policy or its booleans have changed.
func (m *Monitor) auditPolicyLoad(seqno uint32) {
	m.audit.put(&Record{}, auditPolicyLoad, fmt.Sprintf("op=load_policy lsm=selinux seqno=%d res=1", seqno))
}

// auditEnforcing records a change of mode.
func (m *Monitor) auditEnforcing(on bool) {
	n := 0
	if on {
		n = 1
	}
	m.audit.put(&Record{}, auditStatus, fmt.Sprintf("op=setenforce lsm=selinux enforcing=%d res=1", n))
}

// format appends the text of e.
func (a *auditor) format(dst []byte, e *entry) []byte {
	switch {
	case e.kind == auditUserAuth:
		return append(dst, e.event...)
	case e.event != "":
		return append(append(dst, "avc:  "...), e.event...)
	}
	return appendRecord(dst, &e.Record, a.m.comm)
}

// comm is the name of a process, or "" if it is gone. A number may meanwhile be
// another process's: it is a hint for people, and nothing is decided by it.
func (m *Monitor) comm(pid int32) string {
	f, err := os.Open(filepath.Join(m.cfg.proc(), strconv.Itoa(int(pid)), "comm"))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	var b [64]byte
	n, _ := io.ReadFull(f, b[:])
	if n > 0 && b[n-1] == '\n' {
		n--
	}
	return string(b[:n])
}
