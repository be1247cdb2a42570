package protocol

import (
	"bytes"
	"math"
	"strconv"
)

// An Action is one thing that an administrative command can ask for.
type Action uint8

// NoAction is the zero Action: nothing is to be done.
const NoAction Action = 0

// What the administrative commands ask for. The comment names the fields of
// Admin that go with it.
const (
	ShutdownNow      Action = iota + 1 // shutdown
	ShutdownGraceful                   // shutdown graceful

	SetMemlimit // cache_memlimit: Number, in megabytes

	SlabsReassign          // Source, Destination
	SlabsAutomove          // Number: 0, 1 or 2
	SlabsAutomoveRatio     // Ratio
	SlabsAutomoveFreeratio // Ratio
	SlabsAutomoveWindow    // Number: 3 to 1800

	LRUTune      // HotPercent, WarmPercent, HotFactor, WarmFactor
	LRUFlat      // lru mode flat
	LRUSegmented // lru mode segmented
	LRUTempTTL   // TTL in seconds, negative to turn it off

	CrawlerEnable
	CrawlerDisable
	CrawlerSleep    // Number, in microseconds
	CrawlerTocrawl  // Number of items
	CrawlerCrawl    // Classes or All or Hash
	CrawlerMetadump // Classes or All or Hash
	CrawlerMgdump   // Classes or All or Hash

	StatsGeneral // stats
	StatsReset
	StatsDetail // stats detail with a bad argument
	StatsDetailOn
	StatsDetailOff
	StatsDetailDump
	StatsSettings
	StatsCachedump // Class, Number of items, 0 for all
	StatsConns
	StatsExtstore
	StatsItems
	StatsSlabs
	StatsSizes
	StatsMac    // who decides, and how often: ours
	StatsLabels // items by label: ours

	WatchStreams // Streams

	SetExtstore // extstore: a setting that has no effect
)

var actionNames = [...]string{
	NoAction:               "none",
	ShutdownNow:            "shutdown",
	ShutdownGraceful:       "shutdown graceful",
	SetMemlimit:            "cache_memlimit",
	SlabsReassign:          "slabs reassign",
	SlabsAutomove:          "slabs automove",
	SlabsAutomoveRatio:     "slabs automove ratio",
	SlabsAutomoveFreeratio: "slabs automove freeratio",
	SlabsAutomoveWindow:    "slabs automove window",
	LRUTune:                "lru tune",
	LRUFlat:                "lru mode flat",
	LRUSegmented:           "lru mode segmented",
	LRUTempTTL:             "lru temp_ttl",
	CrawlerEnable:          "lru_crawler enable",
	CrawlerDisable:         "lru_crawler disable",
	CrawlerSleep:           "lru_crawler sleep",
	CrawlerTocrawl:         "lru_crawler tocrawl",
	CrawlerCrawl:           "lru_crawler crawl",
	CrawlerMetadump:        "lru_crawler metadump",
	CrawlerMgdump:          "lru_crawler mgdump",
	StatsGeneral:           "stats",
	StatsReset:             "stats reset",
	StatsDetail:            "stats detail",
	StatsDetailOn:          "stats detail on",
	StatsDetailOff:         "stats detail off",
	StatsDetailDump:        "stats detail dump",
	StatsSettings:          "stats settings",
	StatsCachedump:         "stats cachedump",
	StatsConns:             "stats conns",
	StatsExtstore:          "stats extstore",
	StatsItems:             "stats items",
	StatsSlabs:             "stats slabs",
	StatsSizes:             "stats sizes",
	StatsMac:               "stats mac",
	StatsLabels:            "stats labels",
	WatchStreams:           "watch",
	SetExtstore:            "extstore",
}

// String returns the words that ask for a, unabbreviated.
func (a Action) String() string {
	if int(a) >= len(actionNames) {
		return "unknown"
	}
	return actionNames[a]
}

// Streams is a set of the event streams of watch.
type Streams uint16

// The streams, in the order in which their names are compared.
const (
	WatchRawcmds Streams = 1 << iota
	WatchEvictions
	WatchFetchers
	WatchMutations
	WatchSysevents
	WatchConnevents
	WatchProxyreqs
	WatchProxyevents
	WatchProxyuser
	WatchDeletions
)

var streamNames = [...]string{
	"rawcmds", "evictions", "fetchers", "mutations", "sysevents",
	"connevents", "proxyreqs", "proxyevents", "proxyuser", "deletions",
}

// slabClasses is the number of slab classes that memcached has room for, class
// 0 included.
const slabClasses = 64

// Replies to administrative commands: those that ParseAdmin gives, and those that
// a server gives for its switches and for what it finds when it acts.
const (
	ReplyBadLine         = "CLIENT_ERROR bad command line\r\n"
	ReplyBadWindow       = "CLIENT_ERROR automove window too low or too high\r\n"
	ReplyBadPercents     = "ERROR hot and warm pcts must not exceed 80\r\n"
	ReplyBadFactors      = "ERROR hot/warm age factors must be greater than 0\r\n"
	ReplyBadClass        = "BADCLASS invalid class id\r\n"
	ReplySleepTooLong    = "CLIENT_ERROR sleep must be one second or less\r\n"
	ReplyBadSlab         = "CLIENT_ERROR Illegal slab id\r\n"
	ReplyDetailUsage     = "CLIENT_ERROR usage: stats detail on|off|dump\r\n"
	ReplyReassignOff     = "CLIENT_ERROR slab reassignment disabled\r\n"
	ReplyReassignBusy    = "BUSY currently processing reassign request\r\n"
	ReplyReassignBad     = "BADCLASS invalid src or dst class id\r\n"
	ReplyReassignNoSpare = "NOSPARE source class has no spare pages\r\n"
	ReplyReassignSame    = "SAME src and dst class are identical\r\n"
	ReplyCrawlerOff      = "CLIENT_ERROR lru crawler disabled\r\n"
	ReplyCrawlerBusy     = "BUSY currently processing crawler request\r\n"
	ReplyCrawlerNothing  = "NOTSTARTED no items to crawl\r\n"
	ReplyCrawlerFailed   = "ERROR an unknown error happened\r\n"
	ReplyCrawlerNoStart  = "ERROR failed to start lru crawler thread\r\n"
	ReplyCrawlerNoStop   = "ERROR failed to stop lru crawler thread\r\n"
	ReplyMetadumpOff     = "ERROR metadump not allowed\r\n"
	ReplyMgdumpOff       = "ERROR key dump not allowed\r\n"
	ReplyDetailOff       = "CLIENT_ERROR stats detail not allowed\r\n"
	ReplyCachedumpOff    = "CLIENT_ERROR stats cachedump not allowed\r\n"
	ReplyWatchOff        = "CLIENT_ERROR watch commands not allowed\r\n"
	ReplyWatchTooMany    = "WATCHER_TOO_MANY log watcher limit reached\r\n"
	ReplyWatchFailed     = "WATCHER_FAILED failed to add log watcher\r\n"
)

// An Admin is what the arguments of an administrative command ask for.
type Admin struct {
	Action Action
	// Number is the one number that most actions take.
	Number uint32
	// Source and Destination are slab classes as given, any number.
	Source, Destination int32
	// Class is a slab class, 0 to 63.
	Class uint32
	// Ratio is a factor as given, any number.
	Ratio float64
	// HotPercent and WarmPercent sum to 80 at most.
	HotPercent, WarmPercent uint32
	// HotFactor and WarmFactor are above 0.
	HotFactor, WarmFactor float64
	// TTL is in seconds.
	TTL int32
	// Classes has bit c set for slab class c, 1 to 63; All and Hash are the words.
	Classes   uint64
	All, Hash bool
	// Streams is not empty for WatchStreams.
	Streams Streams
}

// ParseAdmin reads the Args of a request of Shutdown, CacheMemlimit, Slabs,
// LRU, LRUCrawler, Stats, Watch or Extstore. reply is empty when the arguments
// are good, else the error to send. The Action is set in either case if the
// arguments were clear enough, because memcached's switches (-X, -W, no slab
// reassignment, no crawler, ...) are looked at before its arguments are: a
// server first refuses what it does not allow, then sends the reply, then acts.
//
// Words may be cut short wherever memcached 1.6.45 compares them by the length
// of what was given: "stats r" resets the statistics.
func ParseAdmin(r *Request) (a Admin, reply string) {
	var tokens [tokensMax][]byte
	count := 0
	for rest := r.Args; count < tokensMax-1; count++ {
		if tokens[count], rest = NextToken(rest); tokens[count] == nil {
			break
		}
	}
	args := tokens[:count]
	switch r.Command {
	case Shutdown:
		return parseShutdown(args)
	case CacheMemlimit:
		return parseMemlimit(args)
	case Slabs:
		return parseSlabs(args)
	case LRU:
		return parseLRU(args)
	case LRUCrawler:
		return parseCrawler(args)
	case Stats:
		return parseStats(args)
	case Watch:
		return parseWatch(args)
	case Extstore:
		return parseExtstore(args)
	}
	return Admin{}, ReplyError
}

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
