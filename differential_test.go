package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	diffSeed = flag.Uint64("seed", 0, "seed of the differential test; 0: the time")
	diffTime = flag.Duration("difftime", 10*time.Second, "how long the differential test runs")
)

// TestDifferential sends random streams of classic commands to this server and
// to Debian's memcached 1.6.18 and compares the replies byte for byte. What the
// release served here, 1.6.45, is known to answer differently is not generated;
// cas values are compared by what they do, their numbers being another's.
func TestDifferential(t *testing.T) {
	theirs := startMemcached(t)
	ts := startServer(t, testConfig{})
	seed := *diffSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d; replay: go test -run TestDifferential -seed %d .", seed, seed)
	g := &generator{r: rand.New(rand.NewPCG(seed, 3)), cas: [2]map[string]string{{}, {}}}
	a, b := dialDiff(t, ts.tcp), dialDiff(t, theirs)
	batches, commands := 0, 0
	for end := time.Now().Add(*diffTime); time.Now().Before(end) && !t.Failed(); batches++ {
		if batches%500 == 0 { // memcached's clock and state: start anew now and then
			g.cas = [2]map[string]string{{}, {}}
			for _, c := range []*diffConn{a, b} {
				c.exchange(t, "flush_all\r\n", g.r)
			}
		}
		n := 1 + g.r.IntN(8)
		var ours, other strings.Builder
		for range n {
			x, y := g.command()
			ours.WriteString(x)
			other.WriteString(y)
		}
		commands += n
		got, want := a.exchange(t, ours.String(), g.r), b.exchange(t, other.String(), g.r)
		g.learn(0, got)
		g.learn(1, want)
		if maskCAS(got) != maskCAS(want) {
			t.Errorf("batch %d:\n sent %q\n ours %q\ntheirs %q", batches, short(ours.String()), short(got), short(want))
		}
	}
	t.Logf("%d commands in %d batches", commands, batches)
	compareStats(t, a, b, g.r)
}

// short cuts long values in messages.
func short(s string) string {
	return longRun.ReplaceAllStringFunc(s, func(m string) string { return fmt.Sprintf("<%c*%d>", m[0], len(m)) })
}

var longRun = regexp.MustCompile(`v{40,}|w{40,}`)

// diffConn is one connection, whose replies are read by the mark of a no-op.
type diffConn struct {
	net.Conn
	r *bufio.Reader
}

func dialDiff(t *testing.T, addr string) *diffConn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &diffConn{c, bufio.NewReader(c)}
}

// exchange sends commands in random pieces and returns all replies.
func (c *diffConn) exchange(t *testing.T, commands string, r *rand.Rand) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		b := []byte(commands + "mn\r\n")
		for len(b) > 0 {
			n := len(b)
			if r != nil && len(commands)%3 == 0 {
				n = min(n, 1+len(commands)%17+n/3)
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	var out strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if line == "MN\r\n" {
			return out.String()
		}
		out.WriteString(line)
		if err != nil {
			if err != io.EOF {
				t.Fatalf("%v after %q on %q", err, short(out.String()), short(commands))
			}
			return out.String() + "<EOF>"
		}
	}
}

var casField = regexp.MustCompile(`(?m)^(VALUE [^ ]+ \d+ \d+) \d+\r$`)

// maskCAS hides what differs by its nature: cas values and the release.
func maskCAS(s string) string {
	s = strings.ReplaceAll(s, "VERSION 1.6.18", "VERSION 1.6.45")
	return casField.ReplaceAllString(s, "$1 CAS\r")
}

// generator makes commands. cas is the last value seen of each key, for each of
// the two servers.
type generator struct {
	r   *rand.Rand
	cas [2]map[string]string
}

func (g *generator) pick(s ...string) string { return s[g.r.IntN(len(s))] }

func (g *generator) key() string {
	if g.r.IntN(50) == 0 {
		return strings.Repeat("k", 250)
	}
	return g.pick("a", "b", "c", "dd", "e:1", "f\tg", "\x01\xff")
}

func (g *generator) value() string {
	switch g.r.IntN(12) {
	case 0, 1, 2:
		return g.pick("0", "1", "9", "10", "99", "100", "18446744073709551615", "18446744073709551616", " 5", "5 ", "007", "-1", "+3", "1.5", "5x", "5 x")
	case 3:
		return ""
	case 4:
		return strings.Repeat("v", g.r.IntN(3000))
	case 5:
		if g.r.IntN(10) == 0 {
			return strings.Repeat("w", g.pickInt(16383, 16384, 16385, 70_000, 500_000))
		}
		return "get a\r\nset b 0 0 1\r\n"
	}
	return strings.Repeat("v", g.r.IntN(60))
}

func (g *generator) pickInt(n ...int) int { return n[g.r.IntN(len(n))] }

func (g *generator) noreply() string {
	if g.r.IntN(6) == 0 {
		return " noreply"
	}
	return ""
}

// command returns one command for each server; they differ in cas values only.
func (g *generator) command() (ours, theirs string) {
	same := func(s string) (string, string) { return s, s }
	switch g.r.IntN(22) {
	case 0, 1, 2, 3, 4:
		v := g.value()
		return same(fmt.Sprintf("%s %s %s %s %d%s\r\n%s\r\n", g.pick("set", "set", "add", "replace", "append", "prepend"), g.key(),
			g.pick("0", "1", "65535", "4294967295", "007"), g.pick("0", "0", "0", "1000", "-1", "2592000", "2592001", "2147483647"), len(v), g.noreply(), v))
	case 5, 6:
		k, v := g.key(), g.value()
		line := func(n int) string {
			cas := g.cas[n][k]
			if cas == "" {
				cas = "1"
			}
			return cas
		}
		tail := fmt.Sprintf("%s\r\n%s\r\n", g.noreply(), v)
		head := fmt.Sprintf("cas %s 3 0 %d ", k, len(v))
		return head + line(0) + tail, head + line(1) + tail
	case 7:
		return same(g.pick("incr", "decr") + " " + g.key() + " " + g.pick("18446744073709551616", "x", "-1", "1x") + g.noreply() + "\r\n")
	case 8:
		// A number keeps its length here: whether memcached pads a shorter one, or
		// makes a new item, depends on who holds a reference to it at that moment.
		if g.r.IntN(3) == 0 {
			return same("set num 9 0 3" + g.noreply() + "\r\n" + g.pick("250", "400", "555") + "\r\n" + g.pick("incr num 1", "decr num 1", "incr num 0", "incr num 50", "decr num 50") + g.noreply() + "\r\nget num\r\n")
		}
		return same("get num\r\n")
	case 9, 10, 11:
		return same("gets " + g.key() + "\r\n")
	case 12, 13:
		return same("get " + g.key() + " " + g.key() + "  " + g.key() + "\r\n")
	case 14:
		return same("delete " + g.key() + g.pick("", "", " 0", " noreply", " 0 noreply") + "\r\n")
	case 15:
		return same("touch " + g.key() + " " + g.pick("0", "1000", "-1", "x") + g.noreply() + "\r\n")
	case 16:
		return same(g.pick("gat ", "gats ") + g.pick("0", "1000", "-1", "x") + " " + g.key() + " " + g.key() + "\r\n")
	case 17:
		return same(g.pick("version\r\n", "verbosity 0\r\n", "bogus command\r\n", "stats bogus\r\n", "verbosity 0 noreply\r\n", "GET a\r\n", "gett a\r\n", "seta 0 0 1\r\n"))
	case 18:
		// The data block is not what the length says.
		return same(fmt.Sprintf("set %s 0 0 %d\r\nabcdefghsurplus bytes\r\nversion\r\n", g.key(), g.pickInt(3, 6, 9)))
	case 19:
		if g.r.IntN(20) == 0 {
			return same("set big 0 0 1048576\r\n" + strings.Repeat("v", 1048576) + "\r\nget big\r\n")
		}
		return same("append " + g.key() + " 0 0 1\r\n7\r\n")
	case 20:
		if g.r.IntN(10) == 0 {
			return same(g.pick("flush_all\r\n", "flush_all 0\r\n", "flush_all -1\r\n", "flush_all noreply\r\n", "flush_all x\r\n"))
		}
		return same("get none\r\n")
	}
	return same("set " + g.key() + " 0 0 2\r\n10\r\n")
}

// learn notes the cas values of a reply.
func (g *generator) learn(n int, reply string) {
	for _, m := range regexp.MustCompile(`(?m)^VALUE ([^ ]+) \d+ \d+ (\d+)\r$`).FindAllStringSubmatch(reply, -1) {
		g.cas[n][m[1]] = m[2]
	}
}

// comparedStats are the general statistics that two servers which were asked the
// same must agree on. Not among them are those that depend on what memcached's
// background threads have got to first: get_flushed, get_expired, total_items.
var comparedStats = []string{
	"cmd_get", "cmd_set", "cmd_flush", "cmd_touch", "get_hits", "get_misses", "delete_misses", "delete_hits",
	"incr_misses", "incr_hits", "decr_misses", "decr_hits", "cas_misses", "cas_hits", "cas_badval", "touch_hits", "touch_misses",
	"store_too_large", "store_no_memory", "cmd_meta",
}

func compareStats(t *testing.T, a, b *diffConn, r *rand.Rand) {
	t.Helper()
	read := func(c *diffConn) map[string]string {
		m := map[string]string{}
		for line := range strings.Lines(c.exchange(t, "stats\r\n", r)) {
			if f := strings.Fields(line); len(f) == 3 {
				m[f[1]] = f[2]
			}
		}
		return m
	}
	ours, theirs := read(a), read(b)
	for _, name := range comparedStats {
		if ours[name] != theirs[name] {
			t.Errorf("stats: %s is %s, memcached has %s", name, ours[name], theirs[name])
		}
	}
}
