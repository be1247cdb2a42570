package load

import "fmt"

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
