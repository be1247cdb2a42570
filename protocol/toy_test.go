package protocol_test

import (
	"strings"

	"sememcached/protocol"
)

// A toy is the smallest cache that the replies of this package can be tried
// on: a map, no limits but the size of an item, and a clock that stands still.
type toy struct {
	items      map[string]*toyItem
	cas        uint64
	crawlerOff bool
}

type toyItem struct {
	value   []byte
	flags   uint32
	exptime int64 // absolute, 0 for never
	cas     uint64

	fetched, stale, sent, binary bool
}

const (
	toyNow     = 1_800_000_000 // the time of every request, and of the start
	toyTooLong = 1_048_477     // the longest value that fits in an item of 1 MB
)

// expiry converts an exptime of the wire.
func (c *toy) expiry(exptime int64) int64 {
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return 1
	case exptime <= 60*60*24*30:
		return toyNow + exptime
	}
	return exptime
}

// get returns the live item of key, or nil.
func (c *toy) get(key []byte) *toyItem {
	it := c.items[string(key)]
	if it != nil && it.exptime != 0 && it.exptime <= toyNow {
		delete(c.items, string(key))
		return nil
	}
	return it
}

// nextCAS returns a new unique; the first is 2, as in memcached.
func (c *toy) nextCAS() uint64 {
	c.cas++
	return c.cas + 1
}

func (c *toy) put(key, value []byte, flags uint32, exptime int64) *toyItem {
	if c.items == nil {
		c.items = map[string]*toyItem{}
	}
	it := &toyItem{value: append([]byte(nil), value...), flags: flags, exptime: exptime, cas: c.nextCAS()}
	c.items[string(key)] = it
	return it
}

// handle answers a request; it is a session's handle.
func (c *toy) handle(r *protocol.Request, out protocol.Outcome, reply []byte) (send string, quit bool) {
	if r.IsBinary {
		return c.binary(r, out, reply)
	}
	if r.Command.Stores() && len(r.Key) > 0 && r.NBytes > toyTooLong {
		if r.Command == protocol.Set || r.Command == protocol.MetaSet {
			delete(c.items, string(r.Key))
		}
		return c.unless(r, protocol.ReplyTooLarge), false
	}
	if out == protocol.Reply {
		return string(reply), false
	}
	if isAdmin(r.Command) {
		return c.unless(r, c.admin(r)), false
	}
	switch r.Command {
	case protocol.Get, protocol.Gets, protocol.Gat, protocol.Gats:
		return c.lookup(r), false
	case protocol.MetaGet, protocol.MetaSet, protocol.MetaDelete, protocol.MetaArithmetic, protocol.MetaDebug:
		return c.meta(r), false
	case protocol.Quit:
		return "", true
	case protocol.Version:
		return string(protocol.AppendVersion(nil, "1.6.45")), false
	case protocol.MetaNoop:
		return protocol.ReplyMetaNoop, false
	case protocol.RefreshCerts:
		return protocol.ReplyTLSOff, false
	case protocol.FlushAll:
		if r.Exptime <= 0 {
			clear(c.items)
		}
		return c.unless(r, protocol.ReplyOK), false
	case protocol.Verbosity:
		return c.unless(r, protocol.ReplyOK), false
	}
	return c.unless(r, c.keyed(r)), false
}

func (c *toy) unless(r *protocol.Request, reply string) string {
	if r.Noreply {
		return ""
	}
	return reply
}

func (c *toy) lookup(r *protocol.Request) string {
	var b []byte
	for key, rest := protocol.NextKey(r.Keys); key != nil; key, rest = protocol.NextKey(rest) {
		if it := c.get(key); it != nil {
			it.fetched = true
			b = protocol.AppendValue(b, key, it.flags, it.value, it.cas, r.Command == protocol.Gets || r.Command == protocol.Gats)
			if r.Command == protocol.Gat || r.Command == protocol.Gats {
				it.exptime = c.expiry(r.Exptime)
			}
		}
	}
	return string(b) + protocol.ReplyEnd
}

func (c *toy) keyed(r *protocol.Request) string {
	it := c.get(r.Key)
	switch r.Command {
	case protocol.Set:
	case protocol.Add:
		if it != nil {
			return protocol.ReplyNotStored
		}
	case protocol.Replace:
		if it == nil {
			return protocol.ReplyNotStored
		}
	case protocol.CAS:
		if it == nil {
			return protocol.ReplyNotFound
		}
		if it.cas != r.CAS {
			return protocol.ReplyExists
		}
	case protocol.Append, protocol.Prepend:
		if it == nil {
			return protocol.ReplyNotStored
		}
		if r.Command == protocol.Append {
			c.put(r.Key, append(it.value, r.Data...), it.flags, it.exptime)
		} else {
			c.put(r.Key, append(append([]byte(nil), r.Data...), it.value...), it.flags, it.exptime)
		}
		return protocol.ReplyStored
	case protocol.Delete:
		if it == nil {
			return protocol.ReplyNotFound
		}
		delete(c.items, string(r.Key))
		return protocol.ReplyDeleted
	case protocol.Touch:
		if it == nil {
			return protocol.ReplyNotFound
		}
		it.exptime = c.expiry(r.Exptime)
		return protocol.ReplyTouched
	case protocol.Incr, protocol.Decr:
		if it == nil {
			return protocol.ReplyNotFound
		}
		v, ok := c.add(r.Key, it, r.Delta, r.Command == protocol.Decr)
		if !ok {
			return protocol.ReplyNonNumeric
		}
		return string(protocol.AppendUint(nil, v))
	default:
		return protocol.ReplyError
	}
	c.put(r.Key, r.Data, r.Flags, c.expiry(r.Exptime))
	return protocol.ReplyStored
}

// add changes the number in it, which keeps its length if the result is shorter.
func (c *toy) add(key []byte, it *toyItem, delta uint64, down bool) (uint64, bool) {
	v, ok := protocol.ParseUint64(it.value)
	if !ok {
		return 0, false
	}
	if !down {
		v += delta
	} else {
		v -= min(v, delta)
	}
	digits := strings.TrimSuffix(string(protocol.AppendUint(nil, v)), "\r\n")
	digits += strings.Repeat(" ", max(0, len(it.value)-len(digits)))
	c.put(key, []byte(digits), it.flags, it.exptime)
	return v, true
}

// admin answers what it can without being a server.
func (c *toy) admin(r *protocol.Request) string {
	a, refused := protocol.ParseAdmin(r)
	if refused != "" {
		return refused
	}
	switch a.Action {
	case protocol.StatsReset:
		return protocol.ReplyReset
	case protocol.StatsDetailDump, protocol.StatsCachedump, protocol.StatsExtstore:
		return protocol.ReplyEnd
	case protocol.CrawlerMetadump:
		return protocol.ReplyOK + protocol.ReplyEnd
	case protocol.CrawlerMgdump:
		return protocol.ReplyOK + "EN\r\n"
	case protocol.StatsSizes:
		return string(protocol.AppendStat(nil, "sizes_status", "disabled")) + protocol.ReplyEnd
	case protocol.SlabsReassign:
		switch {
		case a.Source == a.Destination:
			return protocol.ReplyReassignSame
		case a.Source > 39 || a.Destination > 39:
			return protocol.ReplyReassignBad
		}
		return protocol.ReplyReassignNoSpare
	case protocol.CrawlerDisable:
		c.crawlerOff = true
	case protocol.CrawlerEnable:
		if !c.crawlerOff {
			return protocol.ReplyCrawlerNoStart
		}
		c.crawlerOff = false
	}
	return protocol.ReplyOK
}
