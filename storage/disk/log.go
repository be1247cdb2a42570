package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"go.etcd.io/bbolt"
)

// chunkHead is the length of a chunk's head; ChunkSize is how much of records a
// chunk holds, about: a record is never cut.
const (
	chunkHead = 24
	ChunkSize = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Chunk is a part of a segment.
type Chunk struct {
	Records []byte // encoded, one after another; valid during the call it is given to
	Count   uint32
	CAS     uint64
	Time    int64 // UNIX milliseconds
}

// Batch is what one transaction changes. The zero Batch changes nothing.
type Batch struct {
	chunks [][]byte
	counts []uint32
	free   [][]byte // chunks of earlier batches, to be used again

	CAS     uint64   // the highest number that the store has given out
	Time    int64    // UNIX milliseconds
	Labels  []Label  // to be put
	Unused  []uint32 // labels to be deleted
	Drop    uint64   // segments before this one are deleted; 0: none
	Pending []byte   // delayed flushes, if SetPending
	// SetPending, SetSettings and Unclean say which facts change.
	SetPending  bool
	SetSettings bool
	Settings    string
	Unclean     bool // from now on the file holds everything only if it is closed in order
}

// Reset makes the batch empty, keeping its memory.
func (b *Batch) Reset() {
	for _, c := range b.chunks {
		if cap(c) <= ChunkSize+chunkHead+64<<10 && len(b.free) < 256 {
			b.free = append(b.free, c[:0])
		}
	}
	clear(b.chunks)
	*b = Batch{chunks: b.chunks[:0], counts: b.counts[:0], free: b.free, Labels: b.Labels[:0], Unused: b.Unused[:0]}
}

// Append adds n records, encoded, and returns where they are now, for the caller
// to change until the commit.
func (b *Batch) Append(records []byte, n uint32) []byte {
	last := len(b.chunks) - 1
	if last < 0 || len(b.chunks[last])+len(records) > ChunkSize+chunkHead {
		var c []byte
		if k := len(b.free); k > 0 && len(records) <= ChunkSize {
			c, b.free = b.free[k-1], b.free[:k-1]
		} else {
			c = make([]byte, 0, max(ChunkSize, len(records))+chunkHead)
		}
		b.chunks = append(b.chunks, append(c, make([]byte, chunkHead)...))
		b.counts = append(b.counts, 0)
		last++
	}
	at := len(b.chunks[last])
	b.chunks[last] = append(b.chunks[last], records...)
	b.counts[last] += n
	return b.chunks[last][at:]
}

// Bytes is the length of the batch's chunks.
func (b *Batch) Bytes() (n int64) {
	for _, c := range b.chunks {
		n += int64(len(c))
	}
	return n
}

// Records is the number of records of the batch.
func (b *Batch) Records() (n uint64) {
	for _, c := range b.counts {
		n += uint64(c)
	}
	return n
}

// Each calls fn with the records of the batch, chunk by chunk.
func (b *Batch) Each(fn func(records []byte)) {
	for _, c := range b.chunks {
		fn(c[chunkHead:])
	}
}

// Empty reports whether a commit of the batch would change nothing.
func (b *Batch) Empty() bool {
	return len(b.chunks) == 0 && len(b.Labels) == 0 && len(b.Unused) == 0 && b.Drop == 0 && !b.SetPending && !b.SetSettings && !b.Unclean
}

// Next is the sequence number that the next segment gets.
func (f *File) Next() uint64 { return f.next }

// Commit writes a batch; when it returns nil all of it is on the disk, unless
// the file was opened with NoSync. After an error nothing more is written to the
// file: the batch may be there after the next Open, whole, or not.
func (f *File) Commit(b *Batch) (Segment, error) {
	seg := Segment{Seq: f.next, Bytes: b.Bytes()}
	err := f.update(func(tx *bbolt.Tx) error { return f.put(tx, b) })
	if err != nil {
		return Segment{}, fmt.Errorf("%s: %w", f.path, explain(err))
	}
	if len(b.chunks) > 0 {
		f.next++
	}
	return seg, nil
}

func (f *File) put(tx *bbolt.Tx, b *Batch) error {
	if err := putFacts(tx.Bucket(bucketFacts), b); err != nil {
		return err
	}
	labels := tx.Bucket(bucketLabels)
	for _, id := range b.Unused {
		if err := labels.Delete(binary.BigEndian.AppendUint32(nil, id)); err != nil {
			return err
		}
	}
	for _, l := range b.Labels {
		if err := labels.Put(binary.BigEndian.AppendUint32(nil, l.ID), append(binary.LittleEndian.AppendUint32(nil, l.Flushed), l.Context...)); err != nil {
			return err
		}
	}
	log := tx.Bucket(bucketLog)
	if err := drop(log, b.Drop); err != nil {
		return err
	}
	if len(b.chunks) == 0 {
		return nil
	}
	seg, err := log.CreateBucket(binary.BigEndian.AppendUint64(nil, f.next))
	if err != nil {
		return err
	}
	seg.FillPercent = 1 // it never grows
	for i, c := range b.chunks {
		binary.LittleEndian.PutUint32(c[4:], b.counts[i])
		binary.LittleEndian.PutUint64(c[8:], b.CAS)
		binary.LittleEndian.PutUint64(c[16:], uint64(b.Time))
		binary.LittleEndian.PutUint32(c, crc32.Checksum(c[4:], castagnoli))
		if err := seg.Put(binary.BigEndian.AppendUint32(nil, uint32(i)), c); err != nil {
			return err
		}
	}
	return nil
}

func putFacts(facts *bbolt.Bucket, b *Batch) error {
	if b.SetPending {
		if err := facts.Put(factPending, b.Pending); err != nil {
			return err
		}
	}
	if b.SetSettings {
		if err := facts.Put(factSettings, []byte(b.Settings)); err != nil {
			return err
		}
	}
	if b.Unclean {
		return facts.Put(factClean, []byte{0})
	}
	return nil
}

// DropMost is how many segments one transaction drops at most.
const DropMost = 4096

// drop deletes the segments before seq, oldest first.
func drop(log *bbolt.Bucket, seq uint64) error {
	for range DropMost {
		k, _ := log.Cursor().First()
		if len(k) != 8 || binary.BigEndian.Uint64(k) >= seq {
			return nil
		}
		if err := log.DeleteBucket(append([]byte(nil), k...)); err != nil {
			return err
		}
	}
	return nil
}

// Segments lists the log, oldest first.
func (f *File) Segments() (ss []Segment, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLog).ForEachBucket(func(k []byte) error {
			if len(k) != 8 {
				return fmt.Errorf("%s: log: expected sequence numbers of 8 bytes, found %x", f.path, k)
			}
			s := Segment{Seq: binary.BigEndian.Uint64(k)}
			err := tx.Bucket(bucketLog).Bucket(k).ForEach(func(_, v []byte) error {
				s.Bytes += int64(len(v))
				return nil
			})
			ss = append(ss, s)
			return err
		})
	})
	return ss, err
}

// Reader is a place in the log: everything behind it has been read. It reads
// backwards.
type Reader struct {
	f        *File
	segments []uint64 // to be read, the last one first
	at       []byte   // the chunk before this one is next; nil: the last one
}

// Backwards returns a Reader of the segments before seq, oldest first as
// Segments lists them.
func (f *File) Backwards(ss []Segment, seq uint64) *Reader {
	r := &Reader{f: f}
	for _, s := range ss {
		if s.Seq < seq {
			r.segments = append(r.segments, s.Seq)
		}
	}
	return r
}

// errMissing: a segment that was listed is not there.
var errMissing = errors.New("the segment is gone")

// Next calls fn with the next chunk, and reports whether there was one. Each chunk is
// read in a transaction of its own, so that reading, however long it takes, does not keep
// pages from being used again. A chunk whose checksum is wrong is an error.
func (r *Reader) Next(fn func(c *Chunk)) (more bool, err error) {
	for len(r.segments) > 0 {
		seq := r.segments[len(r.segments)-1]
		found := false
		err := r.f.view(func(tx *bbolt.Tx) error {
			seg := tx.Bucket(bucketLog).Bucket(binary.BigEndian.AppendUint64(nil, seq))
			if seg == nil {
				return errMissing
			}
			cur := seg.Cursor()
			var k, v []byte
			if r.at == nil {
				k, v = cur.Last()
			} else {
				cur.Seek(r.at)
				k, v = cur.Prev()
			}
			if k == nil {
				return nil
			}
			found, r.at = true, append(r.at[:0:0], k...)
			var c Chunk
			if err := c.parse(v); err != nil {
				return fmt.Errorf("chunk %x: %w", k, err)
			}
			fn(&c)
			return nil
		})
		if err != nil {
			return false, fmt.Errorf("%s: log: segment %d: %w", r.f.path, seq, err)
		}
		if found {
			return true, nil
		}
		r.segments, r.at = r.segments[:len(r.segments)-1], nil
	}
	return false, nil
}

func (c *Chunk) parse(v []byte) error {
	if len(v) < chunkHead {
		return fmt.Errorf("the file is damaged: expected %d bytes at least, found %d", chunkHead, len(v))
	}
	if want, have := binary.LittleEndian.Uint32(v), crc32.Checksum(v[4:], castagnoli); want != have {
		return fmt.Errorf("the file is damaged: expected checksum %08x, found %08x", want, have)
	}
	*c = Chunk{
		Count: binary.LittleEndian.Uint32(v[4:]), CAS: binary.LittleEndian.Uint64(v[8:]),
		Time: int64(binary.LittleEndian.Uint64(v[16:])), Records: v[chunkHead:],
	}
	return nil
}

// Last returns the last chunk's cas and time, zeros if there is none.
func (f *File) Last() (cas uint64, time int64, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketLog).Cursor().Last()
		if k == nil {
			return nil
		}
		_, v := tx.Bucket(bucketLog).Bucket(k).Cursor().Last()
		var c Chunk
		if err := c.parse(v); err != nil {
			return fmt.Errorf("%s: log: segment %x: %w", f.path, k, err)
		}
		cas, time = c.CAS, c.Time
		return nil
	})
	return cas, time, err
}

// WriteTo writes a copy of the file as of the last commit, itself a data file.
// Commits go on meanwhile, but the pages that they free stay until it ends. An
// error here says nothing about the file.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	return n, err
}
