package disk

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// tail is the end of the log that is not in bbolt's hands: groups of records,
// each written and synced at once, in pages that bbolt keeps as one value and
// never touches. See "The tail" in the package comment.
type tail struct {
	at    int64  // offset of the first page in the file; 0: there is no tail
	size  int64  // of its pages, in bytes
	used  int64  // of them, by the groups since the last transaction
	epoch uint64 // of the groups to come: it changes with the transaction that makes the tail empty
	after uint64 // the epoch that this transaction begins
	begun bool   // this process has begun the epoch: in an older one a copy may have groups that do not follow
	next  uint32 // number of the next group
	buf   []byte // of the group that is being written

	// What the file had in its tail when it was opened: one more segment, seq.
	seq    uint64
	chunks []Chunk
}

const (
	tailPage = 4096 // groups begin at multiples of it: a page that was synced is not written again
	tailHead = 40

	// TailSize is the length of a tail, in bytes.
	TailSize = 2 << 20
)

// tailRoom is how much has to be free for a tail to be made: what is left then is for
// the records.
const tailRoom = TailSize + TailSize/2

// MakeTail gives the file a tail, if it has none, for Extend. Where there is no room for
// one it returns ErrNoRoom, having done nothing: the file can be used, and each commit
// is a transaction. Any other error is the file's last.
func (f *File) MakeTail() error {
	if f.tail.at != 0 {
		return nil
	}
	// A write that failed would be the last, so it is not tried. Whom a quota or a
	// limit on the size of files stops, or a neighbour who is faster, is told by that write.
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.file.Fd()), &st); err == nil && st.Blocks > 0 && st.Bavail < tailRoom/uint64(max(st.Bsize, 1)) {
		return fmt.Errorf("%s: %w: expected %d bytes to be free, found %d", f.path, ErrNoRoom, tailRoom, st.Bavail*uint64(st.Bsize))
	}
	err := f.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketTail)
		if err != nil {
			return err
		}
		// What is not a multiple of a page in front of the first one and behind the last.
		return b.Put(keyTail, make([]byte, TailSize+tailPage))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, explain(err))
	}
	return f.view(f.findTail)
}

// findTail finds the pages of the tail. bbolt's map of the file begins with the
// file, and no other transaction writes to the bucket: the pages stay where they are.
func (f *File) findTail(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketTail)
	if b == nil {
		return nil
	}
	v := b.Get(keyTail)
	at := f.offset(v)
	first := (at + tailPage - 1) / tailPage * tailPage
	size := (at + int64(len(v)) - first) / tailPage * tailPage
	if len(v) == 0 || size <= 0 {
		return fmt.Errorf("the file is damaged: expected a tail of %d bytes, found %d", TailSize+tailPage, len(v))
	}
	f.tail.at, f.tail.size = first, size
	if e := tx.Bucket(bucketFacts).Get(factEpoch); len(e) == 8 {
		f.tail.epoch = binary.LittleEndian.Uint64(e)
	}
	return nil
}

// Extend writes what was added to b since its last Extend into the tail; when it
// returns true that is on the disk. It returns false, having done nothing, if there
// is no room, or b changes more than the log: then b is to be committed, as it is to be
// in the end in any case; and so is the first batch of all. What an error means is explained at Commit.
func (f *File) Extend(b *Batch) (ok bool, err error) {
	t := &f.tail
	if !t.begun || !b.onlyRecords() {
		return false, nil
	}
	n := int64(tailHead)
	b.EachNew(func(records []byte) { n += int64(len(records)) })
	whole := (n + tailPage - 1) / tailPage * tailPage
	if whole > t.size-t.used {
		return false, nil
	}
	if int64(cap(t.buf)) < whole {
		t.buf = make([]byte, 0, max(whole, 64<<10))
	}
	g := append(t.buf[:0], make([]byte, tailHead)...)
	b.EachNew(func(records []byte) { g = append(g, records...) })
	binary.LittleEndian.PutUint32(g[4:], uint32(n-tailHead))
	binary.LittleEndian.PutUint32(g[8:], uint32(b.Records()-b.kept.records))
	binary.LittleEndian.PutUint32(g[12:], t.next)
	binary.LittleEndian.PutUint64(g[16:], t.epoch)
	binary.LittleEndian.PutUint64(g[24:], b.CAS)
	binary.LittleEndian.PutUint64(g[32:], uint64(b.Time))
	binary.LittleEndian.PutUint32(g, crc32.Checksum(g[4:], castagnoli))
	g = g[:whole]
	clear(g[n:])
	err = f.must(func() error {
		if _, err := f.file.WriteAt(g, t.at+t.used); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.file.Fd()))
	})
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, explain(err))
	}
	t.used += whole
	t.next++
	b.keep()
	return true, nil
}

// readTail returns what is in the tail since the last transaction, oldest first.
// A group that was not written to its end ends it: nobody was told of it.
func (f *File) readTail() (cs []Chunk, err error) {
	t := &f.tail
	if t.at == 0 {
		return nil, nil
	}
	b := make([]byte, t.size)
	if _, err := f.file.ReadAt(b, t.at); err != nil {
		return nil, err
	}
	for at := int64(0); at < t.size; {
		g := b[at:]
		n := tailHead + int64(binary.LittleEndian.Uint32(g[4:]))
		if binary.LittleEndian.Uint64(g[16:]) != t.epoch || binary.LittleEndian.Uint32(g[12:]) != uint32(len(cs)) ||
			n > int64(len(g)) || crc32.Checksum(g[4:n], castagnoli) != binary.LittleEndian.Uint32(g) {
			break
		}
		cs = append(cs, Chunk{
			Count: binary.LittleEndian.Uint32(g[8:]), CAS: binary.LittleEndian.Uint64(g[24:]),
			Time: int64(binary.LittleEndian.Uint64(g[32:])), Records: g[tailHead:n:n],
		})
		at += (n + tailPage - 1) / tailPage * tailPage
	}
	return cs, nil
}

// takeTail makes what was found in the tail one more segment, for those who read
// the log. The next transaction puts it where the others are: a file on a disk
// that is full can be opened.
func (f *File) takeTail() error {
	cs, err := f.readTail()
	if err == nil && len(cs) > 0 {
		f.tail.chunks, f.tail.seq = cs, f.next
		f.next++
	}
	return err
}

// putTail does that.
func (f *File) putTail(log *bbolt.Bucket) error {
	t := &f.tail
	if t.seq == 0 {
		return nil
	}
	chunks := make([][]byte, len(t.chunks))
	for i := range t.chunks {
		c := &t.chunks[i]
		chunks[i] = append(make([]byte, chunkHead, chunkHead+len(c.Records)), c.Records...)
		c.format(chunks[i])
	}
	return putSegment(log, t.seq, chunks)
}

// put is the part of a transaction that makes the tail empty. The epoch goes on
// even if the tail is empty: in a copy that was begun before this transaction no group that is
// written after it may count.
func (t *tail) put(facts *bbolt.Bucket) error {
	if t.at == 0 {
		return nil
	}
	var e [8]byte
	_, _ = rand.Read(e[:]) // it never fails
	t.after = binary.LittleEndian.Uint64(e[:])
	return facts.Put(factEpoch, e[:])
}

// emptied is called when that transaction is on the disk.
func (t *tail) emptied() {
	if t.at != 0 {
		t.epoch, t.begun = t.after, true
		t.used, t.next = 0, 0
		t.chunks, t.seq = nil, 0
	}
}
