package protocol_test

import (
	"strconv"

	"sememcached/protocol"
)

// meta answers a meta command.
func (c *toy) meta(r *protocol.Request) string {
	code, it, value := protocol.MetaNF, (*protocol.MetaItem)(nil), []byte(nil)
	switch r.Command {
	case protocol.MetaGet:
		code, it, value = c.metaGet(r)
	case protocol.MetaSet:
		code, it = c.metaSet(r)
	case protocol.MetaDelete:
		code = c.metaDelete(r)
	case protocol.MetaArithmetic:
		var bad string
		if code, it, value, bad = c.metaArithmetic(r); bad != "" {
			return bad
		}
	case protocol.MetaDebug:
		item := c.get(r.Key)
		if item == nil {
			return "EN\r\n"
		}
		size := 48 + 8 + len(r.Key) + 1 + len(item.value) + 2
		if item.flags != 0 {
			size += 4
		}
		return string(protocol.AppendMetaDebug(nil, r.Key, &protocol.MetaDebugItem{
			TTL: item.ttl(), CAS: item.cas, Fetched: item.fetched, Class: 1, Size: uint64(size), BinaryKey: item.binary,
		}))
	}
	switch {
	case protocol.MetaQuiet(r, code):
		return ""
	case code == protocol.MetaVA:
		return string(protocol.AppendMetaValue(nil, r, it, value))
	}
	return string(protocol.AppendMetaLine(nil, r, code, it))
}

func (it *toyItem) ttl() int64 {
	if it.exptime == 0 {
		return -1
	}
	return it.exptime - toyNow
}

// shown is what a reply tells of an item; after is its TTL under T or N.
func (c *toy) shown(it *toyItem) protocol.MetaItem {
	return protocol.MetaItem{
		Size: len(it.value), TTL: it.ttl(), AfterT: it.ttl(), AfterN: it.ttl(), CAS: it.cas, Flags: it.flags,
		Fetched: it.fetched, Stale: it.stale, Sent: it.sent, BinaryKey: it.binary,
	}
}

// expire gives an item the time that a flag asks for and returns what t shows.
func (c *toy) expire(it *toyItem, exptime int64) int64 {
	it.exptime = c.expiry(exptime)
	return it.ttl()
}

// times does what T and N ask for, in their order, so that the last one stays.
func (c *toy) times(it *toyItem, m *protocol.Meta, show *protocol.MetaItem) {
	if m.Has('T') {
		show.AfterT = c.expire(it, m.TTL)
	}
	if show.Created {
		show.AfterN = c.expire(it, m.Vivify)
	}
	if m.Before('N', 'T') {
		show.AfterT = c.expire(it, m.TTL)
	}
}

func (c *toy) metaGet(r *protocol.Request) (protocol.MetaCode, *protocol.MetaItem, []byte) {
	m := &r.Meta
	it := c.get(r.Key)
	created := it == nil
	if created {
		if !m.Has('N') {
			return protocol.MetaEN, nil, nil
		}
		it = c.put(r.Key, nil, 0, 0)
	}
	show := c.shown(it)
	show.Created = created
	was := it.exptime
	c.times(it, m, &show)
	if m.Before('T', 'R') {
		was = c.expiry(m.TTL)
	}
	show.Won = created || it.stale && !it.sent ||
		m.Has('R') && !it.sent && was != 0 && was < c.expiry(m.Recache)
	it.sent = it.sent || show.Won
	it.fetched = it.fetched || !m.Has('u')
	if m.Has('v') && !(m.Has('C') && r.CAS == it.cas) {
		return protocol.MetaVA, &show, it.value
	}
	return protocol.MetaHD, &show, nil
}

func (c *toy) metaSet(r *protocol.Request) (protocol.MetaCode, *protocol.MetaItem) {
	m := &r.Meta
	it := c.get(r.Key)
	value, exptime, flags, stale, sent := append([]byte(nil), r.Data...), c.expiry(m.TTL), r.Flags, false, false
	fail := &protocol.MetaItem{Size: len(value)}
	switch m.Mode {
	case 'E':
		if it != nil {
			return protocol.MetaNS, fail
		}
	case 'A', 'P':
		switch {
		case it == nil && !m.Has('N'):
			return protocol.MetaNS, fail
		case it == nil:
			exptime = c.expiry(m.Vivify)
		case m.Has('C') && r.CAS != it.cas:
			return protocol.MetaEX, fail
		case m.Mode == 'A':
			value, exptime, flags = append(append([]byte(nil), it.value...), value...), it.exptime, it.flags
		default:
			value, exptime, flags = append(value, it.value...), it.exptime, it.flags
		}
	default:
		switch {
		case m.Has('C') && it == nil:
			return protocol.MetaNF, fail
		case m.Mode == 'R' && it == nil:
			return protocol.MetaNS, fail
		case m.Has('C') && m.Has('I') && r.CAS < it.cas:
			stale, sent, exptime = true, it.sent, it.exptime
		case m.Has('C') && r.CAS != it.cas:
			return protocol.MetaEX, fail
		}
	}
	binary := m.Binary
	if it != nil && (m.Mode == 'A' || m.Mode == 'P') {
		binary = it.binary
	}
	it = c.put(r.Key, value, flags, exptime)
	it.stale, it.sent, it.binary = stale, sent, binary
	if m.Has('E') {
		it.cas = m.NewCAS
	}
	show := c.shown(it)
	return protocol.MetaHD, &show
}

func (c *toy) metaDelete(r *protocol.Request) protocol.MetaCode {
	m := &r.Meta
	it := c.get(r.Key)
	switch {
	case it == nil:
		return protocol.MetaNF
	case m.Has('C') && r.CAS != it.cas:
		return protocol.MetaEX
	case m.Has('x'):
		cas := it.cas
		it = c.put(r.Key, nil, r.Flags, c.expiry(m.TTL))
		it.cas = cas
	case !m.Has('I'):
		delete(c.items, string(r.Key))
	}
	if m.Has('I') {
		if m.Has('T') {
			it.exptime = c.expiry(m.TTL)
		}
		it.stale, it.sent, it.cas = true, false, c.nextCAS()
	}
	if m.Has('E') {
		it.cas = m.NewCAS
	}
	return protocol.MetaHD
}

func (c *toy) metaArithmetic(r *protocol.Request) (code protocol.MetaCode, show *protocol.MetaItem, value []byte, bad string) {
	m := &r.Meta
	it := c.get(r.Key)
	created := it == nil
	switch {
	case created && !m.Has('N'):
		return protocol.MetaNF, nil, nil, ""
	case created:
		it = c.put(r.Key, strconv.AppendUint(nil, m.Initial, 10), 0, 0)
		value = it.value
	case len(it.value) == 0:
		return "", nil, nil, protocol.ReplyNonNumeric
	case m.Has('C') && r.CAS != 0 && r.CAS != it.cas:
		return protocol.MetaEX, nil, nil, ""
	default:
		v, ok := c.add(r.Key, it, r.Delta, m.Mode == 'D' || m.Mode == '-')
		if !ok {
			return "", nil, nil, protocol.ReplyNonNumeric
		}
		it = c.get(r.Key)
		value = strconv.AppendUint(nil, v, 10)
	}
	if m.Has('E') {
		it.cas = m.NewCAS
	}
	s := c.shown(it)
	s.Created, s.Size = created, len(value)
	c.times(it, m, &s)
	if m.Has('v') {
		return protocol.MetaVA, &s, value, ""
	}
	return protocol.MetaHD, &s, value, ""
}
