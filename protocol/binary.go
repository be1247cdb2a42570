package protocol

import "encoding/binary"

// The frames of the binary protocol (protocol_binary.txt). A request:
//
//	 0       1        2        4        5          6         8         12       16    24
//	+-------+--------+--------+--------+----------+---------+---------+--------+-----+--------+-----+-------+
//	| magic | opcode | keylen | extlen | datatype | vbucket | bodylen | opaque | cas | extras | key | value |
//	+-------+--------+--------+--------+----------+---------+---------+--------+-----+--------+-----+-------+
//
// Numbers are big-endian, bodylen is the sum of extras, key and value. Data
// type and vbucket are not looked at. A reply has magic 0x81 and its status in
// the place of vbucket; opcode and opaque come back as they were.

// MagicRequest begins every request. On a connection that may speak either
// protocol it is the first byte that tells.
const MagicRequest = 0x80

const (
	magicReply = 0x81
	headerLen  = 24
	bodyMax    = 1 << 30    // bytes; more is refused
	noCreate   = 0xffffffff // expiration of incr: do not create
)

// Opcodes, where code other than this file's table has to tell them apart.
const (
	opSASLList = 0x20
	opSASLStep = 0x22
	opVersion  = 0x0b
)

// Status is the result of a binary request.
type Status uint16

// The statuses.
const (
	StatusOK           Status = 0x00
	StatusNotFound     Status = 0x01
	StatusExists       Status = 0x02
	StatusTooLarge     Status = 0x03
	StatusInvalid      Status = 0x04
	StatusNotStored    Status = 0x05
	StatusNonNumeric   Status = 0x06
	StatusAuthError    Status = 0x20
	StatusAuthContinue Status = 0x21
	StatusDenied       Status = 0x24 // by the access policy; not memcached's
	StatusUnknown      Status = 0x81
	StatusOutOfMemory  Status = 0x82
	StatusInternal     Status = 0x84
)

// Text returns the body of an error reply with status s, empty for the two
// statuses that are no errors.
func (s Status) Text() string {
	switch s {
	case StatusOK, StatusAuthContinue:
		return ""
	case StatusNotFound:
		return "Not found"
	case StatusExists:
		return "Data exists for key."
	case StatusTooLarge:
		return "Too large."
	case StatusInvalid:
		return "Invalid arguments"
	case StatusNotStored:
		return "Not stored."
	case StatusNonNumeric:
		return "Non-numeric server-side value for incr or decr"
	case StatusAuthError:
		return "Auth failure."
	case StatusDenied:
		return "CLIENT_ERROR access denied"
	case StatusOutOfMemory:
		return "Out of memory"
	case StatusInternal:
		return "Internal error"
	}
	return "Unknown command"
}

// Binary is the part of a Request that only the binary protocol has. The rest
// of the Request holds flags, expiration in Exptime (unsigned: it has no past),
// delta, cas (0: any), the key of stat in Args, and the value in Data. NBytes is
// the length of the value, which no CR LF follows.
type Binary struct {
	Opcode uint8
	// Quiet: only what is unexpected is answered; see BinaryQuiet.
	Quiet bool
	// WithKey: the reply to a get or a gat repeats the key.
	WithKey bool
	// Create: incr and decr make an item of Initial where there is none.
	Create  bool
	Opaque  uint32
	Initial uint64
}

// shape is what the header of an opcode must look like.
type shape struct {
	command Command
	extlen  int8 // exactly
	key     int8 // 0: none, 1: some, -1: either
	value   bool // behind the key; without it bodylen is checked only if exact
	exact   bool // bodylen is extlen and keylen
	quiet   bool
	withKey bool
}

// shapes is memcached's dispatch table. Command None is an unknown opcode.
var shapes = [256]shape{
	0x00: {command: Get, key: 1, exact: true},
	0x01: {command: Set, extlen: 8, key: 1, value: true},
	0x02: {command: Add, extlen: 8, key: 1, value: true},
	0x03: {command: Replace, extlen: 8, key: 1, value: true},
	0x04: {command: Delete, key: 1, exact: true},
	0x05: {command: Incr, extlen: 20, key: 1, exact: true},
	0x06: {command: Decr, extlen: 20, key: 1, exact: true},
	0x07: {command: Quit, exact: true},
	0x08: {command: FlushAll, extlen: 4, exact: true},
	0x09: {command: Get, key: 1, exact: true, quiet: true},
	0x0a: {command: MetaNoop, exact: true},
	0x0b: {command: Version, exact: true},
	0x0c: {command: Get, key: 1, exact: true, withKey: true},
	0x0d: {command: Get, key: 1, exact: true, quiet: true, withKey: true},
	0x0e: {command: Append, key: 1, value: true},
	0x0f: {command: Prepend, key: 1, value: true},
	0x10: {command: Stats, key: -1},
	0x11: {command: Set, extlen: 8, key: 1, value: true, quiet: true},
	0x12: {command: Add, extlen: 8, key: 1, value: true, quiet: true},
	0x13: {command: Replace, extlen: 8, key: 1, value: true, quiet: true},
	0x14: {command: Delete, key: 1, exact: true, quiet: true},
	0x15: {command: Incr, extlen: 20, key: 1, exact: true, quiet: true},
	0x16: {command: Decr, extlen: 20, key: 1, exact: true, quiet: true},
	0x17: {command: Quit, exact: true, quiet: true},
	0x18: {command: FlushAll, extlen: 4, exact: true, quiet: true},
	0x19: {command: Append, key: 1, value: true, quiet: true},
	0x1a: {command: Prepend, key: 1, value: true, quiet: true},
	0x1c: {command: Touch, extlen: 4, key: 1},
	0x1d: {command: Gat, extlen: 4, key: 1},
	0x1e: {command: Gat, extlen: 4, key: 1, quiet: true},
	0x20: {command: SASLList, exact: true},
	0x21: {command: SASLAuth, key: 1, value: true},
	0x22: {command: SASLStep, key: 1, value: true},
	0x23: {command: Gat, extlen: 4, key: 1, withKey: true},
	0x24: {command: Gat, extlen: 4, key: 1, quiet: true, withKey: true},
}

// ParseBinary reads one request of the binary protocol from the start of in
// into r, under the rules of Parse: the outcomes mean the same, but the reply to
// be sent on Reply is AppendBinaryError(dst, r, status), and the connection is
// then to be closed if r.Hangup. On Upload the data block is NBytes bytes long.
//
// What memcached does not check is not checked here either: bytes between the
// key of a touch, gat or stat and the end of its body are taken for the next
// request, and after an unknown opcode bodylen bytes are swallowed although key
// and extras have been consumed already.
func ParseBinary(in []byte, limits *Limits, r *Request) (n int, out Outcome, status Status) {
	r.reset()
	r.IsBinary = true
	if len(in) > 0 && in[0] != MagicRequest {
		return 0, Close, 0
	}
	if len(in) < headerLen {
		r.Need = headerLen
		return 0, NeedMore, 0
	}
	opcode := in[1]
	keylen := int(binary.BigEndian.Uint16(in[2:]))
	extlen := int(in[4])
	bodylen := int64(binary.BigEndian.Uint32(in[8:]))
	// The errors too wait for extras and key, so that these are gone before the
	// reply and the end.
	n = headerLen + extlen + keylen
	if len(in) < n {
		r.Need = n
		return 0, NeedMore, 0
	}
	s := &shapes[opcode]
	r.Binary = Binary{Opcode: opcode, Opaque: binary.BigEndian.Uint32(in[12:]), Quiet: s.quiet, WithKey: s.withKey}
	r.Command = s.command
	switch {
	case int64(keylen+extlen) > bodylen:
		r.Hangup = true
		return n, Reply, StatusUnknown
	case bodylen > bodyMax:
		r.Hangup = true
		return n, Reply, StatusInvalid
	case limits != nil && limits.Unauthenticated && opcode != opVersion && (opcode < opSASLList || opcode > opSASLStep):
		r.Hangup = true
		return n, Reply, StatusAuthError
	case keylen > KeyMax:
		r.Hangup = true
		return n, Reply, StatusInvalid
	case s.command == None:
		r.Swallow = int(bodylen)
		return n, Reply, StatusUnknown
	}
	r.CAS = binary.BigEndian.Uint64(in[16:])
	if !s.fits(keylen, extlen, bodylen) {
		r.Hangup = true
		return n, Reply, StatusInvalid
	}
	extras := in[headerLen : headerLen+extlen]
	if keylen > 0 {
		r.Key = in[headerLen+extlen : n : n]
	}
	r.extras(extras)
	if !s.value {
		return n, Ready, StatusOK
	}
	r.NBytes = int(bodylen) - extlen - keylen
	end := n + r.NBytes
	if len(in) < end {
		if r.NBytes > limits.inline() {
			return n, Upload, StatusOK
		}
		r.reset()
		r.IsBinary, r.Need = true, end
		return 0, NeedMore, 0
	}
	r.Data = in[n:end:end]
	return end, Ready, StatusOK
}

// fits reports whether the lengths of a header are those of the opcode. The
// extras of flush may be missing.
func (s *shape) fits(keylen, extlen int, bodylen int64) bool {
	switch {
	case extlen != int(s.extlen) && !(s.command == FlushAll && extlen == 0):
		return false
	case s.key == 0 && keylen != 0, s.key == 1 && keylen == 0:
		return false
	case s.exact && bodylen != int64(keylen+extlen):
		return false
	}
	return true
}

// extras reads the extras, whose length is right.
func (r *Request) extras(b []byte) {
	switch r.Command {
	case Set, Add, Replace:
		r.Flags = binary.BigEndian.Uint32(b)
		r.Exptime = int64(binary.BigEndian.Uint32(b[4:]))
	case Incr, Decr:
		r.Delta = binary.BigEndian.Uint64(b)
		r.Binary.Initial = binary.BigEndian.Uint64(b[8:])
		expiration := binary.BigEndian.Uint32(b[16:])
		r.Binary.Create = expiration != noCreate
		if r.Binary.Create {
			r.Exptime = int64(expiration)
		}
	case Touch, Gat, FlushAll:
		if len(b) == 4 {
			r.Exptime = int64(binary.BigEndian.Uint32(b))
		}
		if r.Command == Gat {
			r.Keys = r.Key
		}
	case Get:
		r.Keys = r.Key
	case Stats:
		r.Args, r.Key = r.Key, nil
	}
}

// ParseStatKey reads the key of a binary stat request, in its Args. It is ok
// if statistics go by that name; else the status is StatusNotFound. Words that
// have more behind them are still known, as memcached compares their beginning.
func ParseStatKey(key []byte) (a Admin, ok bool) {
	begins := func(word string) bool { return len(key) >= len(word) && string(key[:len(word)]) == word }
	switch {
	case len(key) == 0:
		a.Action = StatsGeneral
	case begins("reset"):
		a.Action = StatsReset
	case begins("settings"):
		a.Action = StatsSettings
	case begins("detail dump"):
		a.Action = StatsDetailDump
	case begins("detail on"):
		a.Action = StatsDetailOn
	case begins("detail off"):
		a.Action = StatsDetailOff
	case string(key) == "items":
		a.Action = StatsItems
	case string(key) == "slabs":
		a.Action = StatsSlabs
	case string(key) == "sizes":
		a.Action = StatsSizes
	case string(key) == "mac":
		a.Action = StatsMac
	case string(key) == "labels":
		a.Action = StatsLabels
	case string(key) == "data":
		a.Action = StatsData
	default:
		return a, false
	}
	return a, true
}
