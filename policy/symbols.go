package policy

import (
	"fmt"
	"strings"
)

// symbols finds the entries of the symbol tables by name and by value. Slices
// indexed by value have an unused entry 0, and nil where a value has no name:
// classes and types may have gaps.
type symbols struct {
	classByValue []*class
	roleByValue  []*role
	typeByValue  []*typ
	userByValue  []*user
	boolByValue  []*boolean // by value - 1
	sensByValue  []*sensitivity
	catByValue   []*category

	classNames map[string]Class
	roleNames  map[string]uint32
	typeNames  map[string]uint32 // with aliases and attributes
	userNames  map[string]uint32
	boolNames  map[string]uint32
	sensNames  map[string]uint32 // with aliases
	catNames   map[string]uint32 // with aliases

	processClass Class
	processTrans AV // transition and dyntransition
}

// objectR is the role of everything that is not a process. The kernel brings
// its own and drops the one of the file, so it dominates nothing and is in
// every context without leave of the user.
const (
	objectRName = "object_r"
	objectR     = 1
)

func (t *tables) class(c Class) *class {
	if int(c) < len(t.classByValue) {
		return t.classByValue[c]
	}
	return nil
}

// typ is the type or attribute of a value, or nil.
func (t *tables) typ(v uint32) *typ {
	if uint64(v) < uint64(len(t.typeByValue)) {
		return t.typeByValue[v]
	}
	return nil
}

func (t *tables) role(v uint32) *role {
	if uint64(v) < uint64(len(t.roleByValue)) {
		return t.roleByValue[v]
	}
	return nil
}

func (t *tables) user(v uint32) *user {
	if uint64(v) < uint64(len(t.userByValue)) {
		return t.userByValue[v]
	}
	return nil
}

func (t *tables) sensitivity(v uint32) *sensitivity {
	if uint64(v) < uint64(len(t.sensByValue)) {
		return t.sensByValue[v]
	}
	return nil
}

func (t *tables) category(v uint32) *category {
	if uint64(v) < uint64(len(t.catByValue)) {
		return t.catByValue[v]
	}
	return nil
}

// dominates is the set of roles that a role dominates, by value - 1.
func (t *tables) dominates(v uint32) bitmap {
	if v == objectR {
		return nil
	}
	return t.roleByValue[v].dominates
}

func (t *typ) attribute() bool { return t.properties&typeAttribute != 0 }

func (t *typ) alias() bool { return t.properties&(typePrimary|typeAttribute) == 0 }

// define enters one symbol: its name is new, its value is in range and, unless
// it is an alias, new too. A colon in a name would make two contexts out of
// one, and a control character forge lines of a log; no compiler lets them
// through.
func define[T any, V ~uint16 | ~uint32](names map[string]V, byValue []*T, what, name string, value uint32, entry *T, alias bool) error {
	if value == 0 || uint64(value) >= uint64(len(byValue)) {
		return fmt.Errorf("policy: %s %q: expected a value of 1 to %d, found %d", what, name, len(byValue)-1, value)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == ':' || c == 0x7f {
			return fmt.Errorf("policy: %s %q: expected a name without colons, blanks and control characters, found %q", what, name, c)
		}
	}
	if _, ok := names[name]; ok {
		return fmt.Errorf("policy: %s %q: expected one definition, found two", what, name)
	}
	names[name] = V(value)
	if alias {
		return nil
	}
	if byValue[value] != nil {
		return fmt.Errorf("policy: %s %q: expected a value of its own, found %d twice", what, name, value)
	}
	byValue[value] = entry
	return nil
}

// indexSymbols fills symbols and refuses symbols that contradict each other.
func (t *tables) indexSymbols() error {
	for _, step := range []func() error{t.indexClasses, t.indexUsers, t.indexTypes, t.indexBools, t.indexLevels} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) indexClasses() error {
	commonByValue := make([]*common, t.nprim[symCommons]+1)
	commonNames := make(map[string]uint32, len(t.commons))
	for i := range t.commons {
		c := &t.commons[i]
		if err := define(commonNames, commonByValue, "common", c.name, c.value, c, false); err != nil {
			return err
		}
		var names [maxPerms]string
		if err := addPerms(&names, "common", c.name, c.perms); err != nil {
			return err
		}
	}
	t.classByValue = make([]*class, t.nprim[symClasses]+1)
	t.classNames = make(map[string]Class, len(t.classes))
	byBit := make([][maxPerms]string, len(t.classes))
	for i := range t.classes {
		c := &t.classes[i]
		if err := define(t.classNames, t.classByValue, "class", c.name, c.value, c, false); err != nil {
			return err
		}
		c.byBit = &byBit[i]
		c.socket = kernelSocket(c.name)
		if c.common != "" {
			v, ok := commonNames[c.common]
			if !ok {
				return fmt.Errorf("policy: class %q: expected a defined common, found %q", c.name, c.common)
			}
			if err := addPerms(c.byBit, "class", c.name, commonByValue[v].perms); err != nil {
				return err
			}
		}
		if err := addPerms(c.byBit, "class", c.name, c.perms); err != nil {
			return err
		}
	}
	// The kernel refuses a policy in which it could not check a change of
	// domain.
	t.processClass = t.classNames["process"]
	if t.processClass == 0 {
		return fmt.Errorf("policy: expected class process, found none")
	}
	for bit, n := range t.classByValue[t.processClass].byBit {
		if n == "transition" || n == "dyntransition" {
			t.processTrans |= 1 << bit
		}
	}
	if t.processTrans == 0 {
		return fmt.Errorf("policy: class process: expected permission transition or dyntransition, found neither")
	}
	return nil
}

func addPerms(names *[maxPerms]string, what, owner string, perms []perm) error {
	for _, p := range perms {
		if p.value == 0 || p.value > maxPerms {
			return fmt.Errorf("policy: %s %q: permission %q: expected a value of 1 to %d, found %d", what, owner, p.name, maxPerms, p.value)
		}
		for i, n := range names {
			if n == p.name {
				return fmt.Errorf("policy: %s %q: permission %q: expected one definition, found two", what, owner, p.name)
			}
			if uint32(i) == p.value-1 && n != "" {
				return fmt.Errorf("policy: %s %q: permission %q: expected a value of its own, found that of %q", what, owner, p.name, n)
			}
		}
		names[p.value-1] = p.name
	}
	return nil
}

func (t *tables) indexUsers() error {
	t.roleByValue = make([]*role, max(t.nprim[symRoles], objectR)+1)
	t.roleNames = make(map[string]uint32, len(t.roles))
	for i := range t.roles {
		r := &t.roles[i]
		if err := define(t.roleNames, t.roleByValue, "role", r.name, r.value, r, false); err != nil {
			return err
		}
		if (r.name == objectRName) != (r.value == objectR) {
			return fmt.Errorf("policy: role %q: expected value %d for %s and no other, found %d", r.name, objectR, objectRName, r.value)
		}
	}
	if t.roleByValue[objectR] == nil {
		t.roleByValue[objectR] = &role{name: objectRName, value: objectR}
		t.roleNames[objectRName] = objectR
	}
	t.userByValue = make([]*user, t.nprim[symUsers]+1)
	t.userNames = make(map[string]uint32, len(t.users))
	for i := range t.users {
		u := &t.users[i]
		if err := define(t.userNames, t.userByValue, "user", u.name, u.value, u, false); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) indexTypes() error {
	t.typeByValue = make([]*typ, t.nprim[symTypes]+1)
	t.typeNames = make(map[string]uint32, len(t.types))
	for i := range t.types {
		e := &t.types[i]
		if err := define(t.typeNames, t.typeByValue, "type", e.name, e.value, e, e.alias()); err != nil {
			return err
		}
	}
	for i := range t.types {
		if e := &t.types[i]; e.alias() && t.typeByValue[e.value] == nil {
			return fmt.Errorf("policy: type alias %q: expected the value of a type, found %d", e.name, e.value)
		}
	}
	return nil
}

func (t *tables) indexBools() error {
	byValue := make([]*boolean, t.nprim[symBools]+1)
	t.boolNames = make(map[string]uint32, len(t.bools))
	for i := range t.bools {
		b := &t.bools[i]
		if err := define(t.boolNames, byValue, "boolean", b.name, b.value, b, false); err != nil {
			return err
		}
	}
	for v, b := range byValue[1:] {
		if b == nil {
			return fmt.Errorf("policy: booleans: expected values without gaps, found none for %d", v+1)
		}
	}
	t.boolByValue = byValue[1:]
	return nil
}

func (t *tables) indexLevels() error {
	t.sensByValue = make([]*sensitivity, t.nprim[symLevels]+1)
	t.sensNames = make(map[string]uint32, len(t.levels))
	for i := range t.levels {
		s := &t.levels[i]
		if err := define(t.sensNames, t.sensByValue, "sensitivity", s.name, s.level.sens, s, s.alias != 0); err != nil {
			return err
		}
	}
	for i := range t.levels {
		if s := &t.levels[i]; t.sensByValue[s.level.sens] == nil {
			return fmt.Errorf("policy: sensitivity alias %q: expected the value of a sensitivity, found %d", s.name, s.level.sens)
		}
	}
	t.catByValue = make([]*category, t.nprim[symCats]+1)
	t.catNames = make(map[string]uint32, len(t.cats))
	for i := range t.cats {
		c := &t.cats[i]
		if err := define(t.catNames, t.catByValue, "category", c.name, c.value, c, c.alias != 0); err != nil {
			return err
		}
	}
	for i := range t.cats {
		if c := &t.cats[i]; t.catByValue[c.value] == nil {
			return fmt.Errorf("policy: category alias %q: expected the value of a category, found %d", c.name, c.value)
		}
	}
	return nil
}

// kernelSocket reports whether the kernel treats a class as a socket when it
// labels new objects. Its list (genheaders, over classmap.h) is made of the
// classes it knows whose names end so; a policy's own class never is one.
func kernelSocket(name string) bool {
	if name == "socket" {
		return true
	}
	family, ok := strings.CutSuffix(name, "_socket")
	return ok && strings.Contains(kernelSockets, " "+family+" ")
}

const kernelSockets = " tcp udp rawip packet key unix_stream unix_dgram tun netlink netlink_route netlink_tcpdiag " +
	"netlink_nflog netlink_xfrm netlink_selinux netlink_iscsi netlink_audit netlink_fib_lookup netlink_connector " +
	"netlink_netfilter netlink_dnrt netlink_kobject_uevent netlink_generic netlink_scsitransport netlink_rdma " +
	"netlink_crypto appletalk dccp sctp icmp ax25 ipx netrom atmpvc x25 rose decnet atmsvc rds irda pppox llc can " +
	"tipc bluetooth iucv rxrpc isdn phonet ieee802154 caif alg nfc vsock kcm qipcrtr smc xdp mctp "
