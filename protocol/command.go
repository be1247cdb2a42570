package protocol

// A Command names what a request asks for. One number serves all protocols, so
// that the table of required permissions has one row for each thing a client
// can do, however it spells it.
type Command uint8

// None is the zero Command. It does not dispatch: a request without a command
// is answered by the parser.
const None Command = 0

// The commands of the classic text protocol.
const (
	Get Command = iota + 1
	Gets
	Gat
	Gats
	Set
	Add
	Replace
	Append
	Prepend
	CAS
	Delete
	Incr
	Decr
	Touch
	FlushAll
	Verbosity
	Version
	Quit
	Shutdown
	Stats
	CacheMemlimit
	Slabs
	LRU
	LRUCrawler
	Watch
	RefreshCerts
	Extstore
	// MetaNoop is "mn", and noop of the binary protocol.
	MetaNoop

	// The meta commands, if Limits.Meta is set.

	MetaGet        // mg
	MetaSet        // ms
	MetaDelete     // md
	MetaArithmetic // ma
	MetaDebug      // me
	// MetaDeletePrefix is "mdp", which memcached does not have: the deletion of
	// every item whose key begins with the Key.
	MetaDeletePrefix

	// What only the binary protocol has. Its other opcodes are the commands above,
	// those with a key in the reply and the quiet ones included.

	SASLList // the mechanisms
	SASLAuth // the mechanism is the Key, the first message the Data
	SASLStep // the same for what follows

	// The commands that memcached does not have.

	MacWhoami
	MacLabel
	MacCheck
	MacExplain
	MacRelabel
	MacCreate
	// Relabel is "relabel <key> <context>", the older spelling of MacRelabel.
	Relabel

	numCommands
)

// Commands lists every Command that can come out of a parser, in ascending
// order. Tables with a row for each command are tested against it. It is not to
// be changed.
var Commands = func() []Command {
	all := make([]Command, 0, numCommands-1)
	for c := None + 1; c < numCommands; c++ {
		all = append(all, c)
	}
	return all
}()

var commandNames = [numCommands]string{
	None:           "none",
	Get:            "get",
	Gets:           "gets",
	Gat:            "gat",
	Gats:           "gats",
	Set:            "set",
	Add:            "add",
	Replace:        "replace",
	Append:         "append",
	Prepend:        "prepend",
	CAS:            "cas",
	Delete:         "delete",
	Incr:           "incr",
	Decr:           "decr",
	Touch:          "touch",
	FlushAll:       "flush_all",
	Verbosity:      "verbosity",
	Version:        "version",
	Quit:           "quit",
	Shutdown:       "shutdown",
	Stats:          "stats",
	CacheMemlimit:  "cache_memlimit",
	Slabs:          "slabs",
	LRU:            "lru",
	LRUCrawler:     "lru_crawler",
	Watch:          "watch",
	RefreshCerts:   "refresh_certs",
	Extstore:       "extstore",
	MetaNoop:       "mn",
	MetaGet:        "mg",
	MetaSet:        "ms",
	MetaDelete:     "md",
	MetaArithmetic: "ma",
	MetaDebug:      "me",

	MetaDeletePrefix: "mdp",

	SASLList:   "sasl list",
	SASLAuth:   "sasl auth",
	SASLStep:   "sasl step",
	MacWhoami:  "mac whoami",
	MacLabel:   "mac label",
	MacCheck:   "mac check",
	MacExplain: "mac explain",
	MacRelabel: "mac relabel",
	MacCreate:  "mac create",
	Relabel:    "relabel",
}

// String returns the command as the text protocol spells it, "none" for None,
// and "unknown" for numbers outside the table.
func (c Command) String() string {
	if c >= numCommands {
		return "unknown"
	}
	return commandNames[c]
}

// Stores reports whether c carries a value that it stores.
func (c Command) Stores() bool { return c >= Set && c <= CAS || c == MetaSet }
