package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Numbers of bbolt's file format (internal/common of go.etcd.io/bbolt: page.go,
// meta.go, inode.go). A page is a header and elements; a branch's element names a
// page, a leaf's a key and a value, or a bucket.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	pageHead    = 16
	elementSize = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	leafBucket  = 0x01
	bucketHead  = 16
	maxDepth    = 32
)

// ErrForeign is returned for what is no bbolt database at all, or one of another program.
var ErrForeign = errors.New("expected a data file of sememcached, found something else")

// verifier looks through the pages of a file that bbolt has not opened yet.
type verifier struct {
	b    []byte
	page uint64
	high uint64   // pages from here on are not in use
	seen []uint64 // bits: pages that something refers to
}

// VerifyPages looks through the structure of a bbolt file: everything that bbolt
// takes for granted when it opens one. It reads page headers, keys and the values
// that are buckets, not the other values. The file must not change meanwhile.
func VerifyPages(f *os.File) (err error) {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", ErrForeign)
	}
	size := st.Size()
	if size < 2*pageHead+160 {
		return fmt.Errorf("%w: it has %d bytes", ErrForeign, size)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	defer unix.Munmap(b) //nolint:errcheck // of what was just mapped
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file is damaged: %v", r)
		}
	}()
	v := &verifier{b: b}
	root, err := v.meta()
	if err != nil {
		return err
	}
	if v.high*v.page > uint64(size) {
		return fmt.Errorf("the file was cut: expected %d bytes at least, found %d", v.high*v.page, size)
	}
	v.seen = make([]uint64, v.high/64+1)
	v.seen[0] = 3 // the two meta pages
	return v.tree(root, nil, nil, 0)
}

// meta chooses the newer valid meta page and returns the root bucket's page.
func (v *verifier) meta() (root uint64, err error) {
	var best uint64
	found := false
	foreign := true
	// The second meta page is at the page size, which the first one says; if that
	// one is damaged, at one of the usual sizes.
	at := []uint64{0}
	if size := uint64(binary.LittleEndian.Uint32(v.b[pageHead+8:])); size >= 512 && size <= 1<<16 && size&(size-1) == 0 {
		at = append(at, size)
	} else {
		for size := uint64(512); size <= 1<<16; size *= 2 {
			at = append(at, size)
		}
	}
	for _, off := range at {
		if off+pageHead+64 > uint64(len(v.b)) {
			continue
		}
		m := v.b[off+pageHead:]
		if binary.LittleEndian.Uint32(m) != boltMagic {
			continue
		}
		foreign = false
		if n := binary.LittleEndian.Uint32(m[4:]); n != boltVersion {
			err = fmt.Errorf("expected version %d of bbolt's format, found %d", boltVersion, n)
			continue
		}
		sum := fnv.New64a()
		sum.Write(m[:56])
		if sum.Sum64() != binary.LittleEndian.Uint64(m[56:]) {
			continue
		}
		if tx := binary.LittleEndian.Uint64(m[48:]); !found || tx > best {
			best, found = tx, true
			v.page = uint64(binary.LittleEndian.Uint32(m[8:]))
			root = binary.LittleEndian.Uint64(m[16:])
			v.high = binary.LittleEndian.Uint64(m[40:])
		}
	}
	switch {
	case found:
		return root, nil
	case err != nil:
		return 0, err
	case foreign:
		return 0, ErrForeign
	}
	return 0, errors.New("the file is damaged: neither of its two meta pages has a right checksum")
}

func (v *verifier) damaged(id uint64, format string, args ...any) error {
	return fmt.Errorf("the file is damaged: page %d (offset %#x): %s", id, id*v.page, fmt.Sprintf(format, args...))
}

// tree checks the pages from id down: keys are not below low and below high.
func (v *verifier) tree(id uint64, low, high []byte, depth int) error {
	if id < 2 || id >= v.high {
		return v.damaged(id, "expected pages 2 to %d", v.high-1)
	}
	if depth > maxDepth {
		return v.damaged(id, "expected a tree of %d levels at most", maxDepth)
	}
	p := v.b[id*v.page:]
	overflow := uint64(binary.LittleEndian.Uint32(p[12:]))
	if own := binary.LittleEndian.Uint64(p); own != id {
		return v.damaged(id, "it says that it is page %d", own)
	}
	if overflow >= v.high-id {
		return v.damaged(id, "expected at most %d pages to follow, found %d", v.high-id-1, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if v.seen[i/64]>>(i%64)&1 != 0 {
			return v.damaged(i, "two places refer to it")
		}
		v.seen[i/64] |= 1 << (i % 64)
	}
	return v.elements(id, p[:(overflow+1)*v.page:(overflow+1)*v.page], low, high, depth)
}

// elements checks the elements of a page, or of a bucket within a page.
func (v *verifier) elements(id uint64, p, low, high []byte, depth int) error {
	kind := binary.LittleEndian.Uint16(p[8:])
	count := int(binary.LittleEndian.Uint16(p[10:]))
	if kind != pageBranch && kind != pageLeaf {
		return v.damaged(id, "expected a branch or a leaf, found type %#x", kind)
	}
	if len(p) < pageHead+count*elementSize || kind == pageBranch && count == 0 {
		return v.damaged(id, "%d elements do not fit", count)
	}
	before := low
	for i := range count {
		at := pageHead + i*elementSize
		e := p[at:]
		var key, value []byte
		if kind == pageBranch {
			pos, n := int(binary.LittleEndian.Uint32(e)), int(binary.LittleEndian.Uint32(e[4:]))
			if at+pos+n > len(p) {
				return v.damaged(id, "element %d reaches beyond the page", i)
			}
			key = e[pos : pos+n]
		} else {
			pos, n, m := int(binary.LittleEndian.Uint32(e[4:])), int(binary.LittleEndian.Uint32(e[8:])), int(binary.LittleEndian.Uint32(e[12:]))
			if at+pos+n+m > len(p) {
				return v.damaged(id, "element %d reaches beyond the page", i)
			}
			key, value = e[pos:pos+n], e[pos+n:pos+n+m]
		}
		if c := bytes.Compare(before, key); i > 0 && c >= 0 || i == 0 && c > 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return v.damaged(id, "key %d is out of order", i)
		}
		before = key
		if kind == pageBranch {
			next := high
			if i+1 < count {
				e := p[at+elementSize:]
				pos, n := int(binary.LittleEndian.Uint32(e)), int(binary.LittleEndian.Uint32(e[4:]))
				if at+elementSize+pos+n > len(p) {
					return v.damaged(id, "element %d reaches beyond the page", i+1)
				}
				next = e[pos : pos+n]
			}
			if err := v.tree(binary.LittleEndian.Uint64(e[8:]), key, next, depth+1); err != nil {
				return err
			}
			continue
		}
		if binary.LittleEndian.Uint32(e)&leafBucket != 0 {
			if err := v.bucket(id, value, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks a bucket from its value on: the number of its root page, or, with
// 0, the page itself.
func (v *verifier) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHead {
		return v.damaged(id, "a bucket has %d bytes", len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return v.tree(root, nil, nil, depth+1)
	}
	if depth > maxDepth || len(value) < bucketHead+pageHead {
		return v.damaged(id, "a bucket within the page has %d bytes", len(value))
	}
	return v.elements(id, value[bucketHead:], nil, nil, depth+1)
}
