package storage

import "fmt"

// Check looks through the whole store for broken invariants and returns the first: both
// indexes and the queues hold the same items, under the right hash and in the right order,
// every counter is the sum of what it counts, every chunk has one owner. It locks all shards, in order,
// and is for tests: it takes time in proportion to what is stored. Nothing may be allocated
// and not linked meanwhile, except what pins hold: unlinked says how many such items there are.
func (s *Store) Check(unlinked int) error {
	for _, sh := range s.shards {
		sh.lock()
		defer sh.unlock()
	}
	chunks := make(map[uint32]bool) // linked
	perLabel := make(map[uint32]LabelStats)
	for _, sh := range s.shards {
		if err := sh.check(chunks, perLabel); err != nil {
			return fmt.Errorf("shard %d: %w", sh.id, err)
		}
	}
	if err := s.checkLabels(perLabel); err != nil {
		return err
	}
	return s.checkPages(chunks, unlinked)
}

func (sh *Shard) check(chunks map[uint32]bool, perLabel map[uint32]LabelStats) error {
	var items, size int64
	counts := make([]classCount, len(sh.mc))
	var last Item
	var err error
	sh.tree.Ascend(func(ref uint32) bool {
		it := sh.s.arena.item(ref)
		hd := it.head()
		switch {
		case chunks[ref]:
			err = fmt.Errorf("item %q is linked twice", it.Key())
		case hd.state&stateLinked == 0:
			err = fmt.Errorf("item %q is in the tree and not linked", it.Key())
		case hd.shard != sh.id || sh.s.shard(sh.s.hashOf(ref)) != sh:
			err = fmt.Errorf("item %q says shard %d", it.Key(), hd.shard)
		case sh.lookup(sh.s.hashOf(ref), it.Instance(), it.Key()) != ref:
			err = fmt.Errorf("item %q is not in the hash index", it.Key())
		case !last.Nil() && position{last.Key(), last.Instance()}.compare(position{it.Key(), it.Instance()}) >= 0:
			err = fmt.Errorf("item %q is in the tree behind %q", it.Key(), last.Key())
		case hd.state&statePinned != 0 != (sh.pins[ref] != 0):
			err = fmt.Errorf("item %q: %d pins, pin bit %v", it.Key(), sh.pins[ref], hd.state&statePinned != 0)
		case fmt.Sprintf("%s %d %d\r\n%s\r\n", it.Key(), it.Flags(), len(it.Value()), it.Value()) != string(it.Text()):
			err = fmt.Errorf("item %q: text is %.60q", it.Key(), it.Text())
		}
		chunks[ref] = true
		last = it
		items++
		size += int64(it.Size())
		c := &counts[sh.s.mc.index(it.Size())]
		c.items++
		c.bytes += int64(it.Size())
		l := perLabel[it.Label()]
		l.Items++
		l.Bytes += uint64(it.Size())
		perLabel[it.Label()] = l
		return err == nil
	})
	if err != nil {
		return err
	}
	if items != sh.stats.items || size != sh.stats.bytes || items != int64(sh.index.count) {
		return fmt.Errorf("%d items of %d bytes in the tree; counted %d of %d, %d in the hash index",
			items, size, sh.stats.items, sh.stats.bytes, sh.index.count)
	}
	for i := range counts {
		if counts[i] != sh.mc[i] {
			return fmt.Errorf("class %d: %+v in the tree, counted %+v", i+1, counts[i], sh.mc[i])
		}
	}
	if err := sh.checkIndex(); err != nil {
		return err
	}
	return sh.checkQueues(uint32(items))
}

// checkIndex looks for items in wrong buckets and for wrong counts of overflow.
func (sh *Shard) checkIndex() error {
	tables := []*table{sh.index.cur.Load()}
	if old := sh.index.old.Load(); old != nil {
		tables = append(tables, old)
	}
	var n uint32
	for _, t := range tables {
		overflow := make([]uint32, t.n)
		for i := range t.n {
			for slot := range bucketSlots {
				ref, tag := t.bucket(i)[firstRef+slot], t.bucket(i).tag(slot)
				if ref == 0 != (tag == 0) {
					return fmt.Errorf("bucket %d: ref %#x with tag %#x", i, ref, tag)
				}
				if ref == 0 {
					continue
				}
				n++
				h := sh.s.hashOf(ref)
				if tag != tagOf(h) || sh.index.route(h) != t {
					return fmt.Errorf("bucket %d: item %q is in the wrong table or has a wrong tag", i, sh.s.arena.item(ref).Key())
				}
				for j := t.home(h); j != i; j = t.after(j) {
					overflow[j]++
				}
			}
		}
		for i, want := range overflow {
			if got := t.bucket(uint32(i))[overflowWord]; got != want {
				return fmt.Errorf("bucket %d: overflow %d, %d items passed by", i, got, want)
			}
		}
	}
	if n != sh.index.count {
		return fmt.Errorf("%d items in the hash index, counted %d", n, sh.index.count)
	}
	return nil
}

func (sh *Shard) checkQueues(items uint32) error {
	var total uint32
	for c := range sh.queues {
		q := &sh.queues[c]
		for _, f := range []*fifo{&q.small, &q.main} {
			var n, prev uint32
			for ref := f.head; ref != 0; ref = sh.s.arena.head(ref).next {
				hd := sh.s.arena.head(ref)
				if hd.prev != prev || hd.state&stateLinked == 0 || sh.s.classOf(ref) != c || q.of(hd) != f {
					return fmt.Errorf("class %d: item %q is wrong in the queue", c, sh.s.arena.item(ref).Key())
				}
				prev = ref
				n++
			}
			if n != f.n || f.tail != prev {
				return fmt.Errorf("class %d: queue of %d items, counted %d, tail %#x of %#x", c, n, f.n, f.tail, prev)
			}
			total += n
		}
		if set := sh.s.candidates(c)[sh.id/64].Load()>>(sh.id%64)&1 != 0; set != (q.n() > 0) {
			return fmt.Errorf("class %d: %d items, candidate %v", c, q.n(), set)
		}
	}
	if total != items {
		return fmt.Errorf("%d items in the queues, %d in the tree", total, items)
	}
	return nil
}

func (s *Store) checkLabels(want map[uint32]LabelStats) error {
	for _, sh := range s.shards {
		for i := range sh.deltas {
			sh.spill(&sh.deltas[i])
		}
	}
	var err error
	s.labels.each(func(n uint32, l *label) bool {
		if uint64(l.items.Load()) != want[n].Items || uint64(l.bytes.Load()) != want[n].Bytes {
			err = fmt.Errorf("label %d: %d items of %d bytes, counted %d of %d", n, want[n].Items, want[n].Bytes, l.items.Load(), l.bytes.Load())
		}
		delete(want, n)
		return err == nil
	})
	if err == nil && len(want) > 0 {
		err = fmt.Errorf("labels without counters: %v", want)
	}
	return err
}

func (s *Store) checkPages(linked map[uint32]bool, unlinked int) error {
	var mapped int64
	owned := 0
	loose := 0
	for i := range s.classes {
		c := &s.classes[i]
		c.mu.Lock()
		defer c.mu.Unlock()
		var pages int32
		var live int64
		for n := range s.owner {
			if s.owner[n].Load() != uint32(c.id)+1 {
				continue
			}
			p := &s.pages[n]
			pages++
			mapped += pageSize
			owned++
			live += int64(p.live)
			free := uint32(0)
			for ref := p.free; ref != 0; ref = s.arena.head(ref).next {
				if linked[ref] || s.arena.head(ref).nkey != 0 {
					return fmt.Errorf("class %d: chunk %#x is free and in use", i, ref)
				}
				free++
			}
			if free+p.live != p.carved || p.carved > c.perPage {
				return fmt.Errorf("class %d, page %d: %d free and %d live of %d chunks", i, n, free, p.live, p.carved)
			}
			for k := range p.carved {
				if ref := s.chunkRef(uint32(n), c.units, k); s.arena.head(ref).nkey != 0 && !linked[ref] {
					loose++
				}
			}
			if p.onList != (!p.draining && (p.free != 0 || p.carved < c.perPage)) {
				return fmt.Errorf("class %d, page %d: on the list %v, draining %v, %d free", i, n, p.onList, p.draining, free)
			}
		}
		if pages != c.pages.Load() || live != c.live {
			return fmt.Errorf("class %d: %d pages with %d chunks, counted %d with %d", i, pages, live, c.pages.Load(), c.live)
		}
	}
	var runs int64
	for ref := range linked {
		if ref >= s.runBase {
			runs += int64(runGrains(s.arena.head(ref).size())) * grain
		}
	}
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	mapped += int64(len(p.idle)) * pageSize
	mapped += p.runBytes
	for _, e := range p.warm {
		mapped += int64(e.n) * grain
	}
	switch {
	case loose > unlinked || unlinked == 0 && runs != p.runBytes || runs > p.runBytes:
		return fmt.Errorf("%d chunks and %d bytes of runs in use and not linked, expected %d items", loose, p.runBytes-runs, unlinked)
	case owned != p.inUse || mapped != p.mapped:
		return fmt.Errorf("%d pages and %d bytes mapped, counted %d and %d", owned, mapped, p.inUse, p.mapped)
	}
	return nil
}
