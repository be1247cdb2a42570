package server

import (
	"strconv"
	"strings"
)

// settingsStats is "stats settings": memcached's names in its order. What
// steers parts that memcached has and this server has not shows memcached's
// default or that the part is off.
func (s *Server) settingsStats(j *statsJob) {
	set := &s.set
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
	decimal := func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
	tcp := set.Port
	if set.UnixPath != "" {
		tcp = 0
	}
	j.num("maxbytes", set.MaxBytes)
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
	j.flag("detail_enabled", false)
	j.num("reqs_per_event", uint64(set.ReqsPerEvent))
	j.flag("cas_enabled", !set.NoCAS)
	j.num("tcp_backlog", uint64(set.Backlog))
	j.str("binding_protocol", "ascii")
	j.flag("auth_enabled_sasl", false)
	j.flag("auth_enabled_ascii", false)
	j.num("item_size_max", uint64(set.MaxItem))
	j.flag("maxconns_fast", true)
	j.num("hashpower_init", 0)
	j.flag("slab_reassign", true)
	j.num("slab_automove", 1)
	j.str("slab_automove_ratio", "0.80")
	j.num("slab_automove_window", 10)
	j.num("slab_chunk_max", 512<<10)
	j.flag("lru_crawler", true)
	j.num("lru_crawler_sleep", 100)
	j.num("lru_crawler_tocrawl", 0)
	j.num("tail_repair_time", 0)
	j.flag("flush_enabled", !set.NoFlush)
	j.flag("dump_enabled", !set.NoDump)
	j.str("hash_algorithm", "murmur3")
	j.flag("lru_maintainer_thread", true)
	j.flag("lru_segmented", true)
	j.num("hot_lru_pct", 20)
	j.num("warm_lru_pct", 40)
	j.str("hot_max_factor", "0.20")
	j.str("warm_max_factor", "2.00")
	j.flag("temp_lru", false)
	j.num("temporary_ttl", 61)
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
	j.str("slab_automove_freeratio", "0.010")
	j.flag("ext_drop_unread", false)
	j.flag("ssl_enabled", false)
	j.str("ssl_chain_cert", "(null)")
	j.str("ssl_key", "(null)")
	j.num("ssl_verify_mode", 0)
	j.num("ssl_keyformat", 1)
	j.str("ssl_ciphers", "NULL")
	j.str("ssl_ca_cert", "NULL")
	j.num("ssl_wbuf_size", 16<<10)
	j.flag("ssl_session_cache", false)
	j.flag("ssl_kernel_tls", false)
	j.str("ssl_min_version", "tlsv1.2")
	j.num("num_napi_ids", 0)
	j.str("memory_file", "(null)")
	j.num("client_flags_size", 4)
}
