package server

import (
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// What a turn knows of the keys in its input before it executes anything: their
// hashes, for the prefetch, and where they stand. Execution comes by the same bytes
// again and takes both from here, instead of looking for the end of each key and
// hashing it a second time. Nothing here is trusted: a key is taken to be the one
// that was hashed only if it is the same memory, and that does not change while the
// connections of one group are executed.

// span is where a key is.
type span struct {
	at    uintptr // its address; compared and nothing else
	len   int32
	token bool  // it is a token of a text line: no space is in it
	last  int16 // of the first of the keys of a line, if there are key rules: which of loop.keys is its last; -1: not known
}

// scan hashes the keys at the start of c's input, of which the first becomes number
// n of this pass, and returns the next number, hintKeys at most.
func (l *loop) scan(c *conn, n int) int {
	c.hint = int32(n)
	scan := protocol.ScanKeys(c.input)
	var line uintptr // where the first key of the line is
	var next uintptr // where another key of it would be
	first := n
	for n < hintKeys {
		key := scan.Next()
		if key == nil {
			break
		}
		l.hashes[n] = l.eng.Hash(key)
		at := address(key)
		l.spans[n] = span{at, int32(len(key)), !scan.Framed(), -1}
		if l.srv.ruled {
			if at != next || scan.Framed() {
				first, line = n, at
			}
			l.keys[n] = cnp.Span{At: int32(at - line), Len: int32(len(key))}
			l.spans[first].last = int16(n)
			next = at + uintptr(len(key)) + 1
		}
		n++
	}
	c.hints = int32(n)
	return n
}

// prefetchKeys is scan and prefetch for the keys of a long get line, in place of
// what was known before.
func (l *loop) prefetchKeys(keys []byte) {
	n := 0
	for key, rest := protocol.NextKey(keys); key != nil && n < hintGroup; key, rest = protocol.NextKey(rest) {
		l.hashes[n] = l.eng.Hash(key)
		l.spans[n] = span{address(key), int32(len(key)), true, -1}
		n++
	}
	l.hint, l.hints = 0, n
	l.eng.Prefetch(l.hashes[:n])
}

// hinted moves to the hint for the key that begins at address at, and reports
// whether there is one.
func (l *loop) hinted(at uintptr) bool {
	for l.hint < l.hints && l.spans[l.hint].at < at {
		l.hint++
	}
	return l.hint < l.hints && l.spans[l.hint].at == at
}

// hashOf returns the hash of a key of the input, 0 if the engine has to compute it.
func (l *loop) hashOf(key []byte) uint64 {
	if !l.hinted(address(key)) || int(l.spans[l.hint].len) != len(key) {
		return 0
	}
	return l.hashes[l.hint]
}

// nextKey is protocol.NextKey, with the key's hash, or 0.
func (l *loop) nextKey(keys []byte) (key, rest []byte, hash uint64) {
	if l.hinted(address(keys)) && l.spans[l.hint].token {
		// The scan found no space within the key, so the key is the first token if a
		// space follows, or nothing.
		switch n := int(l.spans[l.hint].len); {
		case n < len(keys) && keys[n] == ' ':
			return keys[:n:n], keys[n+1:], l.hashes[l.hint]
		case n == len(keys):
			return keys, nil, l.hashes[l.hint]
		}
	}
	key, rest = protocol.NextKey(keys)
	return key, rest, 0
}
