package mac

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sememcached/avc"
)

// Generation is everything that decisions depend on, at one moment: the policy
// and the state of its booleans, the numbers of its classes and permissions, the
// mode, the contexts file and which of its lines are valid. It never changes;
// whatever changes makes another one with a higher Seq. It may be used by any
// number of goroutines.
type Generation struct {
	Seq       uint64    // from 1
	Enforcing bool      // false: denials are logged and not enforced
	Calculate avc.Perms // what incr and decr need: Calculate, or Read|Write if the policy lacks it
	Server    avc.SID   // the server's own context, held by the generation
	Unlabeled avc.SID   // who is nobody in particular; 0 if the policy has no such context
	Usable    bool      // both classes with all permissions are there; if not, everything is denied
	Rules     *KeyRules // about commands and keys; nil: none, or, if there must be some, everything is denied

	// building: the kernel's state has moved and the rest of this generation
	// has not been read yet. It has an answer to nothing: look-ups miss and
	// questions wait for the next generation.
	building bool
	status   uint32 // kernel: the status page's sequence this belongs to
	seqno    uint32 // kernel: the policy's sequence number in every answer

	about   string // the policy, for people
	dec     Decider
	missing []string // what makes it not usable
	names   []string // object names of named transitions on kv_item
	nameIdx map[string]int32
	bound   *bound
}

// Selector is which rule decides the label of a new item: 0 none, so that it
// depends on the client alone; above 0 a line of the contexts file; below 0 an
// object name of the policy's named transitions. It belongs to its generation.
type Selector int32

// Selector finds the rule for key. The contexts file comes first. A key with a
// NUL byte is never an object name. It allocates nothing and does not block.
func (g *Generation) Selector(key []byte) Selector {
	if g.bound == nil {
		return 0
	}
	if i := g.bound.item(key); i >= 0 {
		return Selector(i + 1)
	}
	if len(g.nameIdx) > 0 {
		if i, ok := g.nameIdx[string(key)]; ok && bytes.IndexByte(key, 0) < 0 {
			return Selector(-i - 1)
		}
	}
	return 0
}

// Verdict is a decision applied to what a request needs, in the mode of a
// generation. The zero value denies.
type Verdict struct {
	Allowed bool      // go on
	Denied  avc.Perms // what the policy does not allow, even if the mode lets it pass
	Audit   avc.Perms // what is to be logged; 0: nothing
	Granted bool      // the policy allowed all of it; what is logged is a grant
}

// Judge applies d, which must be of this generation and about the class of
// need, to the permissions that a request needs. Permissive mode and permissive
// domains are applied here and never stored, so each denial is audited. A need
// of nothing is a mistake of the caller, and is denied. A failed decision denies,
// unless the mode is known to be permissive; it is always audited.
func (g *Generation) Judge(d avc.Decision, need avc.Perms) Verdict {
	if need == 0 {
		return Verdict{}
	}
	if d.Failed || !g.Usable {
		return Verdict{Allowed: d.Failed && g.Usable && !g.Enforcing, Denied: need, Audit: need}
	}
	missing := need &^ d.Allowed
	if missing == 0 {
		return Verdict{Allowed: true, Audit: need & d.AuditAllow, Granted: true}
	}
	return Verdict{
		Allowed: d.Permissive || !g.Enforcing,
		Denied:  missing,
		Audit:   missing & d.AuditDeny,
	}
}

// bound is a contexts file tied to one policy: which lines are valid there, and
// the SIDs they stand for.
type bound struct {
	*contexts
	client []avc.SID // by client line; 0: unlabeled
	label  []label   // by kv_item line
	held   []avc.SID // every SID above, once for each reference
}

// label is what a kv_item line gives.
type label struct {
	context   string // canonical, or as written without a level
	levelless bool   // the level is that of compute_create
	invalid   bool   // denied: the policy does not know the context
}

// bind checks every context of cs. One that is not valid is an error with its
// line, unless the lines of before already named it: then it is the policy
// that has changed, the line is kept, and a note says so. server is a valid
// context whose range completes a context without one for the check.
func (m *Monitor) bind(cs *contexts, dec Decider, server string, before *contexts) (b *bound, notes []string, err error) {
	b = &bound{contexts: cs}
	defer func() {
		if err != nil {
			m.release(b.held)
		}
	}()
	canonical := make(map[string]string)
	check := func(ctx string) (string, error) {
		if c, ok := canonical[ctx]; ok {
			return c, nil
		}
		c, err := canonicalize(dec, ctx)
		if err == nil {
			canonical[ctx] = c
		}
		return c, err
	}
	// tolerate decides what becomes of a context that is not valid.
	tolerate := func(line int, ctx string, err error, becomes string) error {
		switch {
		case !errors.Is(err, ErrInvalidContext):
			return err
		case cs.file == "":
			notes = append(notes, fmt.Sprintf("the built-in client context %s is not valid in this policy: clients are %s", ctx, becomes))
			return nil
		case before != nil && before.named[ctx]:
			notes = append(notes, fmt.Sprintf("%s:%d: the policy no longer knows %s: %s", cs.file, line, ctx, becomes))
			return nil
		}
		return fmt.Errorf("%s:%d: expected a context that the policy knows, found %q: %w", cs.file, line, ctx, err)
	}
	for i := range cs.clients {
		l := &cs.clients[i]
		var sid avc.SID
		c, err := check(l.context)
		if err == nil {
			if sid, err = m.sids.Intern(c); err == nil {
				b.held = append(b.held, sid)
			}
		} else {
			err = tolerate(l.line, l.context, err, "unlabeled")
		}
		if err != nil {
			return b, notes, err
		}
		b.client = append(b.client, sid)
	}
	for i := range cs.items {
		l := &cs.items[i]
		lb := label{}
		lb.context, err = check(l.context)
		if err != nil && strings.Count(l.context, ":") == 2 {
			if _, err2 := check(l.context + ":" + levelOf(server)); err2 == nil {
				lb.context, lb.levelless, err = l.context, true, nil
			}
		}
		if err != nil {
			lb.invalid = true
			if err = tolerate(l.line, l.context, err, "no new items of that label"); err != nil {
				return b, notes, err
			}
		}
		b.label = append(b.label, lb)
	}
	return b, notes, nil
}

// canonicalize is dec.Canonical for text that comes from outside.
func canonicalize(dec Decider, ctx string) (string, error) {
	if len(ctx) == 0 || len(ctx) > maxContext {
		return "", fmt.Errorf("%w: expected 1 to %d bytes, found %d", ErrInvalidContext, maxContext, len(ctx))
	}
	for i := 0; i < len(ctx); i++ {
		if ctx[i] < 0x21 || ctx[i] > 0x7e {
			return "", fmt.Errorf("%w: expected printable characters, found 0x%02x", ErrInvalidContext, ctx[i])
		}
	}
	return dec.Canonical(ctx)
}

// maxContext bounds a context in bytes: selinuxfs takes a page with all that
// belongs to a question.
const maxContext = 4000

// levelOf is the range of a context, the part after the type, or "".
func levelOf(ctx string) string {
	for range 3 {
		_, rest, ok := strings.Cut(ctx, ":")
		if !ok {
			return ""
		}
		ctx = rest
	}
	return ctx
}

func (m *Monitor) retain(sids []avc.SID) {
	for _, s := range sids {
		m.sids.Retain(s)
	}
}

func (m *Monitor) release(sids []avc.SID) {
	for _, s := range sids {
		m.sids.Release(s)
	}
}
