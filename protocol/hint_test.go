package protocol_test

import (
	"strings"
	"testing"

	"sememcached/protocol"
)

func TestScanKeys(t *testing.T) {
	long := strings.Repeat("k", 251)
	for _, c := range []struct{ input, want string }{
		{"get a\r\n", "a"},
		{"get a", ""},
		{"get a b  c \r\ngets d\ngat 10 e f\r\ngats 0 g\r\n", "a b c d e f g"},
		{"set a 0 0 5\r\nget b\r\nget c\r\n", "a c"},
		{"set a 0 0 50\r\nget b\r\nget c\r\n", "a"},
		{"cas a 0 0 1 5 noreply\r\nx\r\nincr b 1\r\ndecr c 1\r\ndelete d\r\ntouch e 1\r\n", "a b c d e"},
		{"version\r\nstats items\r\nget a\r\n", "a"},
		{"get " + long + " b\r\ndelete " + long + "\r\nget c\r\n", "b c"},
		{"set a 0 0 x\r\nget b\r\n", "b"},
		{"set a 0 0 -1\r\nset b\r\nset c 0 0 2147483647\r\nget d\r\n", "c"},
		{string(frame(0, "", "a", "", 0)) + string(frame(1, "12345678", "b", "value", 0)) + string(frame(0x0a, "", "", "", 0)) + string(frame(4, "", "c", "", 0)), "a b c"},
		{string(frame(0, "", "a", "", 0)) + string(frame(0, "", long, "", 0)) + string(frame(0, "", "b", "", 0))[:24], "a"},
		{string(frame(0, "", "a", "", 0))[:23], ""},
		{"\r\n\nget \r\n\xff\xff", ""},
	} {
		var got []string
		scan := protocol.ScanKeys([]byte(c.input))
		for key := scan.Next(); key != nil; key = scan.Next() {
			got = append(got, string(key))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%.60q: keys %q, want %q", c.input, g, c.want)
		}
	}
}
