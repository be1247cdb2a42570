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
	"strings"
	"sync"
	"sync/atomic"

	"sememcached/avc"
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
	AVCSize       int             // entries of the shared layer; 0: 131072
	AuditLog      string          // FILE or "stderr"; "": the kernel's audit where it decides and permits, else stderr
	KeyRules      KeyRulesConfig  // rules about commands and keys; none: SELinux alone decides
	AuditRate     int             // audit lines a second, and at one time; 0: 1000; below 0: no limit
	Log           *slog.Logger    // nil: slog.Default()

	// For tests.
	SELinuxFS   string                // root of a selinuxfs; "": /sys/fs/selinux, and checked to be one
	ProcRoot    string                // "": /proc
	Decider     func(Decider) Decider // replaces or wraps what decides, in every generation
	AuditWriter io.Writer             // where audit lines go instead
	transact    func(name string, in []byte, reply bool) ([]byte, error)
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
	keyRules *KeyRules       // +checklocks:changing

	mu      sync.Mutex
	retired []retiree // +checklocks:mu oldest first

	asker      asker
	epochs     epochs
	live       atomic.Pointer[func(avc.SID) bool]
	collecting sync.Mutex
	complaints complaints

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
		m.cfg.AVCSize = 131072
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
		if err := m.startOff(); err != nil {
			return nil, err
		}
		if !m.HasKeyRules() {
			m.log.Warn("access control is off: every client may do everything")
		}
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

// Describe is the start-up line: who decides and by what policy.
func (m *Monitor) Describe() string {
	if !m.Enabled() {
		if k := m.gen.Load().Rules; k != nil {
			return "access control by labels is off (--mac=off); " + k.about
		}
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
	if g.Rules != nil {
		s += "; " + g.Rules.about
	}
	return s + "; server " + m.sids.String(g.Server)
}
