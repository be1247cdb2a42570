package storage

import (
	"bytes"
	"container/heap"
	"slices"
)

// Cursor is a place in the order of keys, and what a scan wants. The zero
// Cursor is before the first item. It may be kept for any time and used again; a
// new one with the same After and AfterInstance goes on at the same place.
type Cursor struct {
	After         []byte // key passed last; the Cursor owns it
	AfterInstance uint32 // its instance
	Prefix        []byte // only keys that begin with it
	Now           uint32 // skip items that are dead at this second; 0 shows them

	open    bool
	sources sources
}

// Bounds of a scan: items a call visits, keys copied in one hold of a lock, the first
// time and later.
const (
	scanItems  = 256
	firstBatch = 16
	nextBatch  = 128
	usualKey   = 48 // bytes
)

// source is the part of a shard that a scan has copied: the next keys in order.
type source struct {
	sh   *Shard
	keys []position // in order, the next first
	buf  []byte     // backs keys
	done bool       // nothing behind keys
}

// sources is a heap, the least key first.
type sources []*source

func (x sources) Len() int           { return len(x) }
func (x sources) Less(i, j int) bool { return x[i].keys[0].compare(x[j].keys[0]) < 0 }
func (x sources) Swap(i, j int)      { x[i], x[j] = x[j], x[i] }
func (x *sources) Push(v any)        { *x = append(*x, v.(*source)) }
func (x *sources) Pop() any {
	v := (*x)[len(*x)-1]
	*x = (*x)[:len(*x)-1]
	return v
}

// Scan visits items in order of key, then instance, over all shards, and
// reports whether there are more. It stops when fn returns false, and after at most
// 256 items, so that callers can do something else in between.
//
// fn runs under the lock of the item's shard: it may use the item and its other methods, must be quick,
// and must not call the store. Items that are stored or removed meanwhile may be seen or
// not; all others are seen exactly once.
func (s *Store) Scan(c *Cursor, fn func(it Item) bool) (more bool) {
	if !c.open {
		c.open = true
		c.sources = c.sources[:0]
		for _, sh := range s.shards {
			if src := (&source{sh: sh}); src.fill(c, position{c.After, c.AfterInstance}, firstBatch) {
				c.sources = append(c.sources, src)
			}
		}
		heap.Init(&c.sources)
	}
	for range scanItems {
		if len(c.sources) == 0 {
			return false
		}
		src := c.sources[0]
		at := src.keys[0]
		c.After, c.AfterInstance = append(c.After[:0], at.key...), at.instance
		again := src.visit(s.Hash(at.instance, at.key), at, c.Now, fn)
		if src.keys = src.keys[1:]; len(src.keys) > 0 || src.fill(c, position{c.After, c.AfterInstance}, nextBatch) {
			heap.Fix(&c.sources, 0)
		} else {
			heap.Pop(&c.sources)
		}
		if !again {
			break
		}
	}
	return len(c.sources) > 0
}

// visit calls fn with the item at a position, if it still exists.
func (src *source) visit(h uint64, at position, now uint32, fn func(it Item) bool) bool {
	sh := src.sh
	sh.lock()
	defer sh.unlock()
	ref := sh.lookup(h, at.instance, at.key)
	if ref == 0 {
		return true
	}
	it := sh.s.arena.item(ref)
	if now != 0 && sh.s.dead(it, now) != Present {
		return true
	}
	return fn(it)
}

// fill copies up to n keys behind after, and reports whether there are any.
func (src *source) fill(c *Cursor, after position, n int) bool {
	src.keys, src.buf = src.keys[:0], src.buf[:0]
	if src.done {
		return false
	}
	from := after
	if bytes.Compare(from.key, c.Prefix) < 0 {
		from = position{key: c.Prefix}
	}
	src.done = true
	// Memory is got before the lock is; that of unusually long keys is not.
	var room [nextBatch]int
	ends := room[:0]
	// It is cleared to be touched: new memory has only been mapped.
	if cap(src.keys) < n {
		src.keys = make([]position, 0, n)
		clear(src.keys[:n])
	}
	if cap(src.buf) < n*usualKey {
		src.buf = make([]byte, 0, n*usualKey)
		clear(src.buf[:n*usualKey])
	}
	sh := src.sh
	sh.lock()
	sh.probe = from
	sh.tree.AscendGreaterOrEqual(0, func(ref uint32) bool {
		key, instance := sh.treeKey(ref), sh.treeInstance(ref)
		at := position{key, instance}
		if len(after.key) > 0 && at.compare(after) <= 0 {
			return true
		}
		if !bytes.HasPrefix(key, c.Prefix) {
			return false
		}
		if len(ends) == n {
			src.done = false
			return false
		}
		src.buf = append(src.buf, key...)
		ends = append(ends, len(src.buf))
		src.keys = append(src.keys, position{instance: instance})
		return true
	})
	sh.probe = position{}
	sh.unlock()
	start := 0
	for i, end := range ends {
		src.keys[i].key = slices.Clip(src.buf[start:end])
		start = end
	}
	return len(src.keys) > 0
}
