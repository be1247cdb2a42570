package cnp

import (
	"encoding/binary"
	"slices"
)

// seed is a key, a prefix or both, from which a tree grows.
type seed struct {
	key    string
	mask   Mask    // of rules with it as a prefix
	exact  Mask    // of rules with it as a key
	regex  []int32 // rules with a regular expression that begins with it
	rules  []int32 // those of mask
	exacts []int32 // those of exact
}

// planter builds a tree from its leaves up, and takes what is there already.
type planter struct {
	tree
	lists [][]int32
	same  map[place]base    // places, by all that they are
	forks map[string]base   // bases, by their steps
	paths map[string]uint32 // in blob
	bases []bool            // those that there are, as long as cells; none is one
	taken []bool            // cells that are, as long as cells
	free  int               // where to look for holes
	end   int               // of the cells that are taken
	most  int               // how many bases and places there may be
	full  bool              // there would be more
}

// step is one of a fork's.
type step struct {
	c  byte
	to base
}

// plant makes the tree of seeds, which are sorted by key, each of at most keyMax
// bytes, and the lists that its places name. ok is false if the tree has more than most
// bases or places, which is at most maxBase.
func plant(seeds []*seed, most base) (t tree, lists [][]int32, ok bool) {
	if len(seeds) == 0 {
		return tree{}, nil, true
	}
	p := planter{same: map[place]base{}, forks: map[string]base{}, paths: map[string]uint32{}, free: 1, most: int(most)}
	p.grow(seeds, 0, 0, -1, true)
	if p.full {
		return tree{}, nil, false
	}
	t = p.tree
	t.cells, t.places, t.blob = slices.Clip(t.cells), slices.Clip(t.places), slices.Clip(t.blob)
	return t, p.lists, true
}

// grow adds the seeds, which agree in their first depth bytes, and returns where
// they grow. mask and list are what the prefixes up to there say.
func (p *planter) grow(seeds []*seed, depth int, mask Mask, list int32, root bool) base {
	if p.full {
		return none
	}
	first, last := seeds[0], seeds[len(seeds)-1].key
	end := depth
	for end < len(first.key) && first.key[end] == last[end] {
		end++
	}
	path := first.key[depth:end]
	here := place{mask: mask, list: list, head: head(path), path: p.path(path), n: uint8(len(path)), to: none}
	said := root || path != ""
	if len(first.key) == end {
		said = true
		seeds = seeds[1:]
		here.mask |= first.mask
		here.exact = first.exact
		here.ends = len(first.rules)+len(first.exacts) > 0
		if len(first.regex) > 0 {
			var all []int32
			if list >= 0 {
				all = append(all, p.lists[list]...)
			}
			here.list = int32(len(p.lists))
			p.lists = append(p.lists, append(all, first.regex...))
		}
	}
	if len(seeds) > 0 {
		var steps []step
		for len(seeds) > 0 {
			c := seeds[0].key[end]
			n := 1
			for n < len(seeds) && seeds[n].key[end] == c {
				n++
			}
			steps = append(steps, step{c, p.grow(seeds[:n], end+1, here.mask, here.list, false)})
			seeds = seeds[n:]
		}
		here.to = p.fork(steps)
	}
	if !said {
		return here.to
	}
	at, ok := p.same[here]
	if !ok || root {
		if len(p.places) > p.most {
			p.full = true
			return none
		}
		at = base(len(p.places)) | placeBit
		p.same[here] = at
		p.places = append(p.places, here)
	}
	return at
}

// fork is the base of a fork with the steps.
func (p *planter) fork(steps []step) base {
	key := make([]byte, 0, 5*len(steps))
	for _, s := range steps {
		key = binary.LittleEndian.AppendUint32(append(key, s.c), uint32(s.to))
	}
	if b, ok := p.forks[string(key)]; ok {
		return b
	}
	b := p.room(steps)
	if int(b) > p.most {
		p.full = true
		return none
	}
	p.forks[string(key)] = b
	p.bases[b] = true
	for _, s := range steps {
		i := int(b) + int(s.c)
		p.cells[i] = cell(s.to)<<labelBits | cell(s.c)
		p.taken[i] = true
		p.end = max(p.end, int(b)+int(s.c)+1)
	}
	return b
}

// reach bounds the search among the holes that others have left, in cells; of those that
// did not help, a quarter is given up.
const reach = 256

// room is a base whose cells for the steps are free.
func (p *planter) room(steps []step) base {
	for len(p.cells) < p.end+512 {
		p.cells = append(p.cells, 0)
		p.taken = append(p.taken, false)
		p.bases = append(p.bases, len(p.bases) == int(none))
	}
	low := int(steps[0].c)
	fits := func(i int) bool {
		b := i - low
		return b >= 0 && !p.bases[b] && !slices.ContainsFunc(steps, func(s step) bool { return p.taken[b+int(s.c)] })
	}
	for p.taken[p.free] {
		p.free++
	}
	for i := p.free; i < p.free+reach && i < p.end; i++ {
		if fits(i) {
			return base(i - low)
		}
	}
	if p.free+reach < p.end {
		p.free += reach / 4
	}
	i := max(p.free, p.end-256)
	for !fits(i) { // the end fits everything
		i++
	}
	return base(i - low)
}

// path is where a path is in blob.
func (p *planter) path(path string) uint32 {
	if path == "" {
		return 0
	}
	i, ok := p.paths[path]
	if !ok {
		i = uint32(len(p.blob))
		p.paths[path] = i
		p.blob = append(p.blob, path...)
	}
	return i
}

// head is the first bytes of a path, as enter compares them.
func head(path string) (h uint64) {
	for i := range min(len(path), 8) {
		h |= uint64(path[i]) << (8 * i)
	}
	return h
}
