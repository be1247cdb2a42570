package storage

import (
	"encoding/binary"
	"fmt"
)

// Record is one change as it is written to a data file: an item as it is from
// now on, or that there is none under a key any more. Encoded it is, little
// endian, offsets in bytes:
//
//	an item
//	 0      1      2      3      4       8          12        16       20       24      32      36     40
//	+------+------+------+------+-------+----------+---------+--------+--------+-------+-------+------+-----+-------+
//	| kind | bits | nkey | 0    | label | instance | exptime | stored | access | cas   | flags | nval | key | value |
//	+------+------+------+------+-------+----------+---------+--------+--------+-------+-------+------+-----+-------+
//
//	no item (RecordGone), and an item to be looked up when it is written (RecordLarge)
//	 0      1      2      3      4          8
//	+------+------+------+------+----------+-----+
//	| kind | 0    | nkey | 0    | instance | key |
//	+------+------+------+------+----------+-----+
//
// The fields that every record has come first, so that a key is found without
// knowing the kind's other fields. Seconds are those of the store's clock.
type Record struct {
	Kind     RecordKind
	Bits     RecordBits
	Label    uint32
	Instance uint32
	Exptime  uint32
	Stored   uint32
	Access   uint32
	CAS      uint64
	Flags    uint32
	Key      []byte // a view of what was parsed
	Value    []byte // the same
}

// RecordKind says what a record tells. The zero kind is none.
type RecordKind uint8

// The kinds. They are part of the file format. RecordLarge is found in memory
// only: the item is copied when the record is written.
const (
	RecordItem  RecordKind = 1
	RecordGone  RecordKind = 2
	RecordLarge RecordKind = 3
)

// RecordBits are the marks of an item that outlive the process. They are part of
// the file format.
type RecordBits uint8

// The bits.
const (
	RecordStale     RecordBits = 1
	RecordTokenSent RecordBits = 2
	RecordBinaryKey RecordBits = 4
	RecordFetched   RecordBits = 8
)

// Lengths of the parts in front of the key.
const (
	recordItemHead = 40
	recordKeyHead  = 8
)

// AppendRecord appends the encoding of r.
func AppendRecord(dst []byte, r *Record) []byte {
	if r.Kind != RecordItem {
		dst = append(dst, byte(r.Kind), 0, byte(len(r.Key)), 0)
		dst = binary.LittleEndian.AppendUint32(dst, r.Instance)
		return append(dst, r.Key...)
	}
	n := len(dst)
	dst = append(dst, make([]byte, recordItemHead)...)
	h := dst[n:]
	h[0], h[1], h[2] = byte(r.Kind), byte(r.Bits), byte(len(r.Key))
	binary.LittleEndian.PutUint32(h[4:], r.Label)
	binary.LittleEndian.PutUint32(h[8:], r.Instance)
	binary.LittleEndian.PutUint32(h[12:], r.Exptime)
	binary.LittleEndian.PutUint32(h[16:], r.Stored)
	binary.LittleEndian.PutUint32(h[20:], r.Access)
	binary.LittleEndian.PutUint64(h[24:], r.CAS)
	binary.LittleEndian.PutUint32(h[32:], r.Flags)
	binary.LittleEndian.PutUint32(h[36:], uint32(len(r.Value)))
	dst = append(dst, r.Key...)
	return append(dst, r.Value...)
}

// ParseRecord reads the record at the start of b into r and returns its length
// in bytes. The error says what was expected at which offset of b.
func ParseRecord(b []byte, r *Record) (n int, err error) {
	if len(b) < recordKeyHead {
		return 0, fmt.Errorf("record: expected %d bytes at least, found %d", recordKeyHead, len(b))
	}
	nkey := int(b[2])
	if nkey == 0 || nkey > MaxKey {
		return 0, fmt.Errorf("record: offset 2: expected a key of 1 to %d bytes, found %d", MaxKey, nkey)
	}
	switch kind := RecordKind(b[0]); kind {
	case RecordGone, RecordLarge:
		n = recordKeyHead + nkey
		if len(b) < n {
			return 0, fmt.Errorf("record: expected %d bytes, found %d", n, len(b))
		}
		*r = Record{Kind: kind, Instance: binary.LittleEndian.Uint32(b[4:]), Key: b[recordKeyHead:n:n]}
		return n, nil
	case RecordItem:
	default:
		return 0, fmt.Errorf("record: offset 0: expected kind %d to %d, found %d", RecordItem, RecordLarge, b[0])
	}
	if len(b) < recordItemHead {
		return 0, fmt.Errorf("record: expected %d bytes at least, found %d", recordItemHead, len(b))
	}
	nvalue := int(binary.LittleEndian.Uint32(b[36:]))
	n = recordItemHead + nkey + nvalue
	if len(b) < n {
		return 0, fmt.Errorf("record: expected %d bytes, found %d", n, len(b))
	}
	*r = Record{
		Kind: RecordItem, Bits: RecordBits(b[1]),
		Label:    binary.LittleEndian.Uint32(b[4:]),
		Instance: binary.LittleEndian.Uint32(b[8:]),
		Exptime:  binary.LittleEndian.Uint32(b[12:]),
		Stored:   binary.LittleEndian.Uint32(b[16:]),
		Access:   binary.LittleEndian.Uint32(b[20:]),
		CAS:      binary.LittleEndian.Uint64(b[24:]),
		Flags:    binary.LittleEndian.Uint32(b[32:]),
		Key:      b[recordItemHead : recordItemHead+nkey : recordItemHead+nkey],
		Value:    b[recordItemHead+nkey : n : n],
	}
	return n, nil
}

// recordLength is the length of the record at the start of b, which AppendRecord
// has made.
func recordLength(b []byte) int {
	n := int(b[2])
	if RecordKind(b[0]) != RecordItem {
		return recordKeyHead + n
	}
	return recordItemHead + n + int(binary.LittleEndian.Uint32(b[36:]))
}

// RelabelRecords changes the labels of the items among records that AppendRecord
// has made: each label to what id returns for it, which is called again where the label is
// another than that of the item before.
func RelabelRecords(records []byte, id func(label uint32) uint32) {
	last, to, known := uint32(0), uint32(0), false
	for at := 0; at < len(records); {
		b := records[at:]
		if RecordKind(b[0]) == RecordItem {
			if l := binary.LittleEndian.Uint32(b[4:]); !known || l != last {
				last, to, known = l, id(l), true
			}
			binary.LittleEndian.PutUint32(b[4:], to)
		}
		at += recordLength(b)
	}
}

// record is what a data file keeps of an item. Key and Value are views of the
// arena.
func (it Item) record() Record {
	hd := it.head()
	r := Record{
		Kind: RecordItem, Label: hd.label, Instance: hd.instance, Exptime: hd.exptime, Stored: hd.stored,
		Access: hd.access, CAS: hd.casID(), Flags: it.Flags(), Key: it.Key(), Value: it.Value(),
	}
	if hd.state&stateStale != 0 {
		r.Bits |= RecordStale
	}
	if hd.state&stateToken != 0 {
		r.Bits |= RecordTokenSent
	}
	if hd.state&stateFetched != 0 {
		r.Bits |= RecordFetched
	}
	if hd.form&formBinary != 0 {
		r.Bits |= RecordBinaryKey
	}
	return r
}
