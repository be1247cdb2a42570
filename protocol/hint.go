package protocol

import (
	"bytes"
	"encoding/binary"
)

// A KeyScanner walks the complete commands of a receive buffer and yields the
// keys they are about, so that a server can bring the items into the processor's
// cache before it executes the first command. It is advisory: it understands
// commands as far as that is cheap, stops at what it does not, and may yield
// bytes that no command uses as a key. It never leaves the buffer. Text and binary
// requests are told apart by their first byte.
//
//	scan := protocol.ScanKeys(buf)
//	for key := scan.Next(); key != nil; key = scan.Next() { ... }
//
// The caller bounds the number of keys; the bytes behind the last one taken are
// not looked at.
type KeyScanner struct {
	keys []byte // of the current get line
	rest []byte // after the current line

	framed bool
}

// Framed reports whether the key that Next returned last was taken from a frame of
// the binary protocol. It may have spaces then, and is no token of a text line.
func (s *KeyScanner) Framed() bool { return s.framed }

// ScanKeys returns a scanner at the start of in, which must be the start of a
// request.
func ScanKeys(in []byte) KeyScanner { return KeyScanner{rest: in} }

// Next returns the next key, a view of the buffer of 1 to 250 bytes, or nil at
// the end.
func (s *KeyScanner) Next() []byte {
	s.framed = false
	for {
		for len(s.keys) > 0 {
			var key []byte
			if key, s.keys = NextToken(s.keys); len(key) > 0 && len(key) <= KeyMax {
				return key
			}
		}
		if len(s.rest) > 0 && s.rest[0] == MagicRequest {
			key := s.frame()
			if len(key) > 0 {
				s.framed = true
				return key
			}
			continue
		}
		lf := bytes.IndexByte(s.rest, '\n')
		if lf < 0 {
			return nil
		}
		line := s.rest[:lf]
		s.rest = s.rest[lf+1:]
		if lf > 0 && line[lf-1] == '\r' {
			line = line[:lf-1]
		}
		if key := s.line(line); len(key) > 0 && len(key) <= KeyMax {
			return key
		}
	}
}

// frame looks at one frame of the binary protocol and returns its key. Without
// a whole header it goes to the end.
func (s *KeyScanner) frame() (key []byte) {
	if len(s.rest) < headerLen {
		s.rest = nil
		return nil
	}
	start := headerLen + int(s.rest[4])
	end := start + int(binary.BigEndian.Uint16(s.rest[2:]))
	next := int64(headerLen) + int64(binary.BigEndian.Uint32(s.rest[8:]))
	if end <= len(s.rest) && end-start <= KeyMax {
		key = s.rest[start:end:end]
	}
	s.rest = s.rest[min(next, int64(len(s.rest))):]
	return key
}

// line looks at one line. It leaves the keys of a get in s.keys, skips the data
// block of a store, and returns the key of a command that has one.
func (s *KeyScanner) line(line []byte) (key []byte) {
	sp := bytes.IndexByte(line, ' ')
	if sp < 0 {
		return nil
	}
	args := line[sp+1:]
	switch string(line[:sp]) {
	case "get", "gets":
		s.keys = args
		return nil
	case "gat", "gats":
		_, s.keys = NextToken(args)
		return nil
	case "set", "add", "replace", "append", "prepend", "cas":
		key, args = NextToken(args)
		_, args = NextToken(args)
		_, args = NextToken(args)
	case "ms":
		key, args = NextToken(args)
	case "mg", "md", "ma", "me", "delete", "incr", "decr", "touch", "relabel":
		key, _ = NextToken(args)
		return key
	default:
		return nil
	}
	length, _ := NextToken(args)
	nbytes, ok := ParseInt32(length)
	if !ok || nbytes < 0 {
		return nil
	}
	s.rest = s.rest[min(int(nbytes)+2, len(s.rest)):]
	return key
}
