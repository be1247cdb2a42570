package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/policy/selinux"
)

var moduleTool = &tool{
	name:     "module",
	synopsis: []string{"module [--mls] [--refpolicy] [-o DIR]"},
	summary:  "the SELinux module to install in a real policy, as CIL or as .te, .if and .fc",
	about: `Prints what a machine with SELinux needs so that its kernel can decide for a
server: the classes kv_item and kv_server, the constraints on levels, the domain
sememcached_t (it may do what memcached_t may, and ask the kernel), item types,
files and ports.

Without --refpolicy all of it is one CIL module. With --refpolicy it is the
classes and constraints in CIL, since no other module language can declare them,
and the rest as a reference policy module with interfaces for other modules. With
-o the files go into a directory, else to standard output, one after the other.

--mls has the constraints of a policy with sensitivities (nobody reads above their
level); without it they are those of categories only (MCS), as in most policies.

  sememcached policy module -o .
  semodule -i sememcached.cil
  restorecon -v /usr/bin/sememcached

  sememcached policy module --refpolicy -o .
  semodule -i kv.cil
  make -f /usr/share/selinux/devel/Makefile sememcached.pp
  semodule -i sememcached.pp
`,
	exit: "0, or 2 for an error",
	examples: []example{
		{"sememcached policy module", 0, "one CIL module, to standard output"},
		{"sememcached policy module --mls -o .", 0, "the same with the constraints for sensitivities, as sememcached.cil"},
		{"sememcached policy module --refpolicy -o .", 0, "kv.cil, sememcached.te, sememcached.if and sememcached.fc"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		mls := f.Bool("mls", false, "constraints for sensitivities, not for categories only")
		ref := f.Bool("refpolicy", false, "as a reference policy module")
		dir := f.StringP("output", "o", "", "write the files there (`dir`)")
		return func(t *terminal, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			return writeModule(t, selinux.Module(*mls, *ref), *dir)
		}
	},
}

func writeModule(t *terminal, files []selinux.File, dir string) error {
	for _, file := range files {
		var err error
		switch {
		case dir != "":
			path := filepath.Join(dir, file.Name)
			err = os.WriteFile(path, []byte(file.Text), 0o644)
			if err == nil {
				fmt.Fprintln(t.err, path)
			}
		case len(files) > 1:
			comment := "#"
			if strings.HasSuffix(file.Name, ".cil") {
				comment = ";"
			}
			_, err = fmt.Fprintf(t.out, "%s ---- %s\n%s", comment, file.Name, file.Text)
		default:
			_, err = fmt.Fprint(t.out, file.Text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
