package load

import "bytes"

// The meta protocol: "mg <key> v" for a get, "ms <key> <bytes>" for a set. A reply
// does not repeat the key; replies come in order.

var (
	replyHD = []byte("HD\r\n")
	replyEN = []byte("EN\r\n")
)

func (t *thread) appendMeta(out []byte, set bool, k uint32) []byte {
	if set {
		out = AppendKey(append(out, "ms "...), k)
		out = append(out, t.setTail...)
		out = t.values.appendTo(out, k)
		return append(out, '\r', '\n')
	}
	out = AppendKey(append(out, "mg "...), k)
	return append(out, " v\r\n"...)
}

// consumeBare is consume for the protocols whose replies come in order and do not repeat the key: the meta
// protocol and that of Redis.
func (t *thread) consumeBare(c *conn, p []byte) []byte {
	for len(p) > 0 && c.at < c.n {
		switch {
		case c.body > 0:
			if p = t.takeBody(c, p); c.body == 0 {
				t.answered(c)
			}
		case c.sets[c.at] && bytes.HasPrefix(p, t.storedLine):
			p = p[len(t.storedLine):]
			t.answered(c)
		case !c.sets[c.at] && bytes.HasPrefix(p, t.missLine):
			p = p[len(t.missLine):]
			t.res.Misses++
			t.answered(c)
		case !c.sets[c.at] && len(p) >= t.headLen && string(p[:t.headLen]) == t.headTail:
			t.hit(c)
			p = p[t.headLen:]
		default:
			rest, ok := t.strange(c, p)
			if !ok {
				return p
			}
			p = rest
		}
	}
	return p
}

// takeBody takes a part of a value from p and returns what follows it.
func (t *thread) takeBody(c *conn, p []byte) []byte {
	k := min(c.body, len(p))
	if t.cfg.Verify {
		t.compare(c, p[:k])
	}
	c.body -= k
	return p[k:]
}

// hit begins the value of a get of one key.
func (t *thread) hit(c *conn) {
	t.res.Hits++
	c.got++
	c.body = t.values.size + len(t.bodyTail)
	if t.cfg.Verify {
		c.bodyKey = c.keys[c.keyAt]
	}
}
