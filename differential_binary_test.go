package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
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
	return fmt.Sprintf("{%02x status %02x opaque %x extras %x key %q value %q}", p.opcode, p.status, p.opaque, p.extras, p.key, short(p.value))
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

// endMark is the opaque of the noop that ends a batch.
const endMark = 0xdeadbeef

// packets sends frames in random pieces and returns what is answered.
func (c *diffConn) packets(t *testing.T, frames string, r *rand.Rand) (ps []packet) {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	first := 1 + r.IntN(len(frames)+24)
	go func() {
		b := []byte(frames + frame(0x0a, endMark, 0, "", "", ""))
		first = min(first, len(b))
		if _, err := c.Write(b[:first]); err == nil {
			c.Write(b[first:])
		}
	}()
	for {
		p, err := readPacket(c.r)
		if err != nil {
			t.Fatalf("%v after %v", err, ps)
		}
		if p.opaque == endMark {
			return ps
		}
		ps = append(ps, p)
	}
}

// TestDifferentialBinary does for the binary protocol what TestDifferential does
// for text.
func TestDifferentialBinary(t *testing.T) {
	theirs := startMemcached(t)
	ts := startServer(t, testConfig{})
	r := seededRand(t, "TestDifferentialBinary", 5)
	a, b := dialDiff(t, ts.tcp), dialDiff(t, theirs)
	g := &frameGenerator{r: r}
	batches, frames := 0, 0
	for end := time.Now().Add(*diffTime); time.Now().Before(end) && !t.Failed(); batches++ {
		if batches%500 == 0 {
			g.cas = [2]map[string]uint64{{}, {}}
			for _, c := range []*diffConn{a, b} {
				c.packets(t, frame(0x08, 1, 0, "", "", ""), r)
			}
		}
		n := 1 + r.IntN(8)
		var ours, other strings.Builder
		g.keys = map[uint32]string{}
		for i := range n {
			x, y := g.command(uint32(batches<<8 | i))
			ours.WriteString(x)
			other.WriteString(y)
		}
		frames += n
		got, want := a.packets(t, ours.String(), r), b.packets(t, other.String(), r)
		g.learn(0, got)
		g.learn(1, want)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("batch %d:\n sent %x\n ours %v\ntheirs %v", batches, short(ours.String()), got, want)
		}
		for i := range min(len(got), len(want)) {
			if (got[i].cas == 0) != (want[i].cas == 0) {
				t.Errorf("batch %d: %v has cas %d, memcached's %d", batches, got[i], got[i].cas, want[i].cas)
			}
		}
	}
	t.Logf("%d frames in %d batches", frames, batches)
	x, y := dialDiff(t, ts.tcp), dialDiff(t, theirs)
	compareStats(t, x, y, r)
}

// frameGenerator makes frames. keys says which key the frame with an opaque was
// about.
type frameGenerator struct {
	r    *rand.Rand
	cas  [2]map[string]uint64
	keys map[uint32]string
}

func (g *frameGenerator) pick(n ...int) int { return n[g.r.IntN(len(n))] }

func (g *frameGenerator) command(opaque uint32) (ours, theirs string) {
	same := func(s string) (string, string) { return s, s }
	key := string(rune('a' + g.r.IntN(5)))
	if g.r.IntN(40) == 0 {
		key = strings.Repeat("k", 250)
	}
	g.keys[opaque] = key
	value := strings.Repeat("v", g.r.IntN(50))
	if g.r.IntN(20) == 0 {
		value = strings.Repeat("w", g.pick(16_383, 16_384, 16_385, 40_000))
	}
	// A cas of its own for each server: none, a good one, a bad one.
	cas := func(n int) uint64 { return 0 }
	switch g.r.IntN(6) {
	case 0:
		cas = func(n int) uint64 { return g.cas[n][key] }
	case 1:
		cas = func(int) uint64 { return 1 << 60 }
	}
	exp := u32(uint32(g.pick(0, 0, 100, 1000, 2592000, 2592001, 2147483647, 4294967295)))
	switch g.r.IntN(14) {
	case 0, 1, 2:
		return same(frame(byte(g.pick(0x00, 0x09, 0x0c, 0x0d)), opaque, 0, "", key, ""))
	case 3, 4, 5:
		op, extras := byte(g.pick(0x01, 0x02, 0x03, 0x11, 0x12, 0x13)), u32(uint32(g.pick(0, 5, 4294967295)))+exp
		return frame(op, opaque, cas(0), extras, key, value), frame(op, opaque, cas(1), extras, key, value)
	case 6:
		op := byte(g.pick(0x0e, 0x0f, 0x19, 0x1a))
		return frame(op, opaque, cas(0), "", key, value), frame(op, opaque, cas(1), "", key, value)
	case 7:
		op := byte(g.pick(0x04, 0x14))
		return frame(op, opaque, cas(0), "", key, ""), frame(op, opaque, cas(1), "", key, "")
	case 8, 9:
		// Numbers keep their length: see generator.command.
		g.keys[opaque] = "num"
		op, extras := byte(g.pick(0x05, 0x15)), u64(uint64(g.pick(0, 1, 5)))+u64(100)+u32(uint32(g.pick(0, 0, 100, 4294967295)))
		return same(frame(0x11, opaque, 0, u32(9)+u32(0), "num", "500") + frame(op, opaque, 0, extras, g.numKey(), ""))
	case 10:
		op, extras := byte(g.pick(0x05, 0x06, 0x15, 0x16)), u64(1)+u64(100)+u32(4294967295)
		return same(frame(op, opaque, 0, extras, "nope", ""))
	case 11:
		return same(frame(byte(g.pick(0x1c, 0x1d, 0x1e, 0x23, 0x24)), opaque, 0, exp, key, ""))
	case 12:
		switch g.r.IntN(4) {
		case 0:
			return same(frame(0x1b, opaque, 0, "", "", "")) // verbosity: not implemented
		case 1:
			return same(frame(0xf0, opaque, 0, "", "", "swallowed"))
		case 2:
			return same(frame(0x20, opaque, 0, "", "", ""))
		}
		return same(frame(0x10, opaque, 0, "", "bogus", ""))
	}
	return same(frame(0x0a, opaque, 0, "", "", ""))
}

// numKey is the key of a number, or of one that is made.
func (g *frameGenerator) numKey() string {
	if g.r.IntN(4) == 0 {
		return "made"
	}
	return "num"
}

// learn notes the cas values of replies.
func (g *frameGenerator) learn(n int, ps []packet) {
	for _, p := range ps {
		if key := g.keys[p.opaque]; p.status == 0 && p.cas != 0 && key != "" {
			g.cas[n][key] = p.cas
		}
	}
}
