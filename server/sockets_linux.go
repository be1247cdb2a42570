package server

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sockets are listening sockets that exist before their server: opened while the
// process could still bind privileged ports, or inherited from a service manager.
type Sockets struct {
	ls []*listener
	us []*udpSocket
}

// OpenSockets opens the TCP and UDP sockets of the settings, for Settings.Sockets,
// so that privileges can be dropped before New. If the process has inherited
// sockets (LISTEN_FDS, sd_listen_fds(3)) they take the place of all that -p, -U,
// -l and -s name. A UNIX socket is not opened: it is to belong to the user that
// the server runs as. Sockets is nil then. kernelLabels
// says whether labels of datagrams count (Monitor.KernelLabels).
func OpenSockets(s *Settings, kernelLabels bool) (*Sockets, error) {
	set := s.withDefaults()
	ls, err := inherited(&set)
	if err != nil {
		return nil, err
	}
	if ls != nil {
		return &Sockets{ls: ls}, nil
	}
	if set.UnixPath != "" {
		return nil, nil
	}
	if ls, err = listenAll(&set); err != nil {
		return nil, err
	}
	us, err := listenUDP(&set, kernelLabels)
	if err != nil {
		closeAll(ls)
		return nil, err
	}
	return &Sockets{ls: ls, us: us}, nil
}

// openAll is OpenSockets and the UNIX socket.
func openAll(set *Settings, kernelLabels bool) (*Sockets, error) {
	if set.Sockets != nil {
		return set.Sockets, nil
	}
	so, err := OpenSockets(set, kernelLabels)
	if so != nil || err != nil {
		return so, err
	}
	ls, err := listenAll(set)
	if err != nil {
		return nil, err
	}
	return &Sockets{ls: ls}, nil
}

func (so *Sockets) close() {
	closeAll(so.ls)
	closeUDP(so.us)
}

// listenFD is the first inherited descriptor, SD_LISTEN_FDS_START.
const listenFD = 3

// Inherits says whether a service manager passes sockets to this process
// (sd_listen_fds(3)). Once OpenSockets has taken them it says no.
func Inherits() bool {
	return os.Getenv("LISTEN_FDS") != "" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
}

// inherited takes the sockets that a service manager passes, if any. The
// environment says so once: it is cleared, for children and a second server.
func inherited(set *Settings) ([]*listener, error) {
	if !Inherits() {
		return nil, nil
	}
	n := os.Getenv("LISTEN_FDS")
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v) // fails for impossible names only
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 0 || count > 1024 {
		return nil, fmt.Errorf("server: LISTEN_FDS: expected a number of descriptors, found %q", n)
	}
	if count == 0 {
		return nil, nil
	}
	ls := make([]*listener, 0, count)
	for i := range count {
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		l, err := adoptListener(listenFD+i, name)
		if err != nil {
			closeAll(ls)
			return nil, err
		}
		if set.TLS.Enabled && !l.unix() {
			l.tls = tlsDefault
			if mode, ok := tlsPrefixes[name]; ok {
				l.tls = mode
			}
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// adoptListener makes a listener of an inherited socket, which must be a listening
// stream socket. Its name (FileDescriptorName= of the socket unit) may be notls,
// btls or mtls and then means what that prefix of -l means.
func adoptListener(fd int, name string) (*listener, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("server: inherited descriptor %d (%s): %w", fd, name, os.NewSyscallError("getsockopt", err))
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || kind != unix.SOCK_STREAM || listens == 0 {
		return nil, fmt.Errorf("server: inherited descriptor %d (%s): expected a listening stream socket (ListenStream= of a socket unit, without Accept=yes)", fd, name)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &listener{fd: fd, inherited: true}
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		if l.path = sa.Name; l.path == "" {
			l.path = "(unnamed)"
		}
		l.addr = &net.UnixAddr{Name: sa.Name, Net: "unix"}
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		l.addr = net.TCPAddrFromAddrPort(addrPort(sa))
		// Accepted sockets inherit what a socket unit does not set by itself.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	default:
		return nil, fmt.Errorf("server: inherited descriptor %d (%s): expected a TCP or UNIX socket", fd, name)
	}
	return l, nil
}

// Beat returns when every loop has come to the end of a turn: a server that
// does so goes on. A loop that is stuck makes it wait as long.
func (s *Server) Beat() {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.worker.Inspect(nil, func() {})
	}
}

// CheckAddresses reads the addresses of the settings as OpenSockets does, and
// opens nothing. Names of hosts are looked up.
func CheckAddresses(s *Settings) error {
	set := s.withDefaults()
	addrs, err := parseInterfaces(set.Interfaces, set.Port)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a.tlsPrefix != "" && !set.TLS.Enabled {
			return fmt.Errorf("server: '%s' option is valid only when SSL is enabled", a.tlsPrefix)
		}
	}
	return nil
}
