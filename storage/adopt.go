package storage

// TooLarge reports whether an item of these lengths, in bytes, is above
// Config.MaxItem by memcached's item-size formula, so that it can never be
// stored.
func (s *Store) TooLarge(nkey int, flags uint32, nvalue int) bool {
	return nkey < 1 || nkey > MaxKey || nvalue < 0 || nvalue > s.cfg.MaxItem || s.itemSize(nkey, flags, nvalue) > s.cfg.MaxItem
}

// Adopt fills in what was not known of a reserved item while its value arrived:
// its label, its cas and the present second. The item is the caller's own and
// not linked; Link comes next.
func (sh *Shard) Adopt(it Item, label uint32, cas uint64, now uint32) {
	hd := it.head()
	hd.label, hd.stored, hd.access = label, now, now
	hd.setCAS(cas)
}

// Bump counts as a use for the eviction and for the last access: what memcached
// does on an add that finds an item, and on an incr in place.
func (sh *Shard) Bump(it Item, now uint32) {
	hd := it.head()
	hd.access = now
	touchRecent(hd)
}

// Touched is Bump that leaves the fetched bit too, as a touch does.
func (sh *Shard) Touched(it Item, now uint32) {
	sh.Bump(it, now)
	it.head().state |= stateFetched
}

// Pinned reports whether somebody is sending the item's bytes: they must not
// change then.
func (it Item) Pinned() bool { return it.head().state&statePinned != 0 }

// ForgetLabel zeroes the hits and evictions of a label that no item has any more:
// its number is about to be another label's.
func (s *Store) ForgetLabel(label uint32) {
	s.LabelItems(label) // takes in what the shards have counted
	if l := s.labels.get(label); l != nil {
		l.hits.Store(0)
		l.evictions.Store(0)
	}
}
