package mac

import (
	"errors"

	selinux "github.com/opencontainers/selinux/go-selinux"
)

// This file alone uses opencontainers/selinux. That package fails open: where
// there is no selinuxfs its functions answer nothing with no error, and its
// paths become relative. So it is asked only for what a socket or a process
// carries, which needs no selinuxfs, and an empty answer is an error here.

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

// ownLabel is the context of this process.
func ownLabel() (string, error) {
	label, err := selinux.CurrentLabel()
	if err != nil {
		return "", err
	}
	if label == "" {
		return "", errNoLabel
	}
	return label, nil
}

var errNoLabel = errors.New("the kernel gave an empty security context")
