package avc_test

import (
	"slices"
	"testing"

	"sememcached/avc"
)

func TestNumbersAndNamesAgree(t *testing.T) {
	want := map[avc.Class]map[string]avc.Perms{
		avc.ClassItem: {
			"create": avc.Create, "getattr": avc.Getattr, "setattr": avc.Setattr, "remove": avc.Remove,
			"relabelfrom": avc.RelabelFrom, "relabelto": avc.RelabelTo, "read": avc.Read, "write": avc.Write,
			"append": avc.Append, "calculate": avc.Calculate,
		},
		avc.ClassServer: {
			"stats": avc.ServerStats, "flush": avc.ServerFlush, "config": avc.ServerConfig,
			"dump": avc.ServerDump, "watch": avc.ServerWatch, "shutdown": avc.ServerShutdown,
		},
	}
	if got := avc.Classes(); len(got) != len(want) {
		t.Fatalf("Classes() = %v, want %d of them", got, len(want))
	}
	for c, perms := range want {
		if len(c.Names()) != len(perms) {
			t.Errorf("%v has %d permissions, want %d", c, len(c.Names()), len(perms))
		}
		var all avc.Perms
		for name, bit := range perms {
			all |= bit
			if p, ok := c.Perm(name); !ok || p != bit {
				t.Errorf("%v.Perm(%q) = %#x, %v; want %#x", c, name, p, ok, bit)
			}
			if got := c.PermNames(bit); !slices.Equal(got, []string{name}) {
				t.Errorf("%v.PermNames(%#x) = %q, want %q", c, bit, got, name)
			}
		}
		if c.All() != all {
			t.Errorf("%v.All() = %#x, want %#x", c, c.All(), all)
		}
		if got := c.PermNames(^avc.Perms(0)); !slices.Equal(got, c.Names()) {
			t.Errorf("%v.PermNames(all bits) = %q", c, got)
		}
		if p, ok := c.Perm("nonesuch"); ok || p != 0 {
			t.Errorf("%v.Perm(nonesuch) = %#x, %v", c, p, ok)
		}
	}
}

func TestUnknownClassHasNothing(t *testing.T) {
	for _, c := range []avc.Class{0, 3, 255} {
		if c.All() != 0 || c.Names() != nil || c.PermNames(^avc.Perms(0)) != nil {
			t.Errorf("class %d has permissions", uint8(c))
		}
		if _, ok := c.Perm("read"); ok {
			t.Errorf("class %d has read", uint8(c))
		}
	}
	if got := avc.Class(9).String(); got != "Class(9)" {
		t.Errorf("String() = %q", got)
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	var d avc.Decision
	if d.Allowed != 0 || d.Permissive {
		t.Errorf("Decision{} allows: %+v", d)
	}
	if n := avc.Nobody(); n.Allowed != 0 || n.Permissive || n.AuditDeny != ^avc.Perms(0) {
		t.Errorf("Nobody() = %+v, want nothing allowed and all denials logged", n)
	}
}
