// Package selinux holds the SELinux module that a machine installs so that its
// kernel can decide for a server: as CIL, and as the sources of a reference policy
// module. It is text; what it means is tested by compiling it into whole policies.
//
//	kv.cil            classes and attributes
//	kv_mcs.cil        constraints of a policy with categories only
//	kv_mls.cil        constraints of a policy with sensitivities
//	sememcached.cil   domain, item types, ports, files
//	sememcached.te    the same as a reference policy module
//	sememcached.if    what other modules call
//	sememcached.fc    labels of files
//	sememcached.tests what the installed module promises, for "sememcached policy test"
package selinux

import _ "embed"

var (
	//go:embed kv.cil
	classes string
	//go:embed kv_mcs.cil
	categories string
	//go:embed kv_mls.cil
	sensitivities string
	//go:embed sememcached.cil
	domain string
	//go:embed sememcached.te
	enforcement string
	//go:embed sememcached.if
	interfaces string
	//go:embed sememcached.fc
	files string
)

// File is a file to install, by the name that it must have.
type File struct{ Name, Text string }

// Module is the module: one CIL file, or, for refpolicy, the classes and
// constraints in CIL and the sources of the rest. mls chooses the constraints of
// a policy with sensitivities.
func Module(mls, refpolicy bool) []File {
	kv := classes + categories
	if mls {
		kv = classes + sensitivities
	}
	if !refpolicy {
		return []File{{"sememcached.cil", kv + domain}}
	}
	return []File{
		{"kv.cil", kv}, {"sememcached.te", enforcement}, {"sememcached.if", interfaces}, {"sememcached.fc", files},
	}
}
