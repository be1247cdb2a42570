package mac

import (
	"net/netip"
	"strconv"
)

// Peer is what is known of the other end of a connection. It is immutable:
// whatever changes the subject (SASL, a TLS handshake) makes a new one.
type Peer struct {
	FD      int  // the socket, for SO_PEERSEC; -1: none, as for UDP
	HasCred bool // UID, GID and PID are from SO_PEERCRED
	UID     uint32
	GID     uint32
	PID     int32
	Addr    netip.AddrPort // of the client; zero for UNIX sockets
	Local   netip.AddrPort // of the server; zero for UNIX sockets
	Path    string         // of the UNIX socket
	UDP     bool
	Label   string     // of UDP: the kernel's label of the datagram; "" if it came with none
	Extra   []Identity // verified names; see Identity
}

// IdentityKind is what a pattern of the contexts file may be matched against.
type IdentityKind uint8

// The kinds. Extra holds those from SPIFFE on; the others follow from the fields
// of Peer.
const (
	KindAny    IdentityKind = iota // a bare *: every client but those of UDP
	KindUID                        // uid:1001
	KindGID                        // gid:100
	KindCIDR                       // cidr:10.1.0.0/16, of TCP clients
	KindUDP                        // udp:10.1.0.0/16; sources of UDP can be forged
	KindSPIFFE                     // spiffe:spiffe://prod/ns/web/*
	KindDNS                        // dns:*.web.example
	KindCN                         // cn:web
	KindSASL                       // sasl:alice
)

var kindNames = [...]string{
	KindAny: "*", KindUID: "uid", KindGID: "gid", KindCIDR: "cidr", KindUDP: "udp",
	KindSPIFFE: "spiffe", KindDNS: "dns", KindCN: "cn", KindSASL: "sasl",
}

// String is the word of the contexts file.
func (k IdentityKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "IdentityKind(" + strconv.Itoa(int(k)) + ")"
}

// Identity is a verified name of a client, of one kind.
type Identity struct {
	Kind  IdentityKind
	Value string
}

// matches reports whether the line's pattern fits any identity of p.
func (l *clientLine) matches(p *Peer) bool {
	if p.UDP {
		// Anybody can send from any address: only a line that says so.
		return l.kind == KindUDP && l.matchAddr(p.Addr.Addr())
	}
	switch l.kind {
	case KindAny:
		return true
	case KindUID:
		return p.HasCred && (l.all || l.id == p.UID)
	case KindGID:
		return p.HasCred && (l.all || l.id == p.GID)
	case KindCIDR:
		return l.matchAddr(p.Addr.Addr())
	case KindUDP:
		return false
	}
	for i := range p.Extra {
		if id := &p.Extra[i]; id.Kind == l.kind && match(l.glob, id.Value) {
			return true
		}
	}
	return false
}

func (l *clientLine) matchAddr(a netip.Addr) bool {
	// A dual-stack listener shows IPv4 clients as ::ffff:a.b.c.d.
	a = a.Unmap().WithZone("")
	return a.IsValid() && (l.all || l.prefix.Contains(a))
}
