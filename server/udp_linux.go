package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"sememcached/mac"
	"sememcached/protocol"
)

// UDP (protocol.txt, "UDP protocol"). Every datagram begins with a frame header
// of four big-endian numbers of 16 bits:
//
//	request id | sequence number | datagrams of the message | 0
//
// A request is one datagram; those of several are dropped. The reply to each
// command in it is a message of its own, of as many datagrams as it takes.
//
// A datagram gets a connection that lives as long as its commands: it is executed
// as soon as it is received, and goes away when the last reply has been sent.
//
// Where the kernel's labels of clients count, a datagram over IPv4 brings its own
// (IP_PASSSEC of ip(7), SCM_SECURITY of cmsg): the kernel has none for IPv6. Else, and
// where it brings none, its client is known by the address it claims to have and by
// nothing else, so only a udp: line of the contexts file gives it a context.
const (
	udpHeader  = 8
	udpPayload = 1400 - udpHeader // bytes of reply in a datagram, as memcached has it
	udpBatch   = 64               // datagrams taken from a socket before others get their turn
	udpReply   = 16 << 20         // bytes of reply above which none is sent
)

// udpSocket is one socket. It belongs to one loop.
type udpSocket struct {
	fd      int
	addr    netip.AddrPort
	dialect dialect
}

func (u *udpSocket) name() string {
	a := u.addr
	if a.Addr().Is6() && !a.Addr().Is4In6() {
		return "udp6:" + a.String()
	}
	return "udp:" + a.String()
}

// udpRequest is the part of a connection that only one of UDP has.
type udpRequest struct {
	sock  *udpSocket
	to    unix.Sockaddr
	id    uint16
	reply []byte
}

// listenUDP opens the sockets of the settings' UDP port: one for each address.
// With labels, each is asked for the labels of its datagrams.
func listenUDP(set *Settings, labels bool) ([]*udpSocket, error) {
	if set.UDPPort == 0 || set.UnixPath != "" {
		return nil, nil
	}
	// A port in an address is that of TCP.
	addrs, err := parseInterfaces(hostsOnly(set.Interfaces), set.UDPPort)
	if err != nil {
		return nil, err
	}
	var us []*udpSocket
	for _, a := range addrs {
		u, err := openUDP(a.AddrPort, labels)
		if err != nil {
			if a.optional && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
				continue
			}
			closeUDP(us)
			return nil, fmt.Errorf("server: failed to listen on UDP port %d (%s): %w", a.Port(), a.Addr(), err)
		}
		us = append(us, u)
	}
	return us, nil
}

func openUDP(a netip.AddrPort, labels bool) (*udpSocket, error) {
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	if a.Addr().Is6() && !a.Addr().Is4In6() {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	switch {
	case family == unix.AF_INET6:
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	case labels:
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PASSSEC, 1); err != nil {
			closeFD(fd)
			return nil, os.NewSyscallError("setsockopt IP_PASSSEC", err)
		}
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	if err != nil {
		closeFD(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &udpSocket{fd: fd, addr: addrPort(bound)}, nil
}

func closeUDP(us []*udpSocket) {
	for _, u := range us {
		closeFD(u.fd)
	}
}

// hostsOnly takes the ports out of -l lists.
func hostsOnly(lists []string) []string {
	var out []string
	for _, list := range lists {
		for _, item := range splitList(list) {
			if _, rest, err := parsePrefixes(item); err == nil {
				item = rest
			}
			if host, _, err := net.SplitHostPort(item); err == nil {
				item = host
			}
			out = append(out, item)
		}
	}
	return out
}

// serveUDP makes the loop receive from a socket.
func (l *loop) serveUDP(u *udpSocket) error {
	l.udp = append(l.udp, u)
	if l.datagram == nil {
		l.datagram = make([]byte, 64<<10)
	}
	ev := event(unix.EPOLLIN, wakeGen<<32|uint64(len(l.udp)))
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, u.fd, &ev)
}

// receiveUDP executes the datagrams that have come.
func (l *loop) receiveUDP(u *udpSocket) {
	buf, oob := l.datagram, l.control[:]
	for range udpBatch {
		n, oobn, flags, from, err := recvmsg(u.fd, buf, oob, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return // nothing more, or an answer that could not be delivered
		}
		l.n.bytesRead += uint64(n)
		if n <= udpHeader || binary.BigEndian.Uint16(buf[4:]) != 1 {
			continue
		}
		c := &conn{
			loop: l, fd: u.fd, dialect: u.dialect,
			udp: &udpRequest{sock: u, to: from, id: binary.BigEndian.Uint16(buf[:])},
		}
		l.slots.put(c)
		c.client.Peer = &mac.Peer{FD: -1, UDP: true, Addr: addrPort(from), Local: u.addr, Label: datagramLabel(oob[:oobn], flags)}
		c.call.Client, c.call.Tag = &c.client, c.tag()
		c.input = buf[udpHeader:n:n]
		l.goOnUDP(c)
	}
}

// recvmsg is recvmsg(2); tests have kernels of their own.
var recvmsg = unix.Recvmsg

// badLabel is no context, so that whoever has it is nobody.
const badLabel = "?"

// datagramLabel is the security context in the control messages of a datagram, "" if
// there is none. One that is cut short, or cannot be read, is no context and not
// nothing: it must not pass for a client without a label.
func datagramLabel(control []byte, flags int) string {
	if flags&unix.MSG_CTRUNC != 0 {
		return badLabel
	}
	if len(control) == 0 {
		return ""
	}
	ms, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return badLabel
	}
	for _, m := range ms {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.SCM_SECURITY {
			if label := bytes.TrimSuffix(m.Data, []byte{0}); len(label) > 0 {
				return string(label)
			}
			return badLabel
		}
	}
	return ""
}

// goOnUDP executes what a datagram holds, from its start or from where it was
// parked. The other connections have nothing in out at this time.
func (l *loop) goOnUDP(c *conn) {
	l.hint, l.hints = 0, 0 // those of a datagram before would be of the same addresses
	defer func() {
		if v := recover(); v != nil {
			l.rescue(c, v)
			l.flushAll()
		}
	}()
	for c.fd >= 0 {
		l.begin()
		o, again := l.step(c)
		l.commit(c)
		l.flushAll()
		if o == park {
			c.parked = true
			l.keepBorrowed(c)
			return
		}
		if !again || o == hang {
			break // what is incomplete never will be complete
		}
		if c.phase == phaseCommand {
			l.sendUDP(c)
		}
	}
	l.sendUDP(c)
	l.close(c)
}

// collect adds c's replies so far to its message.
func (l *loop) collect(c *conn) {
	u := c.udp
	for k := c.first; k >= 0; k = l.segs[k].next {
		s := &l.segs[k]
		if p := l.bytes(s); len(u.reply)+len(p) <= udpReply+1 {
			u.reply = append(u.reply, p...)
		} else {
			u.reply = append(u.reply[:0], make([]byte, udpReply+1)...)
		}
		if s.body != nil {
			l.unpin(s.item)
		}
	}
	c.nseg, c.pin = 0, false
}

// sendUDP sends the message. What the kernel does not take is lost, as datagrams
// are.
func (l *loop) sendUDP(c *conn) {
	u := c.udp
	if len(u.reply) == 0 || len(u.reply) > udpReply || c.fd < 0 {
		u.reply = u.reply[:0]
		return
	}
	total := (len(u.reply) + udpPayload - 1) / udpPayload
	var d [udpHeader + udpPayload]byte
	for i, rest := 0, u.reply; len(rest) > 0; i++ {
		h := binary.BigEndian.AppendUint16(d[:0], u.id)
		h = binary.BigEndian.AppendUint16(h, uint16(i))
		h = binary.BigEndian.AppendUint16(h, uint16(total))
		h = binary.BigEndian.AppendUint16(h, 0)
		p := rest[:min(len(rest), udpPayload)]
		h = append(h, p...)
		if err := unix.Sendto(u.sock.fd, h, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, u.to); err != nil {
			break
		}
		l.n.bytesWritten += uint64(len(h))
		rest = rest[len(p):]
	}
	u.reply = u.reply[:0]
}

// replyNotUDP answers commands that want a client which stays, or is who it says.
const replyNotUDP = "CLIENT_ERROR not available over UDP\r\n"

// notUDP says whether a command is refused over UDP: what changes who the client
// is or how items are labelled, and what would make a forged datagram the start
// of a stream of others.
func notUDP(r *protocol.Request) bool {
	switch r.Command {
	case protocol.MacCreate, protocol.MacRelabel, protocol.Relabel, protocol.Watch,
		protocol.SASLList, protocol.SASLAuth, protocol.SASLStep, protocol.Shutdown:
		return true
	case protocol.LRUCrawler, protocol.Stats:
		a, _ := protocol.ParseAdmin(r)
		return a.Action == protocol.CrawlerMetadump || a.Action == protocol.CrawlerMgdump || a.Action == protocol.StatsCachedump
	}
	return false
}
