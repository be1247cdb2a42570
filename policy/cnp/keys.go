package cnp

// together is how many keys of a request are walked side by side.
const together = 24

// largeTree is from how many cells on a tree is large: half of a usual cache of the
// second level of those that have the least.
const largeTree = 16 << 10

// walk is a key on its way down a tree.
type walk struct {
	key  []byte
	done int  // how much of key is behind at
	at   base // where to go on
}

// lacksKeys reports which of the needed commands the rules do not allow on some key of
// text, of which next takes the first.
//
// In a large tree the keys go down together, each a step at a time, so that the
// processor waits for the memory of all of them at once. A small one is in its cache,
// and the keys go one after the other.
func (t *Table) lacksKeys(need Mask, text []byte, next func([]byte) (key, rest []byte)) Mask {
	if need &^= t.any; need == 0 {
		return 0
	}
	if len(t.tree.cells) < largeTree {
		for key, left := next(text); key != nil; key, left = next(left) {
			if lacks := t.lacks(need, key); lacks != 0 {
				return lacks
			}
		}
		return 0
	}
	root := &t.tree.places[len(t.tree.places)-1]
	var walks [together]walk
	var live [together]uint8 // those of walks that go on
	for text != nil {
		n := 0
		for n < together {
			var key []byte
			if key, text = next(text); key == nil {
				text = nil
				break
			}
			rest, ok := t.tree.enter(root, key)
			switch {
			case len(key) > keyMax:
				return need
			case ok && need&^root.mask == 0:
			case !ok || root.to == none || len(rest) == 0:
				if lacks := t.lacks(need, key); lacks != 0 {
					return lacks
				}
			default:
				w := &walks[n]
				w.key, w.done, w.at = key, len(key)-len(rest), root.to
				live[n] = uint8(n)
				n++
			}
		}
		for n > 0 {
			left := 0
			for _, i := range live[:n] {
				w := &walks[i%together]
				x := t.tree.cells[int(w.at)+int(w.key[w.done])]
				if x.from == w.at {
					w.done++
					w.at = x.to
					if x.to&placeBit != 0 {
						p := &t.tree.places[x.to&^placeBit]
						rest, ok := t.tree.enter(p, w.key[w.done:])
						if ok && need&^p.mask == 0 {
							continue
						}
						w.done, w.at = len(w.key)-len(rest), p.to
						if !ok {
							w.at = none
						}
					}
					if w.at != none && w.done < len(w.key) {
						live[left] = i
						left++
						continue
					}
				}
				if lacks := t.lacks(need, w.key); lacks != 0 {
					return lacks
				}
			}
			n = left
		}
	}
	return 0
}
