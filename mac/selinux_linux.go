package mac

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"

	selinux "github.com/opencontainers/selinux/go-selinux"
)

// This file alone uses opencontainers/selinux. That package fails open: where
// there is no selinuxfs its functions answer nothing with no error, and its
// paths become relative. So it is asked only for what a socket carries, which
// needs no selinuxfs, and an empty answer is an error here.

// peerLabel is the kernel's label of the socket at the other end of fd, as a
// raw context. unix.ENOPROTOOPT says that the kernel has none.
func peerLabel(fd int) (string, error) {
	label, err := selinux.PeerLabel(uintptr(fd))
	if err != nil {
		return "", err
	}
	if label == "" {
		return "", errNoLabel
	}
	return label, nil
}

// ownLabel is the context of this process, from a mounted /proc. (The library's
// CurrentLabel first tries to mount a /proc of its own, in several ways: a domain
// would have to be given, or be seen asking for, the rights of an administrator.)
// A thread may always read its own; of another one, even of the same process, only
// with process getattr.
func ownLabel(proc string) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := os.ReadFile(filepath.Join(proc, "thread-self/attr/current"))
	if err != nil {
		return "", err
	}
	label := string(bytes.TrimRight(b, "\x00\n"))
	if label == "" {
		return "", errNoLabel
	}
	return label, nil
}

var errNoLabel = errors.New("the kernel gave an empty security context")
