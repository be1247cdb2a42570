package load

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw system calls: the scheduler is not told, since the threads of a generator
// have nothing else to do. Buffers are on the heap, never on a goroutine's stack,
// which may move.

// epollWait waits for events for at most ns nanoseconds; below 0: for ever.
func epollWait(ep int, events []unix.EpollEvent, ns int64, ts *unix.Timespec) (int, unix.Errno) {
	var p unsafe.Pointer
	if ns >= 0 {
		*ts = unix.NsecToTimespec(ns)
		p = unsafe.Pointer(ts)
	}
	// SAFETY: events and ts are heap memory and outlive the call.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(p), 0, 0)
	return int(n), e
}

func recv(fd int, p []byte) (int, unix.Errno) {
	// SAFETY: p is heap memory and outlives the call.
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func send(fd int, p []byte) (int, unix.Errno) {
	// SAFETY: p is heap memory and outlives the call.
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}
