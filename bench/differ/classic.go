package differ

import (
	"fmt"
	"strings"
)

// classic makes the commands of the classic text protocol.
type classic struct{ *keys }

func (g *classic) binary() bool { return false }

func (g *classic) batch(b *batch) {
	if g.one(600) {
		// memcached drops the replies that it has not sent: there are none.
		b.closes = true
		b.put(g.pick("GET / HTTP/1.1\r\nversion\r\n", strings.Repeat("x", 3000), "delete"+strings.Repeat(" ", 3000)))
		return
	}
	n := 1 + g.rng.IntN(8)
	if g.one(200) {
		n = 40 // more than memcached executes before it looks at another connection
	}
	for range n {
		g.command(b)
	}
	if g.one(600) {
		b.closes = true
		b.put(g.pick("quit\r\n", "quit now\r\nget a\r\n"))
	}
}

func (g *classic) noreply() string {
	if g.one(6) {
		return " noreply"
	}
	return ""
}

func (g *classic) exptime() string {
	return g.pick("0", "0", "0", "1000", "-1", "2592000", "2592001", "2147483647", "4294967295", "2147483648", "00007000")
}

func (g *classic) command(b *batch) {
	switch g.rng.IntN(26) {
	case 0, 1, 2, 3, 4:
		v := g.value()
		b.put(fmt.Sprintf("%s %s %s %s %d%s\r\n%s\r\n", g.pick("set", "set", "add", "replace", "append", "prepend"), g.key(),
			g.pick("0", "1", "65535", "4294967295", "007", "4294967296"), g.exptime(), len(v), g.noreply(), v))
	case 5, 6:
		k, v := g.key(), g.value()
		b.put2(g.with(k, fmt.Sprintf("cas %s 3 0 %d %s%s\r\n%s\r\n", k, len(v), g.pick("%C", "%C", "1", "18446744073709551615"), g.noreply(), v)))
	case 7:
		b.put(g.pick("incr", "decr") + " " + g.key() + " " + g.pick("18446744073709551616", "x", "-1", "1x") + g.noreply() + "\r\n")
	case 8, 9:
		g.arithmetic(b)
	case 10, 11, 12:
		b.put("gets " + g.key() + "\r\n")
	case 13, 14:
		b.put("get " + g.key() + " " + g.key() + "  " + g.key() + "\r\n")
	case 15:
		b.put("delete " + g.key() + g.pick("", "", " 0", " noreply", " 0 noreply") + "\r\n")
	case 16:
		b.put("touch " + g.key() + " " + g.pick("0", "1000", "-1", "x") + g.noreply() + "\r\n")
	case 17:
		b.put(g.pick("gat ", "gats ") + g.pick("0", "1000", "-1", "x") + " " + g.key() + " " + g.key() + "\r\n")
	case 18:
		b.put(g.pick("version\r\n", "verbosity 0\r\n", "bogus command\r\n", "stats bogus\r\n", "verbosity 0 noreply\r\n", "GET a\r\n", "gett a\r\n", "seta 0 0 1\r\n",
			"lru mode nosuch\r\n", "lru_crawler sleep x\r\n", "slabs reassign\r\n", "slabs automove x\r\n", "cache_memlimit x\r\n", "stats detail\r\n", "stats cachedump 99 1\r\n", "version 1 2 3\r\n"))
	case 19:
		// The data block is not what the length says.
		b.put(fmt.Sprintf("set %s 0 0 %d\r\nabcdefghsurplus bytes\r\nversion\r\n", g.key(), g.number(3, 6, 9)))
	case 20:
		if g.one(40) {
			n := g.number(1048575, 1048576, 1048577, 1_500_000)
			b.put(fmt.Sprintf("%s big 0 0 %d\r\n%s\r\nget big\r\n", g.pick("set", "set", "add", "replace", "append"), n, strings.Repeat("v", n)))
			return
		}
		b.put("append " + g.key() + " 0 0 1\r\n7\r\n")
	case 21:
		if g.one(1000) {
			line := g.pick("flush_all", "flush_all 0", "flush_all -1", "flush_all noreply", "flush_all x", "flush_all 0 noreply")
			if line != "flush_all x" {
				g.forget()
			}
			b.put(line + "\r\n")
			return
		}
		b.put("get none\r\n")
	case 22, 23:
		g.expiring(b)
	case 24:
		if g.one(8) {
			b.put("get" + strings.Repeat(" a b nothing", 1+g.rng.IntN(g.number(3, 30, 300))) + "\r\n")
			return
		}
		b.put("get " + longKey + " a\r\n")
	default:
		b.put("set " + g.key() + " 0 0 2\r\n10\r\n")
	}
}

// arithmetic counts up and down. Whether memcached pads a number that becomes
// shorter, or makes a new item, depends on who holds the item at that moment: a
// reply of the same batch that has not been sent does. So the number is new, and
// looked at in a later batch. It is below 2^63: in a larger one memcached looks for
// a minus sign, beyond its end as well.
func (g *classic) arithmetic(b *batch) {
	if g.one(3) {
		b.put(g.pick("get", "gets") + " late\r\n")
		return
	}
	if strings.Contains(b.wire[0].String(), " late") {
		return
	}
	v := g.pick("250", "400", "9", "10", "99", "100", "1", "0", "9223372036854770000")
	b.put(fmt.Sprintf("set late 9 0 %d%s\r\n%s\r\n", len(v), g.noreply(), v))
	for range 1 + g.rng.IntN(4) {
		b.put(g.pick("incr late ", "decr late ") + g.pick("0", "1", "5", "10", "50", "90") + g.noreply() + "\r\n")
	}
	b.put(g.pick("incr late ", "decr late ") + g.pick("1", "18446744073709551615", "9223372036854775808") + g.noreply() + "\r\n")
}

// expiring is about an item that lives for seconds.
func (g *classic) expiring(b *batch) {
	key, there, ok := g.timed(b)
	if !ok {
		b.put("get none\r\n")
		return
	}
	switch t := g.ttl(); {
	case there && g.one(4):
		b.put(fmt.Sprintf("touch %s %d%s\r\n", key, t, g.noreply()))
		g.lives(key, t)
	case there && g.one(4):
		b.put(fmt.Sprintf("gat %d %s\r\n", t, key))
		g.lives(key, t)
	case there && g.one(8):
		b.put("delete " + key + g.noreply() + "\r\n")
		g.gone(key)
	case !there && g.one(3):
		b.put(fmt.Sprintf("%s %s 0 %d 1%s\r\nt\r\n", g.pick("set", "add"), key, t, g.noreply()))
		g.lives(key, t)
	default:
		b.put(g.pick("get ", "gets ", "gat 0 none ", "append none 0 0 0\r\n\r\nget ") + key + "\r\n")
	}
}
