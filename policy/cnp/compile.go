package cnp

import (
	"slices"
	"strconv"
	"strings"
)

// DefaultPort is memcached's: a rule for it is for a server on whatever port, if
// that does not listen on this one.
const DefaultPort = 11211

// Input is what rules are compiled from.
type Input struct {
	Files      []*File
	Identities []Identity
	Endpoint   Labels   // the server's; nil: every policy is for it
	Ports      []uint16 // that the server listens on; empty: some port
	Mode       Mode
}

// Ruleset is policies compiled for one server. It never changes.
type Ruleset struct {
	mode     Mode
	open     bool // no policy selects the server: everything is allowed (mode Cilium)
	ports    []uint16
	views    []view // by port of ports, the UNIX socket last; each for TCP and for UDP
	names    []string
	cidrs    []CIDR
	warnings []Problem
	rules    int
	policies int
}

// view is the rules as clients on one listener meet them.
type view struct {
	identities []Matcher
	stranger   Matcher
	cidrs      []Matcher // by entry of Ruleset.cidrs
}

// Warnings are what is suspicious in the policies and identities.
func (s *Ruleset) Warnings() []Problem { return s.warnings }

// Rules is the number of rules about commands, Policies that of policies that
// select the server.
func (s *Ruleset) Rules() int { return s.rules }

// Policies is explained at Rules.
func (s *Ruleset) Policies() int { return s.policies }

// CIDRs lists the networks that rules are for, in the order that Stranger asks
// for them. Whoever knows addresses reads them.
func (s *Ruleset) CIDRs() []CIDR { return s.cidrs }

// Mode is that of Input.
func (s *Ruleset) Mode() Mode { return s.mode }

// Listener says where a request came in. Port 0 is a UNIX socket.
type Listener struct {
	Port uint16
	UDP  bool
}

func (s *Ruleset) view(l Listener) *view {
	i := len(s.ports)
	if l.Port != 0 {
		i = max(slices.Index(s.ports, l.Port), 0) // a port that the kernel has chosen is the only one
	}
	i *= 2
	if l.UDP {
		i++
	}
	return &s.views[i]
}

// Identity is the matcher of clients with identity i of Input.Identities. It is
// shared and not to be changed.
func (s *Ruleset) Identity(i int, l Listener) *Matcher { return &s.view(l).identities[i] }

// Stranger is the matcher of a client without an identity. fits says whether the
// client's address is in entry i of CIDRs, its exceptions not included.
func (s *Ruleset) Stranger(l Listener, fits func(i int) bool) *Matcher {
	v := s.view(l)
	m := v.stranger
	m.more = slices.Clone(m.more)
	for i := range s.cidrs {
		if !fits(i) {
			continue
		}
		c := &v.cidrs[i]
		m.denied = m.denied || c.denied
		for _, t := range append([]*Table{c.table}, c.more...) {
			if t != nil && t != m.table && !slices.Contains(m.more, t) {
				m.more = append(m.more, t)
			}
		}
	}
	return &m
}

// Forged is the matcher of a client of UDP that no identity names: it may do
// nothing but what is free.
func (s *Ruleset) Forged() *Matcher {
	m := Matcher{Name: "unknown", Identity: -1, mode: s.mode, open: s.open}
	return &m
}

// Compile checks the policies against one another and makes tables of them.
func Compile(in Input) (*Ruleset, error) {
	c := &compiler{
		in: in, ps: problems{mode: in.Mode}, tables: map[string]*Table{}, ids: map[*portRule]int{},
		seen: map[[2]Pos]bool{}, set: &Ruleset{mode: in.Mode, ports: slices.Clone(in.Ports)},
	}
	slices.Sort(c.set.ports)
	c.set.ports = slices.Compact(c.set.ports)
	if len(c.set.ports) == 0 {
		c.set.ports = []uint16{DefaultPort}
	}
	for _, f := range in.Files {
		c.set.warnings = append(c.set.warnings, f.Warnings...)
	}
	c.selectEntries()
	c.checkPorts()
	c.checkSelectors()
	for i := range in.Identities {
		c.set.names = append(c.set.names, in.Identities[i].Labels.String())
	}
	if len(c.ps.errs) == 0 {
		for _, p := range append(slices.Clone(c.set.ports), 0) {
			for _, udp := range []bool{false, true} {
				c.set.views = append(c.set.views, c.view(Listener{p, udp}))
			}
		}
	}
	c.set.warnings = append(c.set.warnings, c.ps.warnings...)
	if err := c.ps.err(); err != nil {
		return nil, err
	}
	return c.set, nil
}

type compiler struct {
	in      Input
	ps      problems
	entries []*ingress
	tables  map[string]*Table
	ids     map[*portRule]int
	seen    map[[2]Pos]bool
	set     *Ruleset
}

// selectEntries collects the entries of the policies that are for the server.
func (c *compiler) selectEntries() {
	total := 0
	var at Pos
	for _, f := range c.in.Files {
		for _, p := range f.Policies {
			total++
			at = p.At
			if !p.enforces || c.in.Endpoint != nil && !p.selector.matches(c.in.Endpoint) {
				continue
			}
			c.set.policies++
			c.entries = append(c.entries, p.entries...)
		}
	}
	if c.set.policies > 0 {
		return
	}
	c.set.open = true
	if total == 0 {
		c.ps.fail(Pos{"key rules", 0}, "expected policies, found none")
		return
	}
	whose := "with an ingress section"
	if c.in.Endpoint != nil {
		whose = "with an ingress section that selects this server, whose labels are " + c.in.Endpoint.String()
	}
	c.ps.strict(at, "expected a policy %s, found none: everybody would be allowed everything", whose)
}

// checkPorts refuses rules about commands for ports that are not the server's:
// they would never be asked.
func (c *compiler) checkPorts() {
	for _, in := range c.entries {
		for _, t := range in.ports {
			if t.l7 {
				c.set.rules += len(t.rules)
			}
			for _, p := range t.ports {
				if t.l7 && p.lo != DefaultPort && !slices.Contains(c.set.ports, p.lo) {
					c.ps.strict(p.at, "expected port %d or one that the server listens on (%s), found %d", DefaultPort, portList(c.set.ports), p.lo)
				}
			}
		}
	}
}

func portList(ports []uint16) string {
	var out []string
	for _, p := range ports {
		out = append(out, strconv.Itoa(int(p)))
	}
	return strings.Join(out, ", ")
}

// checkSelectors warns of clients that nobody can be.
func (c *compiler) checkSelectors() {
	for _, in := range c.entries {
		for i := range in.peers {
			s := &in.peers[i]
			if !slices.ContainsFunc(c.in.Identities, func(id Identity) bool { return s.matches(id.Labels) }) {
				c.ps.warn(s.at, "no identity has the labels %s: the entry is for nobody", s)
			}
		}
	}
}

// applies reports whether the port rule is about the listener, and with all of
// protocols and ports looked at.
func (c *compiler) applies(t *portRule, l Listener) bool {
	for _, p := range t.ports {
		switch {
		case p.proto == "SCTP" || strings.HasPrefix(p.proto, "ICMP"):
			continue
		case t.l7:
			// The schema has no rules about commands over UDP: who has an identity there
			// has it by a line that says so.
		case p.proto == "UDP" && !l.UDP, p.proto == "TCP" && l.UDP:
			continue
		}
		switch {
		case l.Port == 0: // a UNIX socket stands for every port
			if p.covers(DefaultPort) || slices.ContainsFunc(c.set.ports, p.covers) {
				return true
			}
		case p.covers(l.Port), p.covers(DefaultPort) && !slices.Contains(c.set.ports, DefaultPort):
			return true
		}
	}
	return false
}

func (p *port) covers(n uint16) bool { return p.lo <= n && n <= p.hi }

// wildcard stands for an entry without rules about commands.
func (in *ingress) wildcard(at Pos) *portRule {
	return &portRule{at: at, rules: []*Rule{{At: at, Command: "*", Mask: All}}}
}

// meets reports whether the entry is about the listener, and returns its rules
// there. An entry without rules about commands allows them all.
func (c *compiler) meets(in *ingress, l Listener) (rules []*portRule, about bool) {
	if in.nobody {
		return nil, false
	}
	if in.anyPort {
		return []*portRule{in.wildcard(in.at)}, true
	}
	for _, t := range in.ports {
		if !c.applies(t, l) {
			continue
		}
		about = true
		if t.l7 {
			rules = append(rules, t)
		} else {
			rules = append(rules, in.wildcard(t.at))
		}
	}
	return rules, about
}

// group is what the rules say of one kind of client.
type group struct {
	rules  []*portRule
	denied bool
}

func (g *group) add(in *ingress, rules []*portRule) {
	if in.deny {
		g.denied = true
		return
	}
	g.rules = append(g.rules, rules...)
}

// commonMin is the number of rules for everybody from which on they have a table
// of their own instead of a copy in each client's.
const commonMin = 256

func (c *compiler) view(l Listener) view {
	var everyone, cluster, world group
	own := make([]group, len(c.in.Identities))
	var nets []group
	c.set.cidrs = c.set.cidrs[:0]
	for _, in := range c.entries {
		rules, about := c.meets(in, l)
		for range in.cidrs {
			nets = append(nets, group{})
		}
		c.set.cidrs = append(c.set.cidrs, in.cidrs...)
		if !about {
			continue
		}
		switch {
		case in.everyone:
			everyone.add(in, rules)
		case in.cluster || in.world:
			if in.cluster {
				cluster.add(in, rules)
			}
			if in.world {
				world.add(in, rules)
			}
		case len(in.cidrs) > 0:
			for i := range in.cidrs {
				nets[len(nets)-len(in.cidrs)+i].add(in, rules)
			}
		default:
			for i := range own {
				id := &c.in.Identities[i]
				if slices.ContainsFunc(in.peers, func(s selector) bool { return s.matches(id.Labels) }) {
					own[i].add(in, rules)
				}
			}
		}
	}
	both := func(a, b group) group {
		return group{append(slices.Clone(a.rules), b.rules...), a.denied || b.denied}
	}
	v := view{}
	common := both(everyone, cluster)
	for i := range own {
		v.identities = append(v.identities, c.matcher(c.set.names[i], i, common, own[i]))
	}
	v.stranger = c.matcher("world", -1, both(everyone, world), group{})
	for i := range nets {
		v.cidrs = append(v.cidrs, c.matcher("world", -1, group{}, nets[i]))
		c.shadows(both(both(everyone, world), nets[i]), "clients in "+c.set.cidrs[i].Prefix)
	}
	return v
}

func (c *compiler) matcher(name string, i int, common, own group) Matcher {
	m := Matcher{Name: name, Identity: i, mode: c.in.Mode, open: c.set.open, denied: common.denied || own.denied}
	count := 0
	for _, t := range common.rules {
		count += len(t.rules)
	}
	c.shadows(group{append(slices.Clone(common.rules), own.rules...), false}, name)
	if count >= commonMin && len(own.rules) > 0 {
		m.table, m.more = c.table(own.rules), []*Table{c.table(common.rules)}
		return m
	}
	m.table = c.table(append(slices.Clone(common.rules), own.rules...))
	return m
}

// shadows complains of rules that say nothing because the same clients may do
// everything by an entry without any.
func (c *compiler) shadows(g group, whose string) {
	var open, rules *portRule
	for _, t := range g.rules {
		if !t.l7 {
			open = t
		} else {
			rules = t
		}
	}
	if open == nil || rules == nil || c.seen[[2]Pos{open.at, rules.at}] {
		return
	}
	c.seen[[2]Pos{open.at, rules.at}] = true
	c.ps.strict(open.at, "without rules about commands this allows every command to %s, and the rules at %s mean nothing; give it rules, or other ports", whose, rules.at)
}

// table compiles the rules of a list, once for the same list.
func (c *compiler) table(list []*portRule) *Table {
	if len(list) == 0 {
		return nil
	}
	var key strings.Builder
	var rules []*Rule
	for _, t := range list {
		if t.l7 {
			if _, ok := c.ids[t]; !ok {
				c.ids[t] = len(c.ids)
			}
			key.WriteString(strconv.Itoa(c.ids[t]))
		} else {
			key.WriteString("*" + t.at.String())
		}
		key.WriteByte(' ')
		rules = append(rules, t.rules...)
	}
	if c.tables[key.String()] == nil {
		t := newTable(rules)
		if t == nil {
			c.ps.fail(Pos{"key rules", 0}, "expected keys and prefixes that differ in at most %d places, found more in %d rules", maxBase, len(rules))
			t = &Table{} // allows nothing, and is not used
		}
		c.tables[key.String()] = t
	}
	return c.tables[key.String()]
}
