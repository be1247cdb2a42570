package protocol

import "bytes"

const (
	// lineMax is the number of bytes without LF at which memcached gives up
	// on a client, unless it is in the middle of a get.
	lineMax = 2048
	// wholeMax is the length, LF included, up to which memcached executes any line
	// that is whole when it first looks at it: the size of its buffer. So a gat of a
	// hundred keys works in one packet.
	wholeMax = 16 << 10
	// macLineMax is the same for the mac commands and relabel, whose contexts
	// may be as long as a page.
	macLineMax = 8192
	// indentMax is the number of leading spaces before a get that memcached
	// tolerates when it looks whether a long line is one.
	indentMax = 100
	// lineMin is the length below which a line cannot be a command: two letters
	// and CR LF.
	lineMin = 4
)

// The replies that the parser itself gives, as slices that live for ever.
var (
	replyNothing      []byte
	replyError        = []byte(ReplyError)
	replyBadFormat    = []byte(ReplyBadFormat)
	replyBadGetKey    = []byte(ReplyBadGetKey)
	replyBadExptime   = []byte(ReplyBadExptime)
	replyBadDelta     = []byte(ReplyBadDelta)
	replyBadDataChunk = []byte(ReplyBadDataChunk)
	replyLineEnd      = []byte("\r\n")
)

// Parse reads one request of the text protocol from the start of in into r. n
// is the number of bytes consumed, except that a Swallow follows Reply and a
// data block follows Upload; see Outcome. reply is not nil only on Reply; it is
// not to be modified. limits may be nil.
//
// Parse keeps no state, does not modify in, reads nothing past it and does not
// allocate.
func Parse(in []byte, limits *Limits, r *Request) (n int, out Outcome, reply []byte) {
	return ParseFrom(in, 0, limits, r)
}

// ParseFrom is Parse for an input whose first scanned bytes are known to hold
// no LF: Request.Scanned of an earlier NeedMore on the same bytes. Any other
// number, 0 apart, finds requests where there are none.
func ParseFrom(in []byte, scanned int, limits *Limits, r *Request) (n int, out Outcome, reply []byte) {
	if uint(scanned) > uint(len(in)) {
		scanned = len(in)
	}
	r.reset()
	lf := bytes.IndexByte(in[scanned:], '\n')
	if lf < 0 {
		if len(in) > lineMax && len(in) >= longest(in, limits) {
			return 0, Close, nil
		}
		r.Need, r.Scanned = len(in)+1, len(in)
		return 0, NeedMore, nil
	}
	lf += scanned
	if lf > lineMax {
		most := longest(in, limits)
		if most == lineMax+1 {
			most = wholeMax
		}
		if lf >= most {
			return 0, Close, nil
		}
	}
	n = lf + 1
	if n < lineMin {
		return n, Reply, replyBadFormat
	}
	line := in[:lf:lf]
	if line[lf-1] == '\r' {
		line = line[: lf-1 : lf-1]
	}

	name := line
	if sp := bytes.IndexByte(line, ' '); sp >= 0 {
		name = line[:sp]
	}
	args := line[len(name):]
	switch string(name) {
	case "get":
		return parseGet(r, Get, args, n)
	case "gets":
		return parseGet(r, Gets, args, n)
	case "set":
		return parseStore(r, Set, args, in, n, limits)
	case "add":
		return parseStore(r, Add, args, in, n, limits)
	case "replace":
		return parseStore(r, Replace, args, in, n, limits)
	case "append":
		return parseStore(r, Append, args, in, n, limits)
	case "prepend":
		return parseStore(r, Prepend, args, in, n, limits)
	case "cas":
		return parseStore(r, CAS, args, in, n, limits)
	case "gat":
		return parseGat(r, Gat, args, n)
	case "gats":
		return parseGat(r, Gats, args, n)
	case "delete":
		return parseDelete(r, args, n)
	case "incr":
		return parseArithmetic(r, Incr, args, n)
	case "decr":
		return parseArithmetic(r, Decr, args, n)
	case "touch":
		return parseTouch(r, args, n)
	case "mg", "ms", "md", "ma", "me":
		if limits != nil && limits.Meta {
			return parseMetaByName(r, name[1], args, in, n, limits)
		}
	case "mdp":
		if limits != nil && limits.Meta {
			return parseMetaDeletePrefix(r, args, n)
		}
	case "mn":
		return ready(r, MetaNoop, args, n)
	case "version":
		return ready(r, Version, args, n)
	case "quit":
		return ready(r, Quit, args, n)
	case "stats":
		return ready(r, Stats, args, n)
	case "watch":
		return ready(r, Watch, args, n)
	}
	return parseByToken(r, line, n, limits)
}

// longest returns the bound on the line that in begins with, as the number of
// bytes without LF at which the connection is closed. It is lineMax+1 for ordinary
// commands. len(in) > lineMax.
func longest(in []byte, limits *Limits) int {
	indent := 0
	for indent <= indentMax && in[indent] == ' ' {
		indent++
	}
	head := in[indent:]
	switch {
	case indent > indentMax:
	case bytes.HasPrefix(head, []byte("get ")), bytes.HasPrefix(head, []byte("gets ")):
		return max(limits.maxLine(), lineMax+1)
	case limits != nil && limits.NoMac:
	case bytes.HasPrefix(head, []byte("mac ")), bytes.HasPrefix(head, []byte("relabel ")):
		return macLineMax
	}
	return lineMax + 1
}

// ready ends the parsing of a command whose arguments are not looked at here.
func ready(r *Request, c Command, args []byte, n int) (int, Outcome, []byte) {
	r.Command = c
	r.Args = trimSpaces(args)
	return n, Ready, nil
}

// refuse ends a request with an error that noreply silences.
func refuse(r *Request, n int, reply []byte) (int, Outcome, []byte) {
	if r.Noreply {
		reply = replyNothing
	}
	return n, Reply, reply
}

// parseGet: get|gets <key>*
func parseGet(r *Request, c Command, args []byte, n int) (int, Outcome, []byte) {
	r.Command = c
	key, rest := NextToken(args)
	if key == nil {
		return n, Reply, replyBadFormat
	}
	if len(key) > KeyMax {
		// memcached loses the text of the error, not the line end that it adds,
		// when the line happens to end in noreply.
		if last, _ := lastToken(args, tokensMax-1); isNoreply(last) {
			return n, Reply, replyLineEnd
		}
		return n, Reply, replyBadGetKey
	}
	r.Key = key
	return parseKeys(r, args, rest, n)
}

// parseGat: gat|gats <exptime> <key>*
func parseGat(r *Request, c Command, args []byte, n int) (int, Outcome, []byte) {
	r.Command = c
	exptime, args := NextToken(args)
	key, rest := NextToken(args)
	if key == nil {
		return n, Reply, replyBadFormat
	}
	seconds, ok := ParseInt32(exptime)
	if !ok {
		return n, Reply, replyBadExptime
	}
	if len(key) > KeyMax {
		return n, Reply, replyBadGetKey
	}
	r.Exptime, r.Key = int64(seconds), key
	return parseKeys(r, args, rest, n)
}

// parseKeys checks the keys after the first one, in rest. args begins with the
// first.
func parseKeys(r *Request, args, rest []byte, n int) (int, Outcome, []byte) {
	r.Keys = trimSpaces(args)
	if hasLongToken(rest, KeyMax) {
		return n, Reply, replyBadGetKey
	}
	return n, Ready, nil
}

// parseDelete: delete <key> [noreply]; other tokens are ignored.
func parseDelete(r *Request, args []byte, n int) (int, Outcome, []byte) {
	if _, bad, ok := parseKeyed(r, Delete, args, 1); !ok {
		return n, Reply, bad
	}
	return n, Ready, nil
}

// parseArithmetic: incr|decr <key> <delta> [noreply]
func parseArithmetic(r *Request, c Command, args []byte, n int) (int, Outcome, []byte) {
	rest, bad, ok := parseKeyed(r, c, args, 2)
	if !ok {
		return n, Reply, bad
	}
	if r.Delta, ok = looseUint64(rest); !ok {
		return refuse(r, n, replyBadDelta)
	}
	return n, Ready, nil
}

// parseTouch: touch <key> <exptime> [noreply]
func parseTouch(r *Request, args []byte, n int) (int, Outcome, []byte) {
	rest, bad, ok := parseKeyed(r, Touch, args, 2)
	if !ok {
		return n, Reply, bad
	}
	seconds, ok := looseInt32(rest)
	if !ok {
		return refuse(r, n, replyBadExptime)
	}
	r.Exptime = int64(seconds)
	return n, Ready, nil
}

// parseKeyed reads key and noreply of a line that needs at least atLeast tokens
// after the command, and returns what follows the key. Where it is not ok, bad is the
// reply.
func parseKeyed(r *Request, c Command, args []byte, atLeast int) (rest, bad []byte, ok bool) {
	r.Command = c
	last, count := lastToken(args, tokensMax-1)
	if count < atLeast {
		return nil, replyBadFormat, false
	}
	r.Noreply = isNoreply(last)
	key, rest := NextToken(args)
	switch {
	case len(key) <= KeyMax:
		r.Key = key
		return rest, nil, true
	case r.Noreply:
		return nil, replyNothing, false
	}
	return nil, replyBadFormat, false
}

// unparsed are commands whose arguments others look at.
var unparsed = map[string]Command{
	"cache_memlimit": CacheMemlimit, "shutdown": Shutdown, "slabs": Slabs, "lru": LRU, "lru_crawler": LRUCrawler,
	"refresh_certs": RefreshCerts, "extstore": Extstore,
}

// parseByToken handles what memcached looks up by the first token instead of
// the first bytes, leading spaces notwithstanding, and what is unknown.
func parseByToken(r *Request, line []byte, n int, limits *Limits) (int, Outcome, []byte) {
	name, args := NextToken(line)
	last, count := lastToken(line, tokensMax)
	r.Noreply = isNoreply(last)
	if c, ok := unparsed[string(name)]; ok {
		return ready(r, c, args, n)
	}
	switch string(name) {
	case "flush_all":
		return parseFlushAll(r, args, count, n)
	case "verbosity":
		return parseVerbosity(r, args, n)
	case "mac", "relabel":
		if limits == nil || !limits.NoMac {
			return parseMac(r, string(name) == "relabel", args, n)
		}
	}
	if count > 1 && bytes.HasPrefix(last, []byte("HTTP/")) {
		return 0, Close, nil
	}
	return refuse(r, n, replyError)
}

// parseFlushAll: flush_all [<delay>] [noreply]
func parseFlushAll(r *Request, args []byte, count, n int) (int, Outcome, []byte) {
	r.Command = FlushAll
	bare := 1
	if r.Noreply {
		bare = 2
	}
	if count != bare {
		delay, _ := NextToken(args)
		seconds, ok := ParseInt32(delay)
		if !ok {
			return refuse(r, n, replyBadExptime)
		}
		r.Exptime = int64(seconds)
	}
	return n, Ready, nil
}

// parseVerbosity: verbosity <level> [noreply]
func parseVerbosity(r *Request, args []byte, n int) (int, Outcome, []byte) {
	r.Command = Verbosity
	level, _ := NextToken(args)
	v, ok := ParseUint32(level)
	if !ok {
		return refuse(r, n, replyBadFormat)
	}
	r.Delta = uint64(v)
	return n, Ready, nil
}
