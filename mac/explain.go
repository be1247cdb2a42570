package mac

import (
	"errors"
	"fmt"

	"sememcached/avc"
	"sememcached/policy"
)

// explainer is a Decider that knows reasons.
type explainer interface {
	// Explain is Access with all reasons, for people; perms are those of class c.
	// Every error means that it could not decide.
	Explain(scontext, tcontext string, c avc.Class, perms avc.Perms) (policy.Explanation, error)
}

// Explain says why source may or may not use perms of class c on target: in
// generation g, or, if the kernel's state has moved since, in the newest one. Where a
// kernel decides, its policy is read and explained by our own engine, and the
// explanation says so, and whether the kernel's own answer is the same; if it may not
// be read, the explanation is the kernel's yes or no, and what to do. It computes for
// milliseconds with a large policy, and reading the kernel's takes a tenth of a second:
// for helper goroutines with an Epoch, never for event loops. What cannot be decided
// is an explanation that has failed.
func (m *Monitor) Explain(g *Generation, source, target avc.SID, c avc.Class, perms avc.Perms) policy.Explanation {
	const tries = 8
	q := policy.Query{Source: m.sids.String(source), Target: m.sids.String(target), Class: c.String(), Perms: c.PermNames(perms)}
	err := ErrStale
	for i := 0; i < tries && errors.Is(err, ErrStale); i++ {
		if i > 0 {
			g = m.Generation()
		}
		if g.building {
			if err = m.settle(); err == nil {
				err = ErrStale
			}
			continue
		}
		d, ok := g.dec.(explainer)
		if !ok || !g.Usable {
			err = ErrUnusable
			break
		}
		var e policy.Explanation
		if e, err = d.Explain(q.Source, q.Target, c, perms); err == nil {
			return m.inMode(g, e)
		}
	}
	return policy.Explanation{
		Query: q, Denied: q.Perms, Failed: true,
		Reasons: []policy.Reason{{Kind: policy.KindDecider, Text: fmt.Sprintf("%s decides, and everything is denied: %v", m.decider, err)}},
	}
}

// inMode says of a denial that the server as a whole does not enforce it.
func (m *Monitor) inMode(g *Generation, e policy.Explanation) policy.Explanation {
	if g.Enforcing || e.Allowed || e.Failed {
		return e
	}
	how := "the server runs with --permissive"
	if m.decider == decidesKernel {
		how = "SELinux is permissive on this machine"
	}
	e.Permissive = true
	e.Reasons = append(e.Reasons, policy.Reason{Kind: policy.KindPermissive, Text: how + ": the denial is logged and not enforced"})
	return e
}

// Explain implements explainer. A context that is not valid acts as unlabeled,
// as in Access.
func (f *filePolicy) Explain(s, t string, c avc.Class, perms avc.Perms) (policy.Explanation, error) {
	return f.pol.ExplainQuery(policy.Query{
		Source: f.context(s).String(), Target: f.context(t).String(), Class: c.String(), Perms: c.PermNames(perms),
	}), nil
}
