package server

import (
	"strconv"
	"strings"
)

// settingsStats is "stats settings": memcached's names in its order. What
// steers parts that memcached has and this server has not shows what was given.
func (s *Server) settingsStats(j *statsJob) {
	set, k := &s.set, s.knobs
	t := set.Tuning
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
	inter, perUDP := strings.Join(set.Interfaces, ","), set.Threads
	if strings.Contains(inter, ",") {
		perUDP = 1
	}
	j.num("maxbytes", s.eng.Storage().Stats().LimitMaxBytes)
	j.num("maxconns", uint64(set.MaxConns))
	j.str("tcpport", strconv.Itoa(set.Port))
	j.str("udpport", strconv.Itoa(set.UDPPort))
	j.str("inter", orNull(inter))
	j.num("verbosity", uint64(s.verbose.level.Load()))
	j.num("oldest", 0)
	j.str("evictions", onOff(!set.NoEvictions))
	j.str("domain_socket", orNull(set.UnixPath))
	j.str("umask", strconv.FormatInt(int64(set.UnixMask), 8))
	j.flag("shutdown_command", set.AllowShutdown)
	j.str("growth_factor", decimal(set.GrowthFactor))
	j.num("chunk_size", uint64(set.ChunkSize))
	j.num("num_threads", uint64(set.Threads))
	j.num("num_threads_per_udp", uint64(perUDP))
	j.str("stat_key_prefix", string(s.detail.delimiter))
	j.flag("detail_enabled", s.detail.on.Load())
	j.num("reqs_per_event", uint64(set.ReqsPerEvent))
	j.flag("cas_enabled", !set.NoCAS)
	j.num("tcp_backlog", uint64(set.Backlog))
	j.str("binding_protocol", s.dialect.String())
	j.flag("auth_enabled_sasl", set.SASL)
	if set.AuthFile != "" {
		j.str("auth_enabled_ascii", set.AuthFile)
	} else {
		j.flag("auth_enabled_ascii", false)
	}
	j.num("item_size_max", uint64(set.MaxItem))
	j.flag("maxconns_fast", !set.WaitAtMaxConns)
	j.num("hashpower_init", uint64(t.HashPower))
	j.flag("slab_reassign", t.SlabReassign)
	j.num("slab_automove", uint64(k.automove))
	j.str("slab_automove_ratio", decimal(k.automoveRatio))
	j.num("slab_automove_window", uint64(k.automoveWindow))
	j.num("slab_chunk_max", uint64(t.SlabChunkMax))
	j.flag("lru_crawler", s.crawler.On())
	j.num("lru_crawler_sleep", uint64(k.crawlerSleep))
	j.num("lru_crawler_tocrawl", uint64(k.crawlerTocrawl))
	j.num("tail_repair_time", uint64(t.TailRepair))
	j.flag("flush_enabled", !set.NoFlush)
	j.flag("dump_enabled", !set.NoDump)
	j.str("hash_algorithm", t.HashAlgorithm)
	j.flag("lru_maintainer_thread", t.Maintainer)
	j.flag("lru_segmented", k.segmented)
	j.num("hot_lru_pct", uint64(k.hotPercent))
	j.num("warm_lru_pct", uint64(k.warmPercent))
	j.str("hot_max_factor", decimal(k.hotFactor))
	j.str("warm_max_factor", decimal(k.warmFactor))
	j.flag("temp_lru", k.tempTTL >= 0)
	j.num("temporary_ttl", temporaryTTL(k.tempTTL))
	j.num("idle_timeout", uint64(set.IdleTimeout))
	j.num("watcher_logbuf_size", uint64(t.WatcherBuffer))
	j.num("worker_logbuf_size", uint64(t.WorkerBuffer))
	j.num("read_buf_mem_limit", uint64(t.ReadBuffers))
	j.flag("track_sizes", t.TrackSizes)
	j.flag("inline_ascii_response", false)
	j.flag("drop_privileges", t.DropPrivileges)
	j.num("ext_item_size", uint64(t.ExtItemSize))
	j.num("ext_item_age", uint64(t.ExtItemAge))
	j.num("ext_low_ttl", uint64(t.ExtLowTTL))
	j.num("ext_recache_rate", uint64(t.ExtRecacheRate))
	j.num("ext_wbuf_size", uint64(t.ExtWriteBuffer))
	j.num("ext_compact_under", uint64(t.ExtCompactUnder))
	j.num("ext_drop_under", uint64(t.ExtDropUnder))
	j.num("ext_max_sleep", uint64(t.ExtMaxSleep))
	j.str("ext_max_frag", decimal(t.ExtMaxFrag))
	j.str("slab_automove_freeratio", fixed(k.automoveFree, 3))
	j.flag("ext_drop_unread", t.ExtDropUnread)
	set.TLS.settings(j)
	j.num("num_napi_ids", uint64(t.NAPIIDs))
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
