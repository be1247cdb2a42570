package load

import "encoding/binary"

// The binary protocol: getk for a get, set for a set, both answered always.
const (
	binaryHeader = 24
	opSet        = 0x01
	opGetK       = 0x0c
)

func (t *thread) appendBinary(out []byte, set bool, k uint32) []byte {
	var h [binaryHeader + 8]byte
	h[0], h[1] = 0x80, opGetK
	extras, body := 0, keyLen
	if set {
		h[1], extras = opSet, 8
		body += extras + t.values.size
	}
	binary.BigEndian.PutUint16(h[2:], uint16(keyLen))
	h[4] = byte(extras)
	binary.BigEndian.PutUint32(h[8:], uint32(body))
	out = AppendKey(append(out, h[:binaryHeader+extras]...), k)
	if set {
		out = t.values.appendTo(out, k)
	}
	return out
}

// consumeBinary is consume for the binary protocol.
func (t *thread) consumeBinary(c *conn, p []byte) []byte {
	const hitHead = binaryHeader + 4 + keyLen
	for len(p) > 0 && c.at < c.n {
		if c.body > 0 {
			if p = t.takeBody(c, p); c.body == 0 {
				t.answered(c)
			}
			continue
		}
		if len(p) < binaryHeader {
			return p
		}
		op, body := byte(opGetK), int(binary.BigEndian.Uint32(p[8:]))
		if c.sets[c.at] {
			op = opSet
		}
		if p[0] != 0x81 || p[1] != op {
			t.fail("a frame that does not fit: %x", p[:binaryHeader])
			return nil
		}
		if status := binary.BigEndian.Uint16(p[6:]); status == 0 && op == opGetK {
			if body != hitHead-binaryHeader+t.values.size {
				t.fail("a value that does not fit: %x", p[:binaryHeader])
				return nil
			}
			if len(p) < hitHead {
				return p
			}
			t.hit(c)
			if t.cfg.Verify {
				t.checkBinaryKey(c, p[binaryHeader+4:hitHead])
			}
			p = p[hitHead:]
			continue
		} else if len(p) < binaryHeader+body {
			return p
		} else if status == 1 && op == opGetK {
			t.res.Misses++
		} else if status != 0 {
			t.res.Errors++
			if t.res.Example == "" {
				t.res.Example = string(p[binaryHeader : binaryHeader+min(body, 100)])
			}
		}
		p = p[binaryHeader+body:]
		t.answered(c)
	}
	return p
}

func (t *thread) checkBinaryKey(c *conn, key []byte) {
	if want := AppendKey(t.scratch[:0], c.bodyKey); string(want) != string(key) {
		t.wrong("key %q was asked for, %q answered", want, key)
	}
}
