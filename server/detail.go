package server

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"sememcached/engine"
	"sememcached/policy/cnp"
)

// detail counts commands by the prefix of their keys, up to the delimiter, while
// "stats detail on" has turned that on. It is a tool for people who look for
// something: the loops share one lock meanwhile.
type detail struct {
	on        atomic.Bool
	delimiter byte // -D

	mu sync.Mutex
	// +checklocks:mu
	prefixes map[string]*prefixCounts
	// +checklocks:mu
	dropped uint64 // prefixes that did not fit
}

type prefixCounts struct{ gets, hits, sets, deletes uint64 }

// maxPrefixes bounds the memory that clients can make the counts take.
const maxPrefixes = 65536

// start takes the delimiter of -D, which turns the counting on; 0 is none.
func (d *detail) start(delimiter byte) {
	d.delimiter = ':'
	if delimiter != 0 {
		d.delimiter = delimiter
		d.on.Store(true)
	}
}

// counts returns the counters of the key's prefix, nil if it has none, or one that
// a line has no room for: with a line end in it, it would be read as another answer.
// d.mu is held.
func (d *detail) counts(key []byte) *prefixCounts {
	i := bytes.IndexByte(key, d.delimiter)
	if i < 0 || !engine.Speakable(key[:i]) {
		return nil
	}
	if n := d.prefixes[string(key[:i])]; n != nil {
		return n
	}
	if len(d.prefixes) >= maxPrefixes {
		d.dropped++
		return nil
	}
	if d.prefixes == nil {
		d.prefixes = make(map[string]*prefixCounts)
	}
	n := &prefixCounts{}
	d.prefixes[string(key[:i])] = n
	return n
}

func (d *detail) count(key []byte, f func(n *prefixCounts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.counts(key); n != nil {
		f(n)
	}
}

func (d *detail) get(key []byte, hit bool) {
	d.count(key, func(n *prefixCounts) {
		n.gets++
		if hit {
			n.hits++
		}
	})
}

func (d *detail) set(key []byte)    { d.count(key, func(n *prefixCounts) { n.sets++ }) }
func (d *detail) delete(key []byte) { d.count(key, func(n *prefixCounts) { n.deletes++ }) }

// reset forgets all counts.
func (d *detail) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prefixes, d.dropped = nil, 0
}

// dump appends a line for each prefix, in order, but for those under which items
// exist that the client may not know of, and those of which the key rules do not
// let it get every key.
func (s *Server) dumpDetail(dst []byte, c *engine.Call, keys *cnp.Matcher) []byte {
	d := &s.detail
	d.mu.Lock()
	names := make([]string, 0, len(d.prefixes))
	counts := make(map[string]prefixCounts, len(d.prefixes))
	for name, n := range d.prefixes {
		names = append(names, name)
		counts[name] = *n
	}
	d.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		prefix := append([]byte(name), d.delimiter)
		if keys != nil && keys.LacksUnder(cnp.Get, prefix) != 0 || s.eng.Hidden(c, prefix) {
			continue
		}
		n := counts[name]
		dst = append(dst, "PREFIX "...)
		dst = append(dst, name...)
		for _, f := range []struct {
			name string
			n    uint64
		}{{" get ", n.gets}, {" hit ", n.hits}, {" set ", n.sets}, {" del ", n.deletes}} {
			dst = append(dst, f.name...)
			dst = strconv.AppendUint(dst, f.n, 10)
		}
		dst = append(dst, "\r\n"...)
	}
	return dst
}
