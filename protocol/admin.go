package protocol

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
	CrawlerMetadump // Classes or All or Hash; or Prefix, Number, After
	CrawlerMgdump   // the same

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
	StatsData   // the data file: ours

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
	StatsData:              "stats data",
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
	// Prefix and After are of a listing in pages, which memcached does not have:
	// only keys that begin with Prefix, and come behind After, and of them the first
	// Number, if that is not 0.
	Prefix, After []byte
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
