package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/avc"
	"sememcached/policy"
)

var infoTool = &tool{
	name:     "info",
	synopsis: []string{"info [[-P] FILE] [--json]"},
	summary:  "versions, sizes, handle_unknown, and whether kv_item and kv_server are defined",
	about: `Describes a binary policy. Where it lacks what a server needs (the classes
kv_item and kv_server with all their permissions), it prints the CIL to add.
`,
	exit: "0 a server can use it, 1 it cannot, 2 error",
	examples: []example{
		{"sememcached policy info", 0, "the running kernel's policy, or the built-in one"},
		{"sememcached policy info site.policy", 0, ""},
		{"sememcached policy info other.policy", 1, "one without our classes: what to add"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		file := f.StringP("policy", "P", "", "binary policy, as with the other tools (`file`)")
		asJSON := f.Bool("json", false, "for programs")
		return func(t *terminal, args []string) error {
			if *file != "" {
				args = append(args, *file)
			}
			if len(args) > 1 {
				return fmt.Errorf("expected one policy file, found %d", len(args))
			}
			return policyInfo(t, strings.Join(args, ""), *asJSON)
		}
	},
}

// classInfo says whether a policy has one of our classes.
type classInfo struct {
	Class   string   `json:"class"`
	Defined bool     `json:"defined"`
	Missing []string `json:"missing,omitempty"` // permissions
	Fatal   bool     `json:"fatal"`             // a server refuses to start
}

// ourClasses looks for what a server needs. calculate may be missing: incr and
// decr then need read and write.
func ourClasses(p *policy.Policy) (out []classInfo, usable bool) {
	usable = true
	for _, class := range []avc.Class{avc.ClassItem, avc.ClassServer} {
		ci := classInfo{Class: class.String()}
		c, ok := p.Class(ci.Class)
		ci.Defined, ci.Fatal = ok, !ok
		for _, name := range class.Names() {
			if _, ok := p.Perm(c, name); !ok {
				ci.Missing = append(ci.Missing, name)
				ci.Fatal = ci.Fatal || name != "calculate"
			}
		}
		usable = usable && !ci.Fatal
		out = append(out, ci)
	}
	return out, usable
}

// missingCIL is what to add to a policy that lacks our classes.
func missingCIL(classes []classInfo) string {
	var b strings.Builder
	for _, ci := range classes {
		perms := strings.Join(ci.Missing, " ")
		switch {
		case !ci.Defined:
			fmt.Fprintf(&b, "(class %s (%s))\n(classorder (unordered %s))\n", ci.Class, perms, ci.Class)
		case ci.Fatal:
			fmt.Fprintf(&b, "; its (class %s ...) must also have (%s)\n", ci.Class, perms)
		}
	}
	return b.String()
}

func policyInfo(t *terminal, file string, asJSON bool) error {
	p, from, err := loadPolicy(file)
	if err != nil {
		return err
	}
	in := p.Info()
	classes, usable := ourClasses(p)
	if asJSON {
		err = t.writeJSON(struct {
			Policy string `json:"policy"`
			policy.Info
			Needed []classInfo `json:"needed"`
			Usable bool        `json:"usable"`
			Add    string      `json:"add,omitempty"`
		}{from, in, classes, usable, missingCIL(classes)})
	} else {
		err = t.write(infoText(from, p, classes, usable))
	}
	if err == nil && !usable {
		err = no()
	}
	return err
}

// states are the booleans of a policy, where they are few.
func states(p *policy.Policy, row string) string {
	list := p.Booleans()
	if row != "booleans" || len(list) == 0 || len(list) > maxNames {
		return ""
	}
	var out []string
	for _, b := range list {
		out = append(out, b.Name+"="+map[bool]string{true: "on", false: "off"}[b.Active])
	}
	return " (" + strings.Join(out, " ") + ")"
}

func infoText(from string, p *policy.Policy, classes []classInfo, usable bool) string {
	var b strings.Builder
	in := p.Info()
	fmt.Fprintf(&b, "policy            %s\n", from)
	fmt.Fprintf(&b, "version           %d\n", in.Version)
	fmt.Fprintf(&b, "MLS               %v\n", in.MLS)
	fmt.Fprintf(&b, "handle_unknown    %s\n", in.HandleUnknown)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"classes", in.Classes},
		{"permissions", in.Permissions},
		{"types", in.Types},
		{"attributes", in.Attributes},
		{"roles", in.Roles},
		{"users", in.Users},
		{"booleans", in.Booleans},
		{"sensitivities", in.Sensitivities},
		{"categories", in.Categories},
		{"allow", in.Allow},
		{"auditallow", in.AuditAllow},
		{"dontaudit", in.DontAudit},
		{"allowxperm", in.AllowX},
		{"auditallowxperm", in.AuditAllowX},
		{"dontauditxperm", in.DontAuditX},
		{"type_transition", in.TypeTransition},
		{"type_member", in.TypeMember},
		{"type_change", in.TypeChange},
		{"named transitions", in.NamedTransitions},
		{"conditionals", in.Conditionals},
		{"conditional rules", in.ConditionalRules},
		{"role_transition", in.RoleTransitions},
		{"role allow", in.RoleAllows},
		{"range_transition", in.RangeTransitions},
		{"constraints", in.Constraints},
		{"validatetrans", in.ValidateTrans},
		{"permissive types", in.Permissive},
		{"neveraudit types", in.NeverAudit},
		{"bounded types", in.Bounded},
		{"initial SIDs", in.InitialSIDs},
		{"genfs paths", in.GenFS},
		{"object contexts", in.ObjectContexts},
	} {
		fmt.Fprintf(&b, "%-17s %d%s\n", row.name, row.n, states(p, row.name))
	}
	if len(in.PolicyCaps) > 0 {
		fmt.Fprintf(&b, "capabilities      %s\n", strings.Join(in.PolicyCaps, " "))
	}
	for _, ci := range classes {
		switch {
		case !ci.Defined:
			fmt.Fprintf(&b, "%-17s not defined\n", ci.Class)
		case len(ci.Missing) > 0:
			fmt.Fprintf(&b, "%-17s defined, without { %s }\n", ci.Class, strings.Join(ci.Missing, " "))
		default:
			fmt.Fprintf(&b, "%-17s defined\n", ci.Class)
		}
	}
	if usable {
		b.WriteString("usable            yes\n")
		return b.String()
	}
	b.WriteString(`usable            no: a server refuses to start with this policy

Install the module that sememcached policy module prints, or at least this CIL:

`)
	b.WriteString(missingCIL(classes))
	return b.String()
}
