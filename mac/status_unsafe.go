package mac

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statusPage is how one learns that the kernel's policy, booleans or mode have
// changed: a page that it shares with every process (security/selinux/ss/status.c),
// native byte order,
//
//	 0         4          8           12           16             20
//	+---------+----------+-----------+------------+--------------+
//	| version | sequence | enforcing | policyload | deny_unknown |
//	+---------+----------+-----------+------------+--------------+
//
// under a sequence lock: odd while it is written. To compare the sequence with
// the one remembered is all that a request pays. policyload is of no use: it is 0
// until the first change after the page was first opened.
type statusPage struct {
	mem      []byte                // nil: no page, netlink moves the word
	word     *uint32               // the sequence
	enforced func() (uint32, bool) // without a page: the mode
}

const (
	statusLen     = 4096
	statusVersion = 1
)

// openStatusPage maps the page of a selinuxfs.
func openStatusPage(root string) (*statusPage, error) {
	name := filepath.Join(root, "status")
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the mapping stays
	mem, err := unix.Mmap(int(f.Fd()), 0, statusLen, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: name, Err: err}
	}
	p := &statusPage{mem: mem}
	p.word = p.at(4)
	if v := atomic.LoadUint32(p.at(0)); v != statusVersion {
		return nil, errors.Join(fmt.Errorf("%s: expected version %d, found %d", name, statusVersion, v), p.close())
	}
	return p, nil
}

// at is the word at an offset.
func (p *statusPage) at(off int) *uint32 {
	// SAFETY: mem is a whole page and off a multiple of 4 well inside it.
	return (*uint32)(unsafe.Pointer(&p.mem[off]))
}

// sequence is one atomic load. An odd one is of no state at all.
func (p *statusPage) sequence() uint32 { return atomic.LoadUint32(p.word) }

// enforcing is the mode that belongs to sequence seq, if that is still the one.
// It does not wait.
func (p *statusPage) enforcing(seq uint32) (on, ok bool) {
	if seq&1 != 0 || p.sequence() != seq {
		return true, false
	}
	var e uint32
	if p.mem != nil {
		e = atomic.LoadUint32(p.at(8))
	} else if e, ok = p.enforced(); !ok {
		return true, false
	}
	return e != 0, p.sequence() == seq
}

func (p *statusPage) close() error {
	if p.mem == nil {
		return nil
	}
	mem := p.mem
	p.mem = nil
	return unix.Munmap(mem)
}
