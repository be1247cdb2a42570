package storage

import (
	"fmt"
	"math/bits"
)

// Bounds of a configuration, memcached's where it has them.
const (
	defaultShards  = 256
	maxShards      = 256
	defaultMaxItem = 1 << 20
	maxMaxItem     = 1 << 30
	defaultChunk   = 48
	defaultFactor  = 1.25
	defaultLimit   = 64 << 20

	// MaxKey is the longest key in bytes; memcached's KEY_MAX_LENGTH.
	MaxKey = 250
)

// Config says how large a store is. The zero value is memcached's default: 64 MiB,
// items up to 1 MiB.
type Config struct {
	// Limit bounds the memory mapped for items, in bytes (memcached's -m); 0 is
	// 64 MiB. Indexes come on top, as memcached's hash table does. Each used size
	// class may take its first page beyond it.
	Limit int64

	// Shards is the number of shards, a power of two up to 256; 0 is 256.
	Shards int

	// MaxItem is the largest item in bytes by memcached's item-size formula (-I);
	// 0 is 1 MiB, at most 1 GiB.
	MaxItem int

	// NoEvict answers ErrNoMemory instead of evicting (-M).
	NoEvict bool

	// NoCAS takes the 8 bytes of the cas out of the item-size formula (-C).
	NoCAS bool

	// ChunkMin and Factor are memcached's -n and -f. They shape only what Class
	// reports; 0 is 48 and 1.25.
	ChunkMin int
	Factor   float64

	// ChunkMax, in bytes, and ClassSizes, ascending, are memcached's slab_chunk_max
	// and slab_sizes; they too shape only what Class reports. 0 is half a page; no
	// sizes are those that Factor makes.
	ChunkMax   int
	ClassSizes []int

	// Seed makes what one goroutine does repeatable: the hash, and so the distribution over
	// shards, and that indexes get their memory at once, not some time later. 0 is random.
	Seed uint64
}

// normalize fills in defaults and checks bounds.
func (c Config) normalize() (Config, error) {
	if c.Limit == 0 {
		c.Limit = defaultLimit
	}
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.MaxItem == 0 {
		c.MaxItem = defaultMaxItem
	}
	if c.ChunkMin == 0 {
		c.ChunkMin = defaultChunk
	}
	if c.Factor == 0 {
		c.Factor = defaultFactor
	}
	if c.ChunkMax == 0 {
		c.ChunkMax = min(pageSize/2, c.MaxItem)
	}
	switch {
	case c.Limit < pageSize || c.Limit > maxLimit:
		return c, fmt.Errorf("storage: limit: expected %d to %d bytes, found %d", pageSize, int64(maxLimit), c.Limit)
	case c.Shards < 1 || c.Shards > maxShards || bits.OnesCount(uint(c.Shards)) != 1:
		return c, fmt.Errorf("storage: shards: expected a power of two from 1 to %d, found %d", maxShards, c.Shards)
	case c.MaxItem < 1024 || c.MaxItem > maxMaxItem:
		return c, fmt.Errorf("storage: largest item: expected 1024 to %d bytes, found %d", maxMaxItem, c.MaxItem)
	case c.ChunkMin < 1:
		return c, fmt.Errorf("storage: smallest chunk: expected a positive size, found %d", c.ChunkMin)
	case c.ChunkMax < 0 || c.ChunkMax > pageSize:
		return c, fmt.Errorf("storage: largest chunk: expected at most %d bytes, found %d", pageSize, c.ChunkMax)
	case !(c.Factor > 1):
		return c, fmt.Errorf("storage: growth factor: expected more than 1, found %v", c.Factor)
	}
	return c, nil
}
