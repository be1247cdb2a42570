package server

// Tuning is what memcached's -o options steer beside the network: how its slab
// allocator, its LRU and its hash table work. What this server has too takes
// effect; the rest is kept and shown by "stats settings", so that tools which
// compare a running server with its configuration find it there.
type Tuning struct {
	HashPower     int    // hashpower; 0: not given
	HashAlgorithm string // hash_algorithm

	SlabReassign  bool    // slab_reassign: the command "slabs reassign" is allowed
	SlabAutomove  uint32  // slab_automove: 0, 1 or 2
	AutomoveRatio float64 // slab_automove_ratio
	AutomoveFree  float64 // slab_automove_freeratio
	AutomoveTicks uint32  // slab_automove_window
	SlabChunkMax  int     // slab_chunk_max, in bytes
	TailRepair    int     // tail_repair_time, in seconds

	Crawler        bool    // lru_crawler: expired items are looked for in the background
	CrawlerSleep   uint32  // lru_crawler_sleep, in microseconds
	CrawlerTocrawl uint32  // lru_crawler_tocrawl
	Maintainer     bool    // lru_maintainer
	Segmented      bool    // what "lru mode" shows
	HotPercent     uint32  // hot_lru_pct
	WarmPercent    uint32  // warm_lru_pct
	HotFactor      float64 // hot_max_factor
	WarmFactor     float64 // warm_max_factor
	TemporaryTTL   int32   // temporary_ttl, in seconds; negative: off

	WatcherBuffer int // watcher_logbuf_size in bytes: lines that wait for one watcher
	WorkerBuffer  int // worker_logbuf_size, in bytes
	ReadBuffers   int // read_buf_mem_limit, in bytes; 0: no limit

	TrackSizes     bool // track_sizes
	DropPrivileges bool // drop_privileges
	NAPIIDs        int  // -N

	ExtItemSize     uint32  // ext_item_size, in bytes
	ExtItemAge      uint32  // ext_item_age, in seconds
	ExtLowTTL       uint32  // ext_low_ttl, in seconds
	ExtRecacheRate  uint32  // ext_recache_rate
	ExtWriteBuffer  uint32  // ext_wbuf_size, in bytes
	ExtCompactUnder uint32  // ext_compact_under
	ExtDropUnder    uint32  // ext_drop_under
	ExtMaxSleep     uint32  // ext_max_sleep, in microseconds
	ExtMaxFrag      float64 // ext_max_frag
	ExtDropUnread   bool    // ext_drop_unread
}

// DefaultTuning is what memcached 1.6.45 does when no -o is given.
func DefaultTuning() Tuning {
	return Tuning{
		HashAlgorithm: "murmur3",
		SlabReassign:  true, SlabAutomove: 1, AutomoveRatio: 0.8, AutomoveFree: 0.01, AutomoveTicks: 10,
		SlabChunkMax: 512 << 10,
		Crawler:      true, CrawlerSleep: 100,
		Maintainer: true, Segmented: true, HotPercent: 20, WarmPercent: 40, HotFactor: 0.2, WarmFactor: 2,
		TemporaryTTL:  -1,
		WatcherBuffer: 256 << 10, WorkerBuffer: 64 << 10,
		ExtItemSize: 512, ExtItemAge: 1<<32 - 1, ExtRecacheRate: 2000, ExtWriteBuffer: 4 << 20,
		ExtMaxSleep: 1000000, ExtMaxFrag: 0.8,
	}
}
