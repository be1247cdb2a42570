//go:build vm && linux

package vmtest

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// syslogReadAll is SYSLOG_ACTION_READ_ALL of syslog(2).
const syslogReadAll = 3

// kernelMessages is what the kernel has logged: why it refuses a policy.
func kernelMessages() string {
	b := make([]byte, 1<<18)
	n, err := unix.Klogctl(syslogReadAll, b)
	if err != nil {
		return err.Error()
	}
	var why []string
	for line := range strings.Lines(string(b[:n])) {
		if strings.Contains(line, "SELinux: ") {
			why = append(why, line)
		}
	}
	return strings.Join(why[max(0, len(why)-100):], "")
}

// TestGuestHandleUnknown: whatever the policy says of what it does not define,
// and the kernel believes it, a server starts with both of our classes and is
// refused with one or none; a running one denies everything while one is missing,
// says so, and is itself again with the next policy that has both.
func TestGuestHandleUnknown(t *testing.T) {
	inGuest(t)
	says := map[string]string{"deny": "unknown denied", "allow": "unknown allowed", "reject": "unknown rejected"}
	cases := 0
	for _, handle := range unknowns {
		t.Run(handle, func(t *testing.T) {
			name := unknownPolicy(handle, "nothing")
			if err := loadPolicy(name); err != nil {
				t.Fatalf("the kernel does not take the policy: %v\n%s", err, kernelMessages())
			}
			want := map[string]string{"deny": "1 0", "allow": "0 0", "reject": "1 1"}[handle]
			if got := content("deny_unknown") + " " + content("reject_unknown"); got != want {
				t.Fatalf("deny_unknown and reject_unknown: expected %s, found %s", want, got)
			}
			s := startServer(t, "--audit-log", auditLog)
			s.log.wait(t, 0, "access control by the kernel", says[handle])
			admin := dial(t, domain("kv_admin_t", "s0"))
			admin.want("set k 0 0 1\r\n1\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
			cases++
			for lacks, list := range map[string]string{"kv_item": "kv_item", "kv_server": "kv_server", "both": "kv_item kv_server"} {
				from := s.log.len()
				load(t, unknownPolicy(handle, lacks))
				for _, mode := range []string{"auto", "kernel"} {
					status, text := refusal(t, "--mac="+mode)
					if status != 78 || !hasAll(text, []string{"the kernel's policy does not define " + list + ";", "sememcached policy module", "semodule -i", "--mac=policy", "--mac=off"}) {
						t.Errorf("%s without %s, --mac=%s: status %d: %s", handle, lacks, mode, status, text)
					}
					cases++
				}
				admin.want("get k\r\nset k 0 0 1\r\n2\r\nflush_all\r\nversion\r\n", "END\r\n"+accessDenied+accessDenied+"VERSION 1.6.45\r\n")
				s.log.wait(t, from, "level=ERROR", "not usable; everything is denied", strings.Fields(list)[0])
				cases++
				load(t, name)
				admin.want("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n")
			}
		})
	}
	if t.Logf("%d cases", cases); cases != 30 {
		t.Errorf("expected 30 cases, found %d", cases)
	}
}
