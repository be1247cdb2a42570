package protocol

import "bytes"

// Meta is the part of a Request that only the meta commands have:
//
//	mg|md|ma|me <key> <flag>*
//	ms <key> <bytes> <flag>*
//
// A flag is a letter, with its argument, if it has one, right behind it. Every
// command accepts the flags of all of them and each once; what a command has no
// use for it ignores. Flags also say what the reply shows, in their order, so
// the reply is composed from the request.
//
// The rest of the Request holds C in CAS, D in Delta (1 where it is missing), F
// in Flags, and the decoded key in Key. Noreply is not used: q hides only the
// expected, see MetaQuiet.
type Meta struct {
	// Flags is the text from the first flag to the end of the line. NextToken
	// walks it.
	Flags []byte
	seen  uint64
	// Mode is the letter after M, 0 where there is no M. It is one that the command
	// knows: E, A, P, R, S for ms, I, +, D, - for ma.
	Mode byte
	// Binary says that the key came in base64 (b).
	Binary bool
	// TTL (T), Vivify (N) and Recache (R) are times as Exptime is.
	TTL, Vivify, Recache int64
	// NewCAS is the unique that the item is to have (E).
	NewCAS uint64
	// Initial is what ma creates an item with (J).
	Initial uint64
}

// Has reports whether the request has the flag, a letter.
func (m *Meta) Has(flag byte) bool {
	i := flag - 'A'
	return i < 64 && m.seen>>i&1 != 0
}

// Opaque returns the opaque token, the O included, nil if there is none. It
// comes back with the reply, and is 32 bytes at most.
func (m *Meta) Opaque() []byte {
	if !m.Has('O') {
		return nil
	}
	for token, rest := NextToken(m.Flags); token != nil; token, rest = NextToken(rest) {
		if token[0] == 'O' {
			return token
		}
	}
	return nil
}

// Before reports whether flag a stands before flag b. memcached works through the
// flags of mg in their order: R compares with the TTL that a T before it has set.
func (m *Meta) Before(a, b byte) bool {
	if !m.Has(a) || !m.Has(b) {
		return false
	}
	for token, rest := NextToken(m.Flags); token != nil; token, rest = NextToken(rest) {
		if token[0] == a || token[0] == b {
			return token[0] == a
		}
	}
	return false
}

const (
	metaTokensMax = 20 // in a line, command and key included
	opaqueMax     = 32 // bytes, the O included
)

// Errors of the meta commands. They are shown whatever q says.
const (
	ReplyMetaDuplicate  = "CLIENT_ERROR duplicate flag\r\n"
	ReplyMetaInvalid    = "CLIENT_ERROR invalid flag\r\n"
	ReplyMetaBadToken   = "CLIENT_ERROR bad token in command line format\r\n"
	ReplyMetaTooMany    = "CLIENT_ERROR options flags are too long\r\n"
	ReplyMetaOpaque     = "CLIENT_ERROR opaque token too long\r\n"
	ReplyMetaBadKey     = "CLIENT_ERROR error decoding key\r\n"
	ReplyMetaBadMode    = "CLIENT_ERROR invalid mode for ms M token\r\n"
	ReplyMetaBadMaMode  = "CLIENT_ERROR invalid mode for ma M token\r\n"
	ReplyMetaBadInitial = "CLIENT_ERROR invalid numeric initial value\r\n"
	ReplyMetaBadDelta   = "CLIENT_ERROR invalid numeric delta value\r\n"
	// ReplyMetaBadMaFlag answers whatever is wrong with the flags of ma.
	ReplyMetaBadMaFlag = "CLIENT_ERROR invalid or duplicate flag\r\n"
	ReplyRefcount      = "SERVER_ERROR refcount overflow during fetch\r\n"
	ReplyOutOfMemoryMa = "SERVER_ERROR Out of memory allocating new item\r\n"
)

var (
	replyMetaDuplicate  = []byte(ReplyMetaDuplicate)
	replyMetaInvalid    = []byte(ReplyMetaInvalid)
	replyMetaBadToken   = []byte(ReplyMetaBadToken)
	replyMetaTooMany    = []byte(ReplyMetaTooMany)
	replyMetaOpaque     = []byte(ReplyMetaOpaque)
	replyMetaBadKey     = []byte(ReplyMetaBadKey)
	replyMetaBadMode    = []byte(ReplyMetaBadMode)
	replyMetaBadMaMode  = []byte(ReplyMetaBadMaMode)
	replyMetaBadInitial = []byte(ReplyMetaBadInitial)
	replyMetaBadDelta   = []byte(ReplyMetaBadDelta)
	replyMetaBadMaFlag  = []byte(ReplyMetaBadMaFlag)
)

// parseMetaByName reads the meta command whose second letter is given.
func parseMetaByName(r *Request, letter byte, args, in []byte, n int, limits *Limits) (int, Outcome, []byte) {
	switch letter {
	case 's':
		return parseMetaSet(r, args, in, n, limits)
	case 'd':
		return parseMeta(r, MetaDelete, args, n)
	case 'a':
		return parseMeta(r, MetaArithmetic, args, n)
	case 'e':
		return parseMeta(r, MetaDebug, args, n)
	}
	return parseMeta(r, MetaGet, args, n)
}

// parseMeta reads mg, md, ma and me.
func parseMeta(r *Request, c Command, args []byte, n int) (int, Outcome, []byte) {
	r.Command = c
	key, flags := NextToken(args)
	if key == nil || !flagged(flags, tokensMax-2) {
		return n, Reply, replyBadFormat
	}
	r.Key = key
	r.Meta = Meta{Flags: trimSpaces(flags)}
	switch c {
	case MetaDebug:
		if len(key) > KeyMax || !r.metaDebugKey() {
			r.Key = nil
			return n, Reply, replyBadFormat
		}
		return n, Ready, nil
	case MetaArithmetic:
		r.Delta = 1
		if bad := r.metaFlags(2); bad != nil {
			return n, Reply, replyMetaBadMaFlag
		}
		if r.Meta.Has('M') && bytes.IndexByte([]byte("I+D-"), r.Meta.Mode) < 0 {
			return n, Reply, replyMetaBadMaMode
		}
	default:
		if bad := r.metaFlags(2); bad != nil {
			return n, Reply, bad
		}
	}
	if len(r.Meta.Opaque()) > opaqueMax {
		return n, Reply, replyMetaOpaque
	}
	return n, Ready, nil
}

// parseMetaDeletePrefix: mdp <prefix>. As it is no command of memcached's,
// nothing may follow.
func parseMetaDeletePrefix(r *Request, args []byte, n int) (int, Outcome, []byte) {
	r.Command = MetaDeletePrefix
	prefix, rest := NextToken(args)
	if more, _ := NextToken(rest); prefix == nil || more != nil || len(prefix) > KeyMax {
		return n, Reply, replyBadFormat
	}
	r.Key = prefix
	return n, Ready, nil
}

// parseMetaSet reads ms.
func parseMetaSet(r *Request, args, in []byte, n int, limits *Limits) (int, Outcome, []byte) {
	r.Command = MetaSet
	key, rest := NextToken(args)
	length, flags := NextToken(rest)
	nbytes, ok := ParseInt32(length)
	if !ok || nbytes < 0 || nbytes > NBytesMax || !flagged(flags, tokensMax-3) {
		return n, Reply, replyBadFormat
	}
	r.NBytes = int(nbytes)
	r.Key = key
	r.Meta = Meta{Flags: trimSpaces(flags)}
	bad := r.metaFlags(3)
	switch {
	case bad != nil:
	case r.Meta.Has('M') && bytes.IndexByte([]byte("EAPRS"), r.Meta.Mode) < 0:
		bad = replyMetaBadMode
	case len(r.Meta.Opaque()) > opaqueMax:
		bad = replyMetaOpaque
	default:
		return parseBlock(r, in, n, limits)
	}
	r.Swallow = r.NBytes + 2
	return n, Reply, bad
}

// flagged reports whether each of the tokens of text, the first atMost, begins
// with what memcached's tokenizer lets a flag begin with.
func flagged(text []byte, atMost int) bool {
	token, rest := NextToken(text)
	for i := 0; token != nil && i < atMost; i++ {
		if c := token[0]; (c < 'A' || c > 'z') && c-'0' > 9 {
			return false
		}
		token, rest = NextToken(rest)
	}
	return true
}

// metaFlags reads the flags of a request whose Key and Meta.Flags are set, in a
// line of before tokens before the flags. It returns the error to answer, nil
// if there is none: the first flag that is unknown or there twice, else the last
// argument that is bad.
func (r *Request) metaFlags(before int) (bad []byte) {
	m := &r.Meta
	if len(r.Key) > KeyMax {
		r.Key = nil
		return replyBadFormat
	}
	if _, count := lastToken(m.Flags, tokensMax-before); count+before > metaTokensMax {
		return replyMetaTooMany
	}
	for text := m.Flags; len(text) > 0; {
		token, rest := NextToken(text)
		if token == nil {
			break
		}
		flag := token[0]
		i := flag - 'A'
		switch {
		case i < 64 && m.seen>>i&1 != 0:
			return replyMetaDuplicate
		case i < 64:
			m.seen |= 1 << i
		}
		// Numbers are read from the rest of the line, as everywhere.
		err, known := r.metaFlag(flag, trimSpaces(text)[1:], len(token) == 1)
		if !known {
			return replyMetaInvalid
		}
		// A bad F fails the request without a text of its own.
		if err != nil && (bad == nil || flag != 'F') {
			bad = err
		}
		text = rest
	}
	return bad
}

// metaFlag reads one flag whose argument, if it has one, begins text. bare says
// that it has none.
func (r *Request) metaFlag(flag byte, text []byte, bare bool) (bad []byte, known bool) {
	m := &r.Meta
	ok := true
	var seconds int32
	bad = replyMetaBadToken
	switch flag {
	case 'c', 'f', 'h', 'k', 'l', 'q', 's', 't', 'u', 'v', 'x', 'I', 'L', 'O', 'P':
	case 'b':
		m.Binary = true
		r.Key, ok = decodeKey(r.decoded[:0], r.Key)
		bad = replyMetaBadKey
	case 'T':
		seconds, ok = looseInt32(text)
		m.TTL = int64(seconds)
	case 'N':
		seconds, ok = looseInt32(text)
		m.Vivify = int64(seconds)
	case 'R':
		seconds, ok = looseInt32(text)
		m.Recache = int64(seconds)
	case 'C':
		r.CAS, ok = looseUint64(text)
	case 'E':
		m.NewCAS, ok = looseUint64(text)
	case 'F':
		digits, _ := NextToken(text)
		if bare {
			digits = nil
		}
		r.Flags, ok = ParseUint32(digits)
		bad = replyBadFormat
	case 'J':
		m.Initial, ok = looseUint64(text)
		bad = replyMetaBadInitial
	case 'D':
		r.Delta, ok = looseUint64(text)
		bad = replyMetaBadDelta
	case 'M':
		// Only the first letter counts; none is as bad as a wrong one.
		if m.Mode = ' '; !bare {
			m.Mode = text[0]
		}
	default:
		return nil, false
	}
	if ok {
		bad = nil
	}
	return bad, true
}

// metaDebugKey decodes the key of me. memcached looks for the b only behind
// it in a line of four tokens or more.
func (r *Request) metaDebugKey() bool {
	first, rest := NextToken(r.Meta.Flags)
	if second, _ := NextToken(rest); second == nil || string(first) != "b" {
		return true
	}
	var ok bool
	r.Meta.Binary = true
	r.Key, ok = decodeKey(r.decoded[:0], r.Key)
	return ok
}
