package cnp

import "encoding/binary"

// Span is where a key is in a text: text[At:At+Len].
type Span struct{ At, Len int32 }

// Join is a text with the keys, and where they are in it.
func Join(keys ...string) (text []byte, spans []Span) {
	for _, k := range keys {
		spans = append(spans, Span{int32(len(text)), int32(len(k))})
		text = append(text, k...)
	}
	return text, spans
}

// lacksKeys reports which of the needed commands the rules do not allow on some of the
// keys in text.
//
// Most requests with several keys are gets, and most are allowed. So there is a tree of
// what allows Get alone, which is asked first: tenants that differ in what else they may do
// are alike in it, and one that was merged from a hundred thousand of them stays in the nearest
// cache, while its like with all commands does not. A key that it does not allow is judged
// by all the rules.
func (t *Table) lacksKeys(need Mask, text []byte, keys []Span) Mask {
	if need &^= t.any; need == 0 {
		return 0
	}
	tree := &t.tree
	if need == Get {
		tree = &t.gets
	}
	root := tree.root()
	path, shift := int(root.n), uint(64-8*min(root.n, 8))
	all := need&^root.mask == 0
	for _, k := range keys {
		key := text[k.At:][:k.Len]
		if len(key) <= keyMax {
			var ok bool
			if path <= 8 && len(key) >= 8 {
				ok = (binary.LittleEndian.Uint64(key)^root.head)<<shift == 0
			} else {
				_, ok = tree.enter(root, key)
			}
			if ok && (all || tree.allows(need, root, key[path:])) {
				continue
			}
		}
		if lacks := t.lacks(need, key); lacks != 0 {
			return lacks
		}
	}
	return 0
}
