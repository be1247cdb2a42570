package protocol

import "strconv"

// A MetaCode is the first word of the reply to a meta command.
type MetaCode string

// The codes; the number of bytes and a value follow VA.
const (
	MetaHD MetaCode = "HD" // done
	MetaVA MetaCode = "VA" // done, with a value
	MetaEN MetaCode = "EN" // mg, me: no such item
	MetaNF MetaCode = "NF" // ms, md, ma: no such item
	MetaNS MetaCode = "NS" // not stored
	MetaEX MetaCode = "EX" // another unique
)

// MetaQuiet reports whether the q flag of r hides a reply with this code: EN of
// mg, the success of the others.
func MetaQuiet(r *Request, code MetaCode) bool {
	if !r.Meta.Has('q') {
		return false
	}
	if r.Command == MetaGet {
		return code == MetaEN
	}
	return code == MetaHD || code == MetaVA
}

// A MetaItem is what a reply to a meta command may tell of an item.
type MetaItem struct {
	// Size is the length of the value in bytes. For ms it is that of the stored
	// value, for append and prepend the sum.
	Size int
	// TTL is the time to live in seconds as it was found, -1 for none, also of an
	// item that the request has created. AfterT and AfterN are what the flags T
	// and N have made of it: the reply's t shows the one before or after, as the
	// flags stand in the request.
	TTL, AfterT, AfterN int64
	// Created says that the request has created the item (N).
	Created bool
	CAS     uint64
	Flags   uint32
	// LastAccess is the number of seconds since the item was last fetched or
	// stored, before this request.
	LastAccess uint32
	// Fetched says that the item had been fetched before this request.
	Fetched bool
	// Won (W), Stale (X) and Sent (Z): the client is to recache the item, the item
	// is stale, another client was told to recache it.
	Won, Stale, Sent bool
	// BinaryKey says that the item was stored under a key in base64.
	BinaryKey bool
}

// AppendMetaLine appends the first line of the reply to r, line end included:
// the code and the flags that r wants returned. it may be nil where there is no
// item to tell of; then only the key and the opaque come back. key is that of
// r, it.Size goes with VA.
//
// Which flags return depends on the command: for mg s t c f l h k O and the
// three of its state, for ma c t k O, for ms c s k O whatever the code, for md
// k O.
func AppendMetaLine(dst []byte, r *Request, code MetaCode, it *MetaItem) []byte {
	dst = append(dst, code...)
	if code == MetaVA {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(it.Size), 10)
	}
	binaryKey := r.Meta.Binary
	var ttl int64
	if it != nil {
		ttl = it.TTL
		if r.Command == MetaGet {
			binaryKey = it.BinaryKey
		}
	}
	for token, rest := NextToken(r.Meta.Flags); token != nil; token, rest = NextToken(rest) {
		flag := token[0]
		switch {
		case flag == 'O':
			dst = append(dst, ' ')
			dst = append(dst, token...)
		case flag == 'k':
			dst = appendMetaKey(append(dst, " k"...), r.Key, binaryKey)
		case it == nil:
		case flag == 'T':
			ttl = it.AfterT
		case flag == 'N':
			if it.Created {
				ttl = it.AfterN
			}
		case returns(r.Command, flag):
			dst = append(dst, ' ', flag)
			dst = appendMetaField(dst, flag, it, ttl)
		}
	}
	if it != nil && r.Command == MetaGet {
		if it.Sent {
			dst = append(dst, " Z"...)
		}
		if it.Stale {
			dst = append(dst, " X"...)
		}
		if it.Won {
			dst = append(dst, " W"...)
		}
	}
	return append(dst, "\r\n"...)
}

// returns reports whether a reply to c shows the flag of an item.
func returns(c Command, flag byte) bool {
	switch flag {
	case 'c':
		return c == MetaGet || c == MetaSet || c == MetaArithmetic
	case 't':
		return c == MetaGet || c == MetaArithmetic
	case 's':
		return c == MetaGet || c == MetaSet
	case 'f', 'l', 'h':
		return c == MetaGet
	}
	return false
}

func appendMetaField(dst []byte, flag byte, it *MetaItem, ttl int64) []byte {
	switch flag {
	case 'c':
		return strconv.AppendUint(dst, it.CAS, 10)
	case 't':
		if ttl == -1 {
			return append(dst, "-1"...)
		}
		// memcached subtracts clocks that are unsigned and of 32 bits.
		return strconv.AppendUint(dst, uint64(uint32(ttl)), 10)
	case 's':
		return strconv.AppendInt(dst, int64(it.Size), 10)
	case 'f':
		return strconv.AppendUint(dst, uint64(it.Flags), 10)
	case 'l':
		return strconv.AppendUint(dst, uint64(it.LastAccess), 10)
	}
	if it.Fetched {
		return append(dst, '1')
	}
	return append(dst, '0')
}

// appendMetaKey appends a key as meta replies show it: a binary one in base64
// with a b behind.
func appendMetaKey(dst, key []byte, binary bool) []byte {
	if !binary {
		return append(dst, key...)
	}
	return append(appendBase64(dst, key), " b"...)
}

// AppendMetaValue appends a complete reply with VA: the line, the value and
// CR LF. it.Size must be the length of value.
func AppendMetaValue(dst []byte, r *Request, it *MetaItem, value []byte) []byte {
	dst = AppendMetaLine(dst, r, MetaVA, it)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// A MetaDebugItem is what me tells of an item.
type MetaDebugItem struct {
	TTL        int64 // seconds, -1 for none
	LastAccess uint64
	CAS        uint64
	Fetched    bool
	Class      uint32 // slab class
	Size       uint64 // of the item in bytes, header and key included
	BinaryKey  bool
}

// AppendMetaDebug appends the reply of me about the item of key:
//
//	ME <key> exp=<s> la=<s> cas=<n> fetch=yes|no cls=<n> size=<n> CR LF
func AppendMetaDebug(dst, key []byte, it *MetaDebugItem) []byte {
	dst = append(dst, "ME "...)
	if it.BinaryKey {
		dst = appendBase64(dst, key)
	} else {
		dst = append(dst, key...)
	}
	dst = append(dst, " exp="...)
	dst = strconv.AppendInt(dst, int64(int32(it.TTL)), 10) // memcached prints an int
	dst = append(dst, " la="...)
	dst = strconv.AppendUint(dst, it.LastAccess, 10)
	dst = append(dst, " cas="...)
	dst = strconv.AppendUint(dst, it.CAS, 10)
	if it.Fetched {
		dst = append(dst, " fetch=yes cls="...)
	} else {
		dst = append(dst, " fetch=no cls="...)
	}
	dst = strconv.AppendUint(dst, uint64(it.Class), 10)
	dst = append(dst, " size="...)
	dst = strconv.AppendUint(dst, it.Size, 10)
	return append(dst, "\r\n"...)
}
