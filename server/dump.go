package server

import (
	"encoding/base64"
	"strconv"

	"sememcached/engine"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// dumpJob is a listing of keys on its way to a client. A helper goroutine fills
// the text with a part, the loop sends it, and only then is the next part made,
// so that a listing of any length needs little memory and a slow reader makes
// nobody wait.
type dumpJob struct {
	list *engine.Dump
	form protocol.Action
	text []byte
	more bool
	left int          // items yet to be shown
	keys *cnp.Matcher // the key rules by which keys are shown; nil: all
}

// dumpPart is the length of a part above which it is sent.
const dumpPart = 64 << 10

// Stages of a listing after the authorization.
const (
	stageDumping = 2 + iota // a helper makes the next part
	stageSending            // that part leaves
)

// startDump begins to answer a listing that the client is authorized for.
func (l *loop) startDump(c *conn, a *protocol.Admin) {
	c.dump = &dumpJob{
		list: l.eng.NewDump(&c.call, a.Prefix, a.After), form: a.Action, more: true,
		left: 1 << 62, keys: l.listing(c),
	}
	c.dump.list.Classes = a.Classes
	switch a.Action {
	case protocol.CrawlerMetadump, protocol.CrawlerMgdump:
		l.out = append(l.out, protocol.ReplyOK...)
	case protocol.StatsCachedump:
		c.dump.list.Classes = 1 << a.Class
	}
	if a.Number > 0 {
		c.dump.left = int(a.Number)
	}
}

// goOnDump makes and sends the parts of a listing.
func (l *loop) goOnDump(c *conn) outcome {
	d := c.dump
	for {
		switch {
		case c.stage == stageDumping:
			if st := l.eng.Background(l.worker, &c.call, nil); st == engine.Pending {
				return park
			}
			l.out = append(l.out, d.text...)
			c.stage = stageSending
		case c.stage == stageSending && !l.flushNow(c):
			return block
		case !d.more:
			c.dump = nil
			if d.form == protocol.CrawlerMgdump {
				l.out = append(l.out, "EN\r\n"...)
			} else {
				l.out = append(l.out, protocol.ReplyEnd...)
			}
			return done
		default:
			c.stage = stageDumping
			if st := l.eng.Background(l.worker, &c.call, l.srv.helper(func() { l.srv.fillDump(d) })); st == engine.Pending {
				return park
			}
		}
	}
}

// fillDump makes the next part of a listing. It runs on a helper goroutine.
func (s *Server) fillDump(d *dumpJob) {
	d.text = d.text[:0]
	for d.more && len(d.text) < dumpPart {
		d.more = s.eng.Dump(d.list, func(it *engine.DumpItem) bool {
			if it.BinaryKey && d.form == protocol.StatsCachedump {
				return true // its line has no room for such keys
			}
			if !listed(d.keys, it.Key) {
				return true
			}
			d.text = appendDumpItem(d.text, d.form, it)
			d.left--
			return d.left > 0
		})
	}
}

// appendDumpItem appends the line of one item:
//
//	key=<urlencoded> exp=<time or -1> la=<time> cas=<n> fetch=yes|no cls=<n> size=<n> flags=<n> LF
//	mg <key>[ b] CR LF
//	ITEM <key> [<bytes> b; <time> s] CR LF
func appendDumpItem(dst []byte, form protocol.Action, it *engine.DumpItem) []byte {
	switch form {
	case protocol.CrawlerMgdump:
		dst = append(dst, "mg "...)
		if it.BinaryKey {
			dst = base64.StdEncoding.AppendEncode(dst, it.Key)
			return append(dst, " b\r\n"...)
		}
		dst = append(dst, it.Key...)
		return append(dst, "\r\n"...)
	case protocol.StatsCachedump:
		dst = append(dst, "ITEM "...)
		dst = append(dst, it.Key...)
		dst = append(dst, " ["...)
		dst = strconv.AppendInt(dst, int64(it.ValueSize), 10)
		dst = append(dst, " b; "...)
		dst = strconv.AppendInt(dst, it.Exptime, 10)
		return append(dst, " s]\r\n"...)
	}
	dst = append(dst, "key="...)
	dst = appendURI(dst, it.Key)
	dst = append(dst, " exp="...)
	if it.Exptime == 0 {
		dst = append(dst, "-1"...)
	} else {
		dst = strconv.AppendInt(dst, it.Exptime, 10)
	}
	dst = append(dst, " la="...)
	dst = strconv.AppendInt(dst, it.LastAccess, 10)
	dst = append(dst, " cas="...)
	dst = strconv.AppendUint(dst, it.CAS, 10)
	if it.Fetched {
		dst = append(dst, " fetch=yes cls="...)
	} else {
		dst = append(dst, " fetch=no cls="...)
	}
	dst = strconv.AppendInt(dst, int64(it.Class), 10)
	dst = append(dst, " size="...)
	dst = strconv.AppendInt(dst, int64(it.Size), 10)
	dst = append(dst, " flags="...)
	dst = strconv.AppendUint(dst, uint64(it.Flags), 10)
	return append(dst, " \n"...)
}

// appendURI appends a key as memcached's dumps and log lines show it: all but
// letters, digits and -._~ as %XX.
func appendURI(dst, key []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, b := range key {
		if b|0x20-'a' < 26 || b-'0' < 10 || b == '-' || b == '.' || b == '_' || b == '~' {
			dst = append(dst, b)
			continue
		}
		dst = append(dst, '%', hex[b>>4], hex[b&15])
	}
	return dst
}
