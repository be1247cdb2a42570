//go:build vm && linux

package vmtest

import (
	"fmt"
	"regexp"
	"strings"
)

// machine is one boot: what the kernel is told, and which tests it runs.
type machine struct {
	name   string
	prefix string // of its tests' names
	kernel string // command line
	policy string // loaded before anything else; "": none
	bench  bool   // measures: boots only when its tests are asked for by name
}

var machines = []machine{
	{"micro", "TestGuest", "security=selinux enforcing=1", "main", false},
	{"debian", "TestDebian", "security=selinux enforcing=1", "debian", false},
	{"cost", "TestCost", "security=selinux enforcing=1", "main", true},
	// Debian's kernel as it is when nobody says anything: AppArmor.
	{"off", "TestOff", "", "", false},
}

// tests picks the machine's tests out of a list of names.
func (m *machine) tests(list, pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("VMTEST_RUN: %w", err)
	}
	var names []string
	for n := range strings.FieldsSeq(list) {
		if strings.HasPrefix(n, m.prefix) && re.MatchString(n) {
			names = append(names, n)
		}
	}
	return names, nil
}
