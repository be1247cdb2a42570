package crashing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"sememcached/storage"
	"sememcached/storage/disk"
)

// holds opens a file as the tools do, looks through every page, checksum and record, has bbolt
// look through it too, and judges what it holds.
func (c *cut) holds(path string, file int) error {
	found, err := readItems(path)
	if err != nil {
		return err
	}
	if err := boltCheck(path); err != nil {
		return err
	}
	return c.judge(found, file)
}

func readItems(path string) (found map[string]state, err error) {
	f, err := disk.Open(path, disk.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(false)) }()
	facts, err := f.Facts()
	if err != nil {
		return nil, err
	}
	found = map[string]state{}
	_, err = f.Live(uint32(time.Now().Unix()-facts.Zero), func(r *storage.Record, l *disk.Label) error {
		found[string(r.Key)] = state{exists: true, value: string(r.Value), flags: r.Flags, ttl: r.Exptime != 0, label: l.Context}
		return nil
	})
	return found, err
}

func boltCheck(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("bbolt: %w", err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, fmt.Errorf("bbolt check: %w", err))
		}
		return all
	})
	return errors.Join(err, db.Close())
}

// goesOn writes to a copy of the file, and looks at it again: what was pending
// when the power failed may be pages that are free now.
func (c *cut) goesOn(v *canvas, m *image, file int) (err error) {
	path := filepath.Join(c.Dir, "goeson")
	if err := v.copyTo(path, m); err != nil {
		return err
	}
	defer os.Remove(path)
	f, err := disk.Open(path, disk.Options{NoSync: true}) // whether it syncs is not the question here
	if err != nil {
		return err
	}
	for i := range 3 {
		var b disk.Batch
		r := storage.Record{Kind: storage.RecordItem, Key: fmt.Appendf(nil, "after%d", i), Value: make([]byte, c.rng.IntN(20000))}
		b.Append(storage.AppendRecord(nil, &r), 1)
		if _, err := f.Commit(&b); err != nil {
			return errors.Join(err, f.Close(false))
		}
	}
	if err := f.Close(true); err != nil {
		return err
	}
	if err := boltCheck(path); err != nil {
		return err
	}
	found, err := readItems(path)
	if err != nil {
		return err
	}
	for i := range 3 {
		key := fmt.Sprintf("after%d", i)
		if !found[key].exists {
			return fmt.Errorf("what was written after the failure, %s, is not there", key)
		}
		delete(found, key)
	}
	return c.judge(found, file)
}

// serves starts a server on a copy of the file, and asks it for every key.
func (c *cut) serves(v *canvas, m *image, file int) error {
	path := filepath.Join(c.Dir, "served")
	if err := v.copyTo(path, m); err != nil {
		return err
	}
	defer os.Remove(path)
	s, err := c.start("", path)
	if err != nil {
		return err
	}
	defer s.kill()
	conn, rd, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	found := map[string]state{}
	for _, k := range c.keys {
		x, err := look(conn, rd, k.key)
		if err != nil {
			return err
		}
		if x.exists {
			found[k.key] = x
		}
	}
	return c.judge(found, file)
}
