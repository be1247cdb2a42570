package protocol_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/protocol"
)

// TestBinary reads testdata/binary. Every line of a case is a frame:
//
//	<opcode> [ext=<hex>] [key=<string>] [value=<string>] [cas=<n>] [magic=<n>]
//	         [keylen=<n>] [extlen=<n>] [bodylen=<n>] [cut=<n>]
//
// The lengths are those of the parts unless they are given; cut shortens the
// frame to so many bytes. A value may be N*"v".
func TestBinary(t *testing.T) {
	datadriven.RunTest(t, "testdata/binary", func(t *testing.T, d *datadriven.TestData) string {
		var limits protocol.Limits
		for _, arg := range d.CmdArgs {
			switch arg.Key {
			case "inline":
				arg.Scan(t, 0, &limits.Inline)
			case "unauthenticated":
				limits.Unauthenticated = true
			default:
				d.Fatalf(t, "unknown argument %s", arg.Key)
			}
		}
		var input []byte
		for line := range strings.Lines(d.Input) {
			f, err := parseFrame(strings.TrimSpace(line))
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			input = append(input, f...)
		}
		want, _ := script(input, limits, nil)
		checkSplits(t, "binary", input, limits, want)
		return want
	})
}

func parseFrame(line string) ([]byte, error) {
	fields := strings.Fields(line)
	opcode, err := strconv.ParseUint(fields[0], 16, 8)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	var ext, key, value []byte
	numbers := map[string]uint64{}
	for _, field := range fields[1:] {
		name, text, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "ext":
			ext, err = hex.DecodeString(text)
		case "key":
			key, err = literal(text)
		case "value":
			value, err = literal(text)
		case "cas", "magic", "keylen", "extlen", "bodylen", "cut":
			numbers[name], err = strconv.ParseUint(text, 0, 64)
		default:
			err = fmt.Errorf("unknown field %s", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	f := frame(byte(opcode), string(ext), string(key), string(value), numbers["cas"])
	if v, ok := numbers["magic"]; ok {
		f[0] = byte(v)
	}
	if v, ok := numbers["keylen"]; ok {
		binary.BigEndian.PutUint16(f[2:], uint16(v))
	}
	if v, ok := numbers["extlen"]; ok {
		f[4] = byte(v)
	}
	if v, ok := numbers["bodylen"]; ok {
		binary.BigEndian.PutUint32(f[8:], uint32(v))
	}
	if v, ok := numbers["cut"]; ok {
		f = f[:v]
	}
	return f, nil
}

// TestBinaryAgainstMemcached sends random frames to the installed memcached and
// to a toy cache behind our parser; see TestFramingAgainstMemcached.
func TestBinaryAgainstMemcached(t *testing.T) {
	path := startOracle(t)
	const cases = 8_000
	random := rand.New(rand.NewPCG(2, 1645))
	noop := frame(0x0a, "", "", "", 0)
	differences := 0
	for n := range cases {
		g := generator{random: random, prefix: fmt.Sprintf("c%d", n)}
		var input []byte
		for range 1 + random.IntN(6) {
			input = append(input, g.frame()...)
		}
		for range 4 {
			input = append(input, noop...)
		}
		answer, err := ask(path, input)
		if err != nil {
			t.Fatalf("%x: %v", input, err)
		}
		c := toy{}
		s := session{handle: c.handle}
		for rest := input; len(rest) > 0 && !s.closed; {
			k := 1 + random.IntN(len(rest))
			s.feed(rest[:k])
			rest = rest[k:]
		}
		got, want := frames(s.sent.String()), frames(answer)
		// memcached forgets the replies that it has not sent yet when it finds a bad
		// magic; how many these are depends on how the requests arrived.
		if s.cutOff && len(want) < len(got) {
			got = got[:len(want)]
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%x\nours\n%s\nmemcached\n%s", input, g, w)
			if differences++; differences == 5 {
				t.Fatal("and so on")
			}
		}
	}
}

// frames prints the frames of an answer without their uniques and the version.
func frames(answer string) (lines []string) {
	b := []byte(answer)
	for len(b) >= 24 {
		end := min(24+int(binary.BigEndian.Uint32(b[8:])), len(b))
		has := "cas"
		if binary.BigEndian.Uint64(b[16:]) == 0 {
			has = "no cas"
		}
		body := strings.ReplaceAll(string(b[24:end]), "1.6.18", "1.6.45")
		lines = append(lines, fmt.Sprintf("%x %s %q", b[:16], has, body))
		b = b[end:]
	}
	if len(b) > 0 {
		lines = append(lines, fmt.Sprintf("rest %x", b))
	}
	return lines
}

// frame writes a frame, now and then with a header that does not fit.
func (g *generator) frame() []byte {
	opcode := byte(g.random.IntN(0x25))
	key, extras, value := g.prefix+g.pick("a", "b"), "", ""
	cas := uint64(0)
	if g.random.IntN(10) == 0 {
		cas = 999_999_999_999
	}
	number := func(n, size int) string {
		b := binary.BigEndian.AppendUint64(nil, uint64(n))
		return string(b[8-size:])
	}
	switch opcode {
	case 0x01, 0x02, 0x03, 0x11, 0x12, 0x13:
		extras = number(g.random.IntN(3), 4) + number(g.random.IntN(2)*100, 4)
		value = g.pick("", "a", "7", "10", "99", strings.Repeat("v", 40))
	case 0x0e, 0x0f, 0x19, 0x1a:
		value = g.pick("", "a", "7")
	case 0x05, 0x06, 0x15, 0x16:
		extras = number(g.random.IntN(20), 8) + number(g.random.IntN(20), 8) + g.pick("\xff\xff\xff\xff", number(0, 4), number(100, 4))
	case 0x1c, 0x1d, 0x1e, 0x23, 0x24:
		extras = number(g.random.IntN(2)*100, 4)
	case 0x07, 0x17, 0x0a, 0x0b, 0x20:
		key = ""
	case 0x08, 0x18:
		key, extras = "", g.pick("", number(0, 4))
	case 0x10:
		key = g.pick("nosuch", "sizes", "detail", "detail off", "detail of")
	case 0x21, 0x22:
		key, value = "PLAIN", "\x00a\x00b"
	case 0x1b, 0x1f:
		key = ""
	}
	switch g.random.IntN(40) {
	case 0:
		if opcode != 0x10 {
			key = ""
		}
	case 1:
		if opcode != 0x08 && opcode != 0x18 { // not a flush in the future
			extras += "1234"
		}
	case 2:
		value += "xyz"
	case 3:
		key = strings.Repeat("k", 251)
	}
	return frame(opcode, extras, key, value, cas)
}
