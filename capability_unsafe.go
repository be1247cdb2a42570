package main

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capabilities belong to threads (capabilities(7)), and the Go runtime starts
// threads as it likes: whatever is changed here is changed for all of them, as
// syscall.Setuid does. A program with cgo cannot do that, and says so.

// keepCapabilities lets the capabilities that the process may use outlive its
// change of user. It is an error if it does not hold capability c.
func keepCapabilities(c uint) error {
	have, err := permitted()
	if err != nil {
		return err
	}
	if have&(1<<c) == 0 {
		return errors.New("the capability is not held")
	}
	return allThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0)
}

// limitCapabilities gives up every capability but c, which takes effect.
func limitCapabilities(c uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	data[c/32].Permitted = 1 << (c % 32)
	data[c/32].Effective = 1 << (c % 32)
	// SAFETY: the kernel reads both during the call only, and
	// AllThreadsSyscall keeps its arguments alive (go:uintptrescapes).
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return allThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0)
}

// permitted is the set of capabilities that the process may use.
func permitted() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32, nil
}

func allThreads(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a1, a2, a3); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	return nil
}
