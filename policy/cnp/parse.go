package cnp

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Policy is one spec of a policy.
type Policy struct {
	Name string // namespace/name, or name
	At   Pos
	Kind string

	selector selector
	enforces bool // has an ingress section
	entries  []*ingress
}

// ingress is one entry of ingress or ingressDeny.
type ingress struct {
	at       Pos
	deny     bool
	everyone bool // no from field: whoever it is
	nobody   bool // an empty entry, which allows nothing
	cluster  bool // entity cluster: every endpoint
	world    bool // entity world: strangers
	peers    []selector
	cidrs    []CIDR
	anyPort  bool // no toPorts
	ports    []*portRule
}

// CIDR is an element of fromCIDR or fromCIDRSet, not yet read as addresses.
type CIDR struct {
	At     Pos
	Prefix string
	Except []string
}

// portRule is one element of toPorts.
type portRule struct {
	at    Pos
	ports []port
	l7    bool // has rules; without them it allows everything
	rules []*Rule
}

// port is a range of ports of a protocol: TCP, UDP or ANY.
type port struct {
	at     Pos
	lo, hi uint16
	proto  string
}

// File is what a file of policies holds.
type File struct {
	Policies []*Policy
	Warnings []Problem
}

// Parse reads a file of policies. The error lists all that is wrong, as
// FILE:LINE: text.
func Parse(file string, b []byte, mode Mode) (*File, error) {
	docs, err := documents(file, b)
	if err != nil {
		return nil, err
	}
	ps := &problems{mode: mode}
	f := &File{}
	for _, d := range docs {
		ps.document(f, d)
	}
	if len(docs) == 0 {
		// A file that was emptied, or cut, by accident may have held what denies.
		ps.strict(Pos{file, 1}, "expected policies, found none")
	}
	f.Warnings = ps.warnings
	if err := ps.err(); err != nil {
		return nil, err
	}
	return f, nil
}

const (
	kindPolicy  = "CiliumNetworkPolicy"
	kindCluster = "CiliumClusterwideNetworkPolicy"
)

func (ps *problems) document(f *File, doc node) {
	var kind, version string
	var meta, items *entry
	var specs []node
	es := ps.entries(doc)
	for i := range es {
		e := &es[i]
		switch e.key {
		case "apiVersion":
			version = ps.scalar(e.value)
		case "kind":
			kind = ps.scalar(e.value)
		case "metadata":
			meta = e
		case "items":
			items = e
		case "spec":
			specs = append(specs, e.value)
		case "specs":
			specs = append(specs, ps.list(e.value)...)
		case "status":
		default:
			ps.unknown(*e, "document", "apiVersion, kind, metadata, spec, specs, items")
		}
	}
	if strings.HasSuffix(kind, "List") {
		if items == nil {
			ps.fail(doc.pos(), "expected items in a %s, found none", kind)
			return
		}
		for _, d := range ps.list(items.value) {
			ps.document(f, d)
		}
		return
	}
	if kind != kindPolicy && kind != kindCluster {
		ps.fail(doc.pos(), "expected kind %s or %s, found %q", kindPolicy, kindCluster, kind)
		return
	}
	if version != "cilium.io/v2" {
		ps.fail(doc.pos(), "expected apiVersion cilium.io/v2, found %q", version)
	}
	if len(specs) == 0 {
		ps.fail(doc.pos(), "expected spec or specs, found neither")
	}
	name, namespace := "", ""
	if meta != nil {
		for _, e := range ps.entries(meta.value) {
			switch e.key {
			case "name":
				name = ps.scalar(e.value)
			case "namespace":
				namespace = ps.scalar(e.value)
			}
		}
	}
	if kind == kindCluster {
		namespace = ""
	}
	if namespace != "" {
		name = namespace + "/" + name
	}
	for _, s := range specs {
		if p := ps.spec(s, kind, name, namespace); p != nil {
			f.Policies = append(f.Policies, p)
		}
	}
}

func (ps *problems) spec(n node, kind, name, namespace string) *Policy {
	p := &Policy{Name: name, At: n.pos(), Kind: kind}
	selected := false
	for _, e := range ps.entries(n) {
		switch e.key {
		case "endpointSelector":
			selected = true
			p.selector = ps.selector(e.value, namespace)
		case "ingress", "ingressDeny":
			p.enforces = true
			for _, i := range ps.list(e.value) {
				p.entries = append(p.entries, ps.ingress(i, namespace, name, e.key == "ingressDeny"))
			}
		case "egress", "egressDeny", "description", "labels", "log":
		case "nodeSelector":
			ps.fail(e.at, "a policy for nodes has no rules about commands; expected endpointSelector")
		default:
			ps.unknown(e, "spec", "endpointSelector, ingress, ingressDeny, egress, egressDeny, description, labels")
		}
	}
	if !selected {
		ps.fail(n.pos(), "expected an endpointSelector, found none; {} selects every server")
	}
	return p
}

// ingress reads one entry. Where a from field is there, even an empty one, it
// says who; an entry without any is for everybody.
func (ps *problems) ingress(n node, namespace, policy string, deny bool) *ingress {
	in := &ingress{at: n.pos(), deny: deny, everyone: true, anyPort: true}
	from := ""
	for _, e := range ps.entries(n) {
		if strings.HasPrefix(e.key, "from") {
			if from != "" {
				ps.fail(e.at, "%s and %s in one entry: expected one of them; make two entries for either of them", from, e.key)
			}
			from, in.everyone = e.key, false
		}
		switch e.key {
		case "fromEndpoints":
			for _, s := range ps.list(e.value) {
				in.peers = append(in.peers, ps.selector(s, namespace))
			}
		case "fromCIDR":
			for _, c := range ps.list(e.value) {
				in.cidrs = append(in.cidrs, CIDR{At: c.pos(), Prefix: ps.scalar(c)})
			}
		case "fromCIDRSet":
			for _, c := range ps.list(e.value) {
				in.cidrs = append(in.cidrs, ps.cidrSet(c))
			}
		case "fromEntities":
			for _, x := range ps.list(e.value) {
				switch v := ps.scalar(x); v {
				case "all":
					in.everyone = true
				case "world":
					in.world = true
				case "cluster":
					in.cluster = true
				default:
					ps.fail(x.pos(), "expected one of the entities all, world, cluster, found %q, which cannot be told apart here", v)
				}
			}
		case "toPorts":
			in.anyPort = false
			for _, t := range ps.list(e.value) {
				in.ports = append(in.ports, ps.portRule(t, policy, deny))
			}
		default:
			ps.unknown(e, "ingress", "fromEndpoints, fromCIDR, fromCIDRSet, fromEntities, toPorts")
		}
	}
	in.nobody = len(n.Content) == 0
	return in
}

func (ps *problems) cidrSet(n node) CIDR {
	c := CIDR{At: n.pos()}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "cidr":
			c.Prefix = ps.scalar(e.value)
		case "except":
			for _, x := range ps.list(e.value) {
				c.Except = append(c.Except, ps.scalar(x))
			}
		default:
			ps.unknown(e, "fromCIDRSet", "cidr, except")
		}
	}
	if c.Prefix == "" {
		ps.fail(n.pos(), "expected cidr, found none")
	}
	return c
}

// l7Fields are the other kinds of rules that a port may have.
var l7Fields = []string{"http", "kafka", "dns"}

func (ps *problems) portRule(n node, policy string, deny bool) *portRule {
	t := &portRule{at: n.pos()}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "ports":
			for _, p := range ps.list(e.value) {
				t.ports = append(t.ports, ps.port(p))
			}
		case "rules":
			t.l7 = true
			if deny {
				ps.fail(e.at, "rules about commands cannot be in ingressDeny")
			}
			ps.rules(t, e.value, policy)
		default:
			ps.unknown(e, "toPorts", "ports, rules")
		}
	}
	if len(t.ports) == 0 {
		ps.fail(n.pos(), "expected ports, found none")
	}
	if len(t.ports) > 40 {
		ps.fail(n.pos(), "expected at most 40 ports, found %d", len(t.ports))
	}
	for _, p := range t.ports {
		if t.l7 && (p.proto != "TCP" || p.lo != p.hi) {
			ps.fail(p.at, "rules about commands need one port with protocol: TCP")
		}
	}
	return t
}

func (ps *problems) port(n node) port {
	p := port{at: n.pos(), proto: "ANY"}
	number := func(e entry) uint16 {
		v := ps.scalar(e.value)
		k, err := strconv.ParseUint(v, 10, 16)
		if err != nil || k == 0 {
			ps.fail(e.at, "expected a port from 1 to %d, found %q", math.MaxUint16, v)
		}
		return uint16(k)
	}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "port":
			p.lo = number(e)
		case "endPort":
			p.hi = number(e)
		case "protocol":
			p.proto = ps.scalar(e.value)
			if !slices.Contains([]string{"TCP", "UDP", "ANY", "SCTP", "ICMP", "ICMPv6"}, p.proto) {
				ps.fail(e.at, "expected protocol TCP, UDP or ANY, found %q", p.proto)
			}
		default:
			ps.unknown(e, "ports", "port, endPort, protocol")
		}
	}
	p.hi = max(p.hi, p.lo)
	if p.lo == 0 {
		ps.fail(n.pos(), "expected port, found none")
	}
	return p
}

func (ps *problems) rules(t *portRule, n node, policy string) {
	proto, have := "", false
	var l7 node
	for _, e := range ps.entries(n) {
		switch {
		case e.key == "l7proto":
			proto = ps.scalar(e.value)
		case e.key == "l7":
			l7, have = e.value, true
		case slices.Contains(l7Fields, e.key):
			ps.fail(e.at, "expected l7proto: memcache, found rules of %s: a port has one protocol, and here it is memcached", e.key)
			return
		default:
			ps.unknown(e, "rules", "l7proto, l7")
		}
	}
	if proto != "memcache" {
		ps.fail(n.pos(), "expected l7proto: memcache, found %q", proto)
		return
	}
	if have {
		for _, r := range ps.list(l7) {
			t.rules = append(t.rules, ps.rule(r, policy))
		}
	}
	if len(t.rules) == 0 {
		ps.strict(n.pos(), `no rules allow every command; write that as a rule with command: "*"`)
		t.rules = append(t.rules, &Rule{At: n.pos(), Policy: policy, Command: "", Mask: All})
	}
}

// rule reads one memcache rule.
func (ps *problems) rule(n node, policy string) *Rule {
	r := &Rule{At: n.pos(), Policy: policy}
	text := map[string]string{}
	at := map[string]Pos{}
	for _, e := range ps.entries(n) {
		switch e.key {
		case "command", "keyExact", "keyPrefix", "keyRegex":
			at[e.key] = e.at
			if e.key == "command" && e.value.Tag == "!!null" {
				text[e.key] = ""
			} else {
				text[e.key], _ = ps.text(e.value)
			}
		default:
			ps.unknown(e, "memcache rule", "command, keyExact, keyPrefix, keyRegex")
		}
	}
	name, named := text["command"]
	r.Command = name
	conditions := 0
	for _, c := range []struct {
		field string
		kind  Kind
	}{{"keyExact", Exact}, {"keyPrefix", Prefix}, {"keyRegex", Regex}} {
		v, ok := text[c.field]
		if !ok {
			continue
		}
		if v == "" && c.kind != Regex {
			ps.strict(at[c.field], "an empty %s allows every key; leave it out, or write a key", c.field)
			continue
		}
		if conditions++; conditions > 1 {
			ps.strict(at[c.field], "expected one condition on the key, found %s after %s; make two rules for either of them", c.field, r.Kind)
			continue
		}
		r.Kind, r.Key = c.kind, v
		r.At = n.pos()
	}
	switch {
	case name == "" && conditions > 0:
		ps.fail(r.At, `expected command beside %s; "*" is every command`, r.Kind)
	case name == "":
		text := "a rule without a command allows everything"
		if named {
			text = "an empty command allows everything"
		}
		ps.strict(r.At, `%s; write command: "*"`, text)
		r.Mask = All
	default:
		r.Mask, named = parseCommand(name, ps.mode)
		if !named {
			hint := ""
			if h := wireNames[name]; h != "" {
				hint = "; write " + h
			}
			ps.fail(at["command"], "expected a command or a group (%s), found %q%s", quoteList(CommandNames()), name, hint)
		}
	}
	if conditions > 0 {
		if r.Mask&Keyless != 0 && r.Mask&Keyed == 0 {
			ps.fail(r.At, "%s has no key: expected no %s", name, r.Kind)
		}
		r.Mask &= Keyed // "*" with a key is every command on that key
	}
	if r.Kind == Regex {
		ps.regex(r)
	}
	return r
}
