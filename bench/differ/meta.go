package differ

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// meta makes meta commands. What memcached 1.6.18 answers otherwise than 1.6.45 is
// not made: E, x of md, s and N of ms, bad modes, md with a bad flag, N on a ma
// that is quiet.
type meta struct{ *keys }

func (g *meta) binary() bool { return false }

func (g *meta) batch(b *batch) {
	for range 1 + g.rng.IntN(6) {
		g.command(b)
	}
}

// flags picks some of the flags, in random order.
func (g *meta) flags(all ...string) string {
	var b strings.Builder
	g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all[:g.rng.IntN(min(len(all), 8)+1)] {
		b.WriteString(" " + f)
	}
	return b.String()
}

func (g *meta) command(b *batch) {
	key := g.pick("a", "b", "c", "dd", "e:1", "h")
	name, encoded := key, ""
	if g.one(6) {
		name, encoded = base64.StdEncoding.EncodeToString([]byte(key)), " b"
	}
	put := func(head, flags, tail string) { b.put2(g.with(key, head+flags+encoded+tail)) }
	casOf := g.pick("C%C", "C%C", "C1", "C999999999")
	opaque := g.pick("O1", "Oabc", "O1234567890123456789012345678901")
	switch g.rng.IntN(22) {
	case 0, 1, 2, 3, 4:
		put("mg "+name, g.flags("v", "k", opaque, "q", "s", "t", "c", "f", "h", "l", "u", g.pick("R10", "R500"), g.pick("T100", "T1000", "T0")), "\r\n")
	case 5:
		put("mg "+name, g.flags("v", "k", "s", "t", "c", "f", "h", g.pick("N100", "N1000", "N0"), g.pick("T100", "T0", "R500"), opaque, "q"), "\r\n")
	case 6, 7, 8, 9:
		v := g.value()
		put(fmt.Sprintf("ms %s %d", name, len(v)), g.flags("k", opaque, "q", "c", g.pick("T100", "T1000", "T0", "T-1"), g.pick("F5", "F0", "F4294967295"), g.pick("MS", "ME", "MA", "MP", "MR", "MS")), "\r\n"+v+"\r\n")
	case 10, 11:
		v := g.value()
		put(fmt.Sprintf("ms %s %d", name, len(v)), g.flags(casOf, "I", g.pick("T100", "T0"), "c", g.pick("MS", "MA", "MR"), "q"), "\r\n"+v+"\r\n")
	case 12, 13:
		put("md "+name, g.flags("q", "k", opaque, "I", g.pick("T100", "T1000"), casOf), "\r\n")
	case 14, 15:
		g.arithmetic(b, opaque)
	case 16:
		b.put("ma viv" + g.flags("N100", "J113", "v", "t", "c", "D2", "k", opaque) + "\r\n")
	case 17:
		b.put("me " + key + "\r\n")
	case 18:
		b.put(g.pick("md viv\r\n", "mg "+key+" v v\r\n", "mg "+key+" z\r\n", "mg "+key+" T\r\n", "mg "+key+" Tx\r\n",
			"mg Zm9v b k v\r\n", "mg ??? b v\r\n", "ma "+key+" z\r\n", "mg nope k O9 v\r\n",
			"ms Zm9v 2 b k c\r\nhi\r\n", "md Zm9v b k\r\n", "ms "+key+" 1 T\r\na\r\n", "mg "+strings.Repeat("k", 251)+" v\r\n",
			"mg "+longKey+" v s\r\n", "ms "+longKey+" 1\r\nx\r\n", "ms big 1048577 T0\r\n"+strings.Repeat("w", 1048577)+"\r\n"))
	case 19:
		b.put("gets " + key + "\r\n")
	case 20:
		g.expiring(b)
	default:
		b.put(fmt.Sprintf("set %s 3 0 2\r\n%d\r\n", key, 10+g.rng.IntN(90)))
	}
}

// arithmetic is about a number that is new, and keeps its length or is not looked
// at in this batch: see classic.arithmetic.
func (g *meta) arithmetic(b *batch, opaque string) {
	if g.one(3) {
		b.put("mg later s v\r\n")
		return
	}
	if strings.Contains(b.wire[0].String(), " later") {
		return
	}
	v := g.pick("250", "400", "9", "10", "100", "0", "9223372036854775000")
	b.put(fmt.Sprintf("ms later %d F9\r\n%s\r\n", len(v), v))
	for range 1 + g.rng.IntN(3) {
		b.put2(g.with("later", "ma later"+g.flags("q", "k", opaque, "v", "t", "c", g.pick("D5", "D0", "D10"), g.pick("MI", "MD", "M+", "M-"), g.pick("C%C", "C1"))+"\r\n"))
	}
	// T is not combined with a number that becomes longer: memcached gives the time
	// to the old item then, and the new one keeps its own.
	b.put("ma three N0 J500 D0" + g.flags("v", "t", "k", g.pick("T100", "T0", "T1000")) + "\r\n")
}

// expiring is about an item that lives for seconds.
func (g *meta) expiring(b *batch) {
	key, there, ok := g.timed(b)
	if !ok {
		b.put("mg none\r\n")
		return
	}
	switch t := g.ttl(); {
	case there && g.one(4):
		b.put(fmt.Sprintf("mg %s T%d%s\r\n", key, t, g.flags("v", "k", "s", "f")))
		g.lives(key, t)
	case there && g.one(8):
		b.put("md " + key + g.flags("q", "k") + "\r\n")
		g.gone(key)
	case !there && g.one(3):
		b.put(fmt.Sprintf("ms %s 1 T%d%s\r\nt\r\n", key, t, g.flags("q", "k", "ME")))
		g.lives(key, t)
	case !there && g.one(3):
		b.put(fmt.Sprintf("mg %s N%d%s\r\n", key, t, g.flags("v", "k", "s")))
		g.lives(key, t)
	case !there && g.one(3):
		b.put(fmt.Sprintf("ma %s N%d%s\r\n", key, t, g.flags("v", "k", "J7")))
		g.lives(key, t)
	default:
		b.put("mg " + key + g.flags("v", "k", "s", "f", "h") + "\r\n")
	}
}
