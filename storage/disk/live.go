package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sememcached/storage"
)

// Contents is what a file holds, as counted by Live.
type Contents struct {
	Segments, Chunks, Records int64
	LogBytes                  int64
	Items, Bytes              int64 // alive, and their keys and values
	Dead                      int64 // expired, or flushed
	Superseded                int64 // records that a newer one has taken the place of
	Gone                      int64 // records that say that there is no item
}

// Live calls fn for every item that the file holds and that is alive at second
// now of the store's clock, newest first, with its label. The record is valid during the
// call. It reads everything, and remembers every key.
func (f *File) Live(now uint32, fn func(r *storage.Record, l *Label) error) (c Contents, err error) {
	ls, err := f.Labels()
	if err != nil {
		return c, err
	}
	labels := make(map[uint32]*Label, len(ls))
	for i := range ls {
		labels[ls[i].ID] = &ls[i]
	}
	ss, err := f.Segments()
	if err != nil {
		return c, err
	}
	c.Segments = int64(len(ss))
	for _, s := range ss {
		c.LogBytes += s.Bytes
	}
	seen := map[string]struct{}{}
	rd := f.Backwards(ss, f.next)
	for {
		var bad error
		more, err := rd.Next(func(ch *Chunk) {
			c.Chunks++
			bad = c.chunk(ch, now, labels, seen, fn)
		})
		if err != nil {
			return c, err
		}
		if bad != nil {
			return c, fmt.Errorf("%s: %w", f.path, bad)
		}
		if !more {
			return c, nil
		}
	}
}

func (c *Contents) chunk(ch *Chunk, now uint32, labels map[uint32]*Label, seen map[string]struct{}, fn func(*storage.Record, *Label) error) error {
	var r storage.Record
	var at []int
	for i := 0; i < len(ch.Records); {
		n, err := storage.ParseRecord(ch.Records[i:], &r)
		if err != nil {
			return fmt.Errorf("the file is damaged: offset %d of a chunk: %w", i, err)
		}
		at = append(at, i)
		i += n
	}
	if len(at) != int(ch.Count) {
		return fmt.Errorf("the file is damaged: expected %d records in a chunk, found %d", ch.Count, len(at))
	}
	for i := len(at) - 1; i >= 0; i-- {
		_, _ = storage.ParseRecord(ch.Records[at[i]:], &r)
		c.Records++
		key := string(binary.LittleEndian.AppendUint32(nil, r.Instance)) + string(r.Key)
		if _, known := seen[key]; known {
			c.Superseded++
			continue
		}
		seen[key] = struct{}{}
		if r.Kind != storage.RecordItem {
			c.Gone++
			continue
		}
		l := labels[r.Label]
		if l == nil && r.Label != 0 {
			return fmt.Errorf("the file is damaged: key %q names label %d, which is not there", r.Key, r.Label)
		}
		if l == nil {
			l = &Label{}
		}
		if r.Exptime != 0 && r.Exptime <= now || l.Flushed != 0 && r.Stored <= l.Flushed {
			c.Dead++
			continue
		}
		c.Items++
		c.Bytes += int64(len(r.Key) + len(r.Value))
		if err := fn(&r, l); err != nil {
			return err
		}
	}
	return nil
}

// Compact writes what is alive at second now to a new file at path, which must
// not exist, with the same facts.
func (f *File) Compact(path string, now uint32) (c Contents, err error) {
	facts, err := f.Facts()
	if err != nil {
		return c, err
	}
	cas, at, err := f.Last()
	if err != nil {
		return c, err
	}
	to, err := Open(path, Options{Zero: facts.Zero})
	if err != nil {
		return c, err
	}
	defer func() {
		if e2 := to.Close(err == nil && facts.Clean); err == nil {
			err = e2
		}
	}()
	ls, err := f.Labels()
	if err != nil {
		return c, err
	}
	var b Batch
	first := Batch{Labels: ls, SetPending: true, Pending: facts.Pending, SetSettings: true, Settings: facts.Settings, Unclean: true}
	if _, err := to.Commit(&first); err != nil {
		return c, err
	}
	flush := func() error {
		b.CAS, b.Time = cas, at
		_, err := to.Commit(&b)
		b.Reset()
		return err
	}
	var rec []byte
	c, err = f.Live(now, func(r *storage.Record, _ *Label) error {
		rec = storage.AppendRecord(rec[:0], r)
		b.Append(rec, 1)
		if b.Bytes() > 16<<20 {
			return flush()
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	// The number of the last cas has to be in the file even if there is no item.
	rec = storage.AppendRecord(rec[:0], &storage.Record{Kind: storage.RecordGone, Key: []byte("-")})
	if c.Items == 0 && cas > 0 {
		b.Append(rec, 1)
	}
	return c, flush()
}

// WriteFile makes a file at path, which has its name only when all of write has
// gone well and is on the disk. Without replace an existing one is not touched; with it
// a regular file is replaced, and nothing else.
func WriteFile(path string, replace bool, write func(w io.Writer) error) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s: expected a regular file or none, found %v", path, st.Mode())
	}
	tmp, err := MakeTemp(path)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = write(tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if e2 := tmp.Close(); err == nil {
		err = e2
	}
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(tmp.Name(), path)
	} else {
		err = os.Link(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
