package protocol

import "encoding/binary"

// BinaryQuiet reports whether the opcode of r hides a reply with this status:
// misses of the quiet gets, successes of the other quiet opcodes.
func BinaryQuiet(r *Request, status Status) bool {
	if !r.Binary.Quiet {
		return false
	}
	if r.Command == Get || r.Command == Gat {
		return status == StatusNotFound
	}
	return status == StatusOK
}

// AppendBinaryHeader appends the 24 bytes before a reply to r. The caller
// appends extras, key and value of the given lengths.
func AppendBinaryHeader(dst []byte, r *Request, status Status, extras, key, value int, cas uint64) []byte {
	dst = append(dst, magicReply, r.Binary.Opcode)
	dst = binary.BigEndian.AppendUint16(dst, uint16(key))
	dst = append(dst, byte(extras), 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(status))
	dst = binary.BigEndian.AppendUint32(dst, uint32(extras+key+value))
	dst = binary.BigEndian.AppendUint32(dst, r.Binary.Opaque)
	return binary.BigEndian.AppendUint64(dst, cas)
}

// AppendBinaryBody appends a reply to r of a value alone: the version, the
// mechanisms and the answers of SASL, the text of an error of the caller's own.
func AppendBinaryBody(dst []byte, r *Request, status Status, body string) []byte {
	dst = AppendBinaryHeader(dst, r, status, 0, 0, len(body), 0)
	return append(dst, body...)
}

// AppendBinaryError appends the reply to r with the status and its text.
func AppendBinaryError(dst []byte, r *Request, status Status) []byte {
	return AppendBinaryBody(dst, r, status, status.Text())
}

// AppendBinaryOK appends the reply of a success that has nothing to tell but
// the new unique, 0 for none.
func AppendBinaryOK(dst []byte, r *Request, cas uint64) []byte {
	return AppendBinaryHeader(dst, r, StatusOK, 0, 0, 0, cas)
}

// AppendBinaryUint appends the reply of incr and decr.
func AppendBinaryUint(dst []byte, r *Request, v, cas uint64) []byte {
	dst = AppendBinaryHeader(dst, r, StatusOK, 0, 0, 8, cas)
	return binary.BigEndian.AppendUint64(dst, v)
}

// AppendBinaryValue appends the reply of a get or gat that found the item of
// r.Key. For touch, whose reply has the flags alone, value is nil.
func AppendBinaryValue(dst []byte, r *Request, flags uint32, value []byte, cas uint64) []byte {
	dst = AppendBinaryValueHeader(dst, r, flags, len(value), cas)
	return append(dst, value...)
}

// AppendBinaryValueHeader appends what AppendBinaryValue appends before the
// value, for nbytes bytes that the caller sends by itself.
func AppendBinaryValueHeader(dst []byte, r *Request, flags uint32, nbytes int, cas uint64) []byte {
	var key []byte
	if r.Binary.WithKey {
		key = r.Key
	}
	dst = AppendBinaryHeader(dst, r, StatusOK, 4, len(key), nbytes, cas)
	dst = binary.BigEndian.AppendUint32(dst, flags)
	return append(dst, key...)
}

// AppendBinaryMiss appends the reply of a get or gat that found nothing, which
// repeats the key or says so in words.
func AppendBinaryMiss(dst []byte, r *Request) []byte {
	if !r.Binary.WithKey {
		return AppendBinaryError(dst, r, StatusNotFound)
	}
	dst = AppendBinaryHeader(dst, r, StatusNotFound, 0, len(r.Key), 0, 0)
	return append(dst, r.Key...)
}

// AppendBinaryStat appends one reply of stat. Without name and value it ends
// them.
func AppendBinaryStat(dst []byte, r *Request, name, value string) []byte {
	dst = AppendBinaryHeader(dst, r, StatusOK, 0, len(name), len(value), 0)
	dst = append(dst, name...)
	return append(dst, value...)
}
