package main

import (
	"encoding/binary"
	"fmt"
	"io"
)

// packet is one reply of the binary protocol.
type packet struct {
	opcode, status int
	opaque         uint32
	cas            uint64
	extras, key    string
	value          string
}

func (p packet) String() string {
	return fmt.Sprintf("{%02x status %02x opaque %x extras %x key %q value %q}", p.opcode, p.status, p.opaque, p.extras, p.key, p.value)
}

// frame is a request of the binary protocol.
func frame(opcode byte, opaque uint32, cas uint64, extras, key, value string) string {
	b := []byte{0x80, opcode}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, byte(len(extras)), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(extras)+len(key)+len(value)))
	b = binary.BigEndian.AppendUint32(b, opaque)
	b = binary.BigEndian.AppendUint64(b, cas)
	return string(b) + extras + key + value
}

func u32(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
func u64(v uint64) string { return string(binary.BigEndian.AppendUint64(nil, v)) }

func readPacket(r io.Reader) (p packet, err error) {
	var h [24]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return p, err
	}
	if h[0] != 0x81 {
		return p, fmt.Errorf("expected magic 81, found %x", h)
	}
	body := make([]byte, binary.BigEndian.Uint32(h[8:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return p, err
	}
	ext, key := int(h[4]), int(binary.BigEndian.Uint16(h[2:]))
	if ext+key > len(body) {
		return p, fmt.Errorf("lengths do not fit: %x", h)
	}
	return packet{
		opcode: int(h[1]), status: int(binary.BigEndian.Uint16(h[6:])),
		opaque: binary.BigEndian.Uint32(h[12:]), cas: binary.BigEndian.Uint64(h[16:]),
		extras: string(body[:ext]), key: string(body[ext : ext+key]), value: string(body[ext+key:]),
	}, nil
}

// endMark is the opaque of a noop that ends an exchange.
const endMark = 0xdeadbeef
