package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listener is one listening socket. It is immutable.
type listener struct {
	fd      int
	addr    net.Addr
	path    string      // of a UNIX socket, to be removed
	file    fs.FileInfo // what bind made at path; nil: not known
	dialect dialect     // what its connections speak

	inherited bool // from a service manager, whose path it is
	tls       tlsMode
}

func (l *listener) unix() bool { return l.path != "" }

// name is the address as memcached's "stats conns" shows it.
func (l *listener) name() string {
	if l.unix() {
		return "unix:" + l.path
	}
	return addrName(l.addr.(*net.TCPAddr).AddrPort())
}

func addrName(a netip.AddrPort) string {
	if a.Addr().Is6() && !a.Addr().Is4In6() {
		return "tcp6:" + a.String()
	}
	return "tcp:" + netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

// close ends listening. A path that another server has taken over meanwhile is that server's
// and stays; while the descriptor is open no other file can have the socket's inode.
func (l *listener) close() {
	if l.file != nil && !l.inherited {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			_ = os.Remove(l.path)
		}
	}
	closeFD(l.fd)
}

func closeAll(ls []*listener) {
	for _, l := range ls {
		l.close()
	}
}

// listenAll opens the listeners of the settings: the UNIX socket, or else every
// TCP address.
func listenAll(set *Settings) ([]*listener, error) {
	if set.UnixPath != "" {
		l, err := listenUnix(set.UnixPath, set.UnixMask, set.Backlog)
		if err != nil {
			return nil, err
		}
		return []*listener{l}, nil
	}
	addrs, err := parseInterfaces(set.Interfaces, set.Port)
	if err != nil {
		return nil, err
	}
	ls := []*listener{}
	for _, a := range addrs {
		if a.tlsPrefix != "" && !set.TLS.Enabled {
			closeAll(ls)
			return nil, fmt.Errorf("server: '%s' option is valid only when SSL is enabled", a.tlsPrefix)
		}
		l, err := listenTCP(a.AddrPort, set.Backlog)
		if err != nil {
			if a.optional && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
				continue
			}
			closeAll(ls)
			return nil, fmt.Errorf("server: failed to listen on TCP port %d (%s): %w", a.Port(), a.Addr(), err)
		}
		l.dialect = a.dialect
		l.tls = tlsPrefixes[a.tlsPrefix]
		ls = append(ls, l)
	}
	if len(addrs) > 0 && len(ls) == 0 {
		return nil, errors.New("server: no address family to listen on")
	}
	return ls, nil
}

// tcpAddr is one address to listen on.
type tcpAddr struct {
	netip.AddrPort
	optional bool // one of all addresses: its family may be missing
	prefixes
}

// prefixes are what is before the address in a -l entry.
type prefixes struct {
	dialect   dialect // of proto[...]:; negotiating without one
	tlsPrefix string  // notls, btls, mtls or ""
}

// parseInterfaces turns the -l lists into addresses. Port 0 is off: only entries
// with a port of their own count then.
func parseInterfaces(lists []string, port int) ([]tcpAddr, error) {
	var as []tcpAddr
	any := true
	for _, list := range lists {
		for _, item := range splitList(list) {
			any = false
			pre, item, err := parsePrefixes(item)
			if err != nil {
				return nil, err
			}
			more, err := parseInterface(item, port)
			if err != nil {
				return nil, err
			}
			for i := range more {
				more[i].prefixes = pre
			}
			as = append(as, more...)
		}
	}
	if any && port != 0 {
		p := uint16(max(port, 0))
		as = append(as,
			tcpAddr{AddrPort: netip.AddrPortFrom(netip.IPv4Unspecified(), p), optional: true},
			tcpAddr{AddrPort: netip.AddrPortFrom(netip.IPv6Unspecified(), p), optional: true})
	}
	return as, nil
}

// splitList returns the entries of a -l list.
func splitList(list string) (items []string) {
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ';' }) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// parsePrefixes takes the prefixes off a -l entry: proto[NAME]: says what clients
// speak there, notls:, btls: and mtls: whether they do it over TLS; tag[NAME]: or
// tag_NAME_:, of 1 to 8 characters, are memcached's and change nothing here.
func parsePrefixes(item string) (pre prefixes, rest string, err error) {
	for rest = item; ; {
		switch {
		case strings.HasPrefix(rest, "proto["):
			name, after, ok := strings.Cut(rest[len("proto["):], "]:")
			if !ok {
				return pre, "", fmt.Errorf("server: -l %q: expected proto[NAME]: and an address", item)
			}
			if pre.dialect, err = parseDialect(name); err != nil {
				return pre, "", fmt.Errorf("server: -l %q: %w", item, err)
			}
			rest = after
		case strings.HasPrefix(rest, "tag[") || strings.HasPrefix(rest, "tag_"):
			end := "]:"
			if rest[3] == '_' {
				end = "_:"
			}
			tag, after, ok := strings.Cut(rest[len("tag["):], end)
			if !ok || len(tag) < 1 || len(tag) > 8 {
				return pre, "", fmt.Errorf("server: -l %q: Listener tags must be between 1 and 8 characters: %q", item, tag)
			}
			rest = after
		default:
			word, after, _ := strings.Cut(rest, ":")
			if _, ok := tlsPrefixes[word]; !ok {
				return pre, rest, nil
			}
			if pre.tlsPrefix != "" {
				return pre, "", fmt.Errorf("server: -l %q: expected one of notls:, btls: and mtls:, found several", item)
			}
			pre.tlsPrefix, rest = word, after
		}
	}
}

// parseInterface resolves one -l entry: host, host:port, [v6]:port, or a bare
// IPv6 address.
func parseInterface(item string, port int) ([]tcpAddr, error) {
	host := item
	if h, p, err := net.SplitHostPort(item); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("server: -l %q: Invalid port number: %q, expected one up to 65535", item, p)
		}
		host, port = h, int(n)
		if n == 0 {
			port = -1
		}
	}
	if strings.HasPrefix(host, "[") && !strings.HasSuffix(host, "]") {
		return nil, fmt.Errorf("server: -l %q: Invalid IPV6 address: %q", item, host)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if port == 0 {
		return nil, nil
	}
	p := uint16(max(port, 0))
	if host == "*" {
		return []tcpAddr{
			{AddrPort: netip.AddrPortFrom(netip.IPv4Unspecified(), p), optional: true},
			{AddrPort: netip.AddrPortFrom(netip.IPv6Unspecified(), p), optional: true},
		}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []tcpAddr{{AddrPort: netip.AddrPortFrom(a, p)}}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
	if err != nil {
		return nil, fmt.Errorf("server: failed to listen on one of interface(s) %s: %w", item, err)
	}
	var as []tcpAddr
	for _, a := range ips {
		as = append(as, tcpAddr{AddrPort: netip.AddrPortFrom(a.Unmap(), p), optional: true})
	}
	return as, nil
}

// listenTCP opens a plain TCP socket (never multipath TCP) with memcached's
// options, which accepted sockets inherit.
func listenTCP(a netip.AddrPort, backlog int) (*listener, error) {
	family := unix.AF_INET
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	l := &listener{fd: fd}
	if err := l.setupTCP(a, backlog); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listener) setupTCP(a netip.AddrPort, backlog int) error {
	var sa unix.Sockaddr
	if a.Addr().Is6() {
		if err := unix.SetsockoptInt(l.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		sa6 := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
		if zone := a.Addr().Zone(); zone != "" {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return err
			}
			sa6.ZoneId = uint32(ifi.Index)
		}
		sa = sa6
	} else {
		sa = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	for _, o := range [...][2]int{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY},
	} {
		if err := unix.SetsockoptInt(l.fd, o[0], o[1], 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(l.fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(l.fd, backlog); err != nil {
		return os.NewSyscallError("listen", err)
	}
	bound, err := unix.Getsockname(l.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	l.addr = net.TCPAddrFromAddrPort(addrPort(bound))
	return nil
}

// listenUnix opens a UNIX socket with the access mode. A socket that an earlier
// server has left behind is removed; anything else in its place is an error.
func listenUnix(path string, mode, backlog int) (*listener, error) {
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("server: %s: expected a socket or nothing, found %v", path, fi.Mode())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The mode has to be right from the first moment: the mask counts at bind.
	old := unix.Umask(^mode & 0o777)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	unix.Umask(old)
	if err != nil {
		closeFD(fd)
		return nil, fmt.Errorf("server: failed to listen on UNIX socket: %s: %w", path, os.NewSyscallError("bind", err))
	}
	l := &listener{fd: fd, path: path, addr: &net.UnixAddr{Name: path, Net: "unix"}}
	if l.file, err = os.Lstat(path); err != nil {
		l.close()
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		l.close()
		return nil, fmt.Errorf("server: failed to listen on UNIX socket: %s: %w", path, os.NewSyscallError("listen", err))
	}
	return l, nil
}

// addrPort is the address of an INET socket, or zero.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// writePortFile tells whoever started the server which ports the kernel has
// chosen, a line "TCP INET: port" each, atomically as memcached does.
func writePortFile(path string, ls []*listener, us []*udpSocket) error {
	if path == "" {
		return nil
	}
	var b strings.Builder
	for _, l := range ls {
		if a, ok := l.addr.(*net.TCPAddr); ok {
			family := "INET"
			if a.IP.To4() == nil {
				family = "INET6"
			}
			fmt.Fprintf(&b, "TCP %s: %d\n", family, a.Port)
		}
	}
	for _, u := range us {
		family := "INET"
		if !u.addr.Addr().Is4() {
			family = "INET6"
		}
		fmt.Fprintf(&b, "UDP %s: %d\n", family, u.addr.Port())
	}
	tmp := path + ".lck"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o666); err != nil {
		return fmt.Errorf("server: port file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("server: port file: %w", err)
	}
	return nil
}

// closeFD closes a descriptor that nobody needs any more; there is nothing to be
// done about an error.
func closeFD(fd int) { _ = unix.Close(fd) }
