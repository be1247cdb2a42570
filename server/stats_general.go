package server

import (
	"fmt"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loopCounters are one loop's part of the statistics, plain numbers read under
// the worker's turn lock.
type loopCounters struct {
	bytesRead, bytesWritten uint64
	yields                  uint64
	conns                   uint64 // ever
	idleKicks               uint64
	rejected                uint64 // of the acceptor
	auths, authErrors       uint64 // of the authentication
	ruleDenials             uint64 // requests that the key rules refused
}

func (n *loopCounters) add(o *loopCounters) {
	n.bytesRead += o.bytesRead
	n.bytesWritten += o.bytesWritten
	n.yields += o.yields
	n.conns += o.conns
	n.idleKicks += o.idleKicks
	n.rejected += o.rejected
	n.auths += o.auths
	n.authErrors += o.authErrors
	n.ruleDenials += o.ruleDenials
}

func (n *loopCounters) sub(o *loopCounters) {
	n.bytesRead -= o.bytesRead
	n.bytesWritten -= o.bytesWritten
	n.yields -= o.yields
	n.conns -= o.conns
	n.idleKicks -= o.idleKicks
	n.rejected -= o.rejected
	n.auths -= o.auths
	n.authErrors -= o.authErrors
	n.ruleDenials -= o.ruleDenials
}

// sum adds up the loops' counters since the last reset. It runs on a helper
// goroutine, between the loops' turns.
func (s *Server) sum() loopCounters {
	t := s.sumAll()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.sub(&s.base)
	return t
}

// sumAll adds up the loops' counters since the start.
func (s *Server) sumAll() loopCounters {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	var t loopCounters
	for _, l := range loops {
		l.worker.Inspect(nil, func() { t.add(&l.n) })
	}
	t.rejected = s.rejected.Load()
	if s.auth != nil {
		t.auths, t.authErrors = s.auth.cmds.Load(), s.auth.errors.Load()
	}
	return t
}

// resetStats zeroes what memcached's "stats reset" zeroes.
func (s *Server) resetStats() {
	t := s.sumAll()
	s.mu.Lock()
	s.base = t
	s.mu.Unlock()
	s.eng.ResetStats(nil)
	s.detail.reset()
}

// generalStats is "stats": memcached's names in its order, 93 of them by default;
// some are there only while what they count is on. Names of parts that this server
// does not have (libevent, the page mover, log workers) are there with the value
// of an idle part.
func (s *Server) generalStats(j *statsJob) {
	n, e, st := s.sum(), s.eng.Counters(nil), s.eng.Storage().Stats()
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru) // fails only for other arguments
	now := time.Now()
	threads := uint64(s.set.Threads)
	tuning := s.set.Tuning
	segmented, _ := s.knobs.segments()
	open := uint64(max(s.conns.Load(), 0))

	j.num("pid", uint64(os.Getpid()))
	j.num("uptime", uint64(now.Sub(s.started)/time.Second))
	j.num("time", uint64(now.Unix()))
	j.str("version", s.set.Version)
	j.str("libevent", "none")
	j.num("pointer_size", bits.UintSize)
	j.str("rusage_user", seconds(ru.Utime))
	j.str("rusage_system", seconds(ru.Stime))
	j.num("max_connections", uint64(s.set.MaxConns))
	j.num("curr_connections", open)
	j.num("total_connections", n.conns)
	if !s.set.WaitAtMaxConns {
		j.num("rejected_connections", n.rejected)
	}
	j.num("connection_structures", open)
	j.num("response_obj_oom", 0)
	j.num("response_obj_count", 0)
	j.num("response_obj_bytes", 0)
	j.num("read_buf_count", threads)
	j.num("read_buf_bytes", threads*areaSize)
	j.num("read_buf_bytes_free", threads*areaSize)
	j.num("read_buf_oom", 0)
	j.num("reserved_fds", s.reservedFDs())
	j.num("cmd_get", e.CmdGet)
	j.num("cmd_set", e.CmdSet)
	j.num("cmd_flush", e.CmdFlush)
	j.num("cmd_touch", e.CmdTouch)
	j.num("cmd_meta", e.CmdMeta)
	j.num("get_hits", e.GetHits)
	j.num("get_misses", e.GetMisses)
	j.num("get_expired", e.GetExpired)
	j.num("get_flushed", e.GetFlushed)
	j.num("delete_misses", e.DeleteMisses)
	j.num("delete_hits", e.DeleteHits)
	j.num("incr_misses", e.IncrMisses)
	j.num("incr_hits", e.IncrHits)
	j.num("decr_misses", e.DecrMisses)
	j.num("decr_hits", e.DecrHits)
	j.num("cas_misses", e.CasMisses)
	j.num("cas_hits", e.CasHits)
	j.num("cas_badval", e.CasBadval)
	j.num("touch_hits", e.TouchHits)
	j.num("touch_misses", e.TouchMisses)
	j.num("store_too_large", e.StoreTooLarge)
	j.num("store_no_memory", e.StoreNoMemory)
	j.num("auth_cmds", n.auths)
	j.num("auth_errors", n.authErrors)
	if s.set.IdleTimeout > 0 {
		j.num("idle_kicks", n.idleKicks)
	}
	j.num("bytes_read", n.bytesRead)
	j.num("bytes_written", n.bytesWritten)
	j.num("limit_maxbytes", st.LimitMaxBytes)
	j.num("accepting_conns", one(!s.full.now.Load()))
	j.num("listen_disabled_num", s.full.times.Load())
	j.num("time_in_listen_disabled_us", s.full.micros())
	j.num("threads", threads)
	j.num("conn_yields", n.yields)
	j.num("hash_power_level", st.HashPowerLevel)
	j.num("hash_bytes", st.HashBytes)
	j.num("hash_is_expanding", one(st.HashExpanding))
	if tuning.SlabReassign {
		j.num("slab_reassign_rescues", 0)
		j.num("slab_reassign_chunk_rescues", 0)
		j.num("slab_reassign_inline_reclaim", 0)
		j.num("slab_reassign_busy_items", 0)
		j.num("slab_reassign_busy_deletes", 0)
		j.num("slab_reassign_busy_nomem", 0)
		j.str("slab_reassign_last_busy_status", "none")
		j.num("slab_reassign_running", 0)
		j.num("slabs_moved", st.SlabsMoved)
	}
	if s.crawler.On() {
		j.num("lru_crawler_running", one(s.crawler.Running()))
		j.num("lru_crawler_starts", s.crawler.Starts())
	}
	if tuning.Maintainer {
		j.num("lru_maintainer_juggles", 0)
	}
	j.num("malloc_fails", st.OutOfMemory)
	j.num("log_worker_dropped", s.hub.dropped.Load())
	j.num("log_worker_written", s.hub.written.Load())
	j.num("log_watcher_skipped", s.hub.skipped.Load())
	j.num("log_watcher_sent", s.hub.sent.Load())
	j.num("log_watchers", uint64(s.hub.count()))
	if s.tls != nil {
		s.tls.stats(j)
	}
	j.num("unexpected_napi_ids", 0)
	j.num("round_robin_fallback", 0)
	j.num("bytes", st.Bytes)
	j.num("curr_items", st.CurrItems)
	j.num("total_items", st.TotalItems)
	j.num("slab_global_page_pool", st.PoolPages)
	j.num("expired_unfetched", st.ExpiredUnfetched)
	j.num("evicted_unfetched", st.EvictedUnfetched)
	if segmented {
		j.num("evicted_active", st.EvictedActive)
	}
	j.num("evictions", st.Evictions)
	j.num("reclaimed", st.Reclaimed)
	j.num("crawler_reclaimed", st.CrawlerReclaimed)
	j.num("crawler_items_checked", st.CrawlerChecked)
	j.num("lrutail_reflocked", 0)
	if segmented {
		j.num("moves_to_cold", 0)
		j.num("moves_to_warm", 0)
		j.num("moves_within_lru", 0)
		j.num("direct_reclaims", st.DirectReclaims)
		j.num("lru_bumps_dropped", 0)
	}
}

// reservedFDs is how many descriptors the server itself needs.
func (s *Server) reservedFDs() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.listeners) + 2*len(s.loops) + 2)
}

func seconds(t unix.Timeval) string { return fmt.Sprintf("%d.%06d", t.Sec, t.Usec) }

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
