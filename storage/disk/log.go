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
	f.tail.emptied()
	if len(b.chunks) > 0 {
		f.next++
	}
	return seg, nil
}

func (f *File) put(tx *bbolt.Tx, b *Batch) error {
	facts := tx.Bucket(bucketFacts)
	if err := errors.Join(putFacts(facts, b), f.tail.put(facts)); err != nil {
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
	if err := f.putTail(log); err != nil {
		return err
	}
	if err := drop(log, b.Drop); err != nil {
		return err
	}
	if len(b.chunks) == 0 {
		return nil
	}
	for i, c := range b.chunks {
		(&Chunk{Count: b.counts[i], CAS: b.CAS, Time: b.Time}).format(c)
	}
	return putSegment(log, f.next, b.chunks)
}

func putSegment(log *bbolt.Bucket, seq uint64, chunks [][]byte) error {
	seg, err := log.CreateBucket(binary.BigEndian.AppendUint64(nil, seq))
	if err != nil {
		return err
	}
	seg.FillPercent = 1 // it never grows
	for i, c := range chunks {
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
	if n := f.tail.seq; n != 0 {
		s := Segment{Seq: n}
		for i := range f.tail.chunks {
			s.Bytes += int64(len(f.tail.chunks[i].Records))
		}
		ss = append(ss, s)
	}
	return ss, err
}

// Reader is a place in the log: everything behind it has been read. It reads
// backwards.
type Reader struct {
	f        *File
	segments []uint64 // to be read, the last one first
	at       []byte   // the chunk before this one is next; nil: the last one
	tail     int      // chunks of the tail that have been read
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
		if cs := r.f.tail.chunks; seq == r.f.tail.seq && r.tail < len(cs) {
			r.tail++
			fn(&cs[len(cs)-r.tail])
			return true, nil
		} else if seq == r.f.tail.seq && seq != 0 {
			r.segments = r.segments[:len(r.segments)-1]
			continue
		}
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

// format fills in the head of an encoded chunk; the records follow it already.
func (c *Chunk) format(v []byte) {
	binary.LittleEndian.PutUint32(v[4:], c.Count)
	binary.LittleEndian.PutUint64(v[8:], c.CAS)
	binary.LittleEndian.PutUint64(v[16:], uint64(c.Time))
	binary.LittleEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
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
	if n := len(f.tail.chunks); n > 0 {
		return f.tail.chunks[n-1].CAS, f.tail.chunks[n-1].Time, nil
	}
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
