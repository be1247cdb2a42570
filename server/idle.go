package server

// Idle connections (-o idle_timeout) are looked for once a second, in one walk
// over the loop's connections between turns. A command notes the time that the
// turn has anyway; nothing else is done for a connection.

// sweepEvery is the time between two walks, in seconds of worker time.
const sweepEvery = 1

// patience is how long, in milliseconds, a loop may sleep.
func (l *loop) patience() int {
	if l.srv.set.IdleTimeout > 0 {
		return 1000 * sweepEvery
	}
	return -1
}

// sweep closes the TCP connections that have been idle for longer than the
// timeout. As in memcached, those that wait for something other than a command,
// such as the rest of a value, and those that watch, are not idle.
func (l *loop) sweep() {
	now := l.worker.Now()
	if now < l.sweepAt {
		return
	}
	l.sweepAt = now + sweepEvery
	limit := uint32(l.srv.set.IdleTimeout)
	for _, c := range l.slots.conns {
		if c == nil || c.unix || c.udp != nil || c.phase != phaseCommand || c.parked || c.blocked || c.queued || c.awaitsData() {
			continue
		}
		if now > c.lastCmd && now-c.lastCmd > limit {
			l.n.idleKicks++
			c.reason = closedIdle
			l.close(c)
		}
	}
}

// binaryHeader is the length of a request's header in the binary protocol.
const binaryHeader = 24

// awaitsData says that a request has begun of which the data block, or in the binary
// protocol anything after the header, is not complete. A line without its end is not
// yet a request.
func (c *conn) awaitsData() bool {
	return c.need > 0 && c.scanned == 0 && (c.dialect != speaksBinary || c.need > binaryHeader)
}
