package protocol

import "bytes"

// KeyMax is the longest key in bytes (memcached's KEY_MAX_LENGTH).
const KeyMax = 250

// NBytesMax is the longest data block that a line may announce, without CR LF:
// memcached adds 2 to it and keeps the sum in a C int.
const NBytesMax = 1<<31 - 1 - 2

// Defaults of Limits.
const (
	DefaultInline  = 16 << 10
	DefaultMaxLine = 1 << 20
)

// Limits bounds what the parser waits for. The zero value means the defaults.
type Limits struct {
	// Inline is the largest data block in bytes, without CR LF, that is waited
	// for in the receive buffer; larger ones become Upload. 0 is DefaultInline.
	Inline int
	// MaxLine is the longest line of get or gets in bytes, LF included. 0 is
	// DefaultMaxLine, which holds 4,177 of the longest keys; memcached's own
	// bound is its memory.
	MaxLine int
	// NoMac makes the mac commands and relabel unknown, as in a server without
	// access control.
	NoMac bool
	// Meta makes the meta commands mg, ms, md, ma and me known. mn is always.
	Meta bool
	// Unauthenticated refuses every binary request but version and those of SASL.
	Unauthenticated bool
}

func (l *Limits) inline() int {
	if l == nil || l.Inline <= 0 {
		return DefaultInline
	}
	return l.Inline
}

func (l *Limits) maxLine() int {
	if l == nil || l.MaxLine <= 0 {
		return DefaultMaxLine
	}
	return l.MaxLine
}

// An Outcome says what a parser made of the start of its input.
type Outcome uint8

const (
	// NeedMore: the request is not complete. Nothing is consumed. Request.Need
	// and Request.Scanned say when and from where to go on; the other fields of
	// the Request are undefined.
	NeedMore Outcome = iota
	// Ready: the request is complete and its n bytes, data block included, are
	// consumed.
	Ready
	// Reply: the request is over. n bytes are consumed, then Request.Swallow more
	// are to be discarded as they come, and then the reply is to be sent: it is
	// a line of this package, empty if the client wanted none. Request.Command is
	// the command where it was recognized, else None. After a binary request the
	// connection is then to be closed if Request.Hangup.
	Reply
	// Close: the connection is to be closed without a word about this request,
	// after the replies to earlier ones. n is 0.
	Close
	// Upload: the line of a storing request is complete and n covers it alone.
	// The next NBytes+2 bytes are its data block, of which the buffer may hold a
	// part. The caller takes them, checks that the last two are CR LF and else
	// answers ReplyBadDataChunk (nothing if Noreply), having consumed all of them
	// either way. A binary data block is NBytes bytes long and has no such end.
	Upload
)

// String returns the name of o.
func (o Outcome) String() string {
	switch o {
	case NeedMore:
		return "NeedMore"
	case Ready:
		return "Ready"
	case Reply:
		return "Reply"
	case Close:
		return "Close"
	case Upload:
		return "Upload"
	}
	return "unknown"
}

// A Request is what a parser understood. Its slices are views of the parser's
// input and live as long as the input is left alone, except that a key in base64
// is decoded into the Request itself: a copy of the struct does not own its key.
// A parser overwrites all of it; one Request can serve any number of connections
// in turn.
type Request struct {
	Command Command
	// Noreply suppresses the reply of the request, whatever it is.
	Noreply bool
	// BadChunk accompanies Reply when a complete data block did not end in CR LF.
	// The line was good: Command, Key and NBytes are set, so that a server that
	// finds the item too large can say that instead, as memcached does.
	BadChunk bool

	// Key is the key of a request that has one. For the get family it is the
	// first of Keys.
	Key []byte
	// Keys is, for get, gets, gat and gats, the text from the first key to the
	// end of the line. NextKey walks it. Every key has been checked.
	Keys []byte
	// Flags are the client flags of a storing request.
	Flags uint32
	// Exptime is as given, reduced to a signed 32-bit number the way memcached
	// does: 0 never, negative at once, up to 2592000 seconds from now, above that
	// a Unix time. For flush_all it is the delay, 0 if there is none. In the binary
	// protocol it is unsigned, up to 2^32-1, and so never negative.
	Exptime int64
	// NBytes is the length of the data block in bytes, without CR LF.
	NBytes int
	// Data is the data block without CR LF. It is set on Ready only, and may be
	// empty.
	Data []byte
	// CAS is the unique of a cas request.
	CAS uint64
	// Delta is the operand of incr and decr, and the level of verbosity.
	Delta uint64
	// Args is, for every command that is not described by the other fields, the
	// text after the command name, without leading spaces. NextToken walks it.
	Args []byte
	// Context is the security context of mac relabel, relabel and mac create,
	// where nil is the "-" that returns to computed labels.
	Context []byte
	// Perms is, for mac check, the text from the first permission to the end of
	// the line. NextToken walks it.
	Perms []byte

	// Meta belongs to the meta commands and is undefined for others.
	Meta Meta

	// IsBinary says that the request came in the binary protocol, to which Binary
	// belongs; it is undefined for text.
	IsBinary bool
	Binary   Binary
	// Hangup says, on Reply, that the connection is to be closed after the reply.
	// Only the binary protocol has such errors.
	Hangup bool

	// Swallow is, on Reply, the number of bytes after the n consumed ones that
	// belong to the request: the data block and its CR LF. They may not have been
	// received yet.
	Swallow int

	// Need is, on NeedMore, the smallest length of the input at which another
	// call can have another outcome.
	Need int
	// Scanned is, on NeedMore, the number of bytes at the start of the input
	// that need not be searched for LF again; see ParseFrom.
	Scanned int

	// decoded holds the key of a meta command that came in base64.
	decoded [decodedMax]byte
}

// reset clears what a parser does not set in every case. Meta and decoded are
// left to the meta commands, Binary to the binary protocol: clearing them all
// would cost as much as parsing a get.
func (r *Request) reset() {
	r.Command, r.Noreply, r.BadChunk = None, false, false
	r.Key, r.Keys, r.Data, r.Args, r.Context, r.Perms = nil, nil, nil, nil, nil, nil
	r.Flags, r.Exptime, r.NBytes, r.CAS, r.Delta = 0, 0, 0, 0, 0
	r.Swallow, r.Need, r.Scanned = 0, 0, 0
	r.IsBinary, r.Hangup = false, false
}

// NextToken returns the first space-separated token of args and the text after
// it. The token is nil when there is none. Both are views of args.
func NextToken(args []byte) (token, rest []byte) {
	args = trimSpaces(args)
	if len(args) == 0 {
		return nil, nil
	}
	if i := bytes.IndexByte(args, ' '); i >= 0 {
		return args[:i:i], args[i+1:]
	}
	return args[:len(args):len(args)], nil
}

// trimSpaces returns text without its leading spaces.
func trimSpaces(text []byte) []byte {
	for len(text) > 0 && text[0] == ' ' {
		text = text[1:]
	}
	return text
}

// hasLongToken reports whether a token of text is longer than limit. It looks for
// a space in each stretch of limit+1 bytes, from its end, and so at a few bytes of most.
func hasLongToken(text []byte, limit int) bool {
	for len(text) > limit {
		space := bytes.LastIndexByte(text[:limit+1], ' ')
		if space < 0 {
			return true
		}
		text = text[space+1:]
	}
	return false
}

// NextKey returns the first key of keys, the field of a Request, and the text
// after it. The key is nil when there is none left. Both are views of keys.
func NextKey(keys []byte) (key, rest []byte) { return NextToken(keys) }

// tokensMax is the number of tokens that memcached's tokenizer keeps. Whatever
// follows is invisible to the commands, so that the "last" token of a longer
// line is this one.
const tokensMax = 23

// lastToken returns the last of the first atMost tokens of line, nil if there
// is none, and their number.
func lastToken(line []byte, atMost int) (last []byte, count int) {
	for count < atMost {
		token, rest := NextToken(line)
		if token == nil {
			break
		}
		last, line = token, rest
		count++
	}
	return last, count
}

func isNoreply(token []byte) bool { return string(token) == "noreply" }
