package mac

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"sememcached/avc"
	"sememcached/policy"
)

// start makes the first generation.
func (m *Monitor) start() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.booleans = maps.Clone(m.cfg.Booleans)
	var err error
	if m.keyRules, err = m.loadKeyRules(); err != nil {
		return err
	}
	m.warnKeyRules(m.keyRules)
	if m.decider == decidesKernel {
		return m.startKernel()
	}
	st, err := m.loadFile()
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
	same      bool         // the policy's contexts are those of the generation before
	status    uint32       // kernel
	seqno     uint32       // kernel
	verify    func() error // kernel: is all that still in force?
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
		return nil, fmt.Errorf("%s: %w%s", name, err, policy.NotCompiled(b))
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
		Rules:     m.keyRules,
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
	if st.verify != nil {
		if err := st.verify(); err != nil {
			for _, h := range g.holds() {
				m.release(h)
			}
			return err
		}
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
	if !g.building { // that one is published by a worker, and is soon followed
		m.access.Purge()
		m.labels.Purge()
	}
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

// Reload reads the policy file, the contexts file, the key rules with their
// identities and the audit log's name again; under a kernel, its state and the
// other files. Either everything
// takes effect or nothing does. Values that SetBooleans has set stay. It may block, and
// is not for event loops.
func (m *Monitor) Reload() error {
	if !m.Enabled() {
		return m.reloadOff()
	}
	err := m.tryReload()
	if errors.Is(err, avc.ErrFull) {
		// Clients that name one context after the other must not be able to keep the
		// state in force. (Not under changing: a worker may wait for a kernel's state.)
		m.collectWithin(collectTime)
		err = m.tryReload()
	}
	if err != nil {
		m.n.reloadFailures.Add(1)
		return fmt.Errorf("reload: %w; what was in force stays", err)
	}
	return nil
}

// collectTime is how long a reload waits for a collection, which waits for every worker,
// and so for the longest work in the background.
const collectTime = time.Second

// collectWithin returns when a collection has ended, or limit has passed.
func (m *Monitor) collectWithin(limit time.Duration) {
	ended := make(chan struct{})
	go func() {
		m.Collect()
		close(ended)
	}()
	select {
	case <-ended:
	case <-m.done:
	case <-time.After(limit):
	}
}

func (m *Monitor) tryReload() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	before := m.keyRules
	if err := m.reload(); err != nil {
		m.keyRules = before
		return err
	}
	m.n.reloads.Add(1)
	m.warnKeyRules(m.keyRules)
	m.audit.reopen()
	return nil
}

// Preconditions: changing is held.
func (m *Monitor) reload() error {
	cs, err := m.loadContexts()
	if err != nil {
		return err
	}
	if m.keyRules, err = m.loadKeyRules(); err != nil {
		return err
	}
	if m.decider == decidesKernel {
		return m.rebuild(cs, false)
	}
	st, err := m.loadFile()
	if err != nil {
		return err
	}
	if err := m.adopt(st, cs, m.contexts); err != nil {
		return err
	}
	m.auditPolicyLoad(uint32(m.gen.Load().Seq))
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
	m.auditPolicyLoad(uint32(m.gen.Load().Seq))
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
