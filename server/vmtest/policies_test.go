//go:build vm && linux

package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"sememcached/internal/debpolicy"
	"sememcached/policy/selinux"
)

// policies builds every variant of the policy into dir as NAME.bin. defaultCIL is
// the built-in policy, testdata the directory of ours.
func policies(dir, testdata, defaultCIL string) error {
	var parts []string
	for _, f := range []string{filepath.Join(testdata, "kernel.cil"), filepath.Join(testdata, "tests.cil"), defaultCIL} {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		parts = append(parts, string(b))
	}
	rules, err := withoutScaffold(parts[2])
	if err != nil {
		return err
	}
	text := parts[0] + parts[1] + tableDomains() + rules
	for name, change := range variants {
		b, err := change(text)
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		src, bin := filepath.Join(dir, name+".cil"), filepath.Join(dir, name+".bin")
		if err := os.WriteFile(src, []byte(b), 0o600); err != nil {
			return err
		}
		out, err := exec.Command("secilc", "-M", "true", "-c", "33", "-o", bin, "-f", os.DevNull, src).CombinedOutput()
		if err != nil {
			return fmt.Errorf("policy %s: secilc: %w\n%s", name, err, out)
		}
	}
	return nil
}

// withoutScaffold takes out of the built-in policy what kernel.cil says at
// greater length.
func withoutScaffold(s string) (string, error) {
	return replace(s,
		"(handleunknown deny)\n", "",
		"(class process (transition dyntransition))\n", "",
		"(classorder (process kv_item kv_server))\n", "(classorder (unordered kv_item))\n(classorder (unordered kv_server))\n",
		"(sid kernel)\n(sid security)\n(sid unlabeled)\n(sidorder (kernel security unlabeled))\n", "",
		"(sidcontext kernel (system_u system_r kernel_t wide))\n", "",
		"(sidcontext unlabeled (system_u object_r unlabeled_t base))\n", "",
	)
}

// variants are the policies that the guest loads, made from the text of the first.
var variants = map[string]func(string) (string, error){
	"main": func(s string) (string, error) { return s, nil },
	// The same rules under other numbers of classes and permissions.
	"moved": func(s string) (string, error) {
		return replace(s,
			"(class kv_item (create getattr setattr remove relabelfrom relabelto read write append calculate))",
			"(class kv_item (calculate append write read relabelto relabelfrom remove setattr getattr create))",
			"(class kv_server (stats flush config dump watch shutdown))",
			"(class kv_server (shutdown watch dump config flush stats))",
			"(classorder (unordered kv_item))\n(classorder (unordered kv_server))\n", "",
			"(classorder (security ", "(classorder (kv_server kv_item security ",
		)
	},
	// One that only reads is permissive.
	"tolerant": func(s string) (string, error) { return s + "(typepermissive kv_reader_t)\n", nil },
	// Without a domain and a type of items.
	"nogone":      func(s string) (string, error) { return without(s, `gone_t|gone_item_t`) },
	"noserver":    func(s string) (string, error) { return rename(s, "kv_server", "kv_other") },
	"noitem":      func(s string) (string, error) { return rename(s, "kv_item", "kv_other") },
	"noremove":    func(s string) (string, error) { return rename(s, "remove", "erase") },
	"nocalculate": func(s string) (string, error) { return rename(s, "calculate", "reckon") },
	"none": func(s string) (string, error) {
		s, err := rename(s, "kv_server", "kv_other")
		if err != nil {
			return "", err
		}
		return rename(s, "kv_item", "kv_thing")
	},
	// The kernel refuses to load this: it lacks a class of the kernel's own.
	"reject": func(s string) (string, error) {
		s, err := rename(s, "user_namespace", "user_namespaze")
		if err != nil {
			return "", err
		}
		return replace(s, "(handleunknown deny)", "(handleunknown reject)")
	},
	// The server may not ask.
	"nocompute": func(s string) (string, error) {
		return replace(s, "(security (compute_av compute_create compute_member compute_relabel check_context validate_trans read_policy))", "(security (check_context))")
	},
	// It may not have contexts checked.
	"nocheck": func(s string) (string, error) {
		return s + "(constrain (security (check_context)) (neq t1 kv_server_t))\n", nil
	},
	// It may not open a file of selinuxfs.
	"unreadable": func(s string) (string, error) {
		return s + "(constrain (file (open)) (or (neq t1 kv_server_t) (neq t2 selinuxfs_t)))\n", nil
	},
	// It may neither map the status page nor listen to netlink.
	"blind": func(s string) (string, error) {
		return s + "(constrain (file (map)) (or (neq t1 kv_server_t) (neq t2 selinuxfs_t)))\n" +
			"(constrain (netlink_selinux_socket (create)) (neq t1 kv_server_t))\n", nil
	},
	// The server may not map the status page, nor read the policy.
	"nomap": func(s string) (string, error) {
		s, err := replace(s, " validate_trans read_policy))", " validate_trans))")
		return s + "(constrain (file (map)) (or (neq t1 kv_server_t) (neq t2 selinuxfs_t)))\n", err
	},
}

// unknowns are the ways of a policy with what it does not define; lacking says
// which of our classes it may be without.
var (
	unknowns = []string{"deny", "allow", "reject"}
	lacking  = []string{"nothing", "kv_item", "kv_server", "both"}
)

// unknownPolicy is the name of the variant for one of each.
func unknownPolicy(handle, lacks string) string { return "unknown-" + handle + "-" + lacks }

func init() {
	for _, handle := range unknowns {
		for _, lacks := range lacking {
			variants[unknownPolicy(handle, lacks)] = func(s string) (string, error) {
				var err error
				if lacks == "both" || lacks == "kv_server" {
					s, err = rename(s, "kv_server", "kv_other")
				}
				if err == nil && (lacks == "both" || lacks == "kv_item") {
					s, err = rename(s, "kv_item", "kv_thing")
				}
				if err != nil {
					return "", err
				}
				return replace(s, "(handleunknown deny)", "(handleunknown "+handle+")")
			}
		}
	}
}

// debianPolicy is Debian's policy with our module linked in, and the domains of
// the tests from a file. It is kept in a cache under the version of the package.
func debianPolicy(tests string) (string, error) {
	b, err := os.ReadFile(tests)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "debian*.cil")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	text := selinux.Module(false, false)[0].Text + string(b)
	if _, err := f.WriteString(text); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return debpolicy.Build("vm", "default", f.Name())
}

// replace replaces pairs of texts, each of which must be there once.
func replace(s string, pairs ...string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(s, pairs[i]); n != 1 {
			return "", fmt.Errorf("expected one %q, found %d", pairs[i], n)
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s, nil
}

// rename changes a whole word.
func rename(s, word, to string) (string, error) {
	re := regexp.MustCompile(`\b` + word + `\b`)
	if !re.MatchString(s) {
		return "", fmt.Errorf("expected a word %q, found none", word)
	}
	return re.ReplaceAllLiteralString(s, to), nil
}

// without drops the lines that have one of the words.
func without(s, words string) (string, error) {
	re := regexp.MustCompile(`(?m)^.*\b(` + words + `)\b.*\n`)
	if !re.MatchString(s) {
		return "", fmt.Errorf("expected words of %q, found none", words)
	}
	return re.ReplaceAllLiteralString(s, ""), nil
}

// itemPerms and serverPerms are the permissions of the two classes.
var (
	itemPerms   = strings.Fields("create getattr setattr remove relabelfrom relabelto read write append calculate")
	serverPerms = strings.Fields("stats flush config dump watch shutdown")
)

// tableDomains are the domains of the command table: one for each permission,
// that holds every permission but that one.
func tableDomains() string {
	var b strings.Builder
	domain := func(lacks string) {
		except := func(all []string) string {
			var l []string
			for _, p := range all {
				if p != lacks {
					l = append(l, p)
				}
			}
			return strings.Join(l, " ")
		}
		name := lackingDomain(lacks)
		fmt.Fprintf(&b, "(type %[1]s)\n(typeattributeset kv_domain (%[1]s))\n", name)
		fmt.Fprintf(&b, "(allow %s kv_item_type (kv_item (%s)))\n", name, except(itemPerms))
		fmt.Fprintf(&b, "(allow %s kv_server_t (kv_server (%s)))\n", name, except(serverPerms))
	}
	domain("")
	for _, p := range itemPerms {
		domain(p)
	}
	for _, p := range serverPerms {
		domain(p)
	}
	return b.String()
}

// lackingDomain is the domain that lacks a permission, or none.
func lackingDomain(perm string) string {
	if perm == "" {
		return "lacks_nothing_t"
	}
	return "lacks_" + perm + "_t"
}
