package main

import (
	"fmt"
	"strconv"
	"strings"
)

// Names and bounds are those of memcached.c 1.6.45; the order is that of its help.

// generalOptions steer connections, the hash table and logging.
var generalOptions = []extOption{
	{
		name: "maxconns_fast", help: "close new connections at once when there are -c already (default)",
		set: turn(func(o *options) *bool { return &o.server.WaitAtMaxConns }, false),
	},
	{
		name: "no_maxconns_fast", help: "stop accepting connections when there are -c already",
		set: turn(func(o *options) *bool { return &o.server.WaitAtMaxConns }, true),
	},
	{
		name: "hashpower", help: "initial size of the hash table as a power of two, 12 to 32",
		missing: "Missing numeric argument for hashpower", noted: true,
		set: number("hashpower", false, func(o *options) *int { return &o.tuning.HashPower }, func(n int) string {
			switch {
			case n < 12:
				return fmt.Sprintf("Initial hashtable multiplier of %d is too low", n)
			case n > 32:
				return fmt.Sprintf("Initial hashtable multiplier of %d is too high\nChoose a value based on \"STAT hash_power_level\" from a running instance", n)
			}
			return ""
		}),
	},
	{name: "no_hashexpand", help: "do not expand the hash table", noted: true, set: ignored},
	{
		name: "hash_algorithm", help: "hash table algorithm: jenkins, murmur3 or xxh3",
		missing: "Missing hash_algorithm argument", noted: true, set: setHashAlgorithm,
	},
	{
		name: "idle_timeout", help: "close connections that are idle for so many seconds (default: 0, never)",
		missing: "Missing numeric argument for idle_timeout",
		set:     number("idle_timeout", true, func(o *options) *int { return &o.server.IdleTimeout }, nil),
	},
	{
		name: "watcher_logbuf_size", help: "lines that wait for one watcher, in kilobytes (default: 256)",
		missing: "Missing watcher_logbuf_size argument",
		set:     unsigned("watcher_logbuf_size", 1<<10, func(o *options) *int { return &o.tuning.WatcherBuffer }),
	},
	{
		name: "worker_logbuf_size", help: "log buffer of a thread, in kilobytes (default: 64)",
		missing: "Missing worker_logbuf_size argument", noted: true,
		set: unsigned("worker_logbuf_size", 1<<10, func(o *options) *int { return &o.tuning.WorkerBuffer }),
	},
	{
		name: "read_buf_mem_limit", help: "limit of connection buffers, in megabytes (default: 0, none)",
		missing: "Missing read_buf_mem_limit argument", noted: true,
		set: unsigned("read_buf_mem_limit", 1<<20, func(o *options) *int { return &o.tuning.ReadBuffers }),
	},
	{
		name: "track_sizes", help: `enable "stats sizes"`,
		set: turn(func(o *options) *bool { return &o.tuning.TrackSizes }, true),
	},
	{
		name: "drop_privileges", help: "drop further privileges by seccomp", noted: true,
		set: turn(func(o *options) *bool { return &o.tuning.DropPrivileges }, true),
	},
	{name: "no_drop_privileges", set: turn(func(o *options) *bool { return &o.tuning.DropPrivileges }, false)},
	{name: "relaxed_privileges", noted: true, set: ignored},
	{
		name: "sock_cookie_id", help: "an id for sockets, for firewalls", missing: "Missing sock_cookie_id argument", noted: true,
		set: unsigned("sock_cookie_id", 1, func(*options) *uint32 { return new(uint32) }),
	},
	{name: "inline_ascii_resp", noted: true, set: ignored},
	{name: "no_inline_ascii_resp", set: ignored},
	{name: "resp_obj_mem_limit", set: func(o *options, _ string) error {
		o.warnings = append(o.warnings, "DEPRECATED: resp_obj_mem_limit no longer used. See read_buf_mem_limit,")
		return nil
	}},
	{name: "modern", help: "options that will be defaults in future: none now", set: ignored},
	{name: "no_modern", help: "defaults of memcached 1.4", set: setOldDefaults},
	{name: "proxy_config", set: refused("proxy_config", "There is no proxy in this server; memcached's own can stand in front of it.")},
	{name: "proxy_arg", set: refused("proxy_arg", "There is no proxy in this server.")},
	{name: "proxy_uring", set: refused("proxy_uring", "There is no proxy in this server.")},
}

// slabOptions steer how item memory is divided. This server has an allocator of
// its own, which reports the classes that memcached would have.
var slabOptions = []extOption{
	{name: "slab_reassign", set: turn(func(o *options) *bool { return &o.tuning.SlabReassign }, true)},
	{name: "no_slab_reassign", help: `refuse "slabs reassign"`, set: turn(func(o *options) *bool { return &o.tuning.SlabReassign }, false)},
	{name: "slab_automove", help: "page mover: 0, 1 or 2 (default: 1)", noted: true, set: setAutomove},
	{name: "no_slab_automove", noted: true, set: func(o *options, _ string) error {
		o.tuning.SlabAutomove = 0
		return nil
	}},
	{
		name: "slab_automove_ratio", help: "ratio that the page mover acts on (default: 0.80)",
		missing: "Missing slab_automove_ratio argument", noted: true,
		set: decimal("slab_automove_ratio", func(o *options) *float64 { return &o.tuning.AutomoveRatio }, func(f float64) string {
			if f <= 0 || f > 1 {
				return "slab_automove_ratio must be > 0 and < 1"
			}
			return ""
		}),
	},
	{
		name: "slab_automove_window", help: "seconds that the page mover looks back (default: 10)",
		missing: "Missing slab_automove_window argument", noted: true,
		set: number("slab_automove_window", false, func(o *options) *uint32 { return &o.tuning.AutomoveTicks }, func(n int) string {
			if n < 3 {
				return "slab_automove_window must be > 2"
			}
			return ""
		}),
	},
	{
		name: "slab_chunk_max", help: "largest chunk of the classes reported, in kilobytes (default: 512)",
		missing: "Missing slab_chunk_max argument", set: setChunkMax,
	},
	{name: "no_chunked_items", set: func(o *options, _ string) error {
		o.tuning.SlabChunkMax = slabPage
		return nil
	}},
	{
		name: "slab_sizes", help: "chunk sizes of the classes reported: BYTES-BYTES-...", missing: "Missing slab_sizes argument",
		set: func(o *options, value string) error {
			o.slabSizes = value
			return nil
		},
	},
	{
		name: "tail_repair_time", help: "seconds after which a stuck item is removed (default: 0, never)",
		missing: "Missing numeric argument for tail_repair_time", noted: true,
		set: number("tail_repair_time", false, func(o *options) *int { return &o.tuning.TailRepair }, func(n int) string {
			if n < 10 {
				return "Cannot set tail_repair_time to less than 10 seconds"
			}
			return ""
		}),
	},
}

// lruOptions steer eviction and the crawler. What is evicted here is decided
// without memcached's segments; the crawler is real.
var lruOptions = []extOption{
	{name: "lru_crawler", set: turn(func(o *options) *bool { return &o.tuning.Crawler }, true)},
	{name: "no_lru_crawler", help: "disable the crawler for expired items", set: turn(func(o *options) *bool { return &o.tuning.Crawler }, false)},
	{
		name: "lru_crawler_sleep", help: "microseconds that the crawler sleeps between items (default: 100)",
		missing: "Missing lru_crawler_sleep value",
		set: number("lru_crawler_sleep", true, func(o *options) *uint32 { return &o.tuning.CrawlerSleep }, func(n int) string {
			if n < 0 || n > 1000000 {
				return "LRU crawler sleep must be between 0 and 1 second"
			}
			return ""
		}),
	},
	{
		name: "lru_crawler_tocrawl", help: "items to crawl per class and run (default: 0, all)",
		missing: "Missing lru_crawler_tocrawl value", noted: true,
		set: func(o *options, value string) error {
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return refusal("lru_crawler_tocrawl takes a numeric 32bit value")
			}
			o.tuning.CrawlerTocrawl = uint32(n)
			return nil
		},
	},
	{name: "lru_maintainer", set: func(o *options, _ string) error {
		o.tuning.Maintainer, o.tuning.Segmented = true, true
		return nil
	}},
	{name: "no_lru_maintainer", help: "do without the LRU's background thread", noted: true, set: func(o *options, _ string) error {
		o.tuning.Maintainer, o.tuning.Segmented = false, false
		return nil
	}},
	percentOption("hot_lru_pct", "percent of memory for the hot LRU (default: 20)", func(o *options) *uint32 { return &o.tuning.HotPercent }),
	percentOption("warm_lru_pct", "percent of memory for the warm LRU (default: 40)", func(o *options) *uint32 { return &o.tuning.WarmPercent }),
	factorOption("hot_max_factor", "items leave the hot LRU at this share of the cold LRU's age (default: 0.20)", func(o *options) *float64 { return &o.tuning.HotFactor }),
	factorOption("warm_max_factor", "items leave the warm LRU at this share of the cold LRU's age (default: 2.00)", func(o *options) *float64 { return &o.tuning.WarmFactor }),
	{
		name: "temporary_ttl", help: "items with shorter lives have an LRU of their own (seconds)",
		missing: "Missing temporary_ttl argument", noted: true,
		set: number("temporary_ttl", true, func(o *options) *int32 { return &o.tuning.TemporaryTTL }, func(n int) string {
			if n < 0 {
				return "could not parse argument to temporary_ttl"
			}
			return ""
		}),
	},
}

// extstoreOptions steer external storage. Without ext_path, which is refused,
// they mean nothing in memcached either.
var extstoreOptions = []extOption{
	{
		name: "ext_path", missing: "missing argument to ext_path, ie: ext_path=/d/file:5G",
		set: refused("ext_path", "There is no external storage in this server."),
	},
	extOptionNumber("ext_page_size", 1, func(*options) *uint32 { return new(uint32) }),
	extOptionNumber("ext_wbuf_size", 1<<20, func(o *options) *uint32 { return &o.tuning.ExtWriteBuffer }),
	extOptionNumber("ext_threads", 1, func(*options) *uint32 { return new(uint32) }),
	extOptionNumber("ext_io_depth", 1, func(*options) *uint32 { return new(uint32) }),
	extOptionNumber("ext_item_size", 1, func(o *options) *uint32 { return &o.tuning.ExtItemSize }),
	extOptionNumber("ext_item_age", 1, func(o *options) *uint32 { return &o.tuning.ExtItemAge }),
	extOptionNumber("ext_low_ttl", 1, func(o *options) *uint32 { return &o.tuning.ExtLowTTL }),
	extOptionNumber("ext_recache_rate", 1, func(o *options) *uint32 { return &o.tuning.ExtRecacheRate }),
	extOptionNumber("ext_compact_under", 1, func(o *options) *uint32 { return &o.tuning.ExtCompactUnder }),
	extOptionNumber("ext_drop_under", 1, func(o *options) *uint32 { return &o.tuning.ExtDropUnder }),
	extOptionNumber("ext_max_sleep", 1, func(o *options) *uint32 { return &o.tuning.ExtMaxSleep }),
	{
		name: "ext_max_frag", missing: "Missing ext_max_frag argument", noted: true,
		set: decimal("ext_max_frag", func(o *options) *float64 { return &o.tuning.ExtMaxFrag }, nil),
	},
	{
		name: "slab_automove_freeratio", missing: "Missing slab_automove_freeratio argument", noted: true,
		set: decimal("slab_automove_freeratio", func(o *options) *float64 { return &o.tuning.AutomoveFree }, nil),
	},
	{name: "ext_drop_unread", noted: true, set: turn(func(o *options) *bool { return &o.tuning.ExtDropUnread }, true)},
}

func percentOption(name, help string, field func(o *options) *uint32) extOption {
	return extOption{
		name: name, help: help, missing: "Missing " + name + " argument", noted: true,
		set: number(name, false, field, func(n int) string {
			if n < 1 || n >= 80 {
				return name + " must be > 1 and < 80"
			}
			return ""
		}),
	}
}

func factorOption(name, help string, field func(o *options) *float64) extOption {
	return extOption{
		name: name, help: help, missing: "Missing " + name + " argument", noted: true,
		set: decimal(name, field, func(f float64) string {
			if f <= 0 {
				return name + " must be > 0"
			}
			return ""
		}),
	}
}

func extOptionNumber(name string, unit uint64, field func(o *options) *uint32) extOption {
	return extOption{name: name, missing: "Missing " + name + " argument", noted: true, set: unsigned(name, unit, field)}
}

func setHashAlgorithm(o *options, value string) error {
	switch value {
	case "jenkins", "murmur3", "xxh3":
		o.tuning.HashAlgorithm = value
		return nil
	}
	return refusal("Unknown hash_algorithm option (jenkins, murmur3, xxh3)")
}

func setAutomove(o *options, value string) error {
	if value == "" {
		o.tuning.SlabAutomove = 1
		return nil
	}
	return number("slab_automove", true, func(o *options) *uint32 { return &o.tuning.SlabAutomove }, func(n int) string {
		if n < 0 || n > 2 {
			return "slab_automove must be between 0 and 2"
		}
		return ""
	})(o, value)
}

// slabPage is memcached's slab_page_size.
const slabPage = 1 << 20

// setChunkMax reads slab_chunk_max, which is in kilobytes.
func setChunkMax(o *options, value string) error {
	n, err := strconv.ParseInt(value, 10, 32)
	switch {
	case err != nil:
		return unparsed("slab_chunk_max")
	case n <= 0:
		return refusal("slab_chunk_max must be >= 0")
	case n > slabPage>>10:
		return refusal("slab_chunk_max must be specified in kilobytes.")
	}
	o.tuning.SlabChunkMax, o.chunkMaxGiven = int(n)<<10, true
	return nil
}

// setOldDefaults is no_modern: what memcached 1.4 did.
func setOldDefaults(o *options, _ string) error {
	t := &o.tuning
	if !o.chunkMaxGiven {
		t.SlabChunkMax = slabPage
	}
	t.SlabReassign, t.SlabAutomove = false, 0
	t.Segmented, t.Crawler, t.Maintainer = false, false, false
	t.HashAlgorithm = "jenkins"
	o.server.WaitAtMaxConns = true
	return nil
}

// checkExtended checks what several options say together.
func (o *options) checkExtended() error {
	t, item := &o.tuning, o.server.MaxItem
	switch {
	case t.SlabChunkMax > item:
		return exitf(exitUsage, "slab_chunk_max (bytes: %d) cannot be larger than -I (item_size_max %d)", t.SlabChunkMax, item)
	case item%t.SlabChunkMax != 0:
		return exitf(exitUsage, "-I (item_size_max: %d) must be evenly divisible by slab_chunk_max (bytes: %d)", item, t.SlabChunkMax)
	case slabPage%t.SlabChunkMax != 0:
		return exitf(exitUsage, "slab_chunk_max (bytes: %d) must divide evenly into %d (slab_page_size)", t.SlabChunkMax, slabPage)
	}
	if o.slabSizes != "" {
		var err error
		if o.classSizes, err = parseSlabSizes(o.slabSizes, o.server.ChunkSize, t.SlabChunkMax); err != nil {
			return err
		}
	}
	if t.Maintainer && t.HotPercent+t.WarmPercent > 80 {
		return exitf(exitUsage, "hot_lru_pct + warm_lru_pct cannot be more than 80%% combined")
	}
	if t.TemporaryTTL >= 0 && !t.Maintainer {
		return exitf(exitUsage, "temporary_ttl requires lru_maintainer to be enabled")
	}
	return nil
}

// Bounds of slab_sizes: CHUNK_ALIGN_BYTES and MAX_NUMBER_OF_SLAB_CLASSES of
// memcached.h.
const (
	slabAlign      = 8
	maxSlabClasses = 64
)

// parseSlabSizes reads BYTES-BYTES-..., ascending.
func parseSlabSizes(s string, least, most int) ([]int, error) {
	var sizes []int
	last := 0
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '-' }) {
		n, _ := strconv.ParseUint(f, 10, 32)
		size := int(n)
		switch {
		case size < least || size > most:
			return nil, exitf(exitUsage, "slab size %d is out of valid range", size)
		case last >= size:
			return nil, exitf(exitUsage, "slab size %d cannot be lower than or equal to a previous class size", size)
		case size <= last+slabAlign:
			return nil, exitf(exitUsage, "slab size %d must be at least %d bytes larger than previous class", size, slabAlign)
		case len(sizes)+1 >= maxSlabClasses-1:
			return nil, exitf(exitUsage, "too many slab classes specified")
		}
		last = size
		sizes = append(sizes, size)
	}
	return sizes, nil
}
