// Package storage keeps memcached items outside the Go heap: a page pool, size
// classes, shards with two indexes over the same items, eviction, lazy expiry
// and flushes per label.
//
// It refuses to know what a label means. A label is a number that is stored
// with an item, counted, and named in a flush; whether somebody may read or
// change an item is decided by the caller, between [Shard.Find] and the change,
// while it holds the shard's lock.
//
// # Items
//
// An item is a header, the text reply of a get, and nothing else. Offsets in
// bytes:
//
//	 0      4      8     16        20       24       28      32         36       40     41      42     43      44
//	+------+------+-----+---------+--------+--------+-------+----------+--------+------+-------+------+-------+------
//	| next | prev | cas | exptime | stored | access | label | instance | nvalue | nkey | shard | form | state | text
//	+------+------+-----+---------+--------+--------+-------+----------+--------+------+-------+------+-------+------
//
//	text: key " " flags " " nvalue "\r\n" value "\r\n"
//
// The reply is stored as it goes out but for the word VALUE, so that a hit of the text protocol is two
// appends, and the other protocols cut key and value from it. Client flags are
// not a field: they are read back from the text. Memcached's header is 48 bytes
// and 8 for the cas; this one is 44 and pays 9 bytes or so for the numbers of
// the reply, which memcached formats on each get.
//
// What a look-up compares and a hit reads stands beside the key, so that it is
// often one cache line. stored is the second of the last store and decides flushes; access the second
// of the last hit. next and prev are links of the eviction queue. form holds
// the length of " flags nvalue\r\n" and one bit for keys that came in base64.
// state holds the bits that hits and the eviction change. nkey is zero in a free chunk, shard
// says whose lock covers the item. Of a chunk in use, only state, access,
// exptime, cas and the links change under a pin.
//
// No field is a pointer: an item names another by a reference, a uint32 that
// counts units of 8 bytes (16, 32, … for address ranges beyond 32 GiB) from the
// start of the arena. Reference 0 is no item. The garbage collector sees none
// of it.
//
// # Memory
//
// The arena is one reserved range of addresses. Its first part is cut into
// pages of 1 MiB, which size classes take from the pool and cut into chunks;
// its second part holds items above half a page, each in a run of 16 KiB
// grains. Only pages and runs are counted against [Config.Limit], in use or kept for the next
// use; beyond the limit memory goes back to the system. A class
// with no page may take one beyond the limit, as memcached's may.
//
// Chunks are at most 12.5 % apart, 8 bytes apart below 192; memcached's are
// 25 % apart. When memory is short, a class without a page uses chunks up to a fourth larger, so that
// no more pages are thinly used than in memcached. Statistics report memcached's class
// numbers, which users see, and never these.
//
// A store that finds no chunk evicts: in its class, in its own shard first. Each class has
// a small and a main queue in each shard, and the shard a ghost (see queue.go). Where memory is used
// matters as well: a class that evicts young items gets pages from classes that keep old ones,
// emptied a few chunks at a time with the allocations (see drain.go). In such a page used items are moved, not lost.
//
// All calls should read one clock: an item that is stored a second ahead of a flush outlives it.
//
// # Indexes
//
// A shard has a hash index, buckets of one cache line with twelve references and
// a byte of hash for each, and a B-tree of the same references in key order. The
// B-tree serves dumps and prefixes; the hash index serves look-ups, as the
// adaptive hash index of a database does beside its B+tree.
//
// To touch memory first may take a virtual machine 0.3 ms a page. What hash indexes and ghosts grow into is
// therefore touched by another goroutine before a lock is held, and they grow when it is ready (see
// [Config.Seed] for the exception); only the nodes of the B-tree, from the Go heap, are not.
//
// # Locks
//
//	Shard.mu
//	  drainer.mu      TryLock only
//	    class.mu
//	      pool.mu
//	labels.mu, ghosts.mu, tables.mu
//	  blocks.mu       leaves
//
// One shard at a time; a second shard only by TryLock. Everything of a shard,
// the headers of its items included, is read and written under its lock. nkey and
// shard change under that of the class as well, so that the drainer
// may look at a chunk before it knows which shard owns it. The bytes of a pinned
// item may be read without a lock. An item that is not linked belongs to whoever
// allocated it.
//
// Nothing under a shard's lock walks more than 256 items.
package storage
