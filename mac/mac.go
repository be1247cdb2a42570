// Package mac is the reference monitor: who a client is, which label a new item
// gets, and what a client may do, by an SELinux kernel or by a policy file. It
// knows nothing of items, commands or protocols.
//
// # Generations
//
// A Generation is one state of everything that decisions depend on. Whatever
// changes (a policy file read again, a boolean, the mode; under a kernel its
// policy, booleans or mode) makes a new one completely, and then publishes it by
// one pointer; a change with any bad part leaves the whole old one. An answer
// belongs to the generation it was computed in and is never used for another.
//
// A request loads the generation once, at or after its last byte was read, and
// takes all its decisions from it, so that no verdict is older than the state
// that was visible when the request began.
//
// # Who decides
//
// A worker looks up its avc.Table, then Cached, the shared layer. Neither
// computes. What is not there is asked by Ask, on a bounded number of
// goroutines, once for all who want it, however slow the security server is; the
// worker serves others meanwhile. An answer that cannot be had is a denial,
// unless the mode is known to be permissive.
//
// # Locks
//
// None of them is held while the security server, the store or a file is waited
// for, except changing, which only those who change the state take.
//
//	changing    Reload, SetBooleans, SetPermissive, and the kernel's rebuild
//	  mu        the newest generation's making; the list of replaced ones
//	    avc.SIDs
//	collecting  one collection of SIDs at a time; above mu
//	asker.mu, epochs.mu, the audit ring's mu: short, nothing below them
package mac

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"sememcached/avc"
	"sememcached/policy"
)

// Mode is who shall decide. The zero value is none: Open refuses it.
type Mode uint8

// The modes.
const (
	_          Mode = iota
	Auto            // the kernel where SELinux is on, else a policy file, else the built-in policy
	Kernel          // the kernel or nobody
	PolicyFile      // a policy file, else the built-in policy, whatever the kernel is
	Off             // nobody: plain memcached
)

var modeNames = [...]string{Auto: "auto", Kernel: "kernel", PolicyFile: "policy", Off: "off"}

// String is the flag's word.
func (m Mode) String() string {
	if m != 0 && int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode reads the flag's word: auto, kernel, policy or off.
func ParseMode(s string) (Mode, error) {
	for m := Auto; m <= Off; m++ {
		if modeNames[m] == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("expected one of %s, found %q", strings.Join(modeNames[Auto:], ", "), s)
}

// DefaultServerContext is the server's own context where a policy file decides.
const DefaultServerContext = "system_u:system_r:kv_server_t:s0"

// Config says who decides and by what. Only Mode has no default.
type Config struct {
	Mode          Mode
	PolicyFile    string          // binary policy; "": the built-in one
	Booleans      map[string]bool // switches of the policy file, over its own values
	Permissive    bool            // policy file: log instead of denying
	ContextsFile  string          // "": the built-in line
	PeerLabels    string          // "kernel": labels of SO_PEERSEC count beside a policy file too
	ServerContext string          // "": DefaultServerContext, or what the kernel gave the process
	MaxLabels     int             // contexts in use at one time; 0: avc.DefaultMaxSIDs
	AVCSize       int             // entries of the shared layer; 0: 16384
	AuditLog      string          // FILE or "stderr"; "": the kernel's audit where it decides and permits, else stderr
	AuditRate     int             // audit lines a second, and at one time; 0: 1000; below 0: no limit
	Log           *slog.Logger    // nil: slog.Default()

	// For tests.
	SELinuxFS   string                // root of a selinuxfs; "": /sys/fs/selinux, and checked to be one
	ProcRoot    string                // "": /proc
	Decider     func(Decider) Decider // replaces or wraps what decides, in every generation
	AuditWriter io.Writer             // where audit lines go instead
}

// StartError is a refusal to start. Its text says what is wrong, and what to
// install or to choose.
type StartError struct {
	Code int // of the process: 78, EX_CONFIG of sysexits.h
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *StartError) Unwrap() error { return e.Err }

// ExitConfig is the exit code of a refusal.
const ExitConfig = 78

func refuse(format string, args ...any) error {
	return &StartError{Code: ExitConfig, Err: fmt.Errorf(format, args...)}
}

// Monitor is the reference monitor of one server. All its methods may be called
// from any goroutine.
type Monitor struct {
	cfg     Config
	log     *slog.Logger
	sids    *avc.SIDs
	access  *avc.Cache[avKey, remembered]
	labels  *avc.Cache[Question, remembered]
	decider deciderKind
	peers   peerLabels
	label   func(fd int) (string, error) // peerLabel, but in tests
	page    *statusPage                  // the kernel's, if it decides
	kernel  *kernel                      // the same

	gen atomic.Pointer[Generation]

	changing sync.Mutex
	file     *filePolicy     // +checklocks:changing the policy file in force
	booleans map[string]bool // +checklocks:changing set by the operator
	contexts *contexts       // +checklocks:changing

	mu      sync.Mutex
	retired []retiree // +checklocks:mu oldest first

	asker      asker
	epochs     epochs
	live       atomic.Pointer[func(avc.SID) bool]
	collecting sync.Mutex
	complained atomic.Int64 // the second of the last failure logged

	audit      *auditor
	moved      chan struct{} // a generation was replaced
	full       chan struct{} // the table of SIDs fills up
	done       chan struct{} // closed by Close
	background sync.WaitGroup
	closing    sync.Once

	n counters
}

// deciderKind is who decides.
type deciderKind uint8

const (
	decidesNobody deciderKind = iota // off
	decidesKernel
	decidesFile
	decidesBuiltin
)

func (k deciderKind) String() string {
	return [...]string{"off", "kernel", "policy file", "built-in policy"}[k]
}

// Open makes the monitor, or refuses by a *StartError. Nothing ever runs without
// a decider unless Mode is Off.
func Open(cfg Config) (*Monitor, error) {
	m := &Monitor{
		cfg:   cfg,
		log:   cfg.Log,
		moved: make(chan struct{}, 1),
		full:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if cfg.AVCSize <= 0 {
		m.cfg.AVCSize = 16384
	}
	m.sids = avc.NewSIDs(cfg.MaxLabels)
	m.sids.SetPressure(func() { nudge(m.full) })
	m.access = avc.NewCache[avKey, remembered](m.cfg.AVCSize)
	m.labels = avc.NewCache[Question, remembered](max(m.cfg.AVCSize/4, 256))
	m.asker.flights = make(map[flightKey]*flight)
	m.epochs.all = make(map[*Epoch]struct{})
	m.label = peerLabel
	m.gen.Store(&Generation{Enforcing: true}) // denies, until the first one

	var err error
	if m.decider, err = m.choose(); err != nil {
		return nil, err
	}
	if m.decider == decidesNobody {
		m.gen.Store(&Generation{Seq: 1, Enforcing: true})
		m.log.Warn("access control is off: every client may do everything")
		return m, nil
	}
	if m.audit, err = openAuditor(m); err != nil {
		return nil, &StartError{Code: ExitConfig, Err: err}
	}
	if err := m.start(); err != nil {
		_ = m.Close()
		var se *StartError
		if errors.As(err, &se) {
			return nil, err
		}
		return nil, &StartError{Code: ExitConfig, Err: err}
	}
	m.background.Add(1)
	go m.collector()
	return m, nil
}

// start makes the first generation.
func (m *Monitor) start() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.booleans = maps.Clone(m.cfg.Booleans)
	var st *state
	var err error
	if m.decider == decidesKernel {
		st, err = m.startKernel()
	} else {
		st, err = m.loadFile()
	}
	if err != nil {
		return err
	}
	if len(st.missing) > 0 {
		return m.refuseMissing(st.missing)
	}
	cs, err := m.loadContexts()
	if err != nil {
		return err
	}
	return m.adopt(st, cs, nil)
}

// state is what a security server brings into a generation.
type state struct {
	dec       Decider
	calculate avc.Perms
	missing   []string
	names     []string
	server    string // the server's context, canonical
	unlabeled string // or ""
	enforcing bool
	about     string
	file      *filePolicy // if it is one
	booleans  map[string]bool
	same      bool   // the policy's contexts are those of the generation before
	status    uint32 // kernel
	seqno     uint32 // kernel
}

// loadFile reads the policy file or the built-in policy.
func (m *Monitor) loadFile() (*state, error) {
	name, b := "built-in policy", []byte(nil)
	if m.decider == decidesFile {
		name = m.cfg.PolicyFile
		var err error
		if b, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("policy file: %w", err)
		}
	} else {
		b = policy.Default()
	}
	p, err := policy.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(m.booleans) > 0 {
		if p, err = p.WithBooleans(m.booleans); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	f, missing := newFilePolicy(p)
	st, err := m.fileState(f)
	if err != nil {
		return nil, err
	}
	st.missing = missing
	st.about = fmt.Sprintf("%s (version %d)", name, p.Version())
	st.booleans = m.booleans
	return st, nil
}

// fileState is the state of a policy file, in the mode of the configuration.
func (m *Monitor) fileState(f *filePolicy) (*state, error) {
	server := m.cfg.ServerContext
	if server == "" {
		server = DefaultServerContext
	}
	st := &state{
		dec:       f,
		calculate: f.calculate(),
		names:     f.names(),
		unlabeled: f.unlabeledContext(),
		enforcing: !m.cfg.Permissive,
		file:      f,
	}
	var err error
	if st.server, err = canonicalize(f, server); err != nil {
		return nil, fmt.Errorf("the server's own context: %w; choose one of the policy by --server-context", err)
	}
	return st, nil
}

func (m *Monitor) loadContexts() (*contexts, error) {
	if m.cfg.ContextsFile != "" {
		cs, err := readContexts(m.cfg.ContextsFile)
		if err != nil {
			return nil, fmt.Errorf("contexts file: %w", err)
		}
		return cs, nil
	}
	if m.decider == decidesKernel {
		return &contexts{}, nil // whom the kernel does not label is unlabeled
	}
	return builtinContexts(), nil
}

// adopt makes a generation of st and cs and publishes it. before is the contexts
// file in force until now.
//
// Preconditions: changing is held.
func (m *Monitor) adopt(st *state, cs, before *contexts) (err error) {
	if m.cfg.Decider != nil {
		st.dec = m.cfg.Decider(st.dec)
	}
	g := &Generation{
		Enforcing: st.enforcing,
		Calculate: st.calculate,
		Usable:    len(st.missing) == 0,
		status:    st.status,
		seqno:     st.seqno,
		about:     st.about,
		dec:       st.dec,
		missing:   st.missing,
		names:     st.names,
	}
	if len(g.names) > 0 {
		g.nameIdx = make(map[string]int32, len(g.names))
		for i, n := range g.names {
			g.nameIdx[n] = int32(i)
		}
	}
	var notes []string
	old := m.gen.Load()
	if st.same && cs == before && old.bound != nil {
		g.bound = old.bound
		m.retain(g.bound.held)
	} else if g.bound, notes, err = m.bind(cs, st.dec, st.server, before); err != nil {
		return err
	}
	if g.Server, err = m.sids.Intern(st.server); err != nil {
		m.release(g.bound.held)
		return fmt.Errorf("server context: %w", err)
	}
	if g.Unlabeled, err = m.sids.Intern(st.unlabeled); err != nil {
		m.release(g.bound.held)
		m.sids.Release(g.Server)
		return fmt.Errorf("unlabeled context: %w", err)
	}
	m.contexts = cs
	m.file, m.booleans = st.file, st.booleans
	m.publish(g)
	for _, n := range notes {
		m.log.Warn("mac: " + n)
	}
	if !g.Usable {
		m.log.Error("mac: the policy in force is not usable; everything is denied", "missing", strings.Join(g.missing, " "))
	}
	return nil
}

// publish gives g the next number and makes it the one in force.
func (m *Monitor) publish(g *Generation) {
	m.mu.Lock()
	m.publishLocked(g)
	m.mu.Unlock()
}

// Preconditions: mu is held.
func (m *Monitor) publishLocked(g *Generation) {
	old := m.gen.Load()
	g.Seq = old.Seq + 1
	if old.Seq > 0 {
		m.retired = append(m.retired, retiree{seq: old.Seq, held: old.holds()})
	}
	m.gen.Store(g)
	m.access.Purge()
	m.labels.Purge()
	nudge(m.moved)
}

// holds lists the references that g has.
func (g *Generation) holds() [][]avc.SID {
	h := [][]avc.SID{{g.Server, g.Unlabeled}}
	if g.bound != nil && len(g.bound.held) > 0 {
		h = append(h, g.bound.held)
	}
	return h
}

// copyOf is g with references of its own, to be published again.
func (m *Monitor) copyOf(g *Generation) *Generation {
	c := *g
	for _, h := range c.holds() {
		m.retain(h)
	}
	return &c
}

// republish publishes the same state under a new number, and returns that.
func (m *Monitor) republish() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.copyOf(m.gen.Load())
	m.publishLocked(g)
	return g.Seq
}

// Close ends the monitor's goroutines and writes what is left to audit.
// Questions that have not been started are answered as failed.
func (m *Monitor) Close() error {
	var err error
	m.closing.Do(func() {
		close(m.done)
		m.asker.close()
		m.asker.idle.Wait()
		m.background.Wait()
		if m.kernel != nil {
			m.kernel.close()
		}
		if m.audit != nil {
			err = m.audit.close()
		}
	})
	return err
}

// Enabled reports whether access is controlled: false only for Mode Off.
func (m *Monitor) Enabled() bool { return m.decider != decidesNobody }

// SIDs is the table of contexts in use.
func (m *Monitor) SIDs() *avc.SIDs { return m.sids }

// Generation is the one in force: one atomic load, and under a kernel a second
// one, of the status page. It never blocks.
func (m *Monitor) Generation() *Generation {
	g := m.gen.Load()
	if m.page == nil || m.page.sequence() == g.status {
		return g
	}
	return m.kernelMoved()
}

// Reload reads the policy file, the contexts file and the audit log's name
// again; under a kernel, its state and the contexts file. Either everything
// takes effect or nothing does. Values that SetBooleans has set stay.
func (m *Monitor) Reload() error {
	if !m.Enabled() {
		return nil
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	err := m.reload()
	if err != nil {
		m.n.reloadFailures.Add(1)
		return fmt.Errorf("reload: %w; what was in force stays", err)
	}
	m.n.reloads.Add(1)
	m.audit.reopen()
	return nil
}

// Preconditions: changing is held.
func (m *Monitor) reload() error {
	cs, err := m.loadContexts()
	if err != nil {
		return err
	}
	if m.decider == decidesKernel {
		return m.rebuild(cs)
	}
	st, err := m.loadFile()
	if err != nil {
		return err
	}
	if err := m.adopt(st, cs, m.contexts); err != nil {
		return err
	}
	m.auditPolicyLoad()
	return nil
}

// SetBooleans changes switches of the policy file for as long as the server
// runs. A name that the policy does not have changes nothing.
func (m *Monitor) SetBooleans(values map[string]bool) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.file == nil {
		return errors.New("booleans can be set only where a policy file decides; for the kernel's see setsebool(8)")
	}
	f, err := m.file.withBooleans(values)
	if err != nil {
		return err
	}
	st, err := m.fileState(f)
	if err != nil {
		return err
	}
	old := m.gen.Load()
	st.missing, st.about = old.missing, old.about
	st.booleans = overlay(m.booleans, values)
	st.same = true
	if err := m.adopt(st, m.contexts, m.contexts); err != nil {
		return err
	}
	m.auditPolicyLoad()
	return nil
}

// SetPermissive changes whether denials are enforced. Under a kernel it does
// nothing: that has its own mode.
func (m *Monitor) SetPermissive(on bool) {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.file == nil {
		return
	}
	m.cfg.Permissive = on
	m.mu.Lock()
	g := m.copyOf(m.gen.Load())
	g.Enforcing = !on
	m.publishLocked(g)
	m.mu.Unlock()
	m.auditEnforcing(!on)
}

// Describe is the start-up line: who decides and by what policy.
func (m *Monitor) Describe() string {
	if !m.Enabled() {
		return "access control is off (--mac=off)"
	}
	g := m.gen.Load()
	mode := "enforcing"
	if !g.Enforcing {
		mode = "permissive"
	}
	s := fmt.Sprintf("access control by %s, %s", g.about, mode)
	if !g.Usable {
		s += ", NOT USABLE (lacks " + strings.Join(g.missing, " ") + ")"
	}
	switch {
	case m.cfg.ContextsFile != "":
		s += fmt.Sprintf("; contexts %s (%d client, %d kv_item lines)", m.cfg.ContextsFile, len(g.bound.clients), len(g.bound.items))
	case m.decider == decidesKernel:
		s += "; clients without a kernel label are unlabeled"
	default:
		s += "; every client is " + plainContext
	}
	if m.peers == peersKernel && m.decider != decidesKernel {
		s += "; the kernel's peer labels count"
	}
	return s + "; server " + m.sids.String(g.Server)
}
