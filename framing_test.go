package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sememcached/protocol"
)

// Where a command ends is compared with memcached by what follows it: both servers
// get the same bytes and, behind them, a number of marks, each of which is answered.
// Whoever takes another number of bytes for the command answers another number of
// marks.
const marks = 40

// framing is the two servers that are compared.
type framing struct{ ours, theirs string }

// startFraming keeps the oracle's items apart from nobody's: no answer is compared.
func startFraming(t testing.TB) *framing {
	return &framing{startServer(t, testConfig{}).tcp, startMemcached(t)}
}

// marked sends input and the marks, ends the sending half, and returns what is
// answered, and how many of the marks.
func marked(addr string, input []byte) (reply string, n int, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	all := bytes.Clone(input)
	if input[0] == protocol.MagicRequest {
		for i := range marks {
			all = append(all, frame(0x0a, uint32(endMark-i), 0, "", "", "")...)
		}
	} else {
		all = append(all, strings.Repeat("version\r\n", marks)...)
	}
	go func() {
		// A server that has closed is not written to any more.
		if _, err := c.Write(all); err == nil {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "connection reset") {
		return string(b), 0, err
	}
	if input[0] != protocol.MagicRequest {
		return string(b), strings.Count(string(b), "VERSION "), nil
	}
	for r := bytes.NewReader(b); ; {
		p, err := readPacket(r)
		if err != nil {
			return string(b), n, nil
		}
		if p.opcode == 0x0a && p.opaque > endMark-marks && p.opaque <= endMark {
			n++
		}
	}
}

// differs says why a difference about the input is none of ours: memcached 1.6.18,
// which is the oracle, is known to end these commands elsewhere than 1.6.45, which is
// followed, or the answer depends on how the bytes arrived.
//
// waits says that a data block is still missing at the end: memcached closes then
// without the replies that it has not sent.
func differs(input []byte) (why string, waits bool) {
	if input[0] == protocol.MagicRequest {
		return framesDiffer(input), false
	}
	if input[0] == 0x16 {
		return "ours ends a connection that begins with a handshake of TLS", false
	}
	limits := protocol.Limits{Meta: true, NoMac: true}
	for rest := append(bytes.Clone(input), strings.Repeat("version\r\n", marks)...); len(rest) > 0; {
		lf := bytes.IndexByte(rest, '\n')
		if lf < 0 {
			return "", true
		}
		line := rest[:lf]
		if lf > 2000 {
			return "a long line", false
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return "1.6.18 ends a line at a NUL", false
		}
		var r protocol.Request
		n, out, _ := protocol.Parse(rest, &limits, &r)
		if why := lineDiffers(line, &r, out); why != "" {
			return why, false
		}
		if out == protocol.NeedMore || out == protocol.Upload || n == 0 {
			return "", true
		}
		if rest = rest[n:]; r.Swallow > len(rest) {
			return "", true
		}
		rest = rest[r.Swallow:]
	}
	return "", false
}

// framesDiffer is differs for frames: those that say they are longer than 1 GiB are
// refused by 1.6.45, and to 1.6.18 their length is a negative number.
func framesDiffer(input []byte) string {
	limits := protocol.Limits{}
	for rest := append(bytes.Clone(input), strings.Repeat("\x80\x0a"+strings.Repeat("\x00", 22), marks)...); len(rest) >= 24; {
		if binary.BigEndian.Uint32(rest[8:]) > 1<<30 {
			return "a body above 1 GiB"
		}
		var r protocol.Request
		n, _, _ := protocol.ParseBinary(rest, &limits, &r)
		if n == 0 {
			return ""
		}
		rest = rest[n:]
		rest = rest[min(r.Swallow, len(rest)):]
	}
	return ""
}

// lineDiffers is differs for one line.
func lineDiffers(line []byte, r *protocol.Request, out protocol.Outcome) string {
	fields := bytes.Fields(line)
	// Where the data block has not come the request says nothing.
	stores := slices.Contains([]string{"set", "add", "replace", "append", "prepend", "cas", "ms"}, string(first(fields)))
	switch {
	case len(line) > 0 && line[0] == ' ':
		return "1.6.18 takes a command behind blanks"
	case r.Command == protocol.Watch, r.Command == protocol.Shutdown, r.Command == protocol.LRUCrawler, r.Command == protocol.MetaDeletePrefix:
		return "what comes after it is not answered, or is not 1.6.18's"
	case out == protocol.Close, r.Command == protocol.Quit:
		return "how much is answered depends on what had arrived"
	case stores && out == protocol.Reply && !r.BadChunk && len(fields) > 2:
		return "1.6.18 does not discard the data block of a bad line"
	case stores && slices.ContainsFunc(fields, func(f []byte) bool { return string(f) == "-" }):
		return "a lone '-' is the number 0, and to 1.6.18 it is none"
	case stores && slices.ContainsFunc(bytes.Split(bytes.TrimSuffix(line, []byte("\r")), []byte(" ")), func(f []byte) bool { return len(f) > 0 && len(bytes.TrimSpace(f)) == 0 }):
		return "a number behind other white space may be the next word, and to 1.6.18 there is none"
	case surplus(fields):
		return "1.6.18 refuses a line with surplus words, and its data block"
	case len(fields) > 20:
		return "1.6.18 looks at fewer words"
	case slices.Contains([]string{"get", "gets", "gat", "gats"}, string(first(fields))) && slices.ContainsFunc(bytes.Split(bytes.TrimSuffix(line, []byte("\r")), []byte(" ")), func(f []byte) bool { return len(f) > protocol.KeyMax }):
		return "1.6.18 drops the replies that it has not sent when a get has a key that is too long"
	}
	return ""
}

// surplus says whether a storing line has more words than it needs.
func surplus(fields [][]byte) bool {
	n := 5
	switch string(first(fields)) {
	case "cas":
		n++
	case "set", "add", "replace", "append", "prepend":
	default:
		return false
	}
	if string(fields[len(fields)-1]) == "noreply" {
		n++
	}
	return len(fields) > n
}

func first(fields [][]byte) []byte {
	if len(fields) == 0 {
		return nil
	}
	return fields[0]
}

// compare fails where the two servers do not agree about the end of a command.
func (f *framing) compare(t testing.TB, input []byte) (skipped bool) {
	why, waits := differs(input)
	if why != "" {
		return true
	}
	got, n, err := marked(f.ours, input)
	if err != nil {
		t.Fatalf("%q: %v after %q", input, err, got)
	}
	want, m, err := marked(f.theirs, input)
	if err != nil {
		t.Fatalf("memcached: %q: %v after %q", input, err, want)
	}
	if n != m && !(waits && m == 0) {
		t.Errorf("%q:\n%d marks are answered, by memcached %d\n  ours %.120q\ntheirs %.120q", brief(input), n, m, got, want)
	}
	return false
}

// brief cuts long runs of the same byte.
func brief(b []byte) string {
	s := fmt.Sprintf("%q", b)
	for _, x := range []string{"w", "k", "v"} {
		for strings.Contains(s, strings.Repeat(x, 40)) {
			s = strings.Replace(s, strings.Repeat(x, 40), x+"*", 1)
			s = strings.ReplaceAll(s, x+"*"+x+"*", x+"*")
		}
	}
	return s
}

// framer makes lines and frames whose lengths are right, a little wrong, or absurd.
type framer struct{ *rand.Rand }

func (g framer) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g framer) length(n int) string {
	switch g.IntN(12) {
	case 0:
		return g.pick("0", "1", "2", "4", "16383", "16384", "16385", "65536", "1048576", "1048577", "1073741824", "2147483645")
	case 1:
		return fmt.Sprint(max(0, n+g.IntN(5)-2))
	case 2:
		return fmt.Sprint(n + 9*g.IntN(marks))
	case 3:
		return g.pick("0", "00", "000") + fmt.Sprint(n)
	}
	return fmt.Sprint(n)
}

func (g framer) text() string {
	keys := []string{"a", "b", strings.Repeat("k", 250), "t\tb", "\x7f\xff", "set", "noreply", "0"}
	key := func() string { return keys[g.IntN(len(keys))] }
	gap := func() string { return g.pick(" ", " ", " ", "  ", "   ") }
	value := g.pick("", "x", "12", "get a\r\n", "set b 0 0 3\r\nabc\r\n", "\r\n", "\n", "version\r\n", strings.Repeat("v", g.IntN(300)), strings.Repeat("w", 20_000))
	end := g.pick("\r\n", "\r\n", "\r\n", "\r\n", "\n", "x\r\n", "", "\r", "\n\r")
	eol := g.pick("\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r\r\n")
	noreply := g.pick("", "", "", "", gap()+"noreply", gap()+"noreply")
	switch g.IntN(10) {
	case 0, 1, 2:
		cas := ""
		verb := g.pick("set", "add", "replace", "append", "prepend", "cas")
		if verb == "cas" {
			cas = gap() + g.pick("1", "99", "18446744073709551615")
		}
		return verb + gap() + key() + gap() + g.pick("0", "5", "4294967295") + gap() + g.pick("0", "-1", "100") + gap() + g.length(len(value)) + cas + noreply + eol + value + end
	case 3, 4:
		flags := ""
		for range g.IntN(5) {
			flags += gap() + g.pick("T0", "F5", "k", "q", "c", "MS", "ME", "MA", "O1", "I", "C1", "b")
		}
		return "ms" + gap() + g.pick(key(), "YWFh") + gap() + g.length(len(value)) + flags + eol + value + end
	case 5:
		return g.pick("get", "gets", "gat 0", "gats 1") + gap() + key() + gap() + key() + eol
	case 6:
		return g.pick("incr", "decr", "touch") + gap() + key() + gap() + g.pick("1", "x", "-1", "18446744073709551616") + noreply + eol
	case 7:
		return g.pick("mg", "md", "ma", "me", "mn") + gap() + key() + g.pick("", " v", " q", " k v", " z", " v v", " T", " N0") + eol
	case 8:
		return g.pick("delete", "delete a", "verbosity 0", "flush_all 100000", "stats settings", "stats nosuch", "cache_memlimit x", "lru mode x", "slabs automove x", "bogus a b", "version 1", "GET a", "set", "set a", "cas a 0", "ms", "gat", "touch", "\t", "a b c d e f g h") + noreply + eol
	}
	b := make([]byte, g.IntN(60))
	for i := range b {
		b[i] = "abcgetsmv 0123456789\r\n\t-kn"[g.IntN(26)]
	}
	return "x" + string(b) + eol
}

func (g framer) frame() string {
	key := g.pick("", "a", "b", strings.Repeat("k", 250), strings.Repeat("k", 251), "x\r\ny")
	value := g.pick("", "x", "12", strings.Repeat("v", g.IntN(300)), strings.Repeat("w", 20_000), frame(0x0a, 5, 0, "", "", ""))
	extras := g.pick("", "", u32(0), u64(0), u64(1)+u64(2)+u32(0), u64(1)+u64(2)+u32(1<<32-1), "abc")
	f := []byte(frame(byte(g.IntN(0x27)), g.Uint32()%1000, uint64(g.IntN(3)), extras, key, value))
	switch g.IntN(8) {
	case 0: // bodylen
		copy(f[8:], u32(uint32(g.IntN(200))))
	case 1:
		copy(f[8:], u32([]uint32{1<<30 + 1, 1 << 31, 1<<32 - 1, 1<<31 - 1}[g.IntN(4)]))
	case 2:
		f[4] = byte(g.IntN(256)) // extlen
	case 3:
		f[2], f[3] = byte(g.IntN(2)), byte(g.IntN(256)) // keylen
	}
	return string(f)
}

func (g framer) input() []byte {
	var b strings.Builder
	one := g.text
	if g.IntN(3) == 0 {
		one = g.frame
	}
	for range 1 + g.IntN(4) {
		b.WriteString(one())
	}
	return []byte(b.String())
}

// framingTime is how long TestFraming runs.
const framingTime = 10 * time.Second

// TestFraming sends random commands whose lengths are right, a little wrong or absurd
// to this server and to memcached 1.6.18: they agree where each of them ends.
func TestFraming(t *testing.T) {
	f := startFraming(t)
	// New inputs are looked for by hand and by FuzzFraming; a machine that builds the project
	// repeats those that are known.
	seed := uint64(time.Now().UnixNano())
	if os.Getenv("CI") != "" {
		seed = 1
	}
	if *diffSeed != 0 {
		seed = *diffSeed
	}
	t.Logf("seed %d", seed)
	g := framer{rand.New(rand.NewPCG(seed, 77))}
	cases, skipped := 0, 0
	for end := time.Now().Add(framingTime); time.Now().Before(end); cases++ {
		if f.compare(t, g.input()) {
			skipped++
		}
		if t.Failed() && os.Getenv("FRAMING_ALL") == "" {
			break
		}
	}
	t.Logf("%d inputs, %d of them skipped", cases, skipped)
	if skipped > cases/2 {
		t.Errorf("%d of %d inputs were skipped", skipped, cases)
	}
}

// FuzzFraming does so with whatever the fuzzer makes.
func FuzzFraming(f *testing.F) {
	s := startFraming(f)
	g := framer{rand.New(rand.NewPCG(1, 1))}
	for range 60 {
		f.Add(g.input())
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 4096 {
			return
		}
		s.compare(t, input)
	})
}
