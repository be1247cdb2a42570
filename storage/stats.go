package storage

import "math/bits"

// Stats are the general statistics of a store, by memcached's names; counts since the start or
// the last ResetStats, sizes as they are now.
type Stats struct {
	CurrItems  uint64 // curr_items
	TotalItems uint64 // total_items: stores so far
	Bytes      uint64 // bytes, by the item-size formula

	Evictions        uint64 // live items evicted for memory
	EvictedUnfetched uint64 // of these, never hit
	EvictedActive    uint64 // of these, hit a short time before
	ExpiredUnfetched uint64 // dead items found by eviction and crawler, never hit
	Reclaimed        uint64 // stores that used the memory of a dead item
	CrawlerReclaimed uint64 // dead items unlinked by CrawlStep
	CrawlerChecked   uint64 // items CrawlStep looked at
	LazyExpired      uint64 // expired items that Find unlinked
	LazyFlushed      uint64 // flushed items that Find unlinked
	OutOfMemory      uint64 // stores that failed for want of memory
	DirectReclaims   uint64 // evictions done by the store that needed the memory: all of them
	SlabsMoved       uint64 // pages taken from a class for another, or for the limit

	LimitMaxBytes  uint64 // limit_maxbytes
	TotalMalloced  uint64 // bytes mapped for items, in use or idle
	PoolPages      uint64 // idle pages: slab_global_page_pool
	HashPowerLevel uint64 // logarithm of the number of hash buckets
	HashBytes      uint64 // bytes of the hash index
	HashExpanding  bool   // hash_is_expanding
}

// shardStats are the counters of a shard.
type shardStats struct {
	items, bytes                              int64
	total, lazyExpired, lazyFlushed           uint64
	evictions, evictedUnfetched               uint64
	evictedActive, expiredUnfetched           uint64
	reclaimed, crawlerReclaimed, crawlerCheck uint64
	outOfMemory                               uint64
}

// classCount is what is stored in one of memcached's classes.
type classCount struct {
	items int32
	bytes int64
}

// classStats are the events of one of memcached's classes in one shard.
type classStats struct {
	Evicted, EvictedNonzero, EvictedUnfetched, EvictedActive uint64
	OutOfMemory, Reclaimed, ExpiredUnfetched                 uint64
	CrawlerReclaimed, CrawlerChecked                         uint64
	evictedTime                                              uint32
}

// ClassStats is the line of one of memcached's slab classes.
type ClassStats struct {
	ChunkSize, PerPage int

	Number       uint64 // items stored
	MemRequested uint64 // their bytes, by the item-size formula
	OldestAccess uint32 // second of the last use of the item next to be evicted, 0 if none

	Evicted          uint64
	EvictedNonzero   uint64 // of these, with an exptime
	EvictedUnfetched uint64
	EvictedActive    uint64
	EvictedTime      uint32 // seconds since the last use of the item evicted last
	OutOfMemory      uint64
	Reclaimed        uint64
	ExpiredUnfetched uint64
	CrawlerReclaimed uint64
	CrawlerChecked   uint64
}

// class returns the event counters of the class of an item of size bytes.
func (sh *Shard) class(size int) *classStats {
	if sh.cold == nil {
		sh.cold = make([]classStats, len(sh.mc))
	}
	return &sh.cold[sh.s.mc.index(size)]
}

// countEviction counts an item that is about to be taken for its memory, and
// reports whether it was alive.
func (sh *Shard) countEviction(it Item, now uint32) (alive bool) {
	hd := it.head()
	c := sh.class(it.Size())
	fetched := hd.state&stateFetched != 0
	if sh.s.dead(it, now) != Present {
		sh.stats.reclaimed++
		c.Reclaimed++
		if !fetched {
			sh.stats.expiredUnfetched++
			c.ExpiredUnfetched++
		}
		return false
	}
	sh.s.evicted(it, now)
	sh.stats.evictions++
	c.Evicted++
	sh.count(hd.label).evictions++
	c.evictedTime = now - min(now, hd.access)
	if hd.exptime != 0 {
		c.EvictedNonzero++
	}
	if !fetched {
		sh.stats.evictedUnfetched++
		c.EvictedUnfetched++
	}
	if hd.state&stateRecent != 0 {
		sh.stats.evictedActive++
		c.EvictedActive++
	}
	return true
}

// Stats returns the present statistics. Shards are read one after another.
func (s *Store) Stats() Stats {
	var st Stats
	var buckets uint64
	for _, sh := range s.shards {
		sh.lock()
		x := &sh.stats
		st.CurrItems += uint64(x.items)
		st.Bytes += uint64(x.bytes)
		st.TotalItems += x.total
		st.Evictions += x.evictions
		st.EvictedUnfetched += x.evictedUnfetched
		st.EvictedActive += x.evictedActive
		st.ExpiredUnfetched += x.expiredUnfetched
		st.Reclaimed += x.reclaimed
		st.CrawlerReclaimed += x.crawlerReclaimed
		st.CrawlerChecked += x.crawlerCheck
		st.LazyExpired += x.lazyExpired
		st.LazyFlushed += x.lazyFlushed
		st.OutOfMemory += x.outOfMemory
		buckets += uint64(sh.index.cur.Load().n)
		st.HashExpanding = st.HashExpanding || sh.index.old.Load() != nil
		sh.unlock()
	}
	st.DirectReclaims = st.Evictions
	st.HashPowerLevel = uint64(bits.Len64(buckets*bucketSlots) - 1)
	st.HashBytes = uint64(s.tables.size())
	st.SlabsMoved = s.drainer.moved.Load()
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	st.LimitMaxBytes = uint64(p.limit)
	st.TotalMalloced = uint64(p.mapped)
	st.PoolPages = uint64(len(p.idle))
	return st
}

// ResetStats sets the counters of events to zero, those of labels included; what is stored now keeps
// being counted.
func (s *Store) ResetStats() {
	for _, sh := range s.shards {
		sh.lock()
		sh.stats = shardStats{items: sh.stats.items, bytes: sh.stats.bytes}
		clear(sh.cold)
		for i := range sh.deltas {
			sh.deltas[i].hits, sh.deltas[i].evictions = 0, 0
		}
		sh.unlock()
	}
	s.labels.each(func(_ uint32, l *label) bool {
		l.hits.Store(0)
		l.evictions.Store(0)
		return true
	})
}

// ClassStats calls fn for each of memcached's slab classes that has items or
// had events, in order. No lock is held during the call.
func (s *Store) ClassStats(fn func(class int, st ClassStats)) {
	all := make([]ClassStats, len(s.mc.chunk))
	for _, sh := range s.shards {
		sh.lock()
		for i, c := range sh.mc {
			all[i].Number += uint64(c.items)
			all[i].MemRequested += uint64(c.bytes)
		}
		for i := range sh.cold {
			c, st := &sh.cold[i], &all[i]
			st.Evicted += c.Evicted
			st.EvictedNonzero += c.EvictedNonzero
			st.EvictedUnfetched += c.EvictedUnfetched
			st.EvictedActive += c.EvictedActive
			st.OutOfMemory += c.OutOfMemory
			st.Reclaimed += c.Reclaimed
			st.ExpiredUnfetched += c.ExpiredUnfetched
			st.CrawlerReclaimed += c.CrawlerReclaimed
			st.CrawlerChecked += c.CrawlerChecked
			st.EvictedTime = max(st.EvictedTime, c.evictedTime)
		}
		for c := range sh.queues {
			for _, ref := range []uint32{sh.queues[c].small.tail, sh.queues[c].main.tail} {
				if ref == 0 {
					continue
				}
				it := s.arena.item(ref)
				st := &all[s.mc.index(it.Size())]
				if st.OldestAccess == 0 || it.LastAccess() < st.OldestAccess {
					st.OldestAccess = it.LastAccess()
				}
			}
		}
		sh.unlock()
	}
	for i := range all {
		if all[i] == (ClassStats{}) {
			continue
		}
		all[i].ChunkSize, all[i].PerPage = int(s.mc.chunk[i]), int(s.mc.perPage[i])
		fn(i+1, all[i])
	}
}
