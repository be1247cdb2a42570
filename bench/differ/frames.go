package differ

import (
	"strings"
)

// frames makes requests of the binary protocol.
type frames struct {
	*keys
	opaque uint32
}

func (g *frames) binary() bool { return true }

func (g *frames) batch(b *batch) {
	if g.one(1000) {
		// memcached drops the replies that it has not sent: there are none.
		b.closes = true
		b.put(g.pick("\x01", "a", "\x81", "\n") + frame(0x00, 1, 0, "", "abc", "")[1:])
		return
	}
	n := 1 + g.rng.IntN(8)
	if g.one(200) {
		n = 40 // more than memcached executes before it looks at another connection
	}
	for range n {
		g.command(b)
	}
	if g.one(300) {
		b.closes = true
		switch g.rng.IntN(6) {
		case 0:
			b.put(frame(0x07, 1, 0, "", "", ""))
		case 1:
			b.put(frame(0x17, 1, 0, "", "", ""))
		case 2: // wrong lengths
			b.put(frame(byte(g.number(0x00, 0x01, 0x04, 0x05, 0x07, 0x0a, 0x0b, 0x0e, 0x1c)), 1, 0, "abc", "", ""))
		case 3:
			b.put(frame(byte(g.number(0x00, 0x0c, 0x04)), 1, 0, "", "a", "value"))
		case 4:
			b.put(frame(0x01, 1, 0, u64(0), strings.Repeat("k", 251), ""))
		case 5: // a body that is shorter than what is in it, or very long
			f := []byte(frame(0x00, 1, 0, "", "abc", ""))
			copy(f[8:], u32(uint32(g.number(0, 2, 1<<30+1, 1<<31, 1<<32-1))))
			b.put(string(f))
		}
	}
}

// next is an opaque for a frame about a key.
func (g *frames) next(b *batch, key string) uint32 {
	g.opaque = (g.opaque + 1) & 0xffffff
	b.about[g.opaque] = key
	return g.opaque
}

func (g *frames) command(b *batch) {
	key := g.key()
	if g.one(12) {
		key = g.pick("x y\r\n", "\x00", "\x80\x81")
	}
	opaque := g.next(b, key)
	// A cas of its own for each server: none, a good one, a bad one.
	var ours, theirs uint64
	switch g.rng.IntN(6) {
	case 0:
		ours, theirs = g.cas(key, 0), g.cas(key, 1)
	case 1:
		ours, theirs = 1<<60, 1<<60
	}
	exp := u32(uint32(g.number(0, 0, 100, 1000, 2592000, 2592001, 2147483647, 4294967295)))
	both := func(op byte, extras, value string) {
		b.put2(frame(op, opaque, ours, extras, key, value), frame(op, opaque, theirs, extras, key, value))
	}
	switch g.rng.IntN(16) {
	case 0, 1, 2:
		b.put(frame(byte(g.number(0x00, 0x09, 0x0c, 0x0d)), opaque, 0, "", key, ""))
	case 3, 4, 5:
		both(byte(g.number(0x01, 0x02, 0x03, 0x11, 0x12, 0x13)), u32(uint32(g.number(0, 5, 4294967295)))+exp, g.value())
	case 6:
		both(byte(g.number(0x0e, 0x0f, 0x19, 0x1a)), "", g.value())
	case 7:
		both(byte(g.number(0x04, 0x14)), "", "")
	case 8, 9:
		g.arithmetic(b)
	case 10:
		b.put(frame(byte(g.number(0x05, 0x06, 0x15, 0x16)), opaque, 0, u64(1)+u64(100)+u32(4294967295), "nope", ""))
	case 11:
		b.put(frame(byte(g.number(0x1c, 0x1d, 0x1e, 0x23, 0x24)), opaque, 0, exp, key, ""))
	case 12:
		g.odd(b, opaque)
	case 13, 14:
		g.expiring(b)
	default:
		b.put(frame(0x0a, opaque, 0, "", "", ""))
	}
}

func (g *frames) odd(b *batch, opaque uint32) {
	switch g.rng.IntN(8) {
	case 0:
		b.put(frame(0x1b, opaque, 0, "", "", "")) // verbosity, which memcached has not either
	case 1:
		b.put(frame(0xf0, opaque, 0, "", "", "swallowed"))
	case 2:
		if g.one(2) {
			b.put(frame(0x20, opaque, 0, "", "", ""))
		} else {
			b.put(frame(byte(g.number(0x21, 0x22)), opaque, 0, "", "PLAIN", "\x00user\x00secret"))
		}
	case 3:
		b.put(frame(0x0b, opaque, 0, "", "", ""))
	case 4:
		if g.one(100) {
			g.forget()
			b.put(frame(byte(g.number(0x08, 0x18)), opaque, 0, g.pick("", u32(0)), "", ""))
		}
	case 5:
		if g.one(10) {
			n := g.number(1048576, 1048577, 1_500_000)
			b.put(frame(byte(g.number(0x01, 0x02, 0x03, 0x11)), opaque, 0, u64(0), "big", strings.Repeat("w", n)))
		}
	default:
		b.put(frame(0x10, opaque, 0, "", g.pick("bogus", "sizes", "detail on", "detail off", "detailed"), ""))
	}
}

// arithmetic: see classic.arithmetic.
func (g *frames) arithmetic(b *batch) {
	if g.one(3) {
		b.put(frame(0x00, g.next(b, "latest"), 0, "", "latest", ""))
		return
	}
	if strings.Contains(b.wire[0].String(), "latest") {
		return
	}
	b.put(frame(0x11, g.next(b, "latest"), 0, u32(9)+u32(0), "latest", g.pick("250", "400", "10", "9", "0", "9223372036854775000")))
	for range 1 + g.rng.IntN(4) {
		key := g.pick("latest", "latest", "made")
		b.put(frame(byte(g.number(0x05, 0x15, 0x06, 0x16)), g.next(b, key), 0,
			u64(uint64(g.number(0, 1, 5, 10, 90)))+u64(100)+u32(uint32(g.number(0, 0, 100, 4294967295))), key, ""))
	}
}

// expiring is about an item that lives for seconds.
func (g *frames) expiring(b *batch) {
	key, there, ok := g.timed(b)
	if !ok {
		b.put(frame(0x0a, g.next(b, ""), 0, "", "", ""))
		return
	}
	op := g.next(b, key)
	switch t := g.ttl(); {
	case there && g.one(4):
		b.put(frame(byte(g.number(0x1c, 0x1d, 0x1e, 0x23, 0x24)), op, 0, u32(uint32(t)), key, ""))
		g.lives(key, t)
	case there && g.one(8):
		b.put(frame(byte(g.number(0x04, 0x14)), op, 0, "", key, ""))
		g.gone(key)
	case !there && g.one(3):
		b.put(frame(byte(g.number(0x01, 0x02, 0x11, 0x12)), op, 0, u32(7)+u32(uint32(t)), key, "t"))
		g.lives(key, t)
	case !there && g.one(4):
		b.put(frame(byte(g.number(0x05, 0x06, 0x15, 0x16)), op, 0, u64(1)+u64(100)+u32(uint32(t)), key, ""))
		g.lives(key, t)
	default:
		b.put(frame(byte(g.number(0x00, 0x09, 0x0c, 0x0d)), op, 0, "", key, ""))
	}
}
