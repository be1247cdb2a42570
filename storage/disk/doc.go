// Package disk is the data file: a bbolt database that holds a log of what
// changed in a store, with the labels that the log names. It knows bytes,
// transactions and damage; what a record means is storage's, what a label means
// nobody's here.
//
// # The file
//
// Format 1. Three buckets; numbers are little endian, keys that are numbers big
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
//	labels       id u32 -> flushed u32, context
//	                    the label's last flush on the store's clock, 0 never. Id 0
//	                    is no label and has no context.
//	log          sequence u64 -> a bucket: number u32 -> chunk
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
// be known.
//
// # Damage
//
// bbolt panics on some damage and faults on a file that was cut short. Each call
// is guarded: a panic or a fault is an error, after which the file is not touched
// again. Because bbolt looks through the file in a goroutine of its own when it opens
// it, where nothing can be guarded, Open looks through all pages itself first.
package disk
