package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Opcodes and statuses of memcached's binary protocol (protocol_binary.h).
const (
	binGet, binSet, binAdd, binReplace, binDelete             = 0x00, 0x01, 0x02, 0x03, 0x04
	binIncr, binDecr, binQuit, binFlush, binGetQ              = 0x05, 0x06, 0x07, 0x08, 0x09
	binNoop, binVersion, binGetK, binGetKQ                    = 0x0a, 0x0b, 0x0c, 0x0d
	binAppend, binPrepend, binStat, binSetQ                   = 0x0e, 0x0f, 0x10, 0x11
	binDeleteQ, binTouch, binGat, binGatQ                     = 0x14, 0x1c, 0x1d, 0x1e
	binOK, binNotFound, binExists, binTooLarge, binBad        = 0x00, 0x01, 0x02, 0x03, 0x04
	binNotStored, binNonNumeric, binDenied                    = 0x05, 0x06, 0x24
	binUnknown, binNoMemory                                   = 0x81, 0x82
	binHeader                                                 = 24
	binNever                                           uint32 = 0xffffffff // of incr: do not make the item
)

// frame is one answer of the binary protocol.
type frame struct {
	opcode      byte
	status      uint16
	opaque      uint32
	cas         uint64
	extras, key []byte
	value       []byte
}

// binary makes a request.
func (c *client) binaryRequest(opcode byte, opaque uint32, cas uint64, extras []byte, key string, value []byte) []byte {
	p := make([]byte, binHeader, binHeader+len(extras)+len(key)+len(value))
	p[0], p[1], p[4] = 0x80, opcode, byte(len(extras))
	binary.BigEndian.PutUint16(p[2:], uint16(len(key)))
	binary.BigEndian.PutUint32(p[8:], uint32(len(extras)+len(key)+len(value)))
	binary.BigEndian.PutUint32(p[12:], opaque)
	binary.BigEndian.PutUint64(p[16:], cas)
	return append(append(append(p, extras...), key...), value...)
}

func (c *client) frame() (*frame, error) {
	var h [binHeader]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return nil, fmt.Errorf("expected a binary answer: %w", err)
	}
	nkey, nextras, nbody := int(binary.BigEndian.Uint16(h[2:])), int(h[4]), int(binary.BigEndian.Uint32(h[8:]))
	if h[0] != 0x81 || nkey+nextras > nbody || nbody > 16<<20 {
		return nil, fmt.Errorf("expected a binary answer, found %x", h)
	}
	body := make([]byte, nbody)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, err
	}
	return &frame{
		opcode: h[1], status: binary.BigEndian.Uint16(h[6:]), opaque: binary.BigEndian.Uint32(h[12:]),
		cas: binary.BigEndian.Uint64(h[16:]), extras: body[:nextras], key: body[nextras : nextras+nkey], value: body[nextras+nkey:],
	}, nil
}

// bin is a command of the binary protocol. One that may stay silent is followed
// by a noop; its check gets nil where nothing came.
func (c *client) bin(opcode byte, quiet bool, cas uint64, extras []byte, key string, value []byte, changed string, check func(f *frame) error) op {
	opaque := c.rng.Uint32()
	wire := c.binaryRequest(opcode, opaque, cas, extras, key, value)
	if quiet {
		wire = append(wire, c.binaryRequest(binNoop, opaque, 0, nil, "", nil)...)
	}
	return op{wire: wire, key: changed, check: func() error {
		f, err := c.frame()
		if err != nil {
			return err
		}
		c.w.counts.binary.Add(1)
		if f.opaque != opaque {
			return fmt.Errorf("opcode %#x: expected opaque %#x, found %#x in an answer to %#x", opcode, opaque, f.opaque, f.opcode)
		}
		if quiet && f.opcode == binNoop {
			return check(nil)
		}
		if f.opcode != opcode {
			return fmt.Errorf("expected an answer to opcode %#x, found one to %#x", opcode, f.opcode)
		}
		if err := check(f); err != nil || !quiet {
			return err
		}
		if f, err = c.frame(); err == nil && f.opcode != binNoop {
			err = fmt.Errorf("expected the answer to a noop, found one to %#x", f.opcode)
		}
		return err
	}}
}

func unexpected(k string, f *frame, e *entry) error {
	if f == nil {
		return fmt.Errorf("key %s: expected an answer (%v)", k, e)
	}
	return fmt.Errorf("key %s: opcode %#x: found status %#x %.100q (%v)", k, f.opcode, f.status, f.value, e)
}

func u32(vs ...uint32) (p []byte) {
	for _, v := range vs {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	return p
}

// binExptime is an exptime that the binary protocol can say.
func (c *client) binExptime() (wire uint32, seconds int) {
	for {
		if x, s := c.exptime(); x >= 0 {
			return uint32(x), s
		}
	}
}

// binCommand is one random command of the binary protocol.
func (c *client) binCommand() op {
	k := c.names[c.rng.IntN(len(c.names))]
	switch n := c.rng.IntN(100); {
	case n < 35:
		return c.binGet(k)
	case n < 60:
		return c.binStore(k)
	case n < 68:
		return c.binExtend(k)
	case n < 75:
		return c.binDelete(k, c.rng.IntN(3) == 0)
	case n < 83:
		return c.binArith(k)
	case n < 90:
		return c.binTouch(k)
	case n < 92:
		return c.binStats()
	case n < 93 && c.tenant == flusher:
		return c.bin(binFlush, false, 0, nil, "", nil, "", func(f *frame) error {
			c.w.counts.flushes.Add(1)
			for _, e := range c.model {
				*e = entry{}
			}
			if f.status != binOK {
				return unexpected("", f, nil)
			}
			return nil
		})
	case n < 95:
		return c.bin(0x70, false, 0, nil, "", nil, "", func(f *frame) error { // no such opcode
			c.w.counts.broken.Add(1)
			if f.status != binUnknown {
				return unexpected("", f, nil)
			}
			return nil
		})
	}
	return c.bin([]byte{binNoop, binVersion}[c.rng.IntN(2)], false, 0, nil, "", nil, "", func(f *frame) error {
		if f.status != binOK {
			return unexpected("", f, nil)
		}
		return nil
	})
}

func (c *client) binGet(k string) op {
	opcode := []byte{binGet, binGetQ, binGetK, binGetKQ}[c.rng.IntN(4)]
	quiet := opcode == binGetQ || opcode == binGetKQ
	return c.bin(opcode, quiet, 0, nil, k, nil, "", func(f *frame) error { return c.binHit(k, f, quiet, nil) })
}

// binHit compares the answer to a kind of get with the model.
func (c *client) binHit(k string, f *frame, quiet bool, hit func(*entry)) error {
	e := c.model[k]
	switch {
	case f == nil && quiet, f != nil && f.status == binNotFound && !quiet:
		return c.seen(k, e, false)
	case f == nil || f.status != binOK || len(f.extras) != 4:
		return unexpected(k, f, e)
	}
	if err := c.seen(k, e, true); err != nil {
		return err
	}
	if len(f.key) > 0 && string(f.key) != k {
		return fmt.Errorf("key %s: found %q", k, f.key)
	}
	if err := e.expect(k, f.value, binary.BigEndian.Uint32(f.extras), f.cas); err != nil {
		return err
	}
	if hit != nil {
		hit(e)
	}
	return nil
}

func (c *client) binStore(k string) op {
	opcode := []byte{binSet, binSet, binSet, binSetQ, binAdd, binReplace}[c.rng.IntN(6)]
	v, flags := c.value(), c.rng.Uint32()>>c.rng.IntN(32)
	exp, seconds := c.binExptime()
	quiet := opcode == binSetQ
	var cas uint64
	if known := c.model[k].cas; known != 0 && opcode == binSet && c.rng.IntN(3) == 0 {
		if cas = known; c.rng.IntN(3) == 0 {
			cas = impossible
		}
	}
	return c.bin(opcode, quiet, cas, u32(flags, exp), k, v, k, func(f *frame) error {
		e := c.model[k]
		present, absent := c.possible(e)
		if f != nil && f.status == binNoMemory && c.scarce {
			e.unsure = true
			if opcode != binAdd && opcode != binReplace && cas == 0 {
				*e = entry{}
			}
			return nil
		}
		if f == nil != quiet {
			return unexpected(k, f, e)
		}
		stored := f == nil || f.status == binOK
		var err error
		switch {
		case cas != 0:
			if !stored && f.status != binNotFound && f.status != binExists {
				return unexpected(k, f, e)
			}
			found := stored || f.status == binExists
			if err = c.seen(k, e, found); err == nil && found && stored != (e.cas != 0 && e.cas == cas) {
				err = unexpected(k, f, e)
			}
		case opcode == binAdd && (stored || f.status == binExists):
			err = c.seen(k, e, !stored)
		case opcode == binReplace && (stored || f.status == binNotFound):
			err = c.seen(k, e, stored)
		case !stored:
			err = unexpected(k, f, e)
		}
		if err != nil || !stored {
			return err
		}
		label := e.label
		switch {
		case !present, opcode == binAdd:
			label = c.newLabel()
		case absent && opcode != binReplace && cas == 0:
			label = ""
		}
		*e = entry{exists: true, value: v, flags: flags, label: label}
		c.expire(e, seconds)
		if f != nil {
			e.cas = f.cas
		}
		return nil
	})
}

func (c *client) binExtend(k string) op {
	v := c.value()
	if len(c.model[k].value) > 2*largestValue {
		return c.binStore(k)
	}
	opcode := []byte{binAppend, binPrepend}[c.rng.IntN(2)]
	return c.bin(opcode, false, 0, nil, k, v, k, func(f *frame) error {
		e := c.model[k]
		switch {
		case f.status == binNoMemory && c.scarce:
			e.unsure = true
			return nil
		case f.status != binOK && f.status != binNotStored:
			return unexpected(k, f, e)
		}
		if err := c.seen(k, e, f.status == binOK); err != nil || f.status != binOK {
			return err
		}
		if opcode == binAppend {
			e.value = append(e.value[:len(e.value):len(e.value)], v...)
		} else {
			e.value = append(v[:len(v):len(v)], e.value...)
		}
		e.cas = f.cas
		return nil
	})
}

func (c *client) binDelete(k string, quiet bool) op {
	opcode := byte(binDelete)
	if quiet {
		opcode = binDeleteQ
	}
	return c.bin(opcode, quiet, 0, nil, k, nil, k, func(f *frame) error {
		e := c.model[k]
		gone := f != nil && f.status == binNotFound
		if f != nil && !gone && (f.status != binOK || quiet) {
			return unexpected(k, f, e)
		}
		if err := c.seen(k, e, !gone); err != nil && (gone || !quiet) {
			return err
		}
		*e = entry{}
		return nil
	})
}

func (c *client) binArith(k string) op {
	opcode := []byte{binIncr, binDecr}[c.rng.IntN(2)]
	delta, initial := c.rng.Uint64()>>c.rng.IntN(64), c.rng.Uint64()>>1
	exp := binNever
	if c.rng.IntN(3) == 0 {
		exp = 60
	}
	extras := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, delta), initial), exp)
	return c.bin(opcode, false, 0, extras, k, nil, k, func(f *frame) error {
		e := c.model[k]
		present, absent := c.possible(e)
		n, result, number := arith(e.value, delta, opcode == binDecr)
		switch {
		case f.status == binNoMemory && c.scarce:
			e.unsure = true
			return nil
		case f.status == binNonNumeric && present && !number:
			return nil
		case f.status == binNotFound && exp == binNever:
			return c.seen(k, e, false)
		case f.status != binOK || len(f.value) != 8:
			return unexpected(k, f, e)
		}
		switch got := binary.BigEndian.Uint64(f.value); {
		case absent && exp != binNever && got == initial:
			*e = entry{exists: true, value: strconv.AppendUint(nil, initial, 10), early: c.sent.Add(time.Minute), exp: time.Now().Add(time.Minute), label: c.newLabel(), cas: f.cas}
			return nil
		case present && number && got == n:
			e.value, e.cas = result, f.cas
			return c.seen(k, e, true)
		default:
			return fmt.Errorf("key %s, value %.60q: delta %d, opcode %#x: found %d (%v)", k, e.value, delta, opcode, got, e)
		}
	})
}

func (c *client) binTouch(k string) op {
	opcode := []byte{binTouch, binGat, binGatQ}[c.rng.IntN(3)]
	exp, seconds := c.binExptime()
	quiet := opcode == binGatQ
	return c.bin(opcode, quiet, 0, u32(exp), k, nil, k, func(f *frame) error {
		if opcode != binTouch {
			return c.binHit(k, f, quiet, func(e *entry) { c.expire(e, seconds) })
		}
		e := c.model[k]
		if f.status != binOK && f.status != binNotFound {
			return unexpected(k, f, e)
		}
		err := c.seen(k, e, f.status == binOK)
		if err == nil && f.status == binOK {
			c.expire(e, seconds)
		}
		return err
	})
}

// binStats reads the general statistics, which end with an empty one.
func (c *client) binStats() op {
	o := c.bin(binStat, false, 0, nil, "", nil, "", nil)
	o.check = func() error {
		for n := 0; ; n++ {
			switch f, err := c.frame(); {
			case err != nil:
				return err
			case f.opcode != binStat || f.status != binOK:
				return unexpected("", f, nil)
			case len(f.key) == 0 && n < 50:
				return fmt.Errorf("%d statistics", n)
			case len(f.key) == 0:
				return nil
			}
		}
	}
	return o
}
