package mac

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sememcached/policy/cnp"
)

// As is the matcher of whoever is described by who, for questions without a
// server: world for a stranger; labels of an identity, as app=web or
// app=web,team=red, where one identity alone has them; or a peer as it would
// come: uid:1001, gid:100, an address, udp:ADDRESS, spiffe://ID, dns:NAME,
// cn:NAME, sasl:NAME, context:CONTEXT. port is the listener's, 0 for a UNIX socket.
func (k *KeyRules) As(who string, port uint16) (*cnp.Matcher, error) {
	p, context := Peer{FD: -1}, ""
	if port != 0 {
		p.Local = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	}
	kind, value, _ := strings.Cut(who, ":")
	named := slices.Index(kindNames[:], kind)
	addr, addrErr := netip.ParseAddr(who)
	switch {
	case who == "world":
	case addrErr == nil:
		p.Addr = netip.AddrPortFrom(addr, 1)
	case kind == "context":
		context = value
	case strings.HasPrefix(who, "spiffe://"):
		p.Extra = []Identity{{KindSPIFFE, who}}
	case kind == "uid" || kind == "gid":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("expected a number after %s:, found %q", kind, value)
		}
		p.HasCred, p.UID, p.GID = true, ^uint32(0), ^uint32(0)
		if kind == "uid" {
			p.UID = uint32(n)
		} else {
			p.GID = uint32(n)
		}
	case kind == "cidr" || kind == "udp":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return nil, fmt.Errorf("expected the address of one client after %s:, found %q", kind, value)
		}
		p.Addr, p.UDP = netip.AddrPortFrom(a, 1), kind == "udp"
	case named >= int(KindSPIFFE):
		p.Extra = []Identity{{IdentityKind(named), value}}
	case strings.Contains(who, "="):
		return k.byLabels(who, port)
	default:
		return nil, fmt.Errorf("expected world, labels (K=V,K=V), an address, or one of uid: gid: udp: spiffe:// dns: cn: sasl: context:, found %q", who)
	}
	return k.Matcher(&p, context), nil
}

func (k *KeyRules) byLabels(who string, port uint16) (*cnp.Matcher, error) {
	want, err := cnp.ParseLabels(who)
	if err != nil {
		return nil, err
	}
	found := -1
	for i, have := range k.labels {
		fits := true
		for key, v := range want {
			x, ok := have[key]
			fits = fits && ok && x == v
		}
		switch {
		case fits && len(want) == len(have):
			return k.set.Identity(i, cnp.Listener{Port: port}), nil
		case fits && found >= 0:
			return nil, fmt.Errorf("expected labels of one identity, found those of two: %s and %s", k.labels[found], have)
		case fits:
			found = i
		}
	}
	if found < 0 {
		return nil, fmt.Errorf("no identity has the labels %s", who)
	}
	return k.set.Identity(found, cnp.Listener{Port: port}), nil
}
