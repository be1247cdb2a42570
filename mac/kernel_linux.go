package mac

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sememcached/avc"
	"sememcached/policy"
)

// kernel is the kernel as decider: what outlives its generations.
type kernel struct {
	fs    *selinuxfs
	link  *statusLink   // moves the page's word if the page cannot be mapped
	moved chan struct{} // a rebuild is due
	wait  sync.WaitGroup

	mu       sync.Mutex
	attempts uint64        // +checklocks:mu rebuilds that ended, well or not
	tried    time.Time     // +checklocks:mu when the last one failed; zero if it did not
	ended    chan struct{} // +checklocks:mu closed at the end of the next one

	// What the rebuilding goroutine remembers of the policy's names: to read
	// and decode a real policy takes a tenth of a second.
	hash    [sha256.Size]byte
	names   []string
	noNames bool // said that they cannot be read

	toldSeqno uint32 // +checklocks:changing what the audit log knows
	toldMode  bool
}

// errMoved: the kernel's state changed while it was read.
var errMoved = errors.New("the kernel's SELinux state keeps changing")

const (
	rebuildTries = 20
	rebuildPause = 250 * time.Millisecond // after a failure
)

// startKernel makes the first generation of a kernel's policy.
//
// Preconditions: changing is held.
func (m *Monitor) startKernel() error {
	root := m.cfg.selinuxfs()
	k := &kernel{
		fs:    openSELinuxFS(root),
		moved: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	if m.cfg.transact != nil {
		k.fs.transact = m.cfg.transact
	}
	page, err := openStatusPage(root)
	if err != nil {
		why := err
		if k.link, page, err = openStatusLink(k.fs, why); err != nil {
			return refuse("changes of the kernel's policy could not be noticed: %w", err)
		}
		m.log.Warn("mac: the kernel's status page cannot be mapped; netlink tells of changes, a little later", "error", why)
	}
	m.kernel, m.page = k, page
	if k.link != nil {
		k.wait.Add(1)
		go k.link.run(&k.wait, func(err error) {
			m.log.Error("mac: changes of the kernel's policy can no longer be noticed; everything is denied", "error", err)
		})
	}
	cs, err := m.loadContexts()
	if err != nil {
		return err
	}
	if err := m.rebuild(cs, true); err != nil {
		return err
	}
	k.wait.Add(1)
	go m.watchKernel()
	return nil
}

func (k *kernel) close() {
	if k.link != nil {
		k.link.close()
	}
	k.wait.Wait()
	// The status page stays mapped: workers may still look at it.
}

// kernelMoved is called by workers that saw the status page move: from now on
// no verdict of the generation in force may be used. It publishes one that has
// no answers and starts to read the new state.
func (m *Monitor) kernelMoved() *Generation {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.gen.Load()
	status := m.page.sequence()
	if g.status != status {
		g = m.unbuilt(g, status)
	}
	return g
}

// expire does the same for an answer that showed a state that the page does not
// show yet.
func (m *Monitor) expire(g *Generation) {
	if m.kernel == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gen.Load() == g && !g.building {
		m.unbuilt(g, g.status)
	}
}

// unbuilt publishes a generation that waits for its state. It has the fields of
// the one before, with which nothing can be decided; the mode is known at once.
//
// Preconditions: mu is held.
func (m *Monitor) unbuilt(g *Generation, status uint32) *Generation {
	c := m.copyOf(g)
	c.building = true
	c.status = status
	c.Usable = true // not known: ask, and wait
	on, ok := m.page.enforcing(status)
	c.Enforcing = on || !ok
	m.publishLocked(c)
	nudge(m.kernel.moved)
	return c
}

// watchKernel rebuilds whenever it is due.
func (m *Monitor) watchKernel() {
	k := m.kernel
	defer k.wait.Done()
	for {
		select {
		case <-m.done:
			return
		case <-k.moved:
		}
		m.changing.Lock()
		var err error
		if m.gen.Load().building {
			err = m.rebuild(m.contexts, false)
		}
		m.changing.Unlock()
		k.mu.Lock()
		k.attempts++
		k.tried = time.Time{}
		if err != nil {
			k.tried = time.Now()
		}
		close(k.ended)
		k.ended = make(chan struct{})
		k.mu.Unlock()
		if err != nil {
			m.n.reloadFailures.Add(1)
			m.complain(fmt.Errorf("the kernel's SELinux state could not be read: %w", err))
		}
	}
}

// settle waits until the state that a building generation waits for has been
// read, or until that has failed: an error. A failure is not waited for again
// within rebuildPause.
func (m *Monitor) settle() error {
	k := m.kernel
	if k == nil {
		return ErrStale
	}
	k.mu.Lock()
	first := k.attempts
	for m.gen.Load().building {
		if !k.tried.IsZero() && (k.attempts > first || time.Since(k.tried) < rebuildPause) {
			k.mu.Unlock()
			return fmt.Errorf("%w: the kernel's SELinux state could not be read", ErrUndecided)
		}
		ended := k.ended
		k.mu.Unlock()
		nudge(k.moved)
		select {
		case <-ended:
		case <-m.done:
			return ErrUndecided
		}
		k.mu.Lock()
	}
	k.mu.Unlock()
	return nil
}

// rebuild reads the kernel's whole state and publishes it, if nothing moved
// meanwhile. starting refuses what a running server only denies.
//
// Preconditions: changing is held.
func (m *Monitor) rebuild(cs *contexts, starting bool) error {
	var err error
	for range rebuildTries {
		var st *state
		if st, err = m.kernelState(starting); err == nil {
			if starting && len(st.missing) > 0 {
				return m.refuseMissing(st.missing)
			}
			err = m.adopt(st, cs, m.contexts)
		}
		if err == nil {
			m.tellKernelChange(m.gen.Load(), starting)
			return nil
		}
		if !errors.Is(err, errMoved) && !errors.Is(err, ErrStale) {
			return err
		}
		select {
		case <-m.done:
			return err
		case <-time.After(time.Millisecond): // whoever changes it is at it
		}
	}
	return errMoved
}

// tellKernelChange audits what is new.
//
// Preconditions: changing is held.
func (m *Monitor) tellKernelChange(g *Generation, starting bool) {
	if g.building {
		return // moved again: the next one tells
	}
	k := m.kernel
	if !starting && k.toldSeqno != g.seqno {
		m.auditPolicyLoad(g.seqno)
	}
	if !starting && k.toldMode != g.Enforcing {
		m.auditEnforcing(g.Enforcing)
	}
	k.toldSeqno, k.toldMode = g.seqno, g.Enforcing
}

// kernelState reads what a generation needs. errMoved: it changed meanwhile.
func (m *Monitor) kernelState(starting bool) (*state, error) {
	k, page := m.kernel, m.page
	st := &state{status: page.sequence()}
	var ok bool
	var err error
	if st.enforcing, ok = page.enforcing(st.status); !ok {
		if page.mem == nil { // the mode is a file's then
			if _, err = k.fs.number("enforce"); err != nil {
				return nil, err
			}
		}
		return nil, errMoved
	}
	dec := &kernelPolicy{fs: k.fs, page: page, status: st.status}
	st.dec = dec
	if dec.mapping, st.missing, err = k.fs.mapping(); err != nil {
		return nil, err
	}
	st.calculate = dec.calculate()
	if st.unlabeled, err = k.fs.read("initial_contexts/unlabeled"); err != nil {
		return nil, err
	}
	if !plausible(st.unlabeled) {
		return nil, fmt.Errorf("%s: expected a context, found %q", filepath.Join(k.fs.root, "initial_contexts/unlabeled"), st.unlabeled)
	}
	dec.unlabeled = st.unlabeled
	if st.server, err = m.kernelServer(starting, st.unlabeled); err != nil {
		return nil, err
	}
	dec.server = st.server
	if dec.class[avc.ClassServer] != 0 {
		if dec.seqno, err = dec.probe(); err != nil {
			return nil, fmt.Errorf("the kernel does not answer our questions (may the server's domain use security:compute_av?): %w", err)
		}
	} else {
		// Nothing can be asked; everything is denied.
		dec.seqno = m.gen.Load().seqno
	}
	st.seqno = dec.seqno
	st.names = k.transitionNames(m)
	st.about = k.about()
	st.verify = func() error {
		if dec.class[avc.ClassServer] == 0 {
			if page.sequence() != st.status {
				return errMoved
			}
			return nil
		}
		if err := dec.stillCurrent(); errors.Is(err, ErrStale) {
			return errMoved
		} else if err != nil {
			return err
		}
		return nil
	}
	return st, nil
}

// kernelServer is the server's own context in the policy in force.
func (m *Monitor) kernelServer(starting bool, unlabeled string) (string, error) {
	ctx := m.cfg.ServerContext
	if ctx == "" {
		var err error
		if ctx, err = ownLabel(m.cfg.proc()); err != nil {
			return "", fmt.Errorf("the server's own context: %w", err)
		}
	}
	c, err := m.kernel.fs.context(ctx)
	switch {
	case err == nil:
		return c, nil
	case !invalid(err):
		return "", fmt.Errorf("the kernel does not check contexts for us (may the server's domain use security:check_context?): %w", err)
	case starting:
		return "", refuse("the server's own context: expected one that the kernel's policy knows, found %q; choose one by --server-context", ctx)
	}
	m.log.Error("mac: the kernel's policy no longer knows the server's own context, which acts as unlabeled", "context", ctx)
	return unlabeled, nil
}

// transitionNames are the object names of named transitions on kv_item, from
// the kernel's whole policy, if that may be read.
func (k *kernel) transitionNames(m *Monitor) []string {
	names, err := k.readNames()
	if err != nil {
		if !k.noNames {
			k.noNames = true
			m.log.Warn("mac: the kernel's policy cannot be read; named transitions on kv_item are not followed", "error", err)
		}
		return nil
	}
	k.noNames = false
	return names
}

func (k *kernel) readNames() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(k.fs.root, "policy"))
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(b)
	if hash == k.hash {
		return k.names, nil
	}
	p, err := policy.Read(b)
	if err != nil {
		return nil, err
	}
	c, _ := p.Class(avc.ClassItem.String())
	k.names, k.hash = p.TransitionNames(c), hash
	return k.names, nil
}

// about describes the kernel's policy.
func (k *kernel) about() string {
	s := "the kernel"
	if v, err := k.fs.number("policyvers"); err == nil {
		s += fmt.Sprintf(" (policy version up to %d", v)
		if d, err := k.fs.number("deny_unknown"); err == nil {
			s += ", unknown " + map[bool]string{true: "denied", false: "allowed"}[d != 0]
		}
		if r, err := k.fs.number("reject_unknown"); err == nil && r != 0 {
			s = strings.Replace(s, "unknown denied", "unknown rejected", 1)
		}
		s += ")"
	}
	return s
}
