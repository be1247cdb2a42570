package cnp

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Kind is a rule's condition on the key.
type Kind uint8

// The conditions.
const (
	Any Kind = iota // none: every key, and commands without one
	Exact
	Prefix
	Regex
)

// String is the field of the rule.
func (k Kind) String() string {
	return [...]string{"no key condition", "keyExact", "keyPrefix", "keyRegex"}[k]
}

// Rule is one memcache rule.
type Rule struct {
	At      Pos
	Policy  string
	Command string // as written
	Mask    Mask
	Kind    Kind
	Key     string // of keyExact, keyPrefix or keyRegex

	re    *regexp.Regexp
	shape shape
}

// String is the rule in short.
func (r *Rule) String() string {
	s := "command " + r.Command
	if r.Command == "" {
		s = "every command"
	}
	if r.Kind != Any {
		s += ", " + r.Kind.String() + " " + r.Key
	}
	return s
}

// fits reports whether the rule's condition holds for key.
func (r *Rule) fits(key []byte) bool {
	switch r.Kind {
	case Any:
		return true
	case Exact:
		return string(key) == r.Key
	case Prefix:
		return len(key) >= len(r.Key) && string(key[:len(r.Key)]) == r.Key
	case Regex:
		return r.re.Match(key)
	}
	return false
}

// shape is what a regular expression is known to match without running it.
type shape struct {
	exact  []string // all that it matches, or
	prefix []string // it matches whatever begins with one of these, or
	begin  string   // it matches nothing that does not begin with this,
	end    string   // and end with this
}

// maxAlternatives bounds what a regular expression is taken apart into.
const maxAlternatives = 64

// regex compiles the expression of a rule.
func (ps *problems) regex(r *Rule) {
	tree, err := syntax.Parse(r.Key, syntax.Perl)
	if err == nil {
		r.re, err = regexp.Compile(r.Key)
	}
	if err != nil {
		ps.fail(r.At, "keyRegex: %v", err)
		return
	}
	tree = tree.Simplify()
	if !anchored(tree, syntax.OpBeginText) {
		ps.strict(r.At, "keyRegex %q finds its text anywhere in a key; begin it with ^, or with ^.* if that is meant", r.Key)
	}
	if !anchored(tree, syntax.OpEndText) && !strings.HasSuffix(r.Key, ".*") {
		ps.warn(r.At, "keyRegex %q matches whatever follows; end it with $, or with .* if that is meant", r.Key)
	}
	r.shape = analyse(tree)
}

// anchored reports whether every match is at the beginning, or at the end, of
// the text.
func anchored(t *syntax.Regexp, at syntax.Op) bool {
	switch t.Op {
	case at:
		return true
	case syntax.OpCapture:
		return anchored(t.Sub[0], at)
	case syntax.OpConcat:
		if at == syntax.OpBeginText {
			return anchored(t.Sub[0], at)
		}
		return anchored(t.Sub[len(t.Sub)-1], at)
	case syntax.OpAlternate:
		for _, s := range t.Sub {
			if !anchored(s, at) {
				return false
			}
		}
		return true
	}
	return false
}

// analyse takes an expression apart as far as it is literal.
func analyse(t *syntax.Regexp) (s shape) {
	parts := flatten(t)
	if len(parts) == 0 || parts[0].Op != syntax.OpBeginText {
		if n := len(parts); n > 1 && parts[n-1].Op == syntax.OpEndText {
			s.end, _ = literal(parts[n-2])
		}
		return s
	}
	heads := []string{""}
	i := 1
	for ; i < len(parts); i++ {
		alts, ok := alternatives(parts[i])
		if !ok || len(heads)*len(alts) > maxAlternatives {
			break
		}
		next := make([]string, 0, len(heads)*len(alts))
		for _, h := range heads {
			for _, a := range alts {
				next = append(next, h+a)
			}
		}
		heads = next
	}
	rest := parts[i:]
	switch {
	case len(rest) == 1 && rest[0].Op == syntax.OpEndText:
		s.exact = heads
		return s
	case len(rest) == 0, len(rest) == 1 && wildcard(rest[0], true), len(rest) == 2 && wildcard(rest[0], false) && rest[1].Op == syntax.OpEndText:
		s.prefix = heads
		return s
	}
	s.begin = common(heads)
	if n := len(rest); n > 1 && rest[n-1].Op == syntax.OpEndText {
		s.end, _ = literal(rest[n-2])
	}
	return s
}

// wildcard reports whether t is .* or (?s).*. Where what follows is the end of
// the text only the second one matches every key: . is no line feed.
func wildcard(t *syntax.Regexp, open bool) bool {
	if t.Op != syntax.OpStar {
		return false
	}
	return t.Sub[0].Op == syntax.OpAnyChar || open && t.Sub[0].Op == syntax.OpAnyCharNotNL
}

// flatten is the list of what follows one another.
func flatten(t *syntax.Regexp) []*syntax.Regexp {
	switch t.Op {
	case syntax.OpCapture:
		return flatten(t.Sub[0])
	case syntax.OpConcat:
		var out []*syntax.Regexp
		for _, s := range t.Sub {
			out = append(out, flatten(s)...)
		}
		return out
	case syntax.OpEmptyMatch:
		return nil
	}
	return []*syntax.Regexp{t}
}

// literal is the text that t is.
func literal(t *syntax.Regexp) (string, bool) {
	if t.Op != syntax.OpLiteral || t.Flags&syntax.FoldCase != 0 {
		return "", false
	}
	for _, r := range t.Rune {
		// An invalid byte of a key is read as U+FFFD: no literal is to mean it.
		if r == 0xfffd {
			return "", false
		}
	}
	return string(t.Rune), true
}

// alternatives are the texts that t may be.
func alternatives(t *syntax.Regexp) ([]string, bool) {
	switch t.Op {
	case syntax.OpLiteral:
		s, ok := literal(t)
		return []string{s}, ok
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpCapture:
		return alternatives(t.Sub[0])
	case syntax.OpCharClass:
		var out []string
		for i := 0; i+1 < len(t.Rune); i += 2 {
			for r := t.Rune[i]; r <= t.Rune[i+1]; r++ {
				if r == 0xfffd || len(out) == maxAlternatives {
					return nil, false
				}
				out = append(out, string(r))
			}
		}
		return out, len(out) > 0
	case syntax.OpAlternate:
		var out []string
		for _, s := range t.Sub {
			alts, ok := alternatives(s)
			if !ok || len(out)+len(alts) > maxAlternatives {
				return nil, false
			}
			out = append(out, alts...)
		}
		return out, true
	case syntax.OpConcat:
		out := []string{""}
		for _, s := range t.Sub {
			alts, ok := alternatives(s)
			if !ok || len(out)*len(alts) > maxAlternatives {
				return nil, false
			}
			next := make([]string, 0, len(out)*len(alts))
			for _, h := range out {
				for _, a := range alts {
					next = append(next, h+a)
				}
			}
			out = next
		}
		return out, true
	}
	return nil, false
}

// common is the longest prefix of all.
func common(list []string) string {
	p := list[0]
	for _, s := range list[1:] {
		n := 0
		for n < len(p) && n < len(s) && p[n] == s[n] {
			n++
		}
		p = p[:n]
	}
	return p
}
