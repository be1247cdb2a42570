package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy"
)

// kernelPolicy is the running kernel's binary policy.
const kernelPolicy = "/sys/fs/selinux/policy"

// Exit codes of the policy tools: allowed, denied, and everything that is
// neither an answer.
const (
	exitDenied   = 1
	exitNoAnswer = 2
)

const policyHelp = `sememcached policy: ask an SELinux policy, without a server or an SELinux kernel

  sememcached policy info  [FILE]
      versions, sizes, handle_unknown, and whether kv_item and kv_server are defined
  sememcached policy check [-P FILE] -s CONTEXT -t CONTEXT -c CLASS -p PERM[,PERM...] [--boolean NAME=on]...
      may the source do that to the target? exit status 0 allowed, 1 denied, 2 error
  sememcached policy label [-P FILE] -s CONTEXT [-S SERVER] [-C CONTEXTS] -k KEY
      the label that a new item gets, why, and whether creating it is allowed

Without a policy file: the running kernel's policy if it can be read, else the
built-in one. Each of them has --help with examples.
`

// policyCommand is "sememcached policy ...".
func policyCommand(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return exitf(exitNoAnswer, "%s", strings.TrimRight(policyHelp, "\n"))
	}
	var run func([]string, io.Writer) error
	switch args[0] {
	case "info":
		run = policyInfo
	case "check":
		run = policyCheck
	case "label":
		run = policyLabel
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, policyHelp)
		return err
	default:
		return exitf(exitNoAnswer, "sememcached policy: expected info, check or label, found %q\nRun sememcached policy -h for help.", args[0])
	}
	err := run(args[1:], stdout)
	var coded *exitError
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, pflag.ErrHelp):
		return nil
	}
	return exitf(exitNoAnswer, "sememcached policy %s: %w", args[0], err)
}

// subcommand makes the flag set of one policy tool. Its help is printed to
// stdout: whoever asks for help wants to read it.
func subcommand(name, usage string, stdout io.Writer) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(stdout)
	f.Usage = func() { fmt.Fprintf(stdout, "%s\nFlags:\n%s", usage, flagUsages(f)) }
	return f
}

// loadPolicy reads a policy file, or finds one. It returns what it read, for
// people.
func loadPolicy(file string) (*policy.Policy, string, error) {
	if file == "" {
		if b, err := os.ReadFile(kernelPolicy); err == nil {
			p, err := policy.Read(b)
			if err != nil {
				return nil, "", fmt.Errorf("the running kernel's policy, %s: %w", kernelPolicy, err)
			}
			return p, "the running kernel's policy", nil
		}
		p, err := policy.Read(policy.Default())
		return p, "the built-in policy", err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	p, err := policy.Read(b)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", file, err)
	}
	return p, file, nil
}

func policyInfo(args []string, stdout io.Writer) error {
	f := subcommand("info", `sememcached policy info [FILE]

Describes a binary policy.

Examples:
  sememcached policy info
  sememcached policy info /etc/selinux/default/policy/policy.33
`, stdout)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 1 {
		return fmt.Errorf("expected one policy file, found %d", f.NArg())
	}
	p, from, err := loadPolicy(f.Arg(0))
	if err != nil {
		return err
	}
	in := p.Info()
	w := &errWriter{w: stdout}
	w.printf("policy            %s\n", from)
	w.printf("version           %d\n", in.Version)
	w.printf("MLS               %v\n", in.MLS)
	w.printf("handle_unknown    %s\n", in.HandleUnknown)
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
		{"bounded types", in.Bounded},
		{"initial SIDs", in.InitialSIDs},
	} {
		w.printf("%-17s %d\n", row.name, row.n)
	}
	if len(in.PolicyCaps) > 0 {
		w.printf("capabilities      %s\n", strings.Join(in.PolicyCaps, " "))
	}
	usable := describeClasses(w, p)
	if !usable {
		w.printf("usable            no: a server refuses to start with this policy; the missing parts in CIL:\n%s", missingCIL(p))
	} else {
		w.printf("usable            yes\n")
	}
	return w.err
}

// The classes and permissions that a policy must have to be usable; calculate
// may be missing: incr and decr then need read and write.
var needed = []struct {
	class string
	perms []string
}{
	{"kv_item", []string{"create", "getattr", "setattr", "remove", "relabelfrom", "relabelto", "read", "write", "append", "calculate"}},
	{"kv_server", []string{"stats", "flush", "config", "dump", "watch", "shutdown"}},
}

func describeClasses(w *errWriter, p *policy.Policy) (usable bool) {
	usable = true
	for _, n := range needed {
		c, ok := p.Class(n.class)
		if !ok {
			w.printf("%-17s not defined\n", n.class)
			usable = false
			continue
		}
		var missing []string
		for _, name := range n.perms {
			if _, ok := p.Perm(c, name); !ok {
				missing = append(missing, name)
				usable = usable && name == "calculate"
			}
		}
		if len(missing) > 0 {
			w.printf("%-17s defined, without { %s }\n", n.class, strings.Join(missing, " "))
		} else {
			w.printf("%-17s defined\n", n.class)
		}
	}
	return usable
}

// missingCIL is what to add to a policy that lacks our classes.
func missingCIL(p *policy.Policy) string {
	var b strings.Builder
	for _, n := range needed {
		if _, ok := p.Class(n.class); !ok {
			fmt.Fprintf(&b, "  (class %s (%s))\n  (classorder (unordered %s))\n", n.class, strings.Join(n.perms, " "), n.class)
		} else {
			fmt.Fprintf(&b, "  ; class %s must have (%s)\n", n.class, strings.Join(n.perms, " "))
		}
	}
	return b.String()
}

func policyCheck(args []string, stdout io.Writer) error {
	f := subcommand("check", `sememcached policy check [-P FILE] -s CONTEXT -t CONTEXT -c CLASS -p PERM[,PERM...]

Asks whether a source context holds all of the permissions on a target context.
Exit status: 0 allowed, 1 denied, 2 error.

Examples:
  sememcached policy check -s system_u:system_r:kv_client_t:s0:c1 -t system_u:object_r:kv_item_t:s0:c1 -c kv_item -p read,write
  sememcached policy check -s system_u:system_r:kv_client_t:s0:c1 -t system_u:object_r:kv_item_t:s0:c2 -c kv_item -p read
  sememcached policy check -P site.policy --boolean kv_open=on -s ... -t ... -c kv_item -p read
`, stdout)
	file := f.StringP("policy", "P", "", "binary policy (`file`)")
	scon := f.StringP("source", "s", "", "source context (`context`)")
	tcon := f.StringP("target", "t", "", "target context (`context`)")
	class := f.StringP("class", "c", "", "object class (`name`)")
	perms := f.StringSliceP("perm", "p", nil, "permissions, all of which are asked for (`names`)")
	booleans := f.StringArray("boolean", nil, "switch a boolean first, NAME=on|off (`name=state`)")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, need := range []struct{ flag, value string }{{"-s", *scon}, {"-t", *tcon}, {"-c", *class}, {"-p", strings.Join(*perms, ",")}} {
		if need.value == "" {
			return fmt.Errorf("%s is missing; see sememcached policy check --help", need.flag)
		}
	}
	if f.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", f.Arg(0))
	}
	p, _, err := loadPolicy(*file)
	if err != nil {
		return err
	}
	set, err := parseBooleans(*booleans)
	if err != nil {
		return err
	}
	if p, err = p.WithBooleans(set); err != nil {
		return err
	}
	s, err := p.ParseContext(*scon)
	if err != nil {
		return fmt.Errorf("-s: %w", err)
	}
	t, err := p.ParseContext(*tcon)
	if err != nil {
		return fmt.Errorf("-t: %w", err)
	}
	return answerCheck(stdout, p, s, t, *class, *perms)
}

// answerCheck decides and prints one line; a denial is exit status 1.
func answerCheck(stdout io.Writer, p *policy.Policy, s, t policy.Context, class string, perms []string) error {
	c, ok := p.Class(class)
	if !ok {
		// What no policy line can allow by name is up to handle_unknown.
		return answerUnknown(stdout, p, fmt.Sprintf("the policy has no class %s", class))
	}
	var want policy.AV
	for _, name := range perms {
		bit, ok := p.Perm(c, name)
		if !ok {
			return answerUnknown(stdout, p, fmt.Sprintf("class %s has no permission %s", class, name))
		}
		want |= bit
	}
	d := p.ComputeAV(s, t, c)
	if denied := want &^ d.Allowed; denied != 0 {
		note := ""
		if d.Permissive {
			note = " (the source's domain is permissive: a server logs this and allows it)"
		}
		fmt.Fprintf(stdout, "denied { %s }%s\n", strings.Join(p.PermNames(c, denied), " "), note)
		return exitf(exitDenied, "")
	}
	_, err := fmt.Fprintf(stdout, "allowed { %s }\n", strings.Join(p.PermNames(c, want), " "))
	return err
}

func answerUnknown(stdout io.Writer, p *policy.Policy, what string) error {
	if p.HandleUnknown() == policy.HandleAllow {
		_, err := fmt.Fprintf(stdout, "allowed: %s, and handle_unknown is allow\n", what)
		return err
	}
	fmt.Fprintf(stdout, "denied: %s, and handle_unknown is %s\n", what, p.HandleUnknown())
	return exitf(exitDenied, "")
}

// errWriter remembers the first error, so that a report is written in one go.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}
