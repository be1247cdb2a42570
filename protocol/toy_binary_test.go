package protocol_test

import (
	"encoding/binary"

	"sememcached/protocol"
)

// binary answers a request of the binary protocol.
func (c *toy) binary(r *protocol.Request, out protocol.Outcome, reply []byte) (send string, quit bool) {
	if out == protocol.Reply {
		return string(reply), false
	}
	status := protocol.StatusOK
	var body []byte
	switch r.Command {
	case protocol.Get, protocol.Gat, protocol.Touch:
		status, body = c.binaryGet(r)
	case protocol.Stats:
		return c.binaryStat(r), false
	case protocol.Version:
		body = protocol.AppendBinaryBody(nil, r, status, "1.6.45")
	case protocol.FlushAll:
		clear(c.items)
		body = protocol.AppendBinaryOK(nil, r, 0)
	case protocol.MetaNoop, protocol.Quit:
		body = protocol.AppendBinaryOK(nil, r, 0)
		quit = r.Command == protocol.Quit
	case protocol.SASLList, protocol.SASLAuth, protocol.SASLStep:
		status = protocol.StatusUnknown
	case protocol.Delete:
		it := c.get(r.Key)
		switch {
		case it == nil:
			status = protocol.StatusNotFound
		case r.CAS != 0 && r.CAS != it.cas:
			status = protocol.StatusExists
		default:
			delete(c.items, string(r.Key))
			body = protocol.AppendBinaryOK(nil, r, 0)
		}
	case protocol.Incr, protocol.Decr:
		status, body = c.binaryIncr(r)
	default:
		status = c.binaryStore(r)
		body = protocol.AppendBinaryOK(nil, r, c.cas+1)
	}
	switch {
	case protocol.BinaryQuiet(r, status):
		return "", quit
	case status == protocol.StatusNotFound && (r.Command == protocol.Get || r.Command == protocol.Gat):
		return string(protocol.AppendBinaryMiss(nil, r)), false
	case status != protocol.StatusOK:
		return string(protocol.AppendBinaryError(nil, r, status)), false
	}
	return string(body), quit
}

func (c *toy) binaryGet(r *protocol.Request) (protocol.Status, []byte) {
	it := c.get(r.Key)
	if it == nil {
		return protocol.StatusNotFound, nil
	}
	value := it.value
	if r.Command != protocol.Get {
		it.exptime = c.expiry(r.Exptime)
	}
	if r.Command == protocol.Touch {
		value = nil
	}
	return protocol.StatusOK, protocol.AppendBinaryValue(nil, r, it.flags, value, it.cas)
}

func (c *toy) binaryIncr(r *protocol.Request) (protocol.Status, []byte) {
	it := c.get(r.Key)
	switch {
	case it == nil && !r.Binary.Create:
		return protocol.StatusNotFound, nil
	case it == nil:
		digits := protocol.AppendUint(nil, r.Binary.Initial)
		it = c.put(r.Key, digits[:len(digits)-2], 0, c.expiry(r.Exptime))
		return protocol.StatusOK, protocol.AppendBinaryUint(nil, r, r.Binary.Initial, it.cas)
	case len(it.value) == 0:
		return protocol.StatusNonNumeric, nil
	case r.CAS != 0 && r.CAS != it.cas:
		return protocol.StatusExists, nil
	}
	v, ok := c.add(r.Key, it, r.Delta, r.Command == protocol.Decr)
	if !ok {
		return protocol.StatusNonNumeric, nil
	}
	return protocol.StatusOK, protocol.AppendBinaryUint(nil, r, v, c.get(r.Key).cas)
}

func (c *toy) binaryStore(r *protocol.Request) protocol.Status {
	it := c.get(r.Key)
	value, flags, exptime := r.Data, r.Flags, c.expiry(r.Exptime)
	isAppend := r.Command == protocol.Append || r.Command == protocol.Prepend
	switch {
	case r.NBytes > toyTooLong:
		return protocol.StatusTooLarge
	case isAppend && it == nil:
		return protocol.StatusNotStored
	case !isAppend && r.CAS != 0 && it == nil:
		return protocol.StatusNotFound
	case r.CAS != 0 && r.CAS != it.cas:
		return protocol.StatusExists
	case r.CAS != 0 && !isAppend:
	case r.Command == protocol.Add && it != nil:
		return protocol.StatusExists
	case r.Command == protocol.Replace && it == nil:
		return protocol.StatusNotFound
	}
	switch r.Command {
	case protocol.Append:
		value, flags, exptime = append(append([]byte(nil), it.value...), value...), it.flags, it.exptime
	case protocol.Prepend:
		value, flags, exptime = append(append([]byte(nil), value...), it.value...), it.flags, it.exptime
	}
	c.put(r.Key, value, flags, exptime)
	return protocol.StatusOK
}

func (c *toy) binaryStat(r *protocol.Request) string {
	a, ok := protocol.ParseStatKey(r.Args)
	if !ok {
		return string(protocol.AppendBinaryError(nil, r, protocol.StatusNotFound))
	}
	var b []byte
	if a.Action == protocol.StatsSizes {
		b = protocol.AppendBinaryStat(b, r, "sizes_status", "disabled")
	}
	return string(protocol.AppendBinaryStat(b, r, "", ""))
}

// frame is a request whose header tells the truth.
func frame(opcode byte, extras, key, value string, cas uint64) []byte {
	b := []byte{protocol.MagicRequest, opcode}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, byte(len(extras)), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(extras)+len(key)+len(value)))
	b = append(b, 0xde, 0xad, 0xbe, 0xef)
	b = binary.BigEndian.AppendUint64(b, cas)
	return append(b, extras+key+value...)
}

// everyFrame has frames of all shapes that opcodes know.
func everyFrame(opcode byte) (frames [][]byte) {
	for _, extras := range []int{0, 4, 8, 20} {
		for _, key := range []string{"", "k"} {
			for _, value := range []string{"", "v"} {
				frames = append(frames, frame(opcode, string(make([]byte, extras)), key, value, 0))
			}
		}
	}
	return frames
}
