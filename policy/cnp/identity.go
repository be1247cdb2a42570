package cnp

// Identity is one entry of the identity file: an endpoint's labels, and how its
// clients are recognized.
type Identity struct {
	At     Pos
	Labels Labels
	Peers  []Peer
}

// Peer is one pattern of an identity, KIND:PATTERN, as it is written.
type Peer struct {
	At   Pos
	Text string
}

// ParseIdentities reads an identity file:
//
//	identities:
//	- labels: {app: a-wing}
//	  peers: ["uid:2001", "sasl:awing"]
//
// Peers are not looked at; the error lists what else is wrong, as FILE:LINE: text.
func ParseIdentities(file string, b []byte) ([]Identity, error) {
	docs, err := documents(file, b)
	if err != nil {
		return nil, err
	}
	ps := &problems{}
	if len(docs) == 0 {
		// Whom it named would be a stranger, and to strangers no ingressDeny applies that names somebody.
		ps.fail(Pos{file, 1}, "expected identities, found none; without any write identities: []")
	}
	var out []Identity
	for _, d := range docs {
		for _, e := range ps.entries(d) {
			if e.key != "identities" {
				ps.unknown(e, "identity file", "identities")
				continue
			}
			for _, n := range ps.list(e.value) {
				out = append(out, ps.identity(n))
			}
		}
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	return out, nil
}

func (ps *problems) identity(n node) Identity {
	id := Identity{At: n.pos(), Labels: Labels{}}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "labels":
			for _, l := range ps.entries(e.value) {
				k := labelKey(l.key)
				if _, twice := id.Labels[k]; twice {
					ps.fail(l.at, "label %q is there twice", k)
				}
				id.Labels[k] = ps.scalar(l.value)
			}
		case "peers":
			for _, p := range ps.list(e.value) {
				if s, ok := ps.text(p); ok {
					id.Peers = append(id.Peers, Peer{p.pos(), s})
				}
			}
		default:
			ps.unknown(e, "identity", "labels, peers")
		}
	}
	if len(id.Labels) == 0 || len(id.Peers) == 0 {
		ps.fail(n.pos(), "expected labels and peers, at least one of each")
	}
	return id
}
