package avc

import (
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Cache is the shared layer: a bounded map of answers, the least recently used
// of which go first. Each answer belongs to the generation it was computed in. It
// may be used by any number of goroutines; a look-up takes one short exclusive
// lock, which is why workers have a Table in front of it.
//
// The generation is part of the value and not of the key, so that after a
// reload the new answer takes the place of the old one instead of waiting beside
// it until it falls out.
type Cache[K comparable, V any] struct {
	size          int
	lru           atomic.Pointer[lru.Cache[K, stamped[V]]]
	newest        atomic.Uint64
	lookups, hits atomic.Uint64
}

type stamped[V any] struct {
	seq uint64
	v   V
}

// NewCache makes a cache of at most size answers; below 1 counts as 1.
func NewCache[K comparable, V any](size int) *Cache[K, V] {
	c := &Cache[K, V]{size: max(size, 1)}
	c.Purge()
	return c
}

// Lookup finds the answer to k that was computed in generation seq.
func (c *Cache[K, V]) Lookup(seq uint64, k K) (V, bool) {
	c.lookups.Add(1)
	if s, ok := c.lru.Load().Get(k); ok && s.seq == seq {
		c.hits.Add(1)
		return s.v, true
	}
	var none V
	return none, false
}

// Insert keeps an answer computed in generation seq, unless one of a newer
// generation has already been inserted.
func (c *Cache[K, V]) Insert(seq uint64, k K, v V) {
	for {
		n := c.newest.Load()
		if seq < n {
			return
		}
		if seq == n || c.newest.CompareAndSwap(n, seq) {
			break
		}
	}
	c.lru.Load().Add(k, stamped[V]{seq, v})
}

// Purge forgets everything, for the sake of memory: readers of a newer
// generation find nothing old anyway. An empty map takes the place of the full
// one, which nobody waits to see emptied.
func (c *Cache[K, V]) Purge() {
	l, err := lru.New[K, stamped[V]](c.size)
	if err != nil {
		panic(err) // size is positive, the one thing that it checks
	}
	c.lru.Store(l)
}

// Len is the number of answers held, old generations included.
func (c *Cache[K, V]) Len() int { return c.lru.Load().Len() }

// Counts reports all look-ups and those that found an answer, since the start.
// They survive a purge.
func (c *Cache[K, V]) Counts() (lookups, hits uint64) {
	return c.lookups.Load(), c.hits.Load()
}
