package cnp

import "encoding/binary"

// tree is a radix tree over the exact keys and the prefixes of rules: a double array
// (Aoe, "An efficient digital search algorithm by using a double-array structure")
// with compressed paths, in which equal parts are there only once. It has no
// pointers. A step costs one load, and a walk adds nothing up: what all the prefixes
// on the way to a place allow, is said at that place.
//
// A hundred thousand rules for names that were counted up are a few dozen cells, in the
// processor's nearest cache; names without any system are about 4 bytes for each
// byte in which they differ.
type tree struct {
	cells  []cell // of bases, 256 more than the highest base
	places []place
	blob   []byte // paths
}

// base is where the children of a fork are, from a place or a fork that says nothing:
// a key that goes on with byte c goes on in cells[base+c], if that is for c. No two forks
// have one base, so that a cell for c is that of the base c cells before it.
type base uint32

// none has no children: where nothing follows. It is the base 0, of which every cell is
// another fork's or free.
const none base = 0

// cell is one step: its byte, and from bit labelBits on the base of the fork that it
// leads to, with placeBit the number of a place. The zero cell, which is free, leads to
// none: whoever took it for a step for the byte 0 finds nothing there.
type cell uint32

const labelBits = 8

// placeBit says that a number is that of a place. The highest number of a base or a place is
// maxBase: eight million, with which a tree takes half a gigabyte.
const (
	placeBit base = 1 << (32 - labelBits - 1)
	maxBase  base = placeBit - 1
)

// to is where the step leads.
func (x cell) to() base { return base(x >> labelBits) }

// is reports whether the step is for c.
func (x cell) is(c byte) bool { return byte(x) == c }

// place is where something is said that was not said on the way there, or where the
// way there is more than a byte. The last one is the root.
type place struct {
	mask  Mask   // allowed on every key that gets here
	exact Mask   // and on the key that ends here
	head  uint64 // the first bytes of the path, little endian
	path  uint32 // in blob
	list  int32  // of regular expressions to try, in Table.lists; -1: none
	to    base   // none: no longer keys or prefixes
	n     uint8  // the length of the path
	ends  bool   // there are rules with the very key or prefix that ends here
}

// enter reports whether the path of p is what key begins with, and returns what
// follows it.
func (t *tree) enter(p *place, key []byte) (rest []byte, ok bool) {
	n := int(p.n)
	if n == 0 {
		return key, true
	}
	if n > len(key) {
		return key, false
	}
	if n <= 8 && len(key) >= 8 {
		if (binary.LittleEndian.Uint64(key)^p.head)<<(64-8*n) != 0 {
			return key, false
		}
	} else if string(key[:n]) != string(t.blob[p.path:int(p.path)+n]) {
		return key, false
	}
	return key[n:], true
}

// follow goes on from a base along key. It returns the next place, and what is left
// of the key there; ok is false if the key leaves the tree or ends before.
func (t *tree) follow(b base, key []byte) (p *place, rest []byte, ok bool) {
	for i, c := range key {
		x := t.cells[int(b)+int(c)]
		if !x.is(c) {
			break
		}
		if b = x.to(); b&placeBit != 0 {
			return &t.places[b&^placeBit], key[i+1:], true
		}
	}
	return nil, key, false
}

// find walks down along key. It returns what the keys and prefixes on the way
// allow, and the list of the regular expressions to try. It stops where need is
// allowed.
func (t *tree) find(key []byte, need Mask) (allowed Mask, list int32) {
	list = -1
	if len(t.places) == 0 {
		return 0, list
	}
	p := &t.places[len(t.places)-1]
	for ok := true; ok; p, key, ok = t.follow(p.to, key) {
		if key, ok = t.enter(p, key); !ok {
			break
		}
		if allowed, list = p.mask, p.list; len(key) == 0 {
			allowed |= p.exact
		}
		if p.to == none || need&^allowed == 0 {
			break
		}
	}
	return allowed, list
}

// nowhere is the root of a tree without places.
var nowhere place

// root is the place where every key begins.
func (t *tree) root() *place {
	if len(t.places) == 0 {
		return &nowhere
	}
	return &t.places[len(t.places)-1]
}

// allows reports whether a key or a prefix allows need on a key of which rest is left
// behind p. It is find without regular expressions, for those who have the root already.
func (t *tree) allows(need Mask, p *place, rest []byte) bool {
	cells, places := t.cells, t.places
	for {
		if need&^p.mask == 0 {
			return true
		}
		if len(rest) == 0 {
			return need&^(p.mask|p.exact) == 0
		}
		b := p.to
		if b == none {
			return false
		}
		for i, c := range rest {
			x := cells[int(b)+int(c)]
			if !x.is(c) {
				return false
			}
			if b = x.to(); b&placeBit != 0 {
				rest = rest[i+1:]
				break
			}
		}
		if b&placeBit == 0 {
			return false
		}
		p = &places[b&^placeBit]
		switch n := int(p.n); {
		case n == 0:
		case n <= 8 && len(rest) >= 8: // as enter does
			if (binary.LittleEndian.Uint64(rest)^p.head)<<(64-8*n) != 0 {
				return false
			}
			rest = rest[n:]
		default:
			var ok bool
			if rest, ok = t.enter(p, rest); !ok {
				return false
			}
		}
	}
}

// walk calls visit for every place on the way down along key, with the number of
// bytes of key that lead there.
func (t *tree) walk(key []byte, visit func(p *place, n int)) {
	if len(t.places) == 0 {
		return
	}
	p := &t.places[len(t.places)-1]
	rest := key
	for ok := true; ok; p, rest, ok = t.follow(p.to, rest) {
		if rest, ok = t.enter(p, rest); !ok {
			break
		}
		if visit(p, len(key)-len(rest)); p.to == none {
			break
		}
	}
}
