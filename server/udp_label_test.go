package server_test

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"sememcached/engine"
	"sememcached/server"
)

// controlMessage is one of struct cmsghdr, as the kernel writes it.
func controlMessage(level, kind int32, data string) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(unix.CmsgLen(len(data))))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, data...)
	return append(b, make([]byte, unix.CmsgSpace(len(data))-len(b))...)
}

// TestUDPLabels: the label that the kernel gives a datagram reaches whoever decides,
// and what cannot be read does not pass for none.
func TestUDPLabels(t *testing.T) {
	const label = "system_u:system_r:kv_client_t:s0:c1"
	other := controlMessage(unix.IPPROTO_IP, unix.IP_TTL, "\x40\x00\x00\x00")
	for _, x := range []struct {
		name    string
		control []byte
		flags   int
		want    string
	}{
		{"no label", nil, 0, ""},
		{"another message", other, 0, ""},
		{"a label", controlMessage(unix.IPPROTO_IP, unix.SCM_SECURITY, label+"\x00"), 0, label},
		{"behind another message", append(other[:len(other):len(other)], controlMessage(unix.IPPROTO_IP, unix.SCM_SECURITY, label)...), 0, label},
		{"of another level", controlMessage(unix.SOL_SOCKET, unix.SCM_SECURITY, label), 0, ""},
		{"empty", controlMessage(unix.IPPROTO_IP, unix.SCM_SECURITY, "\x00"), 0, "?"},
		{"cut short", controlMessage(unix.IPPROTO_IP, unix.SCM_SECURITY, label), unix.MSG_CTRUNC, "?"},
		{"no message", make([]byte, 24), 0, "?"}, // a length of 0
	} {
		t.Run(x.name, func(t *testing.T) {
			// The server ends before its kernel changes again.
			defer server.FakeRecvmsg(x.control, x.flags)()
			t.Run("", func(t *testing.T) {
				r := start(t, plan{set: server.Settings{UDPPort: -1}})
				seen := make(chan string, 1)
				r.eng.watch(func(c *engine.Call) {
					if c.Client.Peer.UDP {
						seen <- c.Client.Peer.Label
					}
				})
				dialUDP(t, r).ask("get k\r\n", "END\r\n")
				if got := <-seen; got != x.want {
					t.Errorf("got %q, want %q", got, x.want)
				}
			})
		})
	}
}
