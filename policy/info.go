package policy

import "strconv"

// Info counts what a policy holds.
type Info struct {
	Version       int
	MLS           bool
	HandleUnknown HandleUnknown
	PolicyCaps    []string // names, or numbers of unknown ones, by number

	Commons, Classes, Permissions          int // a permission counts once for each class that has it
	Types, Attributes, Aliases             int
	Permissive, NeverAudit, Bounded        int // types
	Roles, Users, Booleans                 int
	Sensitivities, Categories              int
	Allow, AuditAllow, DontAudit           int // unconditional rules
	AllowX, AuditAllowX, DontAuditX        int // unconditional extended permission rules
	TypeTransition, TypeMember, TypeChange int // unconditional rules
	NamedTransitions                       int // (source, target, class, name)
	Conditionals, ConditionalRules         int
	RoleTransitions, RoleAllows            int
	RangeTransitions                       int
	Constraints, ValidateTrans             int
	InitialSIDs, GenFS, ObjectContexts     int // GenFS counts paths; ObjectContexts the rest
}

// capNames are the policy capabilities that Linux knows, by number.
var capNames = [...]string{
	"network_peer_controls", "open_perms", "extended_socket_class", "always_check_network", "cgroup_seclabel",
	"nnp_nosuid_transition", "genfs_seclabel_symlinks", "ioctl_skip_cloexec", "userspace_initial_context",
	"netlink_xperm", "netif_wildcard", "genfs_seclabel_wildcard", "functionfs_seclabel", "memfd_class",
}

// Info counts what p holds, in one pass over its tables.
func (p *Policy) Info() Info {
	in := Info{
		Version: p.Version(), MLS: p.MLS(), HandleUnknown: p.HandleUnknown(),
		Commons: len(p.commons), Classes: len(p.classes),
		Permissive: p.permissive.len(), NeverAudit: p.neveraudit.len(),
		Roles: len(p.roles), Users: len(p.users), Booleans: len(p.tables.bools),
		Conditionals: len(p.conds), ConditionalRules: len(p.condRules),
		RoleTransitions: len(p.roleTrans), RoleAllows: len(p.tables.roleAllow), RangeTransitions: len(p.rangeTrans),
		InitialSIDs: len(p.ocontexts[oconISID]),
	}
	for n := range p.policycaps.all {
		if int(n) < len(capNames) {
			in.PolicyCaps = append(in.PolicyCaps, capNames[n])
		} else {
			in.PolicyCaps = append(in.PolicyCaps, strconv.FormatUint(uint64(n), 10))
		}
	}
	for i := range p.classes {
		c := &p.classes[i]
		in.Permissions += len(p.PermNames(Class(c.value), ^AV(0)))
		in.Constraints += len(c.constraints)
		in.ValidateTrans += len(c.validatetrans)
	}
	for i := range p.types {
		t := &p.types[i]
		switch {
		case t.attribute():
			in.Attributes++
		case t.alias():
			in.Aliases++
		default:
			in.Types++
		}
		if t.bounds != 0 && !t.alias() {
			in.Bounded++
		}
	}
	for _, s := range p.sensByValue {
		if s != nil {
			in.Sensitivities++
		}
	}
	for _, c := range p.catByValue {
		if c != nil {
			in.Categories++
		}
	}
	in.countRules(p.rules)
	for i := range p.names {
		in.NamedTransitions += max(p.names[i].sources.len(), 1)
	}
	for _, os := range p.ocontexts[oconISID+1:] {
		in.ObjectContexts += len(os)
	}
	for i := range p.genfs {
		in.GenFS += len(p.genfs[i].paths)
	}
	return in
}

func (in *Info) countRules(rules []avRule) {
	for i := range rules {
		switch rules[i].spec {
		case ruleAllow:
			in.Allow++
		case ruleAuditAllow:
			in.AuditAllow++
		case ruleAuditDeny:
			in.DontAudit++
		case ruleXAllow:
			in.AllowX++
		case ruleXAuditAllow:
			in.AuditAllowX++
		case ruleXDontAudit:
			in.DontAuditX++
		case ruleTransition:
			in.TypeTransition++
		case ruleMember:
			in.TypeMember++
		case ruleChange:
			in.TypeChange++
		}
	}
}
