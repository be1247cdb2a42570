package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// Errors that callers tell apart.
var (
	// ErrLocked: another process has the file open for writing, or reads it while
	// it is to be written.
	ErrLocked = errors.New("the file is in use by another process")
	// ErrWide: others may write the file.
	ErrWide = errors.New("others may write the file, and so decide what items and labels there are")
	// ErrNoRoom: the disk is too full for a tail.
	ErrNoRoom = errors.New("there is no room for the tail of the log")
	// ErrBroken: an earlier call has failed; the file is not touched any more.
	ErrBroken = errors.New("the file is closed for good after an error")
)

// Options say how a file is opened.
type Options struct {
	ReadOnly bool
	NoSync   bool   // no fsync: a crash of the machine may destroy the file
	Zero     int64  // of a file that is made: see Facts.Zero
	MapSize  int64  // addresses to reserve, so that growing need not wait for readers
	Settings string // of a file that is made: see Facts.Settings
}

// Facts are what a file says of itself.
type Facts struct {
	Format   uint32
	Created  int64 // UNIX seconds
	Zero     int64 // UNIX time of the store clock's zero
	Clean    bool  // it was closed in order
	Settings string
	Pending  []byte // delayed flushes, as they were put
}

// Label is one entry of the table of labels.
type Label struct {
	ID      uint32
	Flushed uint32 // on the store's clock
	Context string
}

// Segment is one transaction's part of the log.
type Segment struct {
	Seq   uint64
	Bytes int64 // of its chunks
}

// File is an open data file. Its methods are for one goroutine, but for WriteTo
// and Size, which may run beside them.
type File struct {
	db   *bbolt.DB
	file *os.File // bbolt's
	path string
	next uint64 // sequence of the next segment
	tail tail

	mu       sync.Mutex
	broken   error // +checklocks:mu why nothing is done any more
	panicked bool  // +checklocks:mu the error was a panic: bbolt's locks may be held for ever
}

// lockWait is how long Open waits for another process that is about to leave.
const lockWait = 200 * time.Millisecond

// Open opens a data file, made where there is none unless o.ReadOnly. It is locked against other
// processes until Close: exclusively, or against writers only. To be written to, it must
// be one that only its owner may write. Errors name the file, and what was expected of it.
func Open(path string, o Options) (*File, error) {
	f, err := open(path, &o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, explain(err))
	}
	return f, nil
}

// Wide returns the mode of a file that others than its owner may read; 0 for any
// other file.
func Wide(path string) os.FileMode {
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&0o077 == 0 {
		return 0
	}
	return st.Mode().Perm()
}

func open(path string, o *Options) (*File, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !o.ReadOnly {
		if err := create(path, o); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	// Of a directory or a device the mode is none of our business: nobody is to change it.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrForeign)
	}
	if mode := Wide(path); mode&0o022 != 0 && !o.ReadOnly {
		return nil, fmt.Errorf("%w: expected mode 0600, found %#o: chmod 600 %s", ErrWide, mode, path)
	}
	if err := verify(path, o.ReadOnly); err != nil {
		return nil, err
	}
	f := &File{path: path}
	err := f.guard(func() (err error) {
		bo := bolt(o)
		bo.OpenFile = func(name string, flag int, mode os.FileMode) (file *os.File, err error) {
			f.file, err = os.OpenFile(name, flag, mode)
			return f.file, err
		}
		f.db, err = bbolt.Open(path, 0o600, bo)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := f.start(o); err != nil {
		return nil, errors.Join(err, f.guard(f.db.Close))
	}
	return f, nil
}

// start checks the format, climbs the ladder, and finds the end of the log and what
// is in its tail.
func (f *File) start(o *Options) error {
	if err := f.view(func(tx *bbolt.Tx) error {
		if _, err := readFormat(tx); err != nil {
			return err
		}
		if k, _ := tx.Bucket(bucketLog).Cursor().Last(); len(k) == 8 {
			f.next = binary.BigEndian.Uint64(k) + 1
		}
		f.next = max(f.next, 1)
		return f.findTail(tx)
	}); err != nil {
		return err
	}
	if !o.ReadOnly {
		if err := f.update(climb); err != nil {
			return err
		}
	}
	return f.takeTail()
}

func bolt(o *Options) *bbolt.Options {
	return &bbolt.Options{
		Timeout: lockWait, ReadOnly: o.ReadOnly, NoSync: o.NoSync, NoStatistics: true,
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		InitialMmapSize: int(o.MapSize),
	}
}

// create makes a file that is whole from the moment on at which it has its name.
func create(path string, o *Options) (err error) {
	tmp, err := MakeTemp(path)
	if err != nil {
		return err
	}
	name := tmp.Name()
	defer os.Remove(name)
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(name, 0o600, bolt(&Options{}))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error { return found(tx, Format, o) })
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(name, path); err != nil { // unlike rename, not over another server's
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// found fills an empty database.
func found(tx *bbolt.Tx, format uint32, o *Options) error {
	for _, name := range [][]byte{bucketLabels, bucketLog, bucketFacts} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	facts := tx.Bucket(bucketFacts)
	num := func(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
	return errors.Join(
		facts.Put(factFormat, binary.LittleEndian.AppendUint32(nil, format)),
		facts.Put(factCreated, num(time.Now().Unix())),
		facts.Put(factZero, num(o.Zero)),
		facts.Put(factClean, []byte{1}),
		facts.Put(factSettings, []byte(o.Settings)),
	)
}

// SyncDir returns when the names in a directory are on the disk as they are now.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// verify looks through the pages, with the lock that bbolt takes later, so that
// nobody changes them meanwhile.
func verify(path string, readOnly bool) error {
	mode, how := os.O_RDWR, unix.LOCK_EX
	if readOnly {
		mode, how = os.O_RDONLY, unix.LOCK_SH
	}
	f, err := os.OpenFile(path, mode|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for until := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			break
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return &os.PathError{Op: "flock", Path: path, Err: err}
		}
		if time.Now().After(until) {
			return ErrLocked
		}
	}
	return VerifyPages(f)
}

// explain makes errors of bbolt and the system speak of what is to be done.
func explain(err error) error {
	var place *noPlace
	switch {
	case errors.As(err, &place):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: a data file needs a file system that can be written to", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the file has to belong to the user that the server runs as (-u)", err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: free some space, or name a file elsewhere", err)
	}
	return err
}

// guard runs a call of bbolt. A panic or a fault, as damage causes them, is an
// error, and like any other error of a write it is the last thing that is done
// with the file.
func (f *File) guard(fn func() error) (err error) {
	if err := f.Broken(); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return f.guarded(fn)
}

func (f *File) guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file is damaged, or was cut: %v", r)
			f.mu.Lock()
			f.broken, f.panicked = err, true
			f.mu.Unlock()
		}
	}()
	return fn()
}

// Broken is why nothing is done with the file any more, or nil.
func (f *File) Broken() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// view reads. After a write that failed the file can still be read: as of its last commit,
// or as of the failed one, if all but its last sync was done.
func (f *File) view(fn func(tx *bbolt.Tx) error) error {
	f.mu.Lock()
	err := f.broken
	if !f.panicked {
		err = nil
	}
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return f.guarded(func() error { return f.db.View(fn) })
}

// update runs a read-write transaction; after an error there is no other.
func (f *File) update(fn func(tx *bbolt.Tx) error) error {
	return f.must(func() error { return f.db.Update(fn) })
}

// must guards a call that is the last one if it fails.
func (f *File) must(fn func() error) error {
	err := f.guard(fn)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.broken == nil {
			f.broken = err
		}
	}
	return err
}

// Path is the name under which the file was opened.
func (f *File) Path() string { return f.path }

// Size is the length of the file in bytes.
func (f *File) Size() int64 {
	st, err := os.Stat(f.path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// Facts reads what the file says of itself.
func (f *File) Facts() (x Facts, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		if x.Format, err = readFormat(tx); err != nil {
			return err
		}
		facts := tx.Bucket(bucketFacts)
		num := func(name []byte) int64 {
			if v := facts.Get(name); len(v) == 8 {
				return int64(binary.LittleEndian.Uint64(v))
			}
			return 0
		}
		x.Created, x.Zero = num(factCreated), num(factZero)
		v := facts.Get(factClean)
		x.Clean = len(v) == 1 && v[0] == 1
		x.Settings = string(facts.Get(factSettings))
		x.Pending = append([]byte(nil), facts.Get(factPending)...)
		return nil
	})
	return x, err
}

// Labels reads the table of labels.
func (f *File) Labels() (ls []Label, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLabels).ForEach(func(k, v []byte) error {
			if len(k) != 4 || len(v) < 4 {
				return fmt.Errorf("%s: labels: expected a number and a flush time and a context, found %x, %x", f.path, k, v)
			}
			ls = append(ls, Label{binary.BigEndian.Uint32(k), binary.LittleEndian.Uint32(v), string(v[4:])})
			return nil
		})
	})
	return ls, err
}

// Close closes the file. With clean, it is marked as one that holds everything.
func (f *File) Close(clean bool) error {
	var err error
	if clean && f.Broken() == nil && !f.db.IsReadOnly() {
		err = f.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketFacts).Put(factClean, []byte{1}) })
		if err == nil && f.db.NoSync {
			err = f.guard(f.db.Sync)
		}
	}
	f.mu.Lock()
	if f.panicked {
		f.mu.Unlock()
		return err // the system lets go of the file when the process ends
	}
	f.broken = nil // an error without a panic: bbolt can be closed
	f.mu.Unlock()
	return errors.Join(err, f.guard(f.db.Close))
}
