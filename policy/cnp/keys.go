package cnp

// batch is how many keys of a request are looked at together.
const batch = 24

// probe is the first look-up for one key. Those of a batch are all begun before the
// first is judged, so that the processor waits for their cache lines side by side.
type probe struct {
	key  []byte
	part int // how much of the key is looked up; 0: nothing
	hash uint64
	a, b uint64
	tag  uint32 // of the slot where the key would be: reading it is what brings its line
}

// lacksKeys reports which of the needed commands the rules do not allow on some key of
// text, of which next takes the first.
func (t *Table) lacksKeys(need Mask, text []byte, next func([]byte) (key, rest []byte)) Mask {
	need &^= t.any
	if need == 0 {
		return 0
	}
	h, length := &t.exact, 0
	if len(h.slots) == 0 {
		if len(t.lengths) == 0 {
			return t.lacksEach(need, text, next)
		}
		h, length = &t.prefix, int(t.lengths[len(t.lengths)/2])
	}
	mask := uint64(len(h.slots) - 1)
	var probes [batch]probe
	for text != nil {
		n := 0
		for n < batch {
			p := &probes[n]
			if p.key, text = next(text); p.key == nil {
				text = nil
				break
			}
			n++
			if p.part = length; length == 0 {
				p.part = len(p.key)
			}
			if p.part == 0 || p.part > len(p.key) || len(p.key) > keyMax {
				p.part = 0
				continue
			}
			p.hash, p.a, p.b = t.hash(p.key[:p.part])
			p.tag = h.slots[p.hash>>h.shift&mask].tag
		}
		for i := range probes[:n] {
			p := &probes[i]
			if p.part > 0 {
				s := &h.slots[p.hash>>h.shift&mask]
				if p.tag != tagOf(p.hash, p.part) || s.a != p.a || s.b != p.b || p.part > inline {
					s = t.findFrom(h, p.key[:p.part], p.hash, p.a, p.b)
				}
				if s != nil && need&^s.mask == 0 {
					continue
				}
			}
			if lacks := t.lacks(need, p.key); lacks != 0 {
				return lacks
			}
		}
	}
	return 0
}

// lacksEach is lacksKeys, one key after the other.
func (t *Table) lacksEach(need Mask, text []byte, next func([]byte) (key, rest []byte)) Mask {
	for key, left := next(text); key != nil; key, left = next(left) {
		if lacks := t.lacks(need, key); lacks != 0 {
			return lacks
		}
	}
	return 0
}
