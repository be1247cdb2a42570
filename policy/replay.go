package policy

import (
	"iter"
	"slices"
	"strings"
)

// Replayed is a question out of a log and what a policy answers to it now.
type Replayed struct {
	Query
	Count   int     `json:"count"` // lines of the log that ask it
	Outcome Outcome `json:"outcome"`
	// Granted: all of it is allowed now. Where Outcome.Error is set nothing
	// can be said.
	Granted bool `json:"granted"`
}

// Denials collects the denials of a log, line by line as ParseAudit reads them:
// each question once, with how often it was asked, in the order of its first line.
// Grants and other lines are left out; n counts the lines, all of them.
func Denials(lines iter.Seq[string]) (out []Replayed, n int) {
	seen := map[string]int{}
	for line := range lines {
		n++
		e, ok := ParseAudit(line)
		if !ok || e.Granted {
			continue
		}
		key := strings.Join(append([]string{e.Source, e.Target, e.Class}, e.Perms...), " ")
		i, ok := seen[key]
		if !ok {
			i = len(out)
			seen[key] = i
			out = append(out, Replayed{Query: e.Query})
		}
		out[i].Count++
	}
	return out, n
}

// Replay answers the questions of denials in place.
func (p *Policy) Replay(denials []Replayed) {
	for i := range denials {
		d := &denials[i]
		d.Outcome = p.Outcome(d.Query)
		d.Granted = d.Outcome.Error == "" && len(d.Outcome.Allowed) == len(d.Perms)
	}
}

// Interesting lists what is worth comparing in two policies about a class:
// contexts of every type that a rule of either allows something to objects of it,
// and of every type that a rule allows something on. With MLS there are several
// of a type, so that a constraint that comes or goes is seen: a source with its
// whole range, its low and its high level, a target at each level that a source
// has. The contexts are valid in after, or, of a type that after lacks, in before.
// Both lists are sorted by type.
func Interesting(before, after *Policy, class string) (sources, targets []string) {
	w := &interest{before: before, after: after}
	var types [2][]string
	for _, p := range []*Policy{before, after} {
		if c, ok := p.Class(class); ok {
			s, t := p.RuleTypes(c)
			types[0], types[1] = append(types[0], s...), append(types[1], t...)
		}
	}
	for i := range types {
		slices.Sort(types[i])
		types[i] = slices.Compact(types[i])
	}
	for _, name := range types[0] {
		head, span := w.context(name)
		if span != "" {
			low, high, ranged := strings.Cut(span, "-")
			if !ranged {
				high = low
			}
			w.levels = append(w.levels, low, high)
			sources = w.add(sources, head+":"+span, head+":"+low, head+":"+high)
		} else if head != "" {
			sources = w.add(sources, head)
		}
	}
	slices.Sort(w.levels)
	w.levels = slices.Compact(w.levels)
	for _, name := range types[1] {
		head, span := w.context(name)
		if span == "" && head != "" {
			targets = w.add(targets, head)
		}
		for _, level := range w.levels {
			if span != "" {
				targets = w.add(targets, head+":"+level)
			}
		}
	}
	return sources, targets
}

// interest collects contexts.
type interest struct {
	before, after *Policy
	levels        []string // of the sources
}

// context is a context of a type: user:role:type, and the range.
func (w *interest) context(typ string) (head, span string) {
	c, err := w.after.ContextOfType(typ)
	if err != nil {
		if c, err = w.before.ContextOfType(typ); err != nil {
			return "", ""
		}
	}
	part := strings.SplitN(c.String(), ":", 4)
	if len(part) == 4 {
		span = part[3]
	}
	return strings.Join(part[:3], ":"), span
}

// add appends those of contexts that one of the policies knows, each once.
func (w *interest) add(list []string, contexts ...string) []string {
	for _, c := range contexts {
		_, errAfter := w.after.ParseContext(c)
		_, errBefore := w.before.ParseContext(c)
		if (errAfter == nil || errBefore == nil) && !slices.Contains(list[max(0, len(list)-8):], c) {
			list = append(list, c)
		}
	}
	return list
}
