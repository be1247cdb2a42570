//go:build vm && linux

package vmtest

import (
	"strings"
	"testing"
)

// TestGuestExplain: the server says why the kernel answers as it does, from the kernel's own
// policy, and that the kernel's answer is the same.
func TestGuestExplain(t *testing.T) {
	inGuest(t)
	startServer(t)
	c := dial(t, domain("kv_plain_t", "s0"))
	c.want("set k 0 0 1\r\nx\r\n", "STORED\r\n")
	for _, x := range []struct {
		perm  string
		wants []string
	}{
		{"read", []string{"allow", "kv_plain_t"}},
		{"relabelto", []string{"denied", "allow kv_plain_t", "relabelto"}},
	} {
		got := c.ask("mac explain k " + x.perm + "\r\n")
		for _, want := range append(x.wants, "the kernel decides", "/sys/fs/selinux/policy", "the kernel's own answer is the same") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: expected %q in the explanation, found %q", x.perm, want, got)
			}
		}
	}
}
