package server

import (
	"strconv"
	"strings"
)

// settingsStats is "stats settings": memcached's names in its order. What
// steers parts that memcached has and this server has not shows memcached's
// default or that the part is off.
func (s *Server) settingsStats(j *statsJob) {
	set, k := &s.set, s.knobs
	k.mu.Lock()
	defer k.mu.Unlock()
	orNull := func(v string) string {
		if v == "" {
			return "NULL"
		}
		return v
	}
	onOff := func(on bool) string {
		if on {
			return "on"
		}
		return "off"
	}
	fixed := func(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }
	decimal := func(f float64) string { return fixed(f, 2) }
	tcp := set.Port
	if set.UnixPath != "" {
		tcp = 0
	}
	j.num("maxbytes", s.eng.Storage().Stats().LimitMaxBytes)
	j.num("maxconns", uint64(set.MaxConns))
	j.str("tcpport", strconv.Itoa(tcp))
	j.str("udpport", strconv.Itoa(set.UDPPort))
	j.str("inter", orNull(strings.Join(set.Interfaces, ",")))
	j.num("verbosity", uint64(s.verbose.level.Load()))
	j.num("oldest", 0)
	j.str("evictions", onOff(!set.NoEvictions))
	j.str("domain_socket", orNull(set.UnixPath))
	j.str("umask", strconv.FormatInt(int64(set.UnixMask), 8))
	j.flag("shutdown_command", set.AllowShutdown)
	j.str("growth_factor", decimal(set.GrowthFactor))
	j.num("chunk_size", uint64(set.ChunkSize))
	j.num("num_threads", uint64(set.Threads))
	j.num("num_threads_per_udp", uint64(set.Threads))
	j.str("stat_key_prefix", ":")
	j.flag("detail_enabled", s.detail.on.Load())
	j.num("reqs_per_event", uint64(set.ReqsPerEvent))
	j.flag("cas_enabled", !set.NoCAS)
	j.num("tcp_backlog", uint64(set.Backlog))
	j.str("binding_protocol", s.dialect.String())
	j.flag("auth_enabled_sasl", false)
	j.flag("auth_enabled_ascii", false)
	j.num("item_size_max", uint64(set.MaxItem))
	j.flag("maxconns_fast", true)
	j.num("hashpower_init", 0)
	j.flag("slab_reassign", true)
	j.num("slab_automove", uint64(k.automove))
	j.str("slab_automove_ratio", decimal(k.automoveRatio))
	j.num("slab_automove_window", uint64(k.automoveWindow))
	j.num("slab_chunk_max", 512<<10)
	j.flag("lru_crawler", s.crawler.On())
	j.num("lru_crawler_sleep", uint64(k.crawlerSleep))
	j.num("lru_crawler_tocrawl", uint64(k.crawlerTocrawl))
	j.num("tail_repair_time", 0)
	j.flag("flush_enabled", !set.NoFlush)
	j.flag("dump_enabled", !set.NoDump)
	j.str("hash_algorithm", "murmur3")
	j.flag("lru_maintainer_thread", true)
	j.flag("lru_segmented", k.segmented)
	j.num("hot_lru_pct", uint64(k.hotPercent))
	j.num("warm_lru_pct", uint64(k.warmPercent))
	j.str("hot_max_factor", decimal(k.hotFactor))
	j.str("warm_max_factor", decimal(k.warmFactor))
	j.flag("temp_lru", k.tempTTL >= 0)
	j.num("temporary_ttl", temporaryTTL(k.tempTTL))
	j.num("idle_timeout", 0)
	j.num("watcher_logbuf_size", 256<<10)
	j.num("worker_logbuf_size", 64<<10)
	j.num("read_buf_mem_limit", 0)
	j.flag("track_sizes", false)
	j.flag("inline_ascii_response", false)
	j.flag("drop_privileges", false)
	j.num("ext_item_size", 512)
	j.num("ext_item_age", 1<<32-1)
	j.num("ext_low_ttl", 0)
	j.num("ext_recache_rate", 2000)
	j.num("ext_wbuf_size", 4<<20)
	j.num("ext_compact_under", 0)
	j.num("ext_drop_under", 0)
	j.num("ext_max_sleep", 1000000)
	j.str("ext_max_frag", "0.80")
	j.str("slab_automove_freeratio", fixed(k.automoveFree, 3))
	j.flag("ext_drop_unread", false)
	set.TLS.settings(j)
	j.num("num_napi_ids", 0)
	j.str("memory_file", "(null)")
	j.num("client_flags_size", 4)
}

// temporaryTTL is what memcached shows where the TEMP segment is off.
func temporaryTTL(ttl int32) uint64 {
	if ttl < 0 {
		return 61
	}
	return uint64(ttl)
}
