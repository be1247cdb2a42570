package protocol_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"sememcached/protocol"
)

// TestAnswers feeds what real servers were once asked to a toy cache behind
// this package's parser and composers. testdata/answers has what memcached
// 1.6.45 answered, two lines a case:
//
//	> bytes sent
//	< bytes received; close at the end if the server then closed
func TestAnswers(t *testing.T) {
	for _, file := range []string{"classic", "meta", "binary"} {
		t.Run(file, func(t *testing.T) { testAnswers(t, "testdata/answers/"+file) })
	}
}

func testAnswers(t *testing.T, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var input []byte
	cases := 0
	for n := 1; lines.Scan(); n++ {
		mark, text, _ := strings.Cut(lines.Text(), " ")
		switch mark {
		case "", "#":
		case ">":
			if input, err = literal(text); err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
		case "<":
			text, wantClosed := strings.CutSuffix(text, " close")
			want, err := literal(text)
			if err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
			cases++
			for _, step := range []int{len(input), 1 + len(input)/3} {
				c := toy{}
				s := session{limits: protocol.Limits{Meta: true}, handle: c.handle}
				for rest := input; len(rest) > 0 && !s.closed; {
					k := min(step, len(rest))
					s.feed(rest[:k])
					rest = rest[k:]
				}
				if got := s.sent.String(); got != string(want) || s.closed != wantClosed {
					t.Errorf("%s:%d: %.200q in pieces of %d:\ngot  %.300q closed %v\nwant %.300q closed %v",
						path, n, input, step, got, s.closed, want, wantClosed)
				}
			}
		default:
			t.Fatalf("%s:%d: expected >, < or #, found %q", path, n, mark)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases", cases)
	if cases == 0 {
		t.Errorf("%s holds no cases", path)
	}
}
