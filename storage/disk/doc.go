// Package disk is the data file: a bbolt database that holds a log of what
// changed in a store, with the labels that the log names. It knows bytes,
// transactions and damage; what a record means is storage's, what a label means
// nobody's here.
//
// # The file
//
// Format 3, see formats.go. Buckets; numbers are little endian, keys that are numbers big
// endian, so that their order is that of the numbers.
//
//	sememcached  facts about the file
//	    format    u32   the format, see formats.go
//	    created   i64   UNIX seconds
//	    zero      i64   UNIX time at which the store's clock, which all seconds
//	                    in records count in, was zero
//	    clean     u8    1: closed in order, the log holds everything
//	    settings  text  of a warm restart: what has to be the same
//	    pending   text  delayed flushes, a line each
//	    epoch     u64   of the groups in the tail that count; absent: 0
//	labels       id u32 -> flushed u32, context
//	                    the label's last flush on the store's clock, 0 never. Id 0
//	                    is no label and has no context.
//	log          sequence u64 -> a bucket: number u32 -> chunk
//	tail         "tail" -> pages of the tail. A file that was never synced for each
//	                    answer has none.
//
// A chunk is many records, with a checksum of its own, since bbolt has one for
// its two meta pages only:
//
//	 0     4        8     16     24
//	+-----+---------+-----+------+---------+---------+-----
//	| crc | records | cas | time | record  | record  | ...
//	+-----+---------+-----+------+---------+---------+-----
//
// crc is CRC-32C of all that follows it; records their number; cas the highest
// number that the store had given out; time the UNIX milliseconds of the write.
// A record names its label by its id.
//
// # Why a log
//
// A bucket with a key for each item would be the obvious layout. An item of 100
// bytes under a random key then costs a page of 4 KiB on the disk and 3 to 5 µs of
// a processor for each change; here it costs its own length and a copy. A
// transaction is one bucket of the log, with as many large values as its records
// fill, which bbolt writes as runs of pages. A commit of few records is a
// small bucket, which bbolt keeps within its parent's page.
//
// The last record of a key counts. The items are all in memory, so the log is
// not searched: what is still wanted is written anew from there, part by part, and when every
// part has been written after a place in the log, everything before that place is dropped (Batch.Drop).
//
// # Commits
//
// bbolt writes the new pages, fdatasync, its meta page, fdatasync. Pages in use are never
// overwritten, so that a crash at any moment leaves the file as of the last commit
// or of the one before, whole. After the first write or sync that fails nothing
// more is written to that file: what the kernel dropped after a failed fsync cannot
// be known. It can still be read: as of the last commit, or, if only the last sync failed, as
// of the one that has failed.
//
// # The tail
//
// A transaction is two syncs, of pages in several places, of which bbolt copies
// most. A server that syncs before it answers makes thousands of commits a second,
// each of a few records. Those go into the tail first: a run of whole pages, allocated and written
// once, as a value that bbolt keeps and nobody changes through it. A commit there is
// one write and one sync, of neighbouring pages that the file system has no more
// to say about. The next transaction has the records in its segment; it makes the tail empty by
// beginning another epoch, in the same meta page.
//
//	 0     4       8         12       16      24    32     40
//	+-----+-------+---------+--------+-------+-----+------+---------+-----
//	| crc | bytes | records | number | epoch | cas | time | records | ...
//	+-----+-------+---------+--------+-------+-----+------+---------+-----
//
// A group begins at a page's beginning, the first one with the tail's; crc is of all
// that follows up to the last record; number counts from 0 in each epoch. The tail ends before the first
// group whose epoch, number or checksum is not what it has to be. A group is written after the one
// before it was synced, and no page twice in an epoch, so that nothing that was synced
// is touched before its transaction is on the disk. What Open finds in the tail is
// read as one more segment, which the next transaction makes it. Where the disk has no room for
// a tail, a file is used without one (MakeTail), and every commit is a transaction.
//
// Epochs are drawn at random, and nothing shows them. Pages of earlier epochs are full of
// values, in which clients may have written what looks like a group: they would have to know the epoch to
// come. A copy that is made meanwhile (WriteTo) has groups of its own epoch up to some place,
// which is a later state of the same log, and behind that place others; none of them counts in an epoch
// that the copy begins itself, and whoever opens a file begins one before it writes to the tail.
//
// # Damage
//
// bbolt panics on some damage and faults on a file that was cut short. Each call
// is guarded: a panic or a fault is an error, after which the file is not touched
// again. Because bbolt looks through the file in a goroutine of its own when it opens
// it, where nothing can be guarded, Open looks through all pages itself first.
package disk
