package storage

// OnEvict sets what is called for every live item that is evicted for memory; nil
// turns it off. fn runs under the lock of the item's shard: it must be quick, must
// not call the store, and must not keep the item.
func (s *Store) OnEvict(fn func(it Item, now uint32)) {
	if fn == nil {
		s.onEvict.Store(nil)
		return
	}
	s.onEvict.Store(&fn)
}

// evicted tells of an item that is about to be evicted.
func (s *Store) evicted(it Item, now uint32) {
	if fn := s.onEvict.Load(); fn != nil {
		(*fn)(it, now)
	}
}
