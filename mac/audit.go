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
	sink sink
	wake chan struct{}
	done chan struct{}
	wait sync.WaitGroup

	mu         sync.Mutex
	idle       *sync.Cond // of mu: everything taken is written
	ring       []entry    // +checklocks:mu
	head, n    int        // +checklocks:mu
	busy       bool       // +checklocks:mu the goroutine holds records that are not written yet
	suppressed uint64     // +checklocks:mu since the last line that tells
	sync       bool       // +checklocks:mu somebody waits: tell about the suppressed at once
	tokens     float64    // +checklocks:mu
	refilled   time.Time  // +checklocks:mu
	rate       float64    // lines a second, and at one time; below 0: no limit

	total, lost, failures atomic.Uint64 // written, suppressed, could not be written
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
	auditUserAVC    auditType = 1107 // USER_AVC
	auditPolicyLoad auditType = 2310 // USER_MAC_POLICY_LOAD
	auditStatus     auditType = 2313 // USER_MAC_STATUS
)

func (t auditType) String() string {
	switch t {
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
	a.idle = sync.NewCond(&a.mu)
	var err error
	if a.sink, err = m.openSink(); err != nil {
		return nil, err
	}
	a.wait.Add(1)
	go a.run()
	return a, nil
}

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
		a.mu.Unlock()
		a.lost.Add(1)
		nudge(a.wake)
		return
	}
	e := &a.ring[(a.head+a.n)%len(a.ring)]
	e.Record, e.kind, e.event = *r, kind, event
	e.Time = now
	a.n++
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
	a.sync = true
	nudge(a.wake)
	for a.n > 0 || a.busy || a.sync {
		a.idle.Wait()
	}
	a.mu.Unlock()
}

// run is the goroutine that formats and writes.
func (a *auditor) run() {
	defer a.wait.Done()
	var buf []byte
	var e entry
	var told time.Time
	var later <-chan time.Time
	closing := false
	for {
		select {
		case <-a.wake:
		case <-later:
		case <-a.done:
			closing = true
		}
		later = nil
		for {
			a.mu.Lock()
			if a.n == 0 {
				break
			}
			e = a.ring[a.head]
			a.ring[a.head] = entry{} // hold no peer
			a.head = (a.head + 1) % len(a.ring)
			a.n--
			a.busy = true
			a.mu.Unlock()
			buf = a.format(buf[:0], &e)
			a.emit(e.kind, e.Time, buf)
		}
		n := a.suppressed
		if n > 0 && !a.sync && !closing {
			if d := tellEvery - time.Since(told); d > 0 {
				n = 0
				later = time.After(d)
			}
		}
		a.suppressed -= n
		syncing := a.sync
		a.busy = true
		a.mu.Unlock()
		if n > 0 {
			told = time.Now()
			a.emit(auditUserAVC, told, fmt.Appendf(buf[:0], "sememcached: suppressed %d records", n))
		}
		if err := a.sink.flush(); err != nil {
			a.fail(err)
		}
		a.mu.Lock()
		a.busy = false
		if syncing {
			a.sync = false
		}
		a.idle.Broadcast()
		more := a.n > 0
		a.mu.Unlock()
		if closing && !more {
			return
		}
	}
}

func (a *auditor) emit(t auditType, at time.Time, text []byte) {
	if err := a.sink.emit(t, at, text); err != nil {
		a.fail(err)
		if n, ok := a.sink.(*netlinkSink); ok {
			// Not permitted any more, or never was: the log is better than
			// nothing.
			_ = n.close()
			a.sink = &writerSink{w: os.Stderr}
			if a.sink.emit(t, at, text) == nil {
				a.total.Add(1)
			}
		}
		return
	}
	a.total.Add(1)
}

func (a *auditor) fail(err error) {
	if a.failures.Add(1) == 1 {
		a.m.log.Error("mac: audit records cannot be written; denials stay denials", "error", err)
	}
}

// reopen is asked for by a reload; the goroutine that owns the sink may be
// writing, so it waits its turn.
func (a *auditor) reopen() {
	if s, ok := a.sink.(*writerSink); ok && s.path != "" {
		s.again.Store(true)
	}
}

func (a *auditor) close() error {
	close(a.done)
	a.wait.Wait()
	a.mu.Lock()
	a.sync = false
	a.idle.Broadcast()
	a.mu.Unlock()
	return a.sink.close()
}

func (a *auditor) stats(num func(string, uint64)) {
	num("mac_audit_written", a.total.Load())
	num("mac_audit_suppressed", a.lost.Load())
	num("mac_audit_failures", a.failures.Load())
}

// auditPolicyLoad records that a policy or its booleans have changed.
func (m *Monitor) auditPolicyLoad() {
	m.audit.put(&Record{}, auditPolicyLoad, fmt.Sprintf("op=load_policy lsm=selinux seqno=%d res=1", m.gen.Load().Seq))
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
	if e.event != "" {
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

// writerSink writes lines as auditd does, a line a record, whole lines at a
// time.
type writerSink struct {
	w      io.Writer
	path   string // "": w is given, and never closed
	file   *os.File
	buf    []byte
	serial uint64
	again  atomic.Bool
}

func (s *writerSink) emit(t auditType, at time.Time, text []byte) error {
	s.serial++
	s.buf = appendHeader(s.buf, t, at, s.serial)
	s.buf = append(append(s.buf, text...), '\n')
	if len(s.buf) > 32<<10 {
		return s.flush()
	}
	return nil
}

func (s *writerSink) flush() error {
	var err error
	if s.again.CompareAndSwap(true, false) {
		err = s.reopen() // else the old file is written on
	}
	if len(s.buf) == 0 {
		return err
	}
	_, werr := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if werr != nil {
		return werr
	}
	return err
}

func (s *writerSink) reopen() error {
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file, s.w = f, f
	return nil
}

func (s *writerSink) close() error {
	err := s.flush()
	if s.file != nil {
		if cerr := s.file.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
