package mac

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Messages of NETLINK_SELINUX (include/uapi/linux/selinux_netlink.h).
const (
	selnlSetEnforce = 0x10 // int32
	selnlPolicyLoad = 0x11 // uint32: the policy's sequence number; booleans too
	selnlGroupAVC   = 1
)

// statusLink learns by netlink what the status page would show, and moves the
// word of a statusPage without a page. It is later than the page by as long as a
// goroutine takes to wake: where the page can be mapped, it is not used.
type statusLink struct {
	fd   int
	word *uint32
}

// openStatusLink listens. why is the reason that the page cannot be used, and is
// returned with the rest, to be told or to refuse by.
func openStatusLink(fs *selinuxfs, why error) (*statusLink, *statusPage, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SELINUX)
	if err != nil {
		return nil, nil, errors.Join(why, os.NewSyscallError("socket", err))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: selnlGroupAVC}); err != nil {
		_ = unix.Close(fd)
		return nil, nil, errors.Join(why, os.NewSyscallError("bind", err))
	}
	// Close does not wake a reader: it looks up itself.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		_ = unix.Close(fd)
		return nil, nil, errors.Join(why, os.NewSyscallError("setsockopt", err))
	}
	l := &statusLink{fd: fd, word: new(uint32)}
	page := &statusPage{word: l.word, enforced: func() (uint32, bool) {
		n, err := fs.number("enforce")
		return uint32(n), err == nil
	}}
	return l, page, nil
}

// closedWord in the word says that run shall end. It is odd: of no state.
const closedWord = ^uint32(0)

func (l *statusLink) close() { atomic.StoreUint32(l.word, closedWord) }

// run listens until close, or until it cannot any more: then the word stays odd,
// and nothing is decided, since nobody knows what is in force.
func (l *statusLink) run(wait *sync.WaitGroup, dead func(error)) {
	defer wait.Done()
	defer func() { _ = unix.Close(l.fd) }()
	buf := make([]byte, 8192)
	failures := 0
	for atomic.LoadUint32(l.word) != closedWord {
		n, from, err := unix.Recvfrom(l.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS): // some are lost: something has changed
			l.move()
			continue
		case err != nil:
			if failures++; failures < 10 {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if old := atomic.LoadUint32(l.word); old != closedWord && atomic.CompareAndSwapUint32(l.word, old, old|1) {
				dead(err)
			}
			return
		}
		failures = 0
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // only the kernel is believed
		}
		if changes(buf[:n]) {
			l.move()
		}
	}
}

func (l *statusLink) move() {
	old := atomic.LoadUint32(l.word)
	if old != closedWord {
		atomic.CompareAndSwapUint32(l.word, old, old+2)
	}
}

// changes reports whether a packet tells of a new policy, boolean or mode.
func changes(b []byte) bool {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := binary.NativeEndian.Uint32(b)
		if n < unix.NLMSG_HDRLEN || int(n) > len(b) {
			return false
		}
		switch binary.NativeEndian.Uint16(b[4:]) {
		case selnlSetEnforce, selnlPolicyLoad:
			return true
		}
		b = b[min(len(b), int(n+3)&^3):]
	}
	return false
}

// netlinkSink sends records to the kernel's audit subsystem, which adds who we
// are and passes them on to auditd.
type netlinkSink struct {
	fd  int
	seq uint32
	buf []byte
	exe string // as libaudit has it
	// exchange sends a message and returns what comes back; tests have another.
	exchange func(msg []byte, reply []byte) (int, error)
}

// auditTextMax is AUDIT_MESSAGE_TEXT_MAX of libaudit, with room to spare.
const auditTextMax = 8192

// openAuditNetlink opens the way; whether records are permitted, the first one
// shows.
func openAuditNetlink() (sink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	s := &netlinkSink{fd: fd}
	if exe, err := os.Executable(); err == nil {
		s.exe = exe
	}
	s.exchange = func(msg, reply []byte) (int, error) {
		if msg != nil {
			if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return 0, os.NewSyscallError("sendto", err)
			}
		}
		for {
			n, from, err := unix.Recvfrom(fd, reply, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return 0, os.NewSyscallError("recvfrom", err)
			}
			if sa, ok := from.(*unix.SockaddrNetlink); ok && sa.Pid == 0 {
				return n, nil
			}
		}
	}
	return s, nil
}

// emit sends one record and waits for the kernel to acknowledge it.
func (s *netlinkSink) emit(t auditType, _ time.Time, text []byte) error {
	s.seq++
	s.buf = appendAuditMessage(s.buf[:0], s.seq, t, text, s.exe)
	var reply [1024]byte
	msg := s.buf
	for {
		n, err := s.exchange(msg, reply[:])
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		msg = nil
		if done, err := acknowledged(reply[:n], s.seq); done {
			return err
		}
	}
}

// appendAuditMessage appends the netlink message of one record, in the form of
// libaudit's audit_log_user_avc_message: the text, what the audit tools expect
// after it, and a NUL.
func appendAuditMessage(dst []byte, seq uint32, t auditType, text []byte, exe string) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, unix.NLMSG_HDRLEN)...)
	dst = append(dst, text[:min(len(text), auditTextMax)]...)
	dst = append(dst, " exe="...)
	dst = appendUntrusted(dst, exe)
	dst = fmt.Appendf(dst, " sauid=%d hostname=? addr=? terminal=?\x00", os.Getuid())
	h := dst[start:]
	binary.NativeEndian.PutUint32(h, uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], uint16(t))
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(h[8:], seq)
	return dst
}

// acknowledged looks for the acknowledgement of message seq: an NLMSG_ERROR,
// with 0 for success.
func acknowledged(b []byte, seq uint32) (done bool, err error) {
	if len(b) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR || binary.NativeEndian.Uint32(b[8:]) != seq {
		return false, nil
	}
	if e := int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); e != 0 {
		return true, fmt.Errorf("audit: %w", unix.Errno(-e))
	}
	return true, nil
}

func (s *netlinkSink) flush() error  { return nil }
func (s *netlinkSink) reopen() error { return nil }
func (s *netlinkSink) close() error {
	if s.fd <= 0 {
		return nil
	}
	fd := s.fd
	s.fd = 0
	return unix.Close(fd)
}
