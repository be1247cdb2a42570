package storage

import "unsafe"

// header is the fixed part of an item; the package comment draws it. It is
// laid over arena memory and may hold no pointers.
type header struct {
	next     uint32    // older item of the queue; next free chunk of the page
	prev     uint32    // newer item of the queue
	cas      [2]uint32 // low, high: 64 bits would pad the header to 48 bytes
	exptime  uint32    // second it expires, 0 never
	stored   uint32    // second of the last store; decides flushes
	access   uint32    // second of the last hit or store
	label    uint32
	instance uint32
	nvalue   uint32
	nkey     uint8 // 0: the chunk is free
	shard    uint8
	form     uint8
	state    uint8
}

const headerSize = 44

// The drawing and the compiler agree, or this does not build.
var _ = [1]struct{}{}[headerSize-unsafe.Sizeof(header{})]

// Parts of form; fixed while the item is stored, except by a rewrite.
const (
	formSuffix = 0x1f // length of " flags nvalue\r\n"
	formBinary = 0x20 // the client sent the key in base64
	formNoCAS  = 0x40 // the item-size formula counts no cas
)

// Bits of state.
const (
	stateLinked  = 1 << iota // in the indexes
	statePinned              // counted in Shard.pins
	stateFetched             // was hit since it was stored; memcached's ITEM_FETCHED
	stateStale               // marked invalid by a meta delete or set
	stateToken               // the win token was given out
	stateRecent0             // hits since the eviction last looked, two bits
	stateRecent1
	stateMain // in the main queue, not the probationary one

	stateRecent = stateRecent0 | stateRecent1
)

// Item is a view of one stored item; the zero Item is none. It is valid until
// its shard is unlocked, or, if pinned, until it is unpinned; under a pin only
// Key, Value, Text, Instance and Size may be used without the lock.
type Item struct{ p unsafe.Pointer }

func (it Item) head() *header { return (*header)(it.p) }

// body returns the n bytes that lie off bytes behind the header.
func (it Item) body(off, n int) []byte {
	// SAFETY: the lengths in the header never exceed the chunk.
	return unsafe.Slice((*byte)(unsafe.Add(it.p, headerSize+off)), n)
}

// valueOffset is where the value begins, in bytes behind the header.
func (h *header) valueOffset() int {
	return int(h.nkey) + int(h.form&formSuffix)
}

// size is what the item takes of its chunk.
func (h *header) size() int { return headerSize + h.valueOffset() + int(h.nvalue) + 2 }

func (h *header) casID() uint64 { return uint64(h.cas[0]) | uint64(h.cas[1])<<32 }

func (h *header) setCAS(v uint64) { h.cas = [2]uint32{uint32(v), uint32(v >> 32)} }

// Nil reports whether it is no item.
func (it Item) Nil() bool { return it.p == nil }

// Label returns the label the item was stored with.
func (it Item) Label() uint32 { return it.head().label }

// Instance returns the instance of the key; the index key is (instance, key).
func (it Item) Instance() uint32 { return it.head().instance }

// CAS returns the unique number of the item's last change.
func (it Item) CAS() uint64 { return it.head().casID() }

// SetCAS changes the unique number.
func (it Item) SetCAS(v uint64) { it.head().setCAS(v) }

// Exptime returns the second at which the item expires, 0 for never.
func (it Item) Exptime() uint32 { return it.head().exptime }

// StoreTime returns the second of the last store. After a flush of the label
// within the same second it is later than the clock.
func (it Item) StoreTime() uint32 { return it.head().stored }

// LastAccess returns the second of the last hit, or of the store.
func (it Item) LastAccess() uint32 { return it.head().access }

// Flags returns the client flags.
func (it Item) Flags() uint32 {
	h := it.head()
	var v uint32
	for _, c := range it.body(int(h.nkey)+1, int(h.form&formSuffix)-1) {
		if c == ' ' {
			break
		}
		v = v*10 + uint32(c-'0')
	}
	return v
}

// Key returns the key, a view of the arena.
func (it Item) Key() []byte {
	n := int(it.head().nkey)
	return it.body(0, n)[:n:n]
}

// Value returns the value, a view of the arena.
func (it Item) Value() []byte {
	h := it.head()
	return it.body(h.valueOffset(), int(h.nvalue))
}

// Text returns what follows "VALUE " in the reply of the text protocol, a view of the arena:
// "<key> <flags> <bytes>\r\n<data>\r\n".
func (it Item) Text() []byte {
	h := it.head()
	return it.body(0, h.valueOffset()+int(h.nvalue)+2)
}

// Size returns memcached's size of the item, which its statistics and limits speak of:
// 48 bytes, 8 for the cas, the key and 1, 4 for client flags other than 0, the value
// and 2.
func (it Item) Size() int {
	h := it.head()
	n := memcachedHeader + int(h.nkey) + 1 + int(h.nvalue) + 2
	if h.form&formNoCAS == 0 {
		n += memcachedCAS
	}
	if b := it.body(int(h.nkey)+1, 1); b[0] != '0' {
		n += 4
	}
	return n
}

// Fetched reports whether the item was hit since it was stored.
func (it Item) Fetched() bool { return it.head().state&stateFetched != 0 }

// Stale reports whether the item was marked invalid.
func (it Item) Stale() bool { return it.head().state&stateStale != 0 }

// SetStale marks the item invalid or valid.
func (it Item) SetStale(on bool) { it.setState(stateStale, on) }

// TokenSent reports whether a client was told to refill the item.
func (it Item) TokenSent() bool { return it.head().state&stateToken != 0 }

// SetTokenSent notes that a client was told to refill the item.
func (it Item) SetTokenSent(on bool) { it.setState(stateToken, on) }

// BinaryKey reports whether the key came in base64 and must be shown so.
func (it Item) BinaryKey() bool { return it.head().form&formBinary != 0 }

// Linked reports whether the item can be found; an item from Alloc cannot, until Link.
func (it Item) Linked() bool { return it.head().state&stateLinked != 0 }

func (it Item) setState(bit uint8, on bool) {
	h := it.head()
	if on {
		h.state |= bit
	} else {
		h.state &^= bit
	}
}

// digits returns the number of decimal digits of v.
func digits(v uint32) int {
	n := 1
	for v >= 10 {
		v /= 10
		n++
	}
	return n
}

// suffixLen is the length of " flags nvalue\r\n".
func suffixLen(flags uint32, nvalue int) int {
	return 1 + digits(flags) + 1 + digits(uint32(nvalue)) + 2
}

// physicalSize is what an item takes of its chunk.
func physicalSize(nkey int, flags uint32, nvalue int) int {
	return headerSize + nkey + suffixLen(flags, nvalue) + nvalue + 2
}

// putDecimal writes v right before b[end] and returns where it begins.
func putDecimal(b []byte, end int, v uint32) int {
	for {
		end--
		b[end] = byte('0' + v%10)
		v /= 10
		if v == 0 {
			return end
		}
	}
}

// format writes everything but the value, the key's length, the shard, the
// links and the store time. The key is written only if it is not there already.
func (it Item) format(spec *Spec, noCAS, key bool) {
	h := it.head()
	nkey := len(spec.Key)
	nsuffix := suffixLen(spec.Flags, spec.NValue)
	h.label = spec.Label
	h.instance = spec.Instance
	h.setCAS(spec.CAS)
	h.exptime = spec.Exptime
	h.access = spec.Now
	h.nvalue = uint32(spec.NValue)
	h.form = uint8(nsuffix)
	if spec.BinaryKey {
		h.form |= formBinary
	}
	if noCAS {
		h.form |= formNoCAS
	}
	line := it.body(0, nkey+nsuffix)
	if key {
		copy(line, spec.Key)
	}
	end := len(line)
	line[end-1], line[end-2] = '\n', '\r'
	at := putDecimal(line, end-2, uint32(spec.NValue)) - 1
	line[at] = ' '
	at = putDecimal(line, at, spec.Flags) - 1
	line[at] = ' '
	tail := it.body(len(line)+spec.NValue, 2)
	tail[0], tail[1] = '\r', '\n'
}
