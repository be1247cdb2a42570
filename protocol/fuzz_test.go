package protocol_test

import (
	"bytes"
	"testing"

	"sememcached/protocol"
)

// textSeeds are the inputs that FuzzText starts from.
var textSeeds = []string{
	"get a\r\n", "gets a b c\r\nget  d \n", "gat 10 a b\r\n", "set k 1 2 3\r\nabc\r\nget k\r\n", "set k 1 2 3 noreply\r\nabcd\r\n",
	"cas k 0 0 1 99\r\na\r\n", "set k x 0 5\r\nhello\r\nversion\r\n", "incr n 1 noreply\r\ndecr n 18446744073709551615\r\n", "touch k -1\r\n",
	"delete k 0 noreply\r\n", "flush_all 10 noreply\r\n", " verbosity 1\r\n", "stats settings\r\nquit\r\n", "GET / HTTP/1.1\r\n\r\n",
	"mac check k read write\r\nmac explain k read\r\nmac relabel k u:object_r:t:s0 noreply\r\nmac create -\r\nrelabel k c\r\n", "lru tune 10 25 0.1 2.0\r\n",
	"mg Zm9v b k t v O12 q\r\n", "ms k 1 T0 F5 MS I\r\na\r\n", "md k I T30 C5 E6\r\nma n N0 J13 v MD D5\r\nme k\r\nmg k v v\r\n", "ms Zm9v 2 b x c\r\nabcd\r\n",
	"slabs automove ratio 0.8\r\nwatch fetchers\r\nlru_crawler crawl 1,2\r\n", "set k \t 1 2\r\nab\r\n", "ab\n", "\x80\x00\r\n",
}

// FuzzText: whatever the bytes and the cut, the parser does not panic, keeps to
// its contract, and finds the same requests; printing a request and parsing it
// gives the same request.
func FuzzText(f *testing.F) {
	for i, seed := range textSeeds {
		f.Add([]byte(seed), i, 16)
	}
	f.Fuzz(func(t *testing.T, input []byte, cut, inline int) {
		limits := protocol.Limits{Inline: inline, MaxLine: 4096, Meta: true}
		want, _ := script(input, limits, nil)
		if len(input) > 1 && !hasLongLine(input) {
			cut = 1 + int(uint(cut)%uint(len(input)-1))
			if got, _ := script(input, limits, []int{cut}); got != want {
				t.Fatalf("%q cut at %d:\n%swhole:\n%s", input, cut, got, want)
			}
			if got, _ := script(input, limits, []int{(cut + 1) / 2, cut}); got != want {
				t.Fatalf("%q cut at %d and %d:\n%swhole:\n%s", input, (cut+1)/2, cut, got, want)
			}
		}
		checkContract(t, input, &limits)
		checkPrint(t, input, &limits)
		checkKeys(t, input)
	})
}

// hasLongLine reports whether input has more than 2,048 bytes without an LF: as in
// memcached it matters then whether they arrive at once.
func hasLongLine(input []byte) bool {
	for line := range bytes.SplitSeq(input, []byte("\n")) {
		if len(line) > 2048 {
			return true
		}
	}
	return false
}

// checkContract parses requests one behind the other and checks what the
// documentation promises about n, Swallow, Need and the views.
func checkContract(t *testing.T, input []byte, limits *protocol.Limits) {
	t.Helper()
	before := bytes.Clone(input)
	for rest := input; len(rest) > 0; {
		var r protocol.Request
		n, out, reply := protocol.Parse(rest, limits, &r)
		if n < 0 || n > len(rest) {
			t.Fatalf("%q: n is %d of %d", rest, n, len(rest))
		}
		if (out == protocol.NeedMore || out == protocol.Close) != (n == 0) {
			t.Fatalf("%q: %v consumes %d", rest, out, n)
		}
		if out == protocol.NeedMore && r.Need <= len(rest) {
			t.Fatalf("%q: needs %d of %d", rest, r.Need, len(rest))
		}
		if out != protocol.Reply && (reply != nil || r.Swallow != 0) {
			t.Fatalf("%q: %v with reply %q and swallow %d", rest, out, reply, r.Swallow)
		}
		if (out == protocol.Ready || out == protocol.Upload) && r.Command == protocol.None {
			t.Fatalf("%q: %v without a command", rest, out)
		}
		if len(r.Key) > protocol.KeyMax {
			t.Fatalf("%q: key of %d bytes", rest, len(r.Key))
		}
		for key, keys := protocol.NextKey(r.Keys); key != nil; key, keys = protocol.NextKey(keys) {
			if len(key) > protocol.KeyMax && out == protocol.Ready {
				t.Fatalf("%q: key of %d bytes", rest, len(key))
			}
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		rest = rest[min(r.Swallow, len(rest)):]
	}
	if !bytes.Equal(before, input) {
		t.Fatalf("%q was changed to %q", before, input)
	}
}

// checkPrint prints the first request and parses it again.
func checkPrint(t *testing.T, input []byte, limits *protocol.Limits) {
	t.Helper()
	var r protocol.Request
	if _, out, _ := protocol.Parse(input, limits, &r); out != protocol.Ready {
		return
	}
	// The spelling is the printer's; what it says must stay.
	printed := protocol.AppendRequest(nil, &r)
	var again protocol.Request
	n, out, reply := protocol.Parse(printed, limits, &again)
	if n != len(printed) || out != protocol.Ready {
		if len(printed) > len(input) {
			return // a longer spelling may exceed the limit of a line
		}
		t.Fatalf("%q printed as %q: %v %q after %d bytes", input, printed, out, reply, n)
	}
	if second := protocol.AppendRequest(nil, &again); !bytes.Equal(printed, second) {
		t.Fatalf("%q printed as %q, then as %q", input, printed, second)
	}
	squeeze := func(text []byte) []byte {
		var b []byte
		for token, rest := protocol.NextToken(text); token != nil; token, rest = protocol.NextToken(rest) {
			b = append(append(b, ' '), token...)
		}
		return b
	}
	r.Keys, again.Keys = squeeze(r.Keys), squeeze(again.Keys)
	r.Args, again.Args = squeeze(r.Args), squeeze(again.Args)
	r.Perms, again.Perms = squeeze(r.Perms), squeeze(again.Perms)
	if a, b := show(&r, out, nil), show(&again, out, nil); a != b {
		t.Fatalf("%q is %s, printed as %q it is %s", input, a, printed, b)
	}
}

// checkKeys walks the hints to their end, which must come.
func checkKeys(t *testing.T, input []byte) {
	t.Helper()
	scan := protocol.ScanKeys(input)
	for range len(input) + 1 {
		key := scan.Next()
		if key == nil {
			return
		}
		if len(key) > protocol.KeyMax {
			t.Fatalf("%q: hint of %d bytes", input, len(key))
		}
	}
	t.Fatalf("%q: more hints than bytes", input)
}

// FuzzBinary: the same for frames, whose printer is the test's own.
func FuzzBinary(f *testing.F) {
	for opcode := range byte(0x26) {
		var all []byte
		for _, frame := range everyFrame(opcode) {
			f.Add(frame, int(opcode), 16)
			all = append(all, frame...)
		}
		f.Add(all, int(opcode)*7, 0)
	}
	f.Fuzz(func(t *testing.T, input []byte, cut, inline int) {
		if len(input) > 0 {
			input[0] = protocol.MagicRequest
		}
		limits := protocol.Limits{Inline: inline}
		want, _ := script(input, limits, nil)
		if len(input) > 1 {
			cut = 1 + int(uint(cut)%uint(len(input)-1))
			if got, _ := script(input, limits, []int{cut}); got != want {
				t.Fatalf("%x cut at %d:\n%swhole:\n%s", input, cut, got, want)
			}
		}
		var r protocol.Request
		n, out, _ := protocol.ParseBinary(input, &limits, &r)
		switch {
		case n < 0 || n > len(input):
			t.Fatalf("%x: n is %d of %d", input, n, len(input))
		case (out == protocol.NeedMore || out == protocol.Close) != (n == 0):
			t.Fatalf("%x: %v consumes %d", input, out, n)
		case out == protocol.NeedMore && r.Need <= len(input):
			t.Fatalf("%x: needs %d of %d", input, r.Need, len(input))
		case out == protocol.Ready && (len(r.Key) > protocol.KeyMax || len(r.Data) != r.NBytes):
			t.Fatalf("%x: key of %d bytes, data of %d, NBytes %d", input, len(r.Key), len(r.Data), r.NBytes)
		}
		checkKeys(t, input)
	})
}
