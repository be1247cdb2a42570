package mac

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"sememcached/avc"
	"sememcached/policy"
)

// Errors that an Answer may carry.
var (
	// ErrInvalidContext: a context that the policy in force does not know.
	ErrInvalidContext = errors.New("invalid security context")
	// ErrRefused: validatetrans forbids the change of label.
	ErrRefused = errors.New("change of label refused by the policy")
	// ErrUndecided: nobody could decide. It denies.
	ErrUndecided = errors.New("no decision")
	// ErrStale: the generation of the question is over; ask again in the
	// present one.
	ErrStale = errors.New("generation has passed")
	// ErrUnusable: the policy lacks a class or a permission of ours.
	ErrUnusable = errors.New("policy lacks kv_item, kv_server or one of their permissions")
)

// Decider is a security server with one state of its policy: a policy file, or
// the kernel. It speaks contexts, not SIDs, and our numbers of classes and
// permissions. Any number of goroutines may ask it; it may block. Every error
// but ErrInvalidContext and ErrRefused means that it could not decide.
type Decider interface {
	// Access is the raw access vector. A context that is not valid acts as the
	// policy's unlabeled.
	Access(scontext, tcontext string, c avc.Class) (avc.Decision, error)
	// Create is the context of a new object of class c that scontext makes at
	// tcontext; name is "" or an object name of a named transition.
	Create(scontext, tcontext string, c avc.Class, name string) (string, error)
	// Member is the context of scontext's own instance of tcontext, a
	// polyinstantiated object of class c (type_member).
	Member(scontext, tcontext string, c avc.Class) (string, error)
	// Relabel is the context that tcontext, an object of class c, should get
	// when scontext takes it over (type_change). It permits nothing.
	Relabel(scontext, tcontext string, c avc.Class) (string, error)
	// Canonical checks a context and returns its one canonical spelling, or
	// ErrInvalidContext.
	Canonical(context string) (string, error)
	// Transition reports by ErrRefused that the constraints on changes of
	// labels (validatetrans) forbid one.
	Transition(oldContext, newContext, taskContext string, c avc.Class) error
}

// mapping is between our numbers and those of one policy: which class number,
// and which bit, stands for each of ours. The analogue is selinux_set_mapping.
type mapping struct {
	class [len(classes) + 1]uint16
	perm  [len(classes) + 1][]uint32 // one bit each, 0 for a permission that is missing
}

var classes = [...]avc.Class{avc.ClassItem, avc.ClassServer}

// newMapping looks up all numbers by name. missing lists what the policy lacks
// and we cannot do without, as class or class:permission; calculate is not among
// them.
func newMapping(class func(string) (uint16, bool), perm func(class uint16, className, name string) (uint32, bool)) (m *mapping, missing []string) {
	m = new(mapping)
	for _, c := range classes {
		names := c.Names()
		m.perm[c] = make([]uint32, len(names))
		n, ok := class(c.String())
		if !ok || n == 0 {
			missing = append(missing, c.String())
			continue
		}
		m.class[c] = n
		for i, name := range names {
			bit, ok := perm(n, c.String(), name)
			m.perm[c][i] = bit
			if p := avc.Perms(1) << i; (!ok || bit == 0) && !(c == avc.ClassItem && p == avc.Calculate) {
				missing = append(missing, c.String()+":"+name)
			}
		}
	}
	return m, missing
}

// calculate is what incr and decr need.
func (m *mapping) calculate() avc.Perms {
	if p := m.perm[avc.ClassItem]; len(p) > 9 && p[9] != 0 {
		return avc.Calculate
	}
	return avc.Read | avc.Write
}

// perms translates an access vector of the policy to ours.
func (m *mapping) perms(c avc.Class, av uint32) avc.Perms {
	var p avc.Perms
	for i, bit := range m.perm[c] {
		if av&bit != 0 {
			p |= 1 << i
		}
	}
	return p
}

// filePolicy decides by a policy of our own reader.
type filePolicy struct {
	*mapping
	pol       *policy.Policy
	unlabeled policy.Context // the zero Context is denied everything
	parsed    *parsed
}

// parsed remembers parsed contexts. States of one policy that differ in their
// booleans share it.
type parsed struct {
	pol *policy.Policy
	mu  sync.Mutex
	m   map[string]policy.Context // +checklocks:mu zero for a context that is not valid
	len int                       // +checklocks:mu bytes of the contexts
}

// maxParsed, in contexts, and maxParsedText, in their bytes, bound the memory of
// parsed: clients can name long ones. It is forgotten as a whole: a context that is in
// use is parsed again in a microsecond.
const (
	maxParsed     = 1 << 16
	maxParsedText = 8 << 20
)

func newFilePolicy(p *policy.Policy) (*filePolicy, []string) {
	m, missing := newMapping(
		func(name string) (uint16, bool) {
			c, ok := p.Class(name)
			return uint16(c), ok
		},
		func(class uint16, _, name string) (uint32, bool) {
			av, ok := p.Perm(policy.Class(class), name)
			return uint32(av), ok
		})
	u, _ := p.InitialContext("unlabeled")
	return &filePolicy{
		mapping: m, pol: p, unlabeled: u,
		parsed: &parsed{pol: p, m: make(map[string]policy.Context)},
	}, missing
}

// withBooleans is f with other values of booleans.
func (f *filePolicy) withBooleans(values map[string]bool) (*filePolicy, error) {
	p, err := f.pol.WithBooleans(values)
	if err != nil {
		return nil, err
	}
	g := *f
	g.pol = p
	return &g, nil
}

func (f *filePolicy) unlabeledContext() string { return f.unlabeled.String() }

func (f *filePolicy) context(s string) policy.Context {
	p := f.parsed
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.m[s]
	if !ok {
		c, _ = p.pol.ParseContext(s)
		if len(p.m) >= maxParsed || p.len >= maxParsedText {
			p.m, p.len = make(map[string]policy.Context), 0
		}
		p.m[s] = c
		p.len += len(s)
	}
	if c == (policy.Context{}) {
		return f.unlabeled
	}
	return c
}

func (f *filePolicy) Access(s, t string, c avc.Class) (avc.Decision, error) {
	if f.class[c] == 0 {
		return avc.Decision{}, ErrUnusable
	}
	d := f.pol.ComputeAV(f.context(s), f.context(t), policy.Class(f.class[c]))
	r := avc.Decision{
		Allowed:    f.perms(c, uint32(d.Allowed)),
		AuditAllow: f.perms(c, uint32(d.AuditAllow)),
		AuditDeny:  f.perms(c, uint32(d.AuditDeny)),
		Permissive: d.Permissive,
	}
	if d.NeverAudit {
		r.AuditAllow, r.AuditDeny = 0, 0
	}
	return r, nil
}

func (f *filePolicy) Create(s, t string, c avc.Class, name string) (string, error) {
	if f.class[c] == 0 {
		return "", ErrUnusable
	}
	return f.label(f.pol.ComputeCreate(f.context(s), f.context(t), policy.Class(f.class[c]), name))
}

func (f *filePolicy) Member(s, t string, c avc.Class) (string, error) {
	if f.class[c] == 0 {
		return "", ErrUnusable
	}
	return f.label(f.pol.ComputeMember(f.context(s), f.context(t), policy.Class(f.class[c])))
}

func (f *filePolicy) Relabel(s, t string, c avc.Class) (string, error) {
	if f.class[c] == 0 {
		return "", ErrUnusable
	}
	return f.label(f.pol.ComputeRelabel(f.context(s), f.context(t), policy.Class(f.class[c])))
}

// label is a computed context as text.
func (f *filePolicy) label(c policy.Context, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	return f.pol.ContextString(c), nil
}

func (f *filePolicy) Canonical(ctx string) (string, error) {
	s, err := f.pol.CanonicalContext(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	return s, nil
}

func (f *filePolicy) Transition(o, n, task string, c avc.Class) error {
	if f.class[c] == 0 {
		return ErrUnusable
	}
	if !f.pol.ValidateTrans(f.context(o), f.context(n), f.context(task), policy.Class(f.class[c])) {
		return ErrRefused
	}
	return nil
}

// names are the object names of named transitions on kv_item.
func (f *filePolicy) names() []string {
	return f.pol.TransitionNames(policy.Class(f.class[avc.ClassItem]))
}

// overlay is a with the values of b on top.
func overlay(a, b map[string]bool) map[string]bool {
	m := maps.Clone(a)
	if m == nil {
		m = make(map[string]bool)
	}
	maps.Copy(m, b)
	return m
}
