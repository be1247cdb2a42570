package server

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path, raw: none of them blocks for longer than a
// packet takes through the kernel, but for epoll_wait with a timeout, so the
// scheduler is not told. Buffers are on the heap or in the arena, never on a
// goroutine's stack, which may move.

// epollWaitRaw waits for events while it keeps the goroutine's P. msec is -1, 0
// or a timeout in milliseconds; long ones stall the garbage collector's stop
// only until the runtime's preemption signal interrupts the wait.
func epollWaitRaw(ep int, events []unix.EpollEvent, msec int) (int, unix.Errno) {
	// SAFETY: events is heap memory and outlives the call.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(msec), 0, 0)
	return int(n), e
}

// epollWaitBlocking is epollWaitRaw through the scheduler, for long waits.
func epollWaitBlocking(ep int, events []unix.EpollEvent, msec int) (int, unix.Errno) {
	// SAFETY: events is heap memory and outlives the call.
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(msec), 0, 0)
	return int(n), e
}

// recv reads from a non-blocking socket into p, which is not empty. (0, 0) is
// the end of the input.
func recv(fd int, p []byte) (int, unix.Errno) {
	// SAFETY: p is heap or arena memory and outlives the call.
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// send writes p to a non-blocking socket without raising SIGPIPE.
func send(fd int, p []byte) (int, unix.Errno) {
	// SAFETY: p is heap or arena memory and outlives the call.
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// gather is what one sendmsg(2) sends: up to maxParts pieces of memory.
type gather struct {
	msg unix.Msghdr
	iov [maxParts]unix.Iovec
	n   int
}

// maxParts is how many pieces one reply may be sent from.
const maxParts = 64

// add appends p, which stays unchanged until send has returned. It reports
// whether there was room.
func (g *gather) add(p []byte) bool {
	if g.n == len(g.iov) {
		return false
	}
	v := &g.iov[g.n]
	v.Base = unsafe.SliceData(p)
	v.SetLen(len(p))
	g.n++
	return true
}

// send sends the pieces and forgets them.
func (g *gather) send(fd int) (int, unix.Errno) {
	g.msg.Iov = &g.iov[0]
	g.msg.SetIovlen(g.n)
	// SAFETY: the gather is part of a loop, on the heap, and so are or outlive
	// the call the pieces it points to.
	n, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&g.msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	clear(g.iov[:g.n])
	g.n = 0
	return int(n), e
}

// address is where p begins.
func address(p []byte) uintptr {
	// SAFETY: the number is compared with others of the same turn; nothing is reached by it.
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))
}
