package server

import (
	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/storage"
)

// phase says what the next input byte of a connection belongs to.
type phase uint8

const (
	phaseCommand phase = iota // a command
	phaseSwallow              // a data block that nobody wants
	phaseReserve              // nothing yet: memory has to be reserved for a large store
	phaseUpload               // the data block of a large store
	phaseStore                // nothing yet: the filled upload has to be stored first, or a store be on the disk
	phaseRefuse               // nothing yet: a store that memory refused has to be ended first
	phaseWatch                // nobody: the client watches
	phaseLogin                // nothing yet: a login is being looked at
)

// closeReason is what watch says of the end of a connection. What nothing else is
// known of is an error: a reset, or a request that ends the connection.
type closeReason uint8

const (
	closedError closeReason = iota
	closedNormal
	closedIdle
	closedShutdown
)

var closeReasons = [...]string{closedError: "error", closedNormal: "normal", closedIdle: "idle_timeout", closedShutdown: "shutdown"}

// Reasons why run stopped.
type outcome uint8

const (
	done  outcome = iota // the command is answered
	park                 // an engine call returned Pending: the command is executed again later
	block                // replies must leave before the command can go on
	hang                 // the connection is to be closed after the replies so far
)

// conn is one client connection. It belongs to its loop; nothing else touches
// it. An idle one keeps no buffer.
type conn struct {
	loop *loop
	fd   int
	slot uint32
	gen  uint32

	queued   bool // in loop.ready
	readable bool // the kernel may have input: an edge came that no short read has answered
	hup      bool // the end of the input has been announced: a short read is not the last
	parked   bool // waits for the engine
	blocked  bool // has unsent replies: waits for EPOLLOUT
	runnable bool // in holds input that can be executed without reading
	hanging  bool // closes when its replies have left
	unix     bool
	reason   closeReason // why it ends, for watch
	locked   bool        // has to authenticate first

	challenged bool // SASL: was asked for its message

	dialect  dialect // what the connection speaks
	phase    phase
	noreply  bool          // of the store in phases upload, store, refuse and swallow
	resuming bool          // the command at the start of the input has been executed in part
	stage    uint8         // how far, as its handler counts
	why      engine.Status // phaseRefuse: TooLarge or NoMemory; phaseUpload, phaseStore: Denied, or Failed
	nkeys    int           // get: keys already answered
	swallow  int           // phaseSwallow: bytes to discard
	after    []byte        // phaseSwallow: the reply then, a constant of package protocol
	up       upload
	held     *heldStore // the request of the store in those phases, where the reply needs it
	job      *statsJob  // stats: what a helper computes
	dump     *dumpJob   // a listing that has begun
	removed  *uint64    // mdp: what a helper has removed
	watcher  *watcher   // phaseWatch
	udp      *udpRequest
	login    *login // phaseLogin

	in      []byte // input kept between turns; owned, from loop.buffers
	need    int    // input length from which on the parser may say something new
	scanned int    // input bytes known to hold no LF

	// During a turn.
	input []byte // what has been received and not been executed
	owned bool   // input is in, not a part of loop.area
	large bool   // more than -R requests: executed after the others
	hint  int32  // its keys in loop.spans: the first, and that after the last
	hints int32
	nseg  int32 // replies of this turn: number, first and last of loop.segs
	first int32
	last  int32

	pin bool // one of them is an item

	unsent unsent
	stream *stream // nil: plain text

	client engine.Client
	call   engine.Call
	rules  connRules
	told   told // to the client that waits for more, for the access log

	lastCmd uint32 // worker time of the last command, for "stats conns"
	local   *listener
}

// upload is a value on its way into a reserved item.
type upload struct {
	value []byte // the item's memory; nil when there is no upload
	n     int    // length of the value
	skip  int    // bytes of it yet to be discarded, when it is not kept
	drops bool   // memcached drops the old value when there is no memory for this one
	off   int    // bytes received of value and, after it, of the CR LF
	tail  int    // length of what ends the value: 2, CR LF, or 0 in the binary protocol
	crlf  [2]byte
	key   []byte // owned: the call's key, which outlives the line it came in
}

// rest is where the next bytes of a value that is kept go: the item, and then what ends it.
func (u *upload) rest() []byte {
	if k := u.off - len(u.value); k >= 0 {
		return u.crlf[k:u.tail]
	}
	return u.value[u.off:]
}

// unsent is what the kernel did not take of a connection's replies.
type unsent struct {
	pre  []byte       // owned
	item storage.Item // pinned until body is sent
	body []byte       // a view of item
	post []byte       // owned
}

func (u *unsent) empty() bool { return len(u.pre) == 0 && len(u.body) == 0 && len(u.post) == 0 }

// tag names the connection in epoll data and in engine calls.
func (c *conn) tag() uint64 { return uint64(c.gen)<<32 | uint64(c.slot) }

// idle says whether nothing of the connection is under way.
func (c *conn) idle() bool {
	return !c.parked && !c.blocked && !c.runnable && !c.readable && (c.phase == phaseCommand || c.phase == phaseWatch)
}

// slots is the connection table of a loop.
type slots struct {
	conns []*conn  // by slot
	gens  []uint32 // generation of each slot, changed at close
	free  []uint32
	live  int
}

// put gives c a slot.
func (s *slots) put(c *conn) {
	if n := len(s.free); n > 0 {
		c.slot = s.free[n-1]
		s.free = s.free[:n-1]
		s.conns[c.slot] = c
	} else {
		c.slot = uint32(len(s.conns))
		s.conns = append(s.conns, c)
		s.gens = append(s.gens, 1)
	}
	c.gen = s.gens[c.slot]
	s.live++
}

// remove takes c out of its slot; whatever still names it finds nothing.
func (s *slots) remove(c *conn) {
	s.conns[c.slot] = nil
	s.gens[c.slot]++
	if s.gens[c.slot] == wakeGen {
		s.gens[c.slot] = 1
	}
	s.free = append(s.free, c.slot)
	s.live--
}

// find returns the connection of a tag, or nil when it is gone.
func (s *slots) find(tag uint64) *conn {
	slot, gen := uint32(tag), uint32(tag>>32)
	if int(slot) >= len(s.conns) || s.gens[slot] != gen {
		return nil
	}
	return s.conns[slot]
}

// wakeGen is the generation that stands for the loop's eventfd.
const wakeGen = 0

// event is the epoll registration of a tag: x/sys splits the kernel's 64 bits
// of user data into two numbers.
func event(mask uint32, tag uint64) unix.EpollEvent {
	return unix.EpollEvent{Events: mask, Fd: int32(uint32(tag)), Pad: int32(uint32(tag >> 32))}
}

func eventTag(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// buffers lends connections the memory for what a turn leaves over. Two sizes
// are kept for reuse, so that a client whose commands are cut into packets costs
// the garbage collector nothing.
type buffers struct {
	small, large [][]byte
}

const (
	smallBuffer = 2 << 10
	largeBuffer = 24 << 10 // a line and an inline data block
	keepBuffers = 64
)

// get returns an empty buffer with room for n bytes.
func (b *buffers) get(n int) []byte {
	switch {
	case n <= smallBuffer:
		if k := len(b.small); k > 0 {
			p := b.small[k-1]
			b.small = b.small[:k-1]
			return p
		}
		return make([]byte, 0, smallBuffer)
	case n <= largeBuffer:
		if k := len(b.large); k > 0 {
			p := b.large[k-1]
			b.large = b.large[:k-1]
			return p
		}
		return make([]byte, 0, largeBuffer)
	}
	return make([]byte, 0, n)
}

// put takes a buffer back.
func (b *buffers) put(p []byte) {
	switch cap(p) {
	case smallBuffer:
		if len(b.small) < keepBuffers {
			b.small = append(b.small, p[:0])
		}
	case largeBuffer:
		if len(b.large) < keepBuffers {
			b.large = append(b.large, p[:0])
		}
	}
}

// name is the connection's address as memcached's "stats conns" shows it.
func (c *conn) name() string {
	if c.udp != nil {
		return c.udp.sock.name()
	}
	if c.unix {
		return c.local.name()
	}
	if c.client.Peer == nil {
		return "tcp:?"
	}
	return addrName(c.client.Peer.Addr)
}
