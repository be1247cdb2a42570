package load

import (
	"bytes"
	"fmt"
)

// The protocol of Redis (RESP): GET and SET as arrays of bulk strings. A reply does not repeat the
// key; replies come in order. See redis.io, "Redis serialization protocol specification".

var (
	redisOK   = []byte("+OK\r\n")
	redisNone = []byte("$-1\r\n")
	redisSet  = fmt.Appendf(nil, "*3\r\n$3\r\nSET\r\n$%d\r\n", keyLen)
	redisGet  = fmt.Appendf(nil, "*2\r\n$3\r\nGET\r\n$%d\r\n", keyLen)
)

func (t *thread) appendRedis(out []byte, set bool, k uint32) []byte {
	if set {
		out = AppendKey(append(out, redisSet...), k)
		out = append(out, t.setTail...)
		out = t.values.appendTo(out, k)
	} else {
		out = AppendKey(append(out, redisGet...), k)
	}
	return append(out, '\r', '\n')
}

// consumeRedis is consume for the protocol of Redis.
func (t *thread) consumeRedis(c *conn, p []byte) []byte {
	for len(p) > 0 && c.at < c.n {
		switch {
		case c.body > 0:
			if p = t.takeBody(c, p); c.body == 0 {
				t.answered(c)
			}
		case c.sets[c.at] && bytes.HasPrefix(p, redisOK):
			p = p[len(redisOK):]
			t.answered(c)
		case !c.sets[c.at] && bytes.HasPrefix(p, redisNone):
			p = p[len(redisNone):]
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
