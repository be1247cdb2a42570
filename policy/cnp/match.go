package cnp

// Matcher decides for one kind of client on one listener. It may be used by any
// number of goroutines. The zero Matcher denies everything.
type Matcher struct {
	Name     string // the identity's labels, or world, or unknown
	Identity int    // in Input.Identities; -1: a stranger

	mode   Mode
	open   bool
	denied bool   // by ingressDeny: the tables do not count
	table  *Table // nil: no rules
	more   []*Table
}

// Lacks reports which of the needed commands the rules do not allow on key: the
// request is allowed if there are none. It allocates nothing, but that a regular
// expression may the first time it runs.
func (m *Matcher) Lacks(need Mask, key []byte) Mask {
	switch {
	case m.open:
		return 0
	case m.denied || m.table == nil && len(m.more) == 0:
		return need
	}
	if m.table != nil {
		need = m.table.lacks(need, key)
	}
	for _, t := range m.more {
		if need == 0 {
			break
		}
		need = t.lacks(need, key)
	}
	return need
}

// LacksKeyless is Lacks for commands without a key.
func (m *Matcher) LacksKeyless(need Mask) Mask {
	if m.mode == Strict {
		need &^= Free
	}
	switch {
	case m.open || need == 0:
		return 0
	case m.denied:
		return need
	}
	if m.table != nil {
		need &^= m.table.any
	}
	for _, t := range m.more {
		need &^= t.any
	}
	return need
}

// LacksUnder is Lacks for every key that begins with prefix. Only rules without
// a condition and prefixes count: fewer than might be proven.
func (m *Matcher) LacksUnder(need Mask, prefix []byte) Mask {
	switch {
	case m.open:
		return 0
	case m.denied:
		return need
	}
	if m.table != nil {
		need = m.table.lacksUnder(need, prefix)
	}
	for _, t := range m.more {
		need = t.lacksUnder(need, prefix)
	}
	return need
}

// LacksKeys is Lacks for a request with several keys, which are in text. In mode Cilium
// one rule must hold for all of them.
func (m *Matcher) LacksKeys(need Mask, text []byte, keys []Span) Mask {
	if m.mode == Strict && !m.open && !m.denied && m.table != nil && len(m.more) == 0 {
		return m.table.lacksKeys(need, text, keys)
	}
	for _, k := range keys {
		if lacks := m.Lacks(need, text[k.At:][:k.Len]); lacks != 0 {
			return lacks
		}
	}
	if m.mode == Strict || len(keys) < 2 || m.open {
		return 0
	}
	return m.oneRule(need, text, keys)
}

// oneRule reports which of the needed commands no single rule allows on all keys.
func (m *Matcher) oneRule(need Mask, text []byte, keys []Span) Mask {
	m.each(text[keys[0].At:][:keys[0].Len], func(r *Rule) bool {
		if r.Mask&need == 0 {
			return true
		}
		for _, k := range keys[1:] {
			if !r.fits(text[k.At:][:k.Len]) {
				return true
			}
		}
		need &^= r.Mask
		return need != 0
	})
	return need
}

func (m *Matcher) each(key []byte, fn func(r *Rule) bool) {
	if m.denied || m.open {
		return
	}
	more := true
	once := func(r *Rule) bool {
		more = fn(r)
		return more
	}
	if m.table != nil {
		m.table.each(key, once)
	}
	for _, t := range m.more {
		if !more {
			return
		}
		t.each(key, once)
	}
}

// Why is the rule that allows the first of the needed commands on key, which is
// nil for none: of several the one that comes first in its file. It is nil where
// no rule does.
func (m *Matcher) Why(need Mask, key []byte) *Rule {
	need &= -need
	var best *Rule
	m.each(key, func(r *Rule) bool {
		if r.Mask&need != 0 && (best == nil || r.At.File == best.At.File && r.At.Line < best.At.Line) {
			best = r
		}
		return true
	})
	return best
}

// Denied reports whether an entry of ingressDeny is for the client.
func (m *Matcher) Denied() bool { return m.denied }

// Open reports whether no policy selects the server, so that everything is
// allowed.
func (m *Matcher) Open() bool { return m.open }
