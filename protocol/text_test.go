package protocol_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sememcached/protocol"
)

// TestText reads testdata/text: every case is an input, and what the parser
// makes of it, whatever the way it is cut.
func TestText(t *testing.T) {
	datadriven.Walk(t, "testdata/text", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var limits protocol.Limits
			whole := false // it matters how the input arrives
			for _, arg := range d.CmdArgs {
				switch arg.Key {
				case "inline":
					arg.Scan(t, 0, &limits.Inline)
				case "maxline":
					arg.Scan(t, 0, &limits.MaxLine)
				case "meta":
					limits.Meta = true
				case "nomac":
					limits.NoMac = true
				case "whole":
					whole = true
				default:
					d.Fatalf(t, "unknown argument %s", arg.Key)
				}
			}
			input, err := literal(d.Input)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			if d.Cmd != "parse" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			want, _ := script(input, limits, nil)
			if !whole {
				checkSplits(t, filepath.Base(path), input, limits, want)
			}
			return want
		})
	})
}

// checkSplits feeds input a byte at a time, and in ten random divisions, and
// reports the first one that does not give want.
func checkSplits(t testing.TB, name string, input []byte, limits protocol.Limits, want string) {
	t.Helper()
	if len(input) <= 1<<16 {
		every := make([]int, 0, len(input))
		for i := 1; i < len(input); i++ {
			every = append(every, i)
		}
		if got, _ := script(input, limits, every); got != want {
			t.Errorf("%s: %.200q a byte at a time:\n%swhole:\n%s", name, input, got, want)
		}
	}
	random := rand.New(rand.NewPCG(uint64(len(input)), 1))
	for range 10 {
		var cuts []int
		for i := 1; i < len(input); i += 1 + random.IntN(1+len(input)/4) {
			cuts = append(cuts, i)
		}
		if got, _ := script(input, limits, cuts); got != want {
			t.Errorf("%s: %.200q cut at %v:\n%swhole:\n%s", name, input, cuts, got, want)
		}
	}
}

// TestSlowSender counts the parser's calls and looks: a client that sends a
// byte at a time costs no more than a fixed number of calls per request, and
// a long line is searched once.
func TestSlowSender(t *testing.T) {
	line := "get " + strings.Repeat("k ", 100_000) + "\r\n"
	s := session{handle: func(*protocol.Request, protocol.Outcome, []byte) (string, bool) { return "", false }}
	for i := range len(line) {
		scanned := s.scanned
		if s.feed([]byte{line[i]}); i < len(line)-1 && s.scanned != scanned+1 {
			t.Fatalf("after %d bytes %d are known to hold no LF", i+1, s.scanned)
		}
	}
	value := "set k 0 0 16000\r\n" + strings.Repeat("v", 16000) + "\r\n"
	s.calls = 0
	for i := range len(value) {
		s.feed([]byte{value[i]})
	}
	if head := len("set k 0 0 16000\r\n"); s.calls > head+1 {
		t.Errorf("a value in single bytes took %d calls, want at most %d", s.calls, head+1)
	}
}
