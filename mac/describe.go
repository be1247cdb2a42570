package mac

import (
	"fmt"

	"sememcached/avc"
)

// DescribeSelector says for people what decides the label of a new item under a
// selector of this generation.
func (g *Generation) DescribeSelector(sel Selector) string {
	switch {
	case sel > 0 && g.bound != nil && int(sel) <= len(g.bound.items):
		l := &g.bound.items[sel-1]
		what := fmt.Sprintf("%s:%d: kv_item line with context %s", g.bound.file, l.line, l.context)
		if g.bound.label[sel-1].levelless {
			what += ", at the level that the policy computes for the client"
		}
		return what
	case sel < 0 && int(-sel) <= len(g.names):
		return fmt.Sprintf("the policy's named transition for key %q", g.names[-sel-1])
	case sel == 0:
		return "no line of the contexts file and no named transition: what the policy computes for client, server and class " + avc.ClassItem.String()
	}
	return "a rule of another generation"
}
