package protocol_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/protocol"
)

// everyRequest has a well-formed request of every command of the text protocol,
// and errors of the expensive kinds.
var everyRequest = []string{
	"get k\r\n", "gets k\r\n", "gat 1 k\r\n", "gats 1 k\r\n",
	"set k 0 0 1\r\na\r\n", "add k 0 0 1\r\na\r\n", "replace k 0 0 1\r\na\r\n", "append k 0 0 1\r\na\r\n", "prepend k 0 0 1\r\na\r\n", "cas k 0 0 1 5\r\na\r\n",
	"delete k\r\n", "incr k 1\r\n", "decr k 1\r\n", "touch k 1\r\n",
	"flush_all\r\n", "verbosity 1\r\n", "version\r\n", "quit\r\n", "shutdown\r\n", "stats\r\n", "cache_memlimit 64\r\n", "slabs reassign 1 2\r\n", "lru mode flat\r\n",
	"lru_crawler crawl all\r\n", "watch\r\n", "refresh_certs\r\n", "extstore item_size 1\r\n", "mn\r\n",
	"mg Zm9v b k t v O12 q\r\n", "ms k 1 T0 F5 MS I\r\na\r\n", "md k I T30\r\n", "ma n N0 J13 v MD D5\r\n", "me k\r\n", "mdp k:\r\n",
	"mac whoami\r\n", "mac label k\r\n", "mac check k read\r\n", "mac explain k read\r\n", "mac relabel k c\r\n", "mac create c\r\n", "relabel k c\r\n",
}

var brokenRequests = []string{
	"bogus\r\n", "a\r\n", "set k x 0 1\r\na\r\n", "set k 0 0 1\r\nabc\r\n", "get " + strings.Repeat("k", 300) + "\r\n", "get k", "set k 0 0 9\r\n", "x HTTP/1.1\r\n", "mg k v v\r\n",
}

func TestParseDoesNotAllocate(t *testing.T) {
	var r protocol.Request
	for _, text := range append(brokenRequests, everyRequest...) {
		input := []byte(text)
		if n := testing.AllocsPerRun(100, func() { protocol.Parse(input, &protocol.Limits{Meta: true}, &r) }); n != 0 {
			t.Errorf("%.40q: %v allocations", text, n)
		}
		if n := testing.AllocsPerRun(100, func() {
			scan := protocol.ScanKeys(input)
			for scan.Next() != nil {
			}
		}); n != 0 {
			t.Errorf("%.40q: hints take %v allocations", text, n)
		}
	}
}

func TestParseBinaryDoesNotAllocate(t *testing.T) {
	var r protocol.Request
	buf := make([]byte, 0, 4096)
	for opcode := range 256 {
		for _, f := range everyFrame(byte(opcode)) {
			if n := testing.AllocsPerRun(20, func() {
				_, _, status := protocol.ParseBinary(f, nil, &r)
				_ = protocol.AppendBinaryError(buf, &r, status)
				_ = protocol.AppendBinaryValue(buf, &r, 1, f, 2)
				_ = protocol.AppendBinaryMiss(buf, &r)
			}); n != 0 {
				t.Errorf("opcode %#x: %v allocations", opcode, n)
			}
		}
	}
}

func TestComposeDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	key, value := []byte("key"), make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		b := protocol.AppendValue(buf, key, 1, value, 2, true)
		b = append(b, protocol.ReplyEnd...)
		b = protocol.AppendUint(b, 1<<63)
		b = protocol.AppendStatUint(b, "pid", 1)
		b = protocol.AppendLabel(b, key, "u:r:t:s0")
		_ = protocol.AppendCheck(b, true, key)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var r protocol.Request
	protocol.Parse([]byte("mg Zm9v b s t c f l h k O1 v\r\n"), &protocol.Limits{Meta: true}, &r)
	it := protocol.MetaItem{Size: len(value), BinaryKey: true, Won: true, Stale: true}
	if n := testing.AllocsPerRun(100, func() { protocol.AppendMetaValue(buf, &r, &it, value) }); n != 0 {
		t.Errorf("meta: %v allocations", n)
	}
}

// TestEveryCommandParses: the table of commands is what comes out of the parser,
// no more and no less.
func TestEveryCommandParses(t *testing.T) {
	seen := map[protocol.Command]string{}
	for opcode := range 256 {
		for _, f := range everyFrame(byte(opcode)) {
			var r protocol.Request
			if n, out, _ := protocol.ParseBinary(f, nil, &r); out == protocol.Ready && n == len(f) {
				seen[r.Command] = fmt.Sprintf("%x", f)
			}
		}
	}
	for _, c := range []protocol.Command{
		protocol.Get, protocol.Set, protocol.Add, protocol.Replace, protocol.Append, protocol.Prepend, protocol.Delete, protocol.Incr, protocol.Decr,
		protocol.Touch, protocol.Gat, protocol.FlushAll, protocol.MetaNoop, protocol.Version, protocol.Quit, protocol.Stats,
	} {
		if seen[c] == "" {
			t.Errorf("%s: no frame parses to it", c)
		}
	}
	for _, text := range everyRequest {
		var r protocol.Request
		n, out, _ := protocol.Parse([]byte(text), &protocol.Limits{Meta: true}, &r)
		if out != protocol.Ready || n != len(text) {
			t.Errorf("%q: %v after %d bytes", text, out, n)
		}
		if !strings.HasPrefix(text, r.Command.String()) {
			t.Errorf("%q is called %s", text, r.Command)
		}
		seen[r.Command] = text
	}
	for _, c := range protocol.Commands {
		if seen[c] == "" {
			t.Errorf("%s: nothing in everyRequest parses to it", c)
		}
		if c.String() == "" || c == protocol.None {
			t.Errorf("command %d has no name", c)
		}
		delete(seen, c)
	}
	for c, text := range seen {
		t.Errorf("%q parses to %d, which is not in Commands", text, c)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"get", "get user:1234567890\r\n"},
		{"set", "set user:1234567890 0 0 100\r\n" + strings.Repeat("v", 100) + "\r\n"},
		{"multiget24", "get " + strings.Repeat("user:1234567890 ", 23) + "user:1234567890\r\n"},
		{"incr", "incr user:1234567890 1\r\n"},
		{"delete", "delete user:1234567890\r\n"},
		{"version", "version\r\n"},
		{"unknown", "bogus\r\n"},
		{"mg", "mg user:1234567890 v t f\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			input := []byte(c.text)
			var r protocol.Request
			b.ReportAllocs()
			for b.Loop() {
				if n, _, _ := protocol.Parse(input, &protocol.Limits{Meta: true}, &r); n != len(input) {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkParseBinary(b *testing.B) {
	for _, c := range []struct {
		name  string
		input []byte
	}{
		{"get", frame(0x00, "", "user:1234567890", "", 0)},
		{"set", frame(0x01, "\x00\x00\x00\x00\x00\x00\x00\x00", "user:1234567890", strings.Repeat("v", 100), 0)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var r protocol.Request
			b.ReportAllocs()
			for b.Loop() {
				if n, _, _ := protocol.ParseBinary(c.input, nil, &r); n != len(c.input) {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkHints(b *testing.B) {
	input := []byte(strings.Repeat("get user:1234567890\r\n", 50))
	b.ReportAllocs()
	for b.Loop() {
		scan := protocol.ScanKeys(input)
		keys := 0
		for scan.Next() != nil {
			keys++
		}
		if keys != 50 {
			b.Fatal(keys)
		}
	}
}

func BenchmarkAppendValue(b *testing.B) {
	buf := make([]byte, 0, 4096)
	key, value := []byte("user:1234567890"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		buf = protocol.AppendValue(buf[:0], key, 0, value, 0, false)
	}
}
