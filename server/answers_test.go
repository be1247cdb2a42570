package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sememcached/server"
)

// TestAnswers asks over real sockets, whole and cut into pieces, what memcached
// 1.6.45 was asked (protocol/testdata/answers).
func TestAnswers(t *testing.T) {
	total := 0
	for _, file := range []string{"classic", "meta", "binary"} {
		total += testAnswers(t, "../protocol/testdata/answers/"+file)
	}
	const planned = 328
	if total != planned {
		t.Errorf("expected %d cases, found %d", planned, total)
	}
}

// fromTwo marks the cases whose answers depend on the first unique being 2.
var fromTwo = regexp.MustCompile(`cas=| c\d| C\d`)

// tries are made of a case that tells seconds.
const tries = 10

// timed marks those that tell seconds: to live, or since the last access.
var timed = regexp.MustCompile(` [tl]\d| (exp|la)=\d`)

func testAnswers(t *testing.T, path string) (cases int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set := server.Settings{AllowShutdown: true}
	shared := start(t, plan{set: set})
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var input []byte
	for n := 1; lines.Scan(); n++ {
		mark, text, _ := strings.Cut(lines.Text(), " ")
		switch mark {
		case ">":
			if input, err = literal(text); err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
		case "<":
			text, closes := strings.CutSuffix(text, " close")
			want, err := literal(text)
			if err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
			cases++
			if raceEnabled && bytes.HasPrefix(input, []byte("cache_memlimit 128")) {
				continue // no more memory than at the start is reserved under the race detector
			}
			pieces := []int{len(input), 1 + len(input)/3}
			if len(input) < 200 {
				pieces = append(pieces, 1)
			}
			for _, piece := range pieces {
				var got []byte
				var err error
				// A second may pass between a store and the look at its times. And the
				// crawl of a case before may not have ended yet.
				for try, busy := 0, 0; try < tries && busy < 200; try++ {
					r := shared
					if fromTwo.Match(want) || fromTwo.Match(input) {
						r = start(t, plan{set: set})
					}
					got, err = r.exchange(input, piece, len(want), closes)
					switch {
					case err == nil && bytes.Equal(got, want):
						try = tries
					case bytes.HasPrefix(got, []byte("BUSY")) && !bytes.HasPrefix(want, []byte("BUSY")):
						try, busy = try-1, busy+1
						time.Sleep(20 * time.Millisecond)
					case !timed.Match(want):
						try = tries
					}
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s:%d: %.200q in pieces of %d:\ngot  %.300q %v\nwant %.300q", path, n, input, piece, got, err, want)
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

// exchange sends input on a new connection to an emptied cache and returns what
// comes back: the answer to a final mn is cut off, so that silence is seen
// without waiting, unless the input leaves the server in the middle of something.
func (r *rig) exchange(input []byte, piece, want int, closes bool) ([]byte, error) {
	r.t.Helper()
	fresh := r.dial()
	fresh.ask("flush_all\r\nlru_crawler enable\r\n", "OK\r\n")
	line, _ := fresh.r.ReadString('\n')
	if !strings.HasPrefix(line, "ERROR failed") && line != "OK\r\n" {
		return nil, fmt.Errorf("lru_crawler enable: %q", line)
	}
	fresh.Close()
	c := r.dial()
	defer c.Close()
	for rest := input; len(rest) > 0; {
		k := min(piece, len(rest))
		if _, err := c.Write(rest[:k]); err != nil {
			break // the server may close on what it has seen
		}
		if rest = rest[k:]; len(rest) > 0 && len(input) < 200 {
			time.Sleep(200 * time.Microsecond)
		}
	}
	got := make([]byte, want)
	n, err := io.ReadFull(c.r, got)
	if err != nil {
		return got[:n], err
	}
	if !closes {
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
	}
	more, err := io.ReadAll(c.r)
	if timeout, ok := err.(net.Error); closes == (ok && timeout.Timeout()) {
		return append(got, more...), fmt.Errorf("closed %v, expected %v (%v)", !closes, closes, err)
	}
	return append(got, more...), nil
}

// literal reads a Go string, or several joined by + and repeated by N*.
func literal(text string) ([]byte, error) {
	var b []byte
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimLeft(rest, " +") {
		times := 1
		if i := strings.IndexAny(rest, "*\""); i > 0 && rest[i] == '*' {
			n, err := strconv.Atoi(rest[:i])
			if err != nil {
				return nil, err
			}
			times, rest = n, rest[i+1:]
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", rest, err)
		}
		s, _ := strconv.Unquote(quoted)
		b = append(b, strings.Repeat(s, times)...)
		rest = rest[len(quoted):]
	}
	return b, nil
}
