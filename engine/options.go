package engine

import "sememcached/avc"

// Options is what only the meta and binary protocols ask of an operation, and
// what only they are told. The letters are the flags of the meta commands
// (protocol.txt, "Meta Commands"). A Call without Options is a classic one.
type Options struct {
	Value      bool // v: the value is wanted, so read is needed
	Attrs      bool // h l t: facts about the item are wanted, so getattr is needed
	NoBump     bool // u: the look-up leaves no trace
	DropEqual  bool // C of mg: no value if the cas is Call.CAS
	Touch      bool // T: the item gets a new exptime, TTL
	Vivify     bool // N, binary initial: an item is made where there is none, with VivifyTTL
	Recache    bool // R: win if the remaining time is below RecacheTTL
	Invalidate bool // I: md marks the item stale; ms with a lower cas stores a stale one
	Clear      bool // x: md leaves the item with an empty value
	SetCAS     bool // E: the item gets NewCAS
	BinaryKey  bool // b: the key came in base64
	TouchFirst bool // T stands before R: R compares with the new time
	Meta       bool // counted as memcached counts the meta commands
	TouchLast  bool // N stands before T: T has the last word on a new item

	TTL, VivifyTTL, RecacheTTL int64 // as Call.Exptime
	NewCAS, Initial            uint64

	// View is what the reply may tell, set by every operation that finds or makes
	// an item.
	View View
}

// View is one item as a reply shows it, at the moment of the operation.
type View struct {
	Size        int    // of the value in bytes
	ItemSize    int    // of the item, by memcached's formula
	Class       int    // the slab class that memcached would use for ItemSize
	TTL         int64  // remaining seconds as found, -1 never
	AfterTouch  int64  // TTL after T
	AfterVivify int64  // TTL after N
	Created     bool   // the operation made the item
	CAS         uint64 // after the operation
	Flags       uint32
	LastAccess  uint32 // seconds since the last access, before this one
	Fetched     bool   // hit since it was stored, before this time
	Won         bool   // W: this client is to recache
	Stale       bool   // X
	Sent        bool   // Z: another client has won already
	BinaryKey   bool
	Equal       bool // with DropEqual: the cas is the client's own
}

// Tail is what follows a head that a Composer wrote.
type Tail uint8

// Tails. Where a value follows, it is the item's own; a large one is pinned.
const (
	TailNone  Tail = iota
	TailValue      // the value's bytes
	TailText       // the value and CR LF
)

// Composer writes the head of a reply about an item. It is called with the
// item's shard locked: it must be quick, must not block, and must not call the
// engine. dst is returned with the head appended.
type Composer interface {
	Compose(dst []byte, v *View) ([]byte, Tail)
}

// row is what the call needs: its operation's row, widened by its options. A
// row made here is in buf.
func (c *Call) row(buf *Row) *Row {
	base := &Table[c.Op]
	o := c.Opt
	if o == nil {
		return base
	}
	*buf = *base
	switch c.Op {
	case OpMetaGet:
		buf.Exists = avc.Getattr
		if o.Value {
			buf.Exists = avc.Read
		}
		if o.Attrs {
			buf.Exists |= avc.Getattr
		}
		if o.Touch {
			buf.Exists |= avc.Setattr
		}
	case OpIncr, OpDecr:
		if o.Touch {
			buf.Exists |= avc.Setattr
		}
		if o.Attrs {
			buf.Exists |= avc.Getattr
		}
	case OpDelete:
		// What removes needs remove, whatever else it asks for.
		buf.Exists = 0
		if o.Invalidate || o.Touch {
			buf.Exists |= avc.Setattr
		}
		if o.Clear {
			buf.Exists |= avc.Write
		}
		if !o.Invalidate && !o.Clear {
			buf.Exists |= avc.Remove
		}
	}
	if o.Vivify {
		switch c.Op {
		case OpMetaGet, OpIncr, OpDecr, OpAppend, OpPrepend:
			// What could create says so, item there or not.
			buf.Absent, buf.Denial = avc.Create, Denied
		}
	}
	return buf
}
