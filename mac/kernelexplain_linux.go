package mac

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"weak"

	"sememcached/avc"
	"sememcached/policy"
)

// wholePolicy is the kernel's policy as our own engine reads it. A real one takes
// a tenth of a second and twenty megabytes: several explanations in a row share it,
// and the garbage collector may take it between them.
type wholePolicy struct {
	mu   sync.Mutex
	read weak.Pointer[filePolicy] // +checklocks:mu
}

// whole reads the kernel's policy, with its booleans as they are. Whether it is of
// this generation the caller has to ask afterwards.
func (k *kernelPolicy) whole() (*filePolicy, error) {
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	if f := k.policy.read.Value(); f != nil {
		return f, nil
	}
	b, err := os.ReadFile(k.policyFile())
	if err != nil {
		return nil, err
	}
	p, err := policy.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.policyFile(), err)
	}
	f, _ := newFilePolicy(p)
	if u, err := p.ParseContext(k.unlabeled); err == nil {
		f.unlabeled = u // whatever the kernel says
	}
	k.policy.read = weak.Make(f)
	return f, nil
}

func (k *kernelPolicy) policyFile() string { return filepath.Join(k.fs.root, "policy") }

// Explain implements explainer: the kernel's answer, with the reasons that our own
// engine finds in the kernel's policy.
func (k *kernelPolicy) Explain(s, t string, c avc.Class, perms avc.Perms) (policy.Explanation, error) {
	f, unread := k.whole()
	// After the policy was read: an answer of this generation says that what was
	// read is of this generation too.
	d, err := k.Access(s, t, c)
	if err != nil {
		return policy.Explanation{}, err
	}
	denied := perms &^ d.Allowed
	if unread != nil {
		return policy.Explanation{
			Query:   policy.Query{Source: s, Target: t, Class: c.String(), Perms: c.PermNames(perms)},
			Allowed: denied == 0, Denied: c.PermNames(denied), Permissive: d.Permissive,
			Reasons: []policy.Reason{{Kind: policy.KindDecider, Text: fmt.Sprintf(
				"the kernel decides, and why cannot be said, as the server cannot read its policy (%v): "+
					"let the server's domain use security:read_policy, as the module of sememcached policy module does, "+
					"or give the line of the audit log to sememcached policy explain --line where the policy can be read", unread)}},
		}, nil
	}
	e, err := f.Explain(s, t, c, perms)
	if err != nil {
		return e, err
	}
	note := fmt.Sprintf("the kernel decides; the reasons are those of its policy, %s, as sememcached's own engine finds them", k.policyFile())
	if has := k.present(c); !e.Failed && namesOf(c, e.Denied)&has == denied&has {
		note += ", and the kernel's own answer is the same"
	} else {
		// Never seen. The kernel is right: it is what the server obeys.
		note += fmt.Sprintf("; but the kernel itself answers otherwise, and counts: of these it denies { %s }", strings.Join(c.PermNames(denied), " "))
		e.Allowed, e.Denied, e.Failed = denied == 0, c.PermNames(denied), false
	}
	e.Reasons = append(e.Reasons, policy.Reason{Kind: policy.KindDecider, Text: note})
	return e, nil
}

// present are the permissions of c that the policy has.
func (m *mapping) present(c avc.Class) (p avc.Perms) {
	for i, bit := range m.perm[c] {
		if bit != 0 {
			p |= 1 << i
		}
	}
	return p
}

func namesOf(c avc.Class, names []string) (p avc.Perms) {
	for _, name := range names {
		one, _ := c.Perm(name)
		p |= one
	}
	return p
}
