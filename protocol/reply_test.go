package protocol_test

import (
	"testing"

	"sememcached/protocol"
)

func TestAppendReplies(t *testing.T) {
	key := []byte("k")
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{protocol.AppendValue(nil, key, 7, []byte("ab"), 9, false), "VALUE k 7 2\r\nab\r\n"},
		{protocol.AppendValue([]byte("x"), key, 1<<32-1, nil, 1<<64-1, true), "xVALUE k 4294967295 0 18446744073709551615\r\n\r\n"},
		{protocol.AppendUint(nil, 1<<64-1), "18446744073709551615\r\n"},
		{protocol.AppendStat(nil, "inter", ""), "STAT inter \r\n"},
		{protocol.AppendStatUint(nil, "pid", 12), "STAT pid 12\r\n"},
		{protocol.AppendVersion(nil, "1.6.45"), "VERSION 1.6.45\r\n"},
		{protocol.AppendMac(nil, "u:r:t:s0"), "MAC u:r:t:s0\r\n"},
		{protocol.AppendLabel(nil, key, "u:r:t:s0"), "LABEL k u:r:t:s0\r\n"},
		{protocol.AppendCheck(nil, true, []byte("read  write ")), "ALLOWED read write\r\n"},
		{protocol.AppendCheck(nil, false, []byte("read")), "DENIED read\r\n"},
		{protocol.AppendMetaDebug(nil, []byte("foo"), &protocol.MetaDebugItem{TTL: -1, CAS: 60, Class: 1, Size: 63}), "ME foo exp=-1 la=0 cas=60 fetch=no cls=1 size=63\r\n"},
		{protocol.AppendMetaDebug(nil, []byte("foo"), &protocol.MetaDebugItem{TTL: 5, LastAccess: 6, Fetched: true, BinaryKey: true}), "ME Zm9v exp=5 la=6 cas=0 fetch=yes cls=0 size=0\r\n"},
	} {
		if string(c.got) != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// TestAppendMetaLine: which flags come back, in which order, and which TTL.
func TestAppendMetaLine(t *testing.T) {
	item := protocol.MetaItem{Size: 2, TTL: 10, AfterT: 20, AfterN: 30, CAS: 5, Flags: 7, LastAccess: 8, Fetched: true}
	created, binaryKey, state := item, item, item
	created.Created = true
	binaryKey.BinaryKey = true
	state.Won, state.Stale, state.Sent, state.TTL = true, true, true, -1
	for _, c := range []struct {
		request string
		code    protocol.MetaCode
		item    *protocol.MetaItem
		want    string
	}{
		{"mg foo", protocol.MetaHD, &item, "HD\r\n"},
		{"mg foo k O123 s t v", protocol.MetaEN, nil, "EN kfoo O123\r\n"},
		{"mg foo s t c f l h k O1 v", protocol.MetaVA, &item, "VA 2 s2 t10 c5 f7 l8 h1 kfoo O1\r\n"},
		{"mg foo t T5", protocol.MetaHD, &item, "HD t10\r\n"},
		{"mg foo T5 t", protocol.MetaHD, &item, "HD t20\r\n"},
		{"mg foo N5 t", protocol.MetaHD, &item, "HD t10\r\n"},
		{"mg foo N5 t", protocol.MetaHD, &created, "HD t30\r\n"},
		{"mg foo T5 N5 t", protocol.MetaHD, &created, "HD t30\r\n"},
		{"mg foo t", protocol.MetaHD, &state, "HD t-1 Z X W\r\n"},
		{"mg Zm9v b k", protocol.MetaHD, &item, "HD kfoo\r\n"},
		{"mg foo k", protocol.MetaHD, &binaryKey, "HD kZm9v b\r\n"},
		{"mg Zm9v b k", protocol.MetaEN, nil, "EN kZm9v b\r\n"},
		{"ms foo 2 k c s t f O9", protocol.MetaHD, &state, "HD kfoo c5 s2 O9\r\n"},
		{"ms Zm9v 2 b k c", protocol.MetaNS, &item, "NS kZm9v b c5\r\n"},
		{"md foo k c s t O9", protocol.MetaHD, nil, "HD kfoo O9\r\n"},
		{"ma foo t T9 c k s v", protocol.MetaVA, &item, "VA 2 t10 c5 kfoo\r\n"},
		{"ma Zm9v b k", protocol.MetaNF, nil, "NF kZm9v b\r\n"},
	} {
		input := c.request + "\r\n"
		if input[:2] == "ms" {
			input += "ab\r\n"
		}
		var r protocol.Request
		if _, out, reply := protocol.Parse([]byte(input), &protocol.Limits{Meta: true}, &r); out != protocol.Ready {
			t.Errorf("%q: %v %q", input, out, reply)
			continue
		}
		if got := protocol.AppendMetaLine(nil, &r, c.code, c.item); string(got) != c.want {
			t.Errorf("%q: got %q, want %q", c.request, got, c.want)
		}
	}
}

func TestQuiet(t *testing.T) {
	var r protocol.Request
	for _, c := range []struct {
		request string
		hidden  string
	}{
		{"mg k q\r\n", "EN"},
		{"ms k 0 q\r\n\r\n", "HD VA"},
		{"md k q\r\n", "HD VA"},
		{"ma k q\r\n", "HD VA"},
		{"mg k\r\n", ""},
		{"md k\r\n", ""},
	} {
		protocol.Parse([]byte(c.request), &protocol.Limits{Meta: true}, &r)
		hidden := ""
		for _, code := range []protocol.MetaCode{protocol.MetaHD, protocol.MetaVA, protocol.MetaEN, protocol.MetaNF, protocol.MetaNS, protocol.MetaEX} {
			if protocol.MetaQuiet(&r, code) {
				hidden += " " + string(code)
			}
		}
		if hidden != "" {
			hidden = hidden[1:]
		}
		if hidden != c.hidden {
			t.Errorf("%q hides %q, want %q", c.request, hidden, c.hidden)
		}
	}
	for opcode, hides := range map[byte]protocol.Status{0x09: protocol.StatusNotFound, 0x24: protocol.StatusNotFound, 0x11: protocol.StatusOK, 0x14: protocol.StatusOK} {
		for _, f := range everyFrame(opcode) {
			if _, out, _ := protocol.ParseBinary(f, nil, &r); out != protocol.Ready {
				continue
			}
			for _, status := range []protocol.Status{protocol.StatusOK, protocol.StatusNotFound, protocol.StatusExists, protocol.StatusDenied} {
				if got := protocol.BinaryQuiet(&r, status); got != (status == hides) {
					t.Errorf("opcode %#x, status %#x: hidden %v", opcode, status, got)
				}
			}
		}
	}
}
