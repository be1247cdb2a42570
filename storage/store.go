package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/google/btree"
)

// Errors that Alloc and Reserve return.
var (
	// ErrTooLarge means that the item can never be stored: it is above
	// Config.MaxItem by memcached's formula, or its key is empty or above MaxKey.
	ErrTooLarge = errors.New("storage: object too large for cache")

	// ErrNoMemory means that there is no chunk and nothing may be evicted for one.
	ErrNoMemory = errors.New("storage: out of memory storing object")
)

// Store is a set of items. All methods may be called by several goroutines at once.
type Store struct {
	cfg         Config
	fixed       int // bytes of memcached's header in the item-size formula
	arena       *arena
	runBase     uint32 // first ref of the run area
	hash        hasher
	shardBit    uint
	shards      []*Shard
	sizes       *sizes
	mc          *memcachedClasses
	classes     []class
	runs        runs
	pageOver    int64 // bytes by which the pages of classes may exceed the limit
	runOver     int64 // bytes that runs may take though the limit is reached
	pages       []page
	owner       []atomic.Uint32 // class of a page, plus one
	reach       [256]uint16     // last byte of an item to prefetch, by owner
	pool        pool
	blocks      blocks
	tables      tables
	ghosts      ghosts
	labels      labels
	drainer     drainer
	holds       holds
	timed       bool          // TimeHolds was called
	balanceTurn atomic.Uint32 // the shard that Balance uses next
	cas         atomic.Uint64
	onEvict     atomic.Pointer[func(it Item, now uint32)]
}

// runs is the eviction side of items above largestChunk; their memory is the pool's.
type runs struct {
	queues  [maxShards / 64]atomicBits
	victims victims
	turn    atomic.Uint32
}

// New makes an empty store. The error names the field of cfg that is wrong.
func New(cfg Config) (*Store, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, fixed: memcachedHeader}
	if !cfg.NoCAS {
		s.fixed += memcachedCAS
	}
	s.cas.Store(1) // the first item gets 2, as in memcached 1.6.45
	s.mc = newMemcachedClasses(cfg.ChunkMin, cfg.Factor, cfg.ChunkMax, cfg.ClassSizes)

	s.pageOver = int64(len(s.mc.chunk)) * pageSize
	s.runOver = max(s.pageOver, int64(cfg.MaxItem)+grain)
	pageArea, runArea := s.areas()
	if s.arena, err = newArena(pageArea + runArea); err != nil {
		return nil, err
	}
	s.runBase = s.arena.ref(pageArea)
	s.sizes = newSizes(s.arena.unit())
	s.pages = make([]page, pageArea/pageSize)
	s.owner = make([]atomic.Uint32, pageArea/pageSize)
	s.pool = pool{
		a: s.arena, pageArea: pageArea, limit: cfg.Limit, fresh: 1, usable: 1, committed: pageArea,
		holes: []extent{{0, uint32(runArea / grain)}}, small: neverHuge(),
	}
	s.tables = tables{blocks: &s.blocks, free: make(map[uint32][]*table)}
	s.ghosts = ghosts{blocks: &s.blocks, free: make(map[int][][]byte)}

	seed := cfg.Seed
	if seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		seed = binary.LittleEndian.Uint64(b[:])
	}
	s.hash = newHasher(seed)

	s.classes = make([]class, len(s.sizes.chunk))
	for i := range s.classes {
		c := &s.classes[i]
		c.s, c.id = s, uint8(i)
		c.chunk, c.units, c.perPage = s.sizes.chunk[i], s.sizes.chunk[i]>>s.arena.shift, s.sizes.perPage[i]
	}
	for i, size := range s.sizes.chunk {
		s.reach[i+1] = uint16(min(size-1, prefetchReach))
	}
	s.shardBit = 64 - uint(bits.TrailingZeros(uint(cfg.Shards)))
	free := btree.NewFreeListG[uint32](64)
	s.shards = make([]*Shard, cfg.Shards)
	for i := range s.shards {
		sh := &Shard{
			s: s, id: uint8(i), queues: make([]queue, len(s.classes)+1), learned: make([]learned, len(s.classes)+1),
			mc: make([]classCount, len(s.mc.chunk)),
		}
		t, err := s.tables.take(firstBuckets)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		sh.index.cur.Store(t)
		sh.ghost.from = &s.ghosts
		sh.tree = sh.newTree(free)
		s.shards[i] = sh
	}
	return s, nil
}

// areas returns how many bytes of addresses to reserve for pages and for runs.
//
// Addresses cost nothing, so it is more than the limit: the limit can be raised later, and runs do
// not suffer from fragmentation. But if less makes 8 bytes the unit of references,
// less it is.
func (s *Store) areas() (pages, runs int64) {
	for factor := int64(reserveFactor); ; factor /= 2 {
		pages = (s.cfg.Limit*factor+s.pageOver)&^(pageSize-1) + 2*pageSize
		runs = (s.cfg.Limit*factor+s.cfg.Limit/4+4*s.runOver)&^(pageSize-1) + pageSize
		if factor == 1 || unitShift(pages+runs) == unitShift(1) {
			return pages, runs
		}
	}
}

// Close gives all memory back. No item and no other method may be used afterwards.
func (s *Store) Close() error {
	s.pool.helpers.Wait()
	return errors.Join(s.blocks.close(), release(s.arena.whole))
}

// SetLimit changes Config.Limit while the store is in use. A lower one is reached by
// evictions with the allocations that follow, or by Balance. The error says which limits are
// possible: what was reserved at the start is the most.
func (s *Store) SetLimit(limit int64) error {
	p := &s.pool
	if most := p.pageArea - s.pageOver - 2*pageSize; limit < pageSize || limit > most {
		return fmt.Errorf("storage: limit: expected %d to %d bytes, found %d", pageSize, most, limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
	p.count(0)
	return nil
}

// Hash returns the hash of a key, which the other methods want. It is keyed and does not allocate.
func (s *Store) Hash(instance uint32, key []byte) uint64 { return s.hash.sum(instance, key) }

func (s *Store) hashOf(ref uint32) uint64 {
	it := s.arena.item(ref)
	return s.hash.sum(it.Instance(), it.Key())
}

// NextCAS returns a number that no item has had, from 2 on.
func (s *Store) NextCAS() uint64 { return s.cas.Add(1) }

func (s *Store) shard(h uint64) *Shard { return s.shards[h>>(s.shardBit&63)&uint64(len(s.shards)-1)] }

// Lock locks the shard that holds the items of hash h. Hold it for one command
// and never lock a second one meanwhile.
func (s *Store) Lock(h uint64) *Shard {
	sh := s.shard(h)
	sh.lock()
	return sh
}
