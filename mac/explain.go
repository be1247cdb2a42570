package mac

import (
	"errors"
	"fmt"

	"sememcached/avc"
	"sememcached/policy"
)

// ErrUnexplained says that whoever decides does not say why. The text of the
// error says whom to ask.
var ErrUnexplained = errors.New("no explanation")

// explainer is a Decider that knows its reasons.
type explainer interface {
	// Explain is Access with all reasons, for people; perms are our names.
	Explain(scontext, tcontext string, c avc.Class, perms []string) string
}

// Explain says why source may or may not use perms of class c on target in
// generation g, in the words of policy.Explanation.String. It computes, for
// milliseconds with a large policy: for helper goroutines with an Epoch, never for
// event loops. A generation that is not usable, and a kernel, have no explanation.
func (m *Monitor) Explain(g *Generation, source, target avc.SID, c avc.Class, perms avc.Perms) (string, error) {
	d, ok := g.dec.(explainer)
	if !ok || g.building || !g.Usable {
		return "", fmt.Errorf("%w: %s decides; ask sememcached policy explain with the line of its audit log", ErrUnexplained, m.decider)
	}
	return d.Explain(m.sids.String(source), m.sids.String(target), c, c.PermNames(perms)), nil
}

// Explain implements explainer. A context that is not valid acts as unlabeled,
// as in Access.
func (f *filePolicy) Explain(s, t string, c avc.Class, perms []string) string {
	q := policy.Query{Source: f.context(s).String(), Target: f.context(t).String(), Class: c.String(), Perms: perms}
	return f.pol.ExplainQuery(q).String()
}
