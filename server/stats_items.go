package server

import (
	"strconv"

	"sememcached/storage"
)

// itemsStats is "stats items": a group of names for each of memcached's slab
// classes that has items. Items are all in the one queue that memcached would
// call cold.
func (s *Server) itemsStats(j *statsJob) {
	now := s.storeNow()
	segmented, temp := s.knobs.segments()
	s.eng.Storage().ClassStats(func(class int, st storage.ClassStats) {
		if st.Number == 0 && st.Evicted == 0 && st.OutOfMemory == 0 {
			return
		}
		prefix := "items:" + strconv.Itoa(class) + ":"
		num := func(name string, v uint64) { j.num(prefix+name, v) }
		var age uint64
		if st.OldestAccess != 0 && now > st.OldestAccess {
			age = uint64(now - st.OldestAccess)
		}
		num("number", st.Number)
		if segmented {
			num("number_hot", 0)
			num("number_warm", 0)
			num("number_cold", st.Number)
			if temp {
				num("number_temp", 0)
			}
			num("age_hot", 0)
			num("age_warm", 0)
		}
		num("age", age)
		num("mem_requested", st.MemRequested)
		num("evicted", st.Evicted)
		num("evicted_nonzero", st.EvictedNonzero)
		num("evicted_time", uint64(st.EvictedTime))
		num("outofmemory", st.OutOfMemory)
		num("tailrepairs", 0)
		num("reclaimed", st.Reclaimed)
		num("expired_unfetched", st.ExpiredUnfetched)
		num("evicted_unfetched", st.EvictedUnfetched)
		if segmented {
			num("evicted_active", st.EvictedActive)
		}
		num("crawler_reclaimed", st.CrawlerReclaimed)
		num("crawler_items_checked", st.CrawlerChecked)
		num("lrutail_reflocked", 0)
		if segmented {
			num("moves_to_cold", 0)
			num("moves_to_warm", 0)
			num("moves_within_lru", 0)
			num("direct_reclaims", st.Evicted)
			num("hits_to_hot", 0)
			num("hits_to_warm", 0)
			num("hits_to_cold", 0)
			num("hits_to_temp", 0)
		}
	})
}

// slabsStats is "stats slabs": memcached's slab classes as they would hold what
// is stored. Counts of commands by class are not kept.
func (s *Server) slabsStats(j *statsJob) {
	active, pages := uint64(0), uint64(0)
	s.eng.Storage().ClassStats(func(class int, st storage.ClassStats) {
		if st.Number == 0 && st.Evicted == 0 {
			return
		}
		per := uint64(max(st.PerPage, 1))
		total := max((st.Number+per-1)/per, 1)
		active++
		pages += total
		prefix := strconv.Itoa(class) + ":"
		num := func(name string, v uint64) { j.num(prefix+name, v) }
		num("chunk_size", uint64(st.ChunkSize))
		num("chunks_per_page", per)
		num("total_pages", total)
		num("total_chunks", total*per)
		num("used_chunks", st.Number)
		num("free_chunks", total*per-st.Number)
		num("free_chunks_end", 0)
		num("get_hits", 0)
		num("cmd_set", 0)
		num("delete_hits", 0)
		num("incr_hits", 0)
		num("decr_hits", 0)
		num("cas_hits", 0)
		num("cas_badval", 0)
		num("touch_hits", 0)
	})
	j.num("active_slabs", active)
	j.num("total_malloced", pages<<20)
}

// storeNow is the time on the store's clock as a loop saw it last.
func (s *Server) storeNow() uint32 {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	var now uint32
	for _, l := range loops {
		l.worker.Inspect(nil, func() { now = max(now, l.worker.Now()) })
	}
	return now
}

// connStats is "stats conns": every listener and connection, by descriptor.
func (s *Server) connStats(j *statsJob) {
	s.mu.Lock()
	loops, ls, us := s.loops, s.listeners, s.udp
	s.mu.Unlock()
	for _, l := range ls {
		prefix := strconv.Itoa(l.fd) + ":"
		j.str(prefix+"addr", l.name())
		j.str(prefix+"state", "conn_listening")
		j.num(prefix+"secs_since_last_cmd", 0)
	}
	for _, u := range us {
		prefix := strconv.Itoa(u.fd) + ":"
		j.str(prefix+"UDP", "UDP")
		j.str(prefix+"addr", u.name())
		j.str(prefix+"state", "conn_read")
		j.num(prefix+"secs_since_last_cmd", 0)
	}
	now := s.storeNow()
	for _, l := range loops {
		l.worker.Inspect(nil, func() {
			for _, c := range l.slots.conns {
				if c == nil || c.udp != nil {
					continue
				}
				prefix := strconv.Itoa(c.fd) + ":"
				j.str(prefix+"addr", c.name())
				j.str(prefix+"listen_addr", c.local.name())
				j.str(prefix+"state", c.state())
				j.num(prefix+"secs_since_last_cmd", uint64(now-min(now, c.lastCmd)))
			}
		})
	}
}

// state is memcached's name for what the connection is doing.
func (c *conn) state() string {
	switch {
	case c.blocked:
		return "conn_mwrite"
	case c.parked:
		return "conn_io_pending"
	case c.phase == phaseUpload:
		return "conn_nread"
	case c.phase == phaseSwallow:
		return "conn_swallow"
	case len(c.in) > 0:
		return "conn_waiting"
	}
	return "conn_read"
}
