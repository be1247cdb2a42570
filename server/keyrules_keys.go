package server

import (
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// The rules are asked about all keys of a get before the first of them is served, so that
// its keys are gone through twice. The scan has done it for most.

// lacksKeys asks the rules about the keys of a get, many at a time; in Cilium's mode,
// where one rule must allow all of them, about all at once.
func (l *loop) lacksKeys(m *cnp.Matcher, need cnp.Mask, text []byte) cnp.Mask {
	if keys := l.scanned(text); keys != nil {
		return m.LacksKeys(need, text, keys)
	}
	keys := l.located[:]
	n, end := locate(text, 0, keys)
	if n == len(keys) && l.srv.compat {
		keys = make([]cnp.Span, len(text)/2+1) // a key and a space are two bytes
		n, end = locate(text, 0, keys)
	}
	for {
		if lacks := m.LacksKeys(need, text, keys[:n]); lacks != 0 || n < len(keys) {
			return lacks
		}
		n, end = locate(text, end, keys)
	}
}

// locate fills keys with the keys of text from at on, as protocol.NextKey tells them apart.
// It returns how many there are and where to go on: only if it has filled all of keys can
// there be more.
func locate(text []byte, at int, keys []cnp.Span) (n, end int) {
	for n < len(keys) && at < len(text) {
		key, rest := protocol.NextKey(text[at:])
		if key == nil {
			return n, len(text)
		}
		end := len(text)
		if rest != nil {
			end -= len(rest) + 1 // the space behind the key
		}
		keys[n] = cnp.Span{At: int32(end - len(key)), Len: int32(len(key))}
		n, at = n+1, end+1
	}
	return n, at
}

// scanned is where the keys of a get are, if the scan has found all of them and they stand
// one space apart; else nil. It stands for what nextKey will make of text: keys that
// are at these places, and a space behind each.
func (l *loop) scanned(text []byte) []cnp.Span {
	if !l.hinted(address(text)) {
		return nil
	}
	first, last := l.hint, int(l.spans[l.hint].last)
	if !l.spans[first].token || last < first || last >= l.hints {
		return nil
	}
	keys := l.keys[first : last+1]
	for _, k := range keys[:len(keys)-1] {
		if end := int(k.At + k.Len); end >= len(text) || text[end] != ' ' {
			return nil
		}
	}
	if k := keys[len(keys)-1]; keys[0].At != 0 || int(k.At+k.Len) != len(text) {
		return nil
	}
	return keys
}
