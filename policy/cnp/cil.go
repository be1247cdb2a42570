package cnp

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Translation is the rules as an SELinux policy. Types stand for endpoints and
// for parts of the key space; the contexts file says which client and which key
// has which. A key has the type of the exact key, or of the longest prefix, that
// a rule names, else kr_other_t.
type Translation struct {
	CIL      string    // a whole policy, for secilc -M true -c 33
	Contexts string    // a contexts file
	Unsaid   []Problem // what the policy does not say as the rules do
}

// kvItem is what a command takes of class kv_item, in full and at least: with
// the latter some form of the command passes already.
var kvItem = []struct {
	mask    Mask
	full    string
	atLeast string
}{
	{mask: Get, full: "getattr read", atLeast: "read"},
	{mask: Gat | GatKey, full: "read setattr", atLeast: "read setattr"},
	{mask: Set, full: "create write", atLeast: "create write"},
	{mask: Add, full: "create getattr", atLeast: "create getattr"},
	{mask: Replace, full: "write", atLeast: "write"},
	{mask: Append | AppendBinary | Prepend | PrependBinary, full: "append", atLeast: "append"},
	{mask: CAS, full: "write", atLeast: "write"},
	{mask: Incr, full: "calculate", atLeast: "calculate"},
	{mask: Decr, full: "calculate", atLeast: "calculate"},
	{mask: Delete, full: "remove", atLeast: "remove"},
	{mask: Touch, full: "setattr", atLeast: "setattr"},
	{mask: Debug, full: "getattr", atLeast: "getattr"},
	{mask: MacLabel | MacCheck | MacExplain, full: "getattr", atLeast: "getattr"},
	{mask: MacRelabel, full: "getattr relabelfrom relabelto setattr", atLeast: "getattr relabelfrom setattr"},
}

var kvServer = []struct {
	mask Mask
	perm string
}{
	{Stats, "stats"},
	{FlushAll, "flush"},
	{Verbosity | CacheMemlimit | Slabs | LRU | RefreshCerts | Extstore, "config"},
	{LRUCrawler, "config"},
	{LRUCrawler, "dump"},
	{Watch, "watch"},
	{Shutdown, "shutdown"},
}

// writing is what a domain that only reads is never to get.
const writing = "create setattr remove relabelfrom relabelto write append calculate"

// unserved are commands that say nothing here.
const unserved = rget | rset | rsetq | rappend | rappendq | rprepend | rprependq | rdelete | rdeleteq | rincr | rincrq | rdecr | rdecrq |
	misbehave | setVBucket | getVBucket | delVBucket | tapConnect | tapMutation | tapDelete | tapFlush | tapOpaque | tapVBucketSet |
	tapCheckpointStart | tapCheckpointEnd

// itemPerms is what the commands take of kv_item, in the order of the class.
func itemPerms(m Mask) []string {
	var have []string
	for _, c := range kvItem {
		if c.mask&m != 0 {
			have = append(have, strings.Fields(c.full)...)
		}
	}
	var out []string
	for _, p := range strings.Fields("create getattr setattr remove relabelfrom relabelto read write append calculate") {
		if slices.Contains(have, p) {
			out = append(out, p)
		}
	}
	return out
}

func serverPerms(m Mask) []string {
	var out []string
	for _, c := range kvServer {
		if c.mask&m != 0 && !slices.Contains(out, c.perm) {
			out = append(out, c.perm)
		}
	}
	return out
}

// implied are the commands that pass with the permissions, and were not granted.
func implied(granted Mask) Mask {
	have := itemPerms(granted)
	var m Mask
	for _, c := range kvItem {
		if !slices.ContainsFunc(strings.Fields(c.atLeast), func(p string) bool { return !slices.Contains(have, p) }) {
			m |= c.mask
		}
	}
	server := serverPerms(granted)
	for _, c := range kvServer {
		if slices.Contains(server, c.perm) && c.perm != "dump" {
			m |= c.mask &^ LRUCrawler
		}
	}
	if slices.Contains(server, "config") && slices.Contains(server, "dump") {
		m |= LRUCrawler
	}
	return m &^ granted
}

// atom is a part of the key space: an exact key, or what begins with a prefix and
// is no longer atom.
type atom struct {
	key   string
	exact bool
	typ   string
}

// domain is one kind of client.
type domain struct {
	typ     string
	about   string
	matcher *Matcher
	peers   []string // of the contexts file
}

type cil struct {
	b, ctx  strings.Builder
	t       Translation
	atoms   []atom
	domains []domain
	names   map[string]bool
	attrs   map[string]string // text of a typeattributeset to its attribute
}

// Translate makes an SELinux policy of what Compile is given. Peers are written
// into the contexts file as they are.
func Translate(in Input) (*Translation, error) {
	s, err := Compile(in)
	if err != nil {
		return nil, err
	}
	if len(s.ports) > 1 {
		return nil, fmt.Errorf("expected one port, found %d: an SELinux policy does not know on which one a request came in", len(s.ports))
	}
	c := &cil{names: map[string]bool{}, attrs: map[string]string{}}
	l := Listener{Port: s.ports[0]}
	for i := range in.Identities {
		id := &in.Identities[i]
		d := domain{typ: c.name("kr_", id.Labels.String()), about: id.Labels.String() + " (" + id.At.String() + ")", matcher: s.Identity(i, l)}
		for _, p := range id.Peers {
			if pattern, ok := strings.CutPrefix(p.Text, "context:"); ok {
				c.unsaid(p.At, "clients with the context %s keep it: a policy of their own has to allow what %s may do", pattern, d.typ)
				continue
			}
			d.peers = append(d.peers, spiffe(p.Text))
		}
		c.domains = append(c.domains, d)
	}
	for i, n := range s.CIDRs() {
		if len(n.Except) > 0 {
			c.unsaid(n.At, "the contexts file has no exceptions: clients in %s have the rules of strangers", n.Prefix)
			continue
		}
		c.domains = append(c.domains, domain{
			typ: c.name("kr_net_", n.Prefix), about: "strangers in " + n.Prefix + " (" + n.At.String() + ")",
			matcher: s.Stranger(l, func(k int) bool { return k == i }), peers: []string{"cidr:" + n.Prefix},
		})
	}
	if len(s.CIDRs()) > 1 {
		c.unsaid(s.CIDRs()[0].At, "a stranger in several networks has the rules of the first of them only")
	}
	c.domains = append(c.domains, domain{
		typ: c.name("kr_", "stranger"), about: "whoever has no identity",
		matcher: s.Stranger(l, func(int) bool { return false }), peers: []string{"*"},
	})
	c.partition()
	c.write(s)
	c.t.CIL, c.t.Contexts = c.b.String(), c.ctx.String()
	return &c.t, nil
}

// spiffe is a peer as the contexts file has it.
func spiffe(peer string) string {
	if strings.HasPrefix(peer, "spiffe://") {
		return "spiffe:" + peer
	}
	return peer
}

func (c *cil) unsaid(at Pos, format string, args ...any) {
	p := Problem{at, fmt.Sprintf(format, args...)}
	if !slices.Contains(c.t.Unsaid, p) {
		c.t.Unsaid = append(c.t.Unsaid, p)
	}
}

// name is an unused name of a type or attribute.
func (c *cil) name(prefix, text string) string {
	base := prefix + strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, text), "_")
	if len(base) > 60 {
		base = base[:60]
	}
	for i := 1; ; i++ {
		n := base
		if i > 1 {
			n = fmt.Sprintf("%s_%d", base, i)
		}
		if !c.names[n] {
			c.names[n] = true
			return n + "_t"
		}
	}
}

// rulesOf are all rules of a matcher.
func rulesOf(m *Matcher) (out []*Rule) {
	if m.denied {
		return nil
	}
	for _, t := range append([]*Table{m.table}, m.more...) {
		if t != nil {
			out = append(out, t.rules...)
		}
	}
	return out
}

// keysOf are the exact keys and the prefixes that a rule names. ok is false for
// an expression that is no such thing.
func keysOf(r *Rule) (atoms []atom, ok bool) {
	switch r.Kind {
	case Exact:
		return []atom{{key: r.Key, exact: true}}, true
	case Prefix:
		return []atom{{key: r.Key}}, true
	case Regex:
		for _, k := range r.shape.exact {
			if k != "" {
				atoms = append(atoms, atom{key: k, exact: true})
			}
		}
		for _, k := range r.shape.prefix {
			atoms = append(atoms, atom{key: k})
		}
		return atoms, r.shape.exact != nil || r.shape.prefix != nil
	}
	return []atom{{}}, true
}

// writable reports whether a key can stand in a line of the contexts file.
func writable(key string) bool { return !strings.ContainsAny(key, "\r\n\x00") }

// partition finds the parts of the key space: the order is that of the contexts
// file, exact keys first and then prefixes, the longest first.
func (c *cil) partition() {
	seen := map[atom]bool{}
	for _, d := range c.domains {
		for _, r := range rulesOf(d.matcher) {
			list, ok := keysOf(r)
			if !ok {
				c.unsaid(r.At, "keyRegex %s is neither a key nor a prefix, nor a few of them: left to the key rules", r.Key)
			}
			for _, a := range list {
				switch {
				case a.key == "" || seen[a] || len(a.key) > keyMax:
				case !writable(a.key):
					c.unsaid(r.At, "the key %q does not fit into a line of the contexts file: left to the key rules", a.key)
				default:
					seen[a] = true
					c.atoms = append(c.atoms, a)
				}
			}
		}
	}
	slices.SortFunc(c.atoms, func(a, b atom) int {
		switch {
		case a.exact != b.exact && a.exact:
			return -1
		case a.exact != b.exact:
			return 1
		case len(a.key) != len(b.key):
			return len(b.key) - len(a.key)
		}
		return strings.Compare(a.key, b.key)
	})
	for i := range c.atoms {
		kind := "kr_prefix_"
		if c.atoms[i].exact {
			kind = "kr_exact_"
		}
		c.atoms[i].typ = c.name(kind, c.atoms[i].key)
	}
	c.atoms = append(c.atoms, atom{typ: c.name("kr_", "other")})
}

// under are the types of the parts that a condition covers.
func (c *cil) under(list []atom) (types []string) {
	for i := range c.atoms {
		a := &c.atoms[i]
		if slices.ContainsFunc(list, func(x atom) bool {
			return x.exact && a.exact && x.key == a.key || !x.exact && strings.HasPrefix(a.key, x.key)
		}) {
			types = append(types, a.typ)
		}
	}
	return types
}

// attribute is the attribute of a list of types, made at its first use.
func (c *cil) attribute(prefix, text string, types []string) string {
	set := prefix + strings.Join(types, " ")
	if a := c.attrs[set]; a != "" {
		return a
	}
	a := strings.TrimSuffix(c.name(prefix, text), "_t")
	c.attrs[set] = a
	fmt.Fprintf(&c.b, "(typeattribute %s)\n(typeattributeset %s (%s))\n", a, a, strings.Join(types, " "))
	return a
}

const cilHead = `; Made from Cilium network policies: what their rules about memcached say, as an
; SELinux policy. Compile it, and start a server with it:
;
;	secilc -M true -c 33 -o rules.policy -f /dev/null rules.cil
;	sememcached --policy rules.policy --contexts rules.contexts
(handleunknown deny)
(mls true)
(class kv_item (create getattr setattr remove relabelfrom relabelto read write append calculate))
(class kv_server (stats flush config dump watch shutdown))
(class process (transition dyntransition))
(classorder (process kv_item kv_server))
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(categoryorder (c0))
(sensitivitycategory s0 (c0))
(level low (s0))
(levelrange base (low low))
(role object_r)
(role system_r)
(user system_u)
(userrole system_u object_r)
(userrole system_u system_r)
(userlevel system_u low)
(userrange system_u base)
(type kernel_t)
(type unlabeled_t)
(type kv_server_t)
(roletype system_r kernel_t)
(roletype system_r kv_server_t)
(roletype object_r unlabeled_t)
(sid kernel)
(sid security)
(sid unlabeled)
(sidorder (kernel security unlabeled))
(sidcontext kernel (system_u system_r kernel_t base))
(sidcontext unlabeled (system_u object_r unlabeled_t base))
`

func (c *cil) write(s *Ruleset) {
	c.b.WriteString(cilHead)
	c.b.WriteString("\n; ---- clients\n")
	var all []string
	for _, d := range c.domains {
		fmt.Fprintf(&c.b, "(type %s) ; %s\n(roletype system_r %s)\n", d.typ, oneLine(d.about), d.typ)
		all = append(all, d.typ)
	}
	fmt.Fprintf(&c.b, "(typeattribute kr_client)\n(typeattributeset kr_client (%s))\n", strings.Join(all, " "))
	c.b.WriteString("\n; ---- parts of the key space; the contexts file says which key is in which\n")
	all = all[:0]
	for _, a := range c.atoms {
		what := "every other key"
		switch {
		case a.exact:
			what = "the key " + a.key
		case a.key != "":
			what = "keys that begin with " + a.key
		}
		fmt.Fprintf(&c.b, "(type %s) ; %s\n(roletype object_r %s)\n", a.typ, oneLine(what), a.typ)
		all = append(all, a.typ)
	}
	fmt.Fprintf(&c.b, "(typeattribute kr_key)\n(typeattributeset kr_key (%s))\n", strings.Join(all, " "))
	c.b.WriteString("(typetransition kr_client kv_server_t kv_item " + c.atoms[len(c.atoms)-1].typ + ")\n")
	c.rules()
	c.readers()
	c.differences(s)
	c.contexts()
}

// oneLine is text for a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// rules writes an allow for each rule: from whom it is for, on what it is about.
func (c *cil) rules() {
	var order []*Rule
	who := map[*Rule][]string{}
	for _, d := range c.domains {
		for _, r := range rulesOf(d.matcher) {
			if who[r] == nil {
				order = append(order, r)
			}
			if !slices.Contains(who[r], d.typ) {
				who[r] = append(who[r], d.typ)
			}
		}
	}
	for _, r := range order {
		list, ok := keysOf(r)
		if !ok {
			continue
		}
		fmt.Fprintf(&c.b, "\n; ---- %s: %s\n", oneLine(r.At.String()), oneLine(r.String()))
		from := c.attribute("kr_from_", strings.TrimSuffix(who[r][0], "_t")[len("kr_"):], who[r])
		if perms, types := itemPerms(r.Mask), c.under(list); len(perms) > 0 && len(types) > 0 {
			label := "every_key"
			if r.Kind != Any {
				label = r.Kind.String()[len("key"):] + "_" + r.Key
			}
			key := c.attribute("kr_sel_", label, types)
			fmt.Fprintf(&c.b, "(allow %s %s (kv_item (%s)))\n", from, key, strings.Join(perms, " "))
		}
		if perms := serverPerms(r.Mask); len(perms) > 0 {
			fmt.Fprintf(&c.b, "(allow %s kv_server_t (kv_server (%s)))\n", from, strings.Join(perms, " "))
		}
	}
}

// readers writes what no rule can say: that a client which only reads stays one.
func (c *cil) readers() {
	c.b.WriteString("\n; ---- who only reads, whatever is added above\n")
	for _, d := range c.domains {
		var m Mask
		for _, r := range rulesOf(d.matcher) {
			m |= r.Mask
		}
		if m&Writes == 0 && m&Get != 0 {
			fmt.Fprintf(&c.b, "(neverallow %s kr_key (kv_item (%s)))\n", d.typ, writing)
		}
	}
}

// differences lists what the permissions of SELinux do not tell apart.
func (c *cil) differences(s *Ruleset) {
	for _, d := range c.domains {
		if d.matcher.denied {
			continue
		}
		for _, a := range c.atoms {
			var granted Mask
			var at Pos
			for _, r := range rulesOf(d.matcher) {
				list, ok := keysOf(r)
				if ok && slices.Contains(c.under(list), a.typ) {
					granted |= r.Mask
					at = r.At
				}
			}
			if more := implied(granted) & Keyed &^ (GatKey | AppendBinary | PrependBinary); more != 0 {
				c.unsaid(at, "%s may also %s on %s: kv_item has no permission that tells these from what it may", d.typ, more, a.typ)
			}
		}
		var granted Mask
		var at Pos
		for _, r := range rulesOf(d.matcher) {
			if r.Kind == Any && r.Mask&Keyless != 0 {
				granted |= r.Mask & Keyless
				at = r.At
			}
		}
		if more := implied(granted) & Keyless &^ (unserved | Free); more != 0 {
			c.unsaid(at, "%s may also %s: kv_server has no permission that tells these from what it may", d.typ, more)
		}
		if granted&FlushAll != 0 {
			c.unsaid(at, "flush_all of %s removes what it may delete, and leaves the rest", d.typ)
		}
	}
	if s.Mode() == Cilium {
		c.unsaid(Pos{"--key-rules-compat=cilium", 0}, "each key of a request is decided by itself, not all of them by one rule")
	}
}

// contexts writes the contexts file.
func (c *cil) contexts() {
	w := &c.ctx
	w.WriteString("# Made from Cilium network policies, with the policy that knows these types.\n# Clients: the first line that fits decides.\n")
	for _, d := range c.domains {
		for _, p := range d.peers {
			fmt.Fprintf(w, "client %s system_u:system_r:%s:s0\n", field(p), d.typ)
		}
	}
	w.WriteString("# Keys: exact ones, then prefixes, the longest first.\n")
	for _, a := range c.atoms {
		pattern := escapeGlob(a.key)
		if !a.exact {
			pattern += "*"
		}
		fmt.Fprintf(w, "kv_item %s system_u:object_r:%s:s0\n", pattern, a.typ)
	}
}

// field keeps the blanks of a pattern, which has its own escapes already, in it.
func field(s string) string {
	return strings.NewReplacer(" ", `\ `, "\t", "\\\t").Replace(s)
}

// escapeGlob is a pattern that matches just the text.
func escapeGlob(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte("*?\\ \t", s[i]) >= 0 || i == 0 && s[i] == '#' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Commands lists the commands of a set, one each.
func (m Mask) Commands() []Mask {
	var out []Mask
	for ; m != 0; m &= m - 1 {
		out = append(out, 1<<bits.TrailingZeros64(uint64(m)))
	}
	return out
}
