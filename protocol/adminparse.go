package protocol

import (
	"bytes"
	"math"
	"strconv"
)

// abbreviates reports whether token is name or a beginning of it.
func abbreviates(token []byte, name string) bool {
	return len(token) <= len(name) && string(token) == name[:len(token)]
}

// parseFloat reads a number as strtod does, but for hexadecimal, infinity and
// NaN, which no setting can use.
func parseFloat(token []byte) (v float64, ok bool) {
	if len(token) > 31 {
		return 0, false
	}
	for _, c := range token {
		if c-'0' > 9 && bytes.IndexByte([]byte("+-.eE"), c) < 0 {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(token), 64)
	return v, err == nil && !math.IsInf(v, 0)
}

func parseShutdown(args [][]byte) (Admin, string) {
	switch {
	case len(args) == 0:
		return Admin{Action: ShutdownNow}, ""
	case len(args) == 1 && abbreviates(args[0], "graceful"):
		return Admin{Action: ShutdownGraceful}, ""
	}
	return Admin{}, ReplyShutdownBadMode
}

func parseMemlimit(args [][]byte) (a Admin, reply string) {
	a.Action = SetMemlimit
	ok := false
	if len(args) > 0 {
		a.Number, ok = ParseUint32(args[0])
	}
	switch {
	case !ok:
		return a, ReplyError
	case a.Number < 8:
		return a, ReplyMemlimitTooSmall
	case a.Number > 1e9:
		return a, ReplyMemlimitNotBytes
	}
	return a, ""
}

// parseSlabs: slabs reassign <source> <destination>, slabs automove 0|1|2,
// slabs automove ratio|freeratio <factor>, slabs automove window <n>
func parseSlabs(args [][]byte) (a Admin, reply string) {
	switch {
	case len(args) == 3 && abbreviates(args[0], "reassign"):
		a.Action = SlabsReassign
		var ok, ok2 bool
		a.Source, ok = ParseInt32(args[1])
		a.Destination, ok2 = ParseInt32(args[2])
		if !ok || !ok2 {
			return a, ReplyBadFormat
		}
		return a, ""
	case len(args) >= 2 && abbreviates(args[0], "automove"):
		return parseAutomove(args[1:])
	}
	return a, ReplyError
}

func parseAutomove(args [][]byte) (a Admin, reply string) {
	ok := false
	switch {
	case abbreviates(args[0], "ratio"), abbreviates(args[0], "freeratio"):
		a.Action = SlabsAutomoveRatio
		if args[0][0] == 'f' {
			a.Action = SlabsAutomoveFreeratio
		}
		if len(args) > 1 {
			a.Ratio, ok = parseFloat(args[1])
		}
		if !ok {
			return a, ReplyError
		}
	case abbreviates(args[0], "window"):
		a.Action = SlabsAutomoveWindow
		if len(args) > 1 {
			a.Number, ok = ParseUint32(args[1])
		}
		if !ok {
			return a, ReplyBadFormat
		}
		if a.Number < 3 || a.Number > 1800 {
			return a, ReplyBadWindow
		}
	default:
		a.Action = SlabsAutomove
		if a.Number, ok = ParseUint32(args[0]); !ok {
			return a, ReplyBadFormat
		}
		if a.Number > 2 {
			return a, ReplyError
		}
	}
	return a, ""
}

// parseLRU: lru tune <hot %> <warm %> <hot factor> <warm factor>,
// lru mode flat|segmented, lru temp_ttl <seconds>
func parseLRU(args [][]byte) (a Admin, reply string) {
	switch {
	case len(args) >= 5 && abbreviates(args[0], "tune"):
		a.Action = LRUTune
		var ok [4]bool
		a.HotPercent, ok[0] = ParseUint32(args[1])
		a.WarmPercent, ok[1] = ParseUint32(args[2])
		a.HotFactor, ok[2] = parseFloat(args[3])
		a.WarmFactor, ok[3] = parseFloat(args[4])
		switch {
		case ok != [4]bool{true, true, true, true}:
			return a, ReplyError
		case uint64(a.HotPercent)+uint64(a.WarmPercent) > 80:
			return a, ReplyBadPercents
		case a.HotFactor <= 0 || a.WarmFactor <= 0:
			return a, ReplyBadFactors
		}
		return a, ""
	case len(args) >= 2 && abbreviates(args[0], "mode"):
		switch {
		case abbreviates(args[1], "flat"):
			a.Action = LRUFlat
			return a, ""
		case abbreviates(args[1], "segmented"):
			a.Action = LRUSegmented
			return a, ""
		}
	case len(args) >= 2 && abbreviates(args[0], "temp_ttl"):
		a.Action = LRUTempTTL
		var ok bool
		if a.TTL, ok = ParseInt32(args[1]); ok {
			return a, ""
		}
	}
	return a, ReplyError
}

// parseCrawler: lru_crawler enable|disable, lru_crawler sleep <us>,
// lru_crawler tocrawl <n>, lru_crawler crawl|metadump|mgdump <classes>|all|hash
func parseCrawler(args [][]byte) (a Admin, reply string) {
	ok := true
	switch {
	case len(args) == 2 && abbreviates(args[0], "crawl"):
		a.Action = CrawlerCrawl
		return parseClasses(a, args[1])
	case len(args) == 2 && abbreviates(args[0], "metadump"):
		a.Action = CrawlerMetadump
		return parseClasses(a, args[1])
	case len(args) == 2 && abbreviates(args[0], "mgdump"):
		a.Action = CrawlerMgdump
		return parseClasses(a, args[1])
	case len(args) >= 3 && string(args[1]) == "prefix" && string(args[0]) == "metadump":
		a.Action = CrawlerMetadump
		return parsePage(a, args[2:])
	case len(args) >= 3 && string(args[1]) == "prefix" && string(args[0]) == "mgdump":
		a.Action = CrawlerMgdump
		return parsePage(a, args[2:])
	case len(args) == 2 && abbreviates(args[0], "tocrawl"):
		a.Action = CrawlerTocrawl
		a.Number, ok = ParseUint32(args[1])
	case len(args) == 2 && abbreviates(args[0], "sleep"):
		a.Action = CrawlerSleep
		if a.Number, ok = ParseUint32(args[1]); ok && a.Number > 1e6 {
			return a, ReplySleepTooLong
		}
	case len(args) == 1 && abbreviates(args[0], "enable"):
		a.Action = CrawlerEnable
	case len(args) == 1 && abbreviates(args[0], "disable"):
		a.Action = CrawlerDisable
	default:
		return a, ReplyError
	}
	if !ok {
		return a, ReplyBadFormat
	}
	return a, ""
}

// parsePage reads <prefix>|- [<items> [<after>]]. Keys are as metadump shows
// them, with %XX for bytes that a word cannot have.
func parsePage(a Admin, args [][]byte) (Admin, string) {
	ok := len(args) <= 3
	if string(args[0]) != "-" {
		a.Prefix, ok = unescape(args[0], ok)
	}
	if len(args) > 1 && ok {
		a.Number, ok = ParseUint32(args[1])
	}
	if len(args) > 2 && ok {
		a.After, ok = unescape(args[2], ok)
	}
	if !ok {
		return a, ReplyBadFormat
	}
	return a, ""
}

// unescape replaces %XX by the byte it stands for. ok is handed on, false if the
// text is malformed.
func unescape(text []byte, ok bool) ([]byte, bool) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return nil, false
			}
			v, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8)
			if err != nil {
				return nil, false
			}
			c = byte(v)
			i += 2
		}
		out = append(out, c)
	}
	return out, ok && len(out) <= KeyMax
}

// parseClasses reads all, hash, or numbers of slab classes between commas.
func parseClasses(a Admin, list []byte) (Admin, string) {
	switch string(list) {
	case "all":
		a.All = true
		return a, ""
	case "hash":
		a.Hash = true
		return a, ""
	}
	for len(list) > 0 {
		var id []byte
		if id, list, _ = bytes.Cut(list, []byte(",")); len(id) == 0 {
			continue
		}
		class, ok := looseUint32(id)
		if !ok || class < 1 || class >= slabClasses {
			return a, ReplyBadClass
		}
		a.Classes |= 1 << class
	}
	return a, ""
}

// parseStats: stats [<what> [<argument>*]]
func parseStats(args [][]byte) (a Admin, reply string) {
	if len(args) == 0 {
		a.Action = StatsGeneral
		return a, ""
	}
	switch what := args[0]; {
	case abbreviates(what, "reset"):
		a.Action = StatsReset
	case abbreviates(what, "detail"):
		return parseStatsDetail(args[1:])
	case abbreviates(what, "settings"):
		a.Action = StatsSettings
	case abbreviates(what, "cachedump"):
		return parseCachedump(args[1:])
	case abbreviates(what, "conns"):
		a.Action = StatsConns
	case abbreviates(what, "extstore"):
		a.Action = StatsExtstore
	case string(what) == "items":
		a.Action = StatsItems
	case string(what) == "slabs":
		a.Action = StatsSlabs
	case string(what) == "sizes":
		a.Action = StatsSizes
	case string(what) == "mac":
		a.Action = StatsMac
	case string(what) == "labels":
		a.Action = StatsLabels
	case string(what) == "data":
		a.Action = StatsData
	default:
		return a, ReplyError
	}
	return a, ""
}

func parseStatsDetail(args [][]byte) (a Admin, reply string) {
	a.Action = StatsDetail
	if len(args) == 0 {
		return a, ReplyDetailUsage
	}
	// "o" is on, as it comes first.
	switch {
	case abbreviates(args[0], "on"):
		a.Action = StatsDetailOn
	case abbreviates(args[0], "off"):
		a.Action = StatsDetailOff
	case abbreviates(args[0], "dump"):
		a.Action = StatsDetailDump
	default:
		return a, ReplyDetailUsage
	}
	return a, ""
}

func parseCachedump(args [][]byte) (a Admin, reply string) {
	a.Action = StatsCachedump
	if len(args) < 2 {
		return a, ReplyBadLine
	}
	var ok, ok2 bool
	a.Class, ok = ParseUint32(args[0])
	a.Number, ok2 = ParseUint32(args[1])
	switch {
	case !ok || !ok2:
		return a, ReplyBadFormat
	case a.Class >= slabClasses:
		return a, ReplyBadSlab
	}
	return a, ""
}

// parseWatch: watch [<stream>*]
func parseWatch(args [][]byte) (a Admin, reply string) {
	a.Action = WatchStreams
	if len(args) == 0 {
		a.Streams = WatchFetchers
	}
	for _, arg := range args {
		stream := 0
		for stream < len(streamNames) && !abbreviates(arg, streamNames[stream]) {
			stream++
		}
		if stream == len(streamNames) {
			return a, ReplyError
		}
		a.Streams |= 1 << stream
	}
	return a, ""
}

// parseExtstore checks the settings of memcached's flash storage, which are
// accepted, since tuning scripts send them, and change nothing.
func parseExtstore(args [][]byte) (a Admin, reply string) {
	a.Action = SetExtstore
	if len(args) < 2 {
		return a, ReplyError
	}
	ok := false
	switch what := args[0]; {
	case abbreviates(what, "free_memchunks") && len(args) > 2:
		class, ok2 := ParseUint32(args[1])
		_, ok = ParseUint32(args[2])
		ok = ok && ok2 && class < slabClasses
	case abbreviates(what, "max_frag") && !abbreviates(what, "max_sleep"):
		_, ok = parseFloat(args[1])
	default:
		for _, name := range []string{
			"item_size", "item_age", "low_ttl", "recache_rate",
			"compact_under", "drop_under", "max_sleep", "drop_unread",
		} {
			if abbreviates(what, name) {
				_, ok = ParseUint32(args[1])
				break
			}
		}
	}
	if !ok {
		return a, ReplyError
	}
	return a, ""
}
