package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sememcached/server"
)

// answerCase is one exchange of testdata/classic.answers.
type answerCase struct {
	name  string
	send  []byte
	reply []byte
	eof   bool // the server closes the connection after the reply
}

var repeated = regexp.MustCompile(`<([a-z])\*(\d+)>`)

// expand turns the notation of the file into bytes.
func expand(t *testing.T, s string) []byte {
	t.Helper()
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		f := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(f[2])
		return strings.Repeat(f[1], n)
	})
	if strings.Contains(s, "<1000 keys>") {
		var keys []string
		for i := range 1000 {
			keys = append(keys, "k"+strconv.Itoa(i))
		}
		s = strings.ReplaceAll(s, "<1000 keys>", strings.Join(keys, " "))
	}
	b, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return []byte(b)
}

func readAnswers(t *testing.T) []answerCase {
	t.Helper()
	b, err := os.ReadFile("testdata/classic.answers")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSuffix(l, "\n"); !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	var cases []answerCase
	for i := 1; i+1 < len(lines); i += 3 {
		reply, eof := strings.CutSuffix(lines[i+1], "<EOF>")
		cases = append(cases, answerCase{name: lines[i], send: expand(t, lines[i]), reply: expand(t, reply), eof: eof})
	}
	return cases
}

// TestClassicAnswers compares the server with what memcached 1.6.45 answers,
// byte for byte: with each case sent at once, split at random, and byte by byte.
func TestClassicAnswers(t *testing.T) {
	cases := readAnswers(t)
	const planned = 146
	if len(cases) != planned {
		t.Fatalf("%d cases read, the plan is %d", len(cases), planned)
	}
	ts := startServer(t, testConfig{server: server.Settings{AllowShutdown: true}})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, c := range cases {
		c.run(t, ts, "at once", func(b []byte) int { return len(b) })
		if len(c.send) > 3000 {
			continue
		}
		c.run(t, ts, "split at random", func(b []byte) int { return 1 + rnd.IntN(len(b)) })
		c.run(t, ts, "byte by byte", func([]byte) int { return 1 })
	}
}

func (ac *answerCase) run(t *testing.T, ts *testServer, how string, next func([]byte) int) {
	t.Helper()
	ts.dialFrom("127.0.0.1").want("flush_all\r\n", "OK\r\n")
	c := ts.dialFrom("127.0.0.1")
	defer c.Close()
	// Written beside the reading: the server may answer, or close, before the end.
	go func() {
		for b := ac.send; len(b) > 0; {
			n := next(b)
			if _, err := c.Conn.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	got := make([]byte, len(ac.reply))
	if _, err := io.ReadFull(c.r, got); err != nil {
		t.Errorf("%s, %s: %v after %q, want %q", ac.name, how, err, got, ac.reply)
		return
	}
	if !bytes.Equal(got, ac.reply) {
		t.Errorf("%s, %s:\n got %q\nwant %q", ac.name, how, got, ac.reply)
		return
	}
	if ac.eof {
		if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("%s, %s: want the connection closed, got %q, %v", ac.name, how, b, err)
		}
		return
	}
	if len(ac.reply) == 0 {
		// Nothing is answered before the rest has come: silence for a moment.
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if b, err := c.r.ReadByte(); err == nil || isReset(err) || errors.Is(err, io.EOF) {
			t.Errorf("%s, %s: want silence, got %q, %v", ac.name, how, b, err)
		}
		return
	}
	if rest := c.ask(""); rest != "" {
		t.Errorf("%s, %s: surplus answer %q", ac.name, how, rest)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}
