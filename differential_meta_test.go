package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDifferentialMeta does for the meta commands what TestDifferential does for
// the classic ones.
func TestDifferentialMeta(t *testing.T) {
	theirs := startMemcached(t)
	ts := startServer(t, testConfig{})
	g := &metaGenerator{r: seededRand(t, "TestDifferentialMeta", 4)}
	a, b := dialDiff(t, ts.tcp), dialDiff(t, theirs)
	batches, commands := 0, 0
	for end := time.Now().Add(*diffTime); time.Now().Before(end) && !t.Failed(); batches++ {
		if batches%300 == 0 {
			g.cas = [2]map[string]string{{}, {}}
			for _, c := range []*diffConn{a, b} {
				c.exchange(t, "flush_all\r\n", g.r)
			}
		}
		n := 1 + g.r.IntN(6)
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
		if maskMeta(got) != maskMeta(want) {
			t.Errorf("batch %d:\n sent %q\n ours %q\ntheirs %q", batches, short(ours.String()), short(got), short(want))
		}
	}
	t.Logf("%d commands in %d batches", commands, batches)
	compareStats(t, a, b, g.r)
}

// seededRand is the random source of a differential test, and how to replay it.
func seededRand(t *testing.T, test string, stream uint64) *rand.Rand {
	seed := *diffSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d; replay: go test -run '^%s$' -seed %d .", seed, test, seed)
	return rand.New(rand.NewPCG(seed, stream))
}

var metaMasks = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(` c\d+`), " cN"},
	{regexp.MustCompile(` cas=\d+`), " cas=N"},
	// The two clocks tick at different moments.
	{regexp.MustCompile(`exp=-(\d\d)`), "exp=$1"}, // 1.6.18 has the sign wrong
	{regexp.MustCompile(`\b(t|exp=)(99\d|1000)\b`), "${1}1000"},
	{regexp.MustCompile(`\b(t|exp=)(9\d|100)\b`), "${1}100"},
	{regexp.MustCompile(` l\d+`), " lN"},
	{regexp.MustCompile(` la=\d+`), " la=N"},
}

// maskMeta hides what differs by its nature.
func maskMeta(s string) string {
	for _, m := range metaMasks {
		s = m.re.ReplaceAllString(s, m.by)
	}
	return s
}

// metaGenerator makes meta commands. What memcached 1.6.18 answers otherwise than
// 1.6.45 is not made: E, x of md, s and N of ms, bad modes, md with a bad flag.
type metaGenerator struct {
	r   *rand.Rand
	cas [2]map[string]string
}

func (g *metaGenerator) pick(s ...string) string { return s[g.r.IntN(len(s))] }

func (g *metaGenerator) value() string {
	switch g.r.IntN(8) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("v", g.r.IntN(3000))
	case 2:
		if g.r.IntN(10) == 0 {
			return strings.Repeat("w", 16_000+g.r.IntN(1000))
		}
		return "mg a v\r\n"
	}
	return strings.Repeat("v", g.r.IntN(40))
}

// flags picks some of the flags, in random order. %C stands for the cas of key.
func (g *metaGenerator) flags(key string, all ...string) (ours, theirs string) {
	var b strings.Builder
	g.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all[:g.r.IntN(min(len(all), 8)+1)] {
		b.WriteString(" " + f)
	}
	with := func(n int) string {
		cas := g.cas[n][key]
		if cas == "" {
			cas = "1"
		}
		return strings.ReplaceAll(b.String(), "%C", cas)
	}
	return with(0), with(1)
}

func (g *metaGenerator) command() (ours, theirs string) {
	same := func(s string) (string, string) { return s, s }
	key := g.pick("a", "b", "c", "dd", "e:1")
	both := func(head, tail string, all ...string) (string, string) {
		x, y := g.flags(key, all...)
		return head + x + tail, head + y + tail
	}
	casOf := g.pick("C%C", "C%C", "C1", "C999999999")
	opaque := g.pick("O1", "Oabc", "O1234567890123456789012345678901")
	switch g.r.IntN(20) {
	case 0, 1, 2, 3, 4:
		return both("mg "+key, "\r\n", "v", "k", opaque, "q", "s", "t", "c", "f", "h", "l", "u", g.pick("R10", "R500"), g.pick("T100", "T1000", "T0"))
	case 5:
		return both("mg "+key, "\r\n", "v", "k", "s", "t", "c", "f", "h", g.pick("N100", "N1000", "N0"), g.pick("T100", "T0", "R500"), opaque, "q")
	case 6, 7, 8, 9:
		v := g.value()
		return both(fmt.Sprintf("ms %s %d", key, len(v)), "\r\n"+v+"\r\n", "k", opaque, "q", "c", g.pick("T100", "T1000", "T0", "T-1"), g.pick("F5", "F0", "F4294967295"), g.pick("MS", "ME", "MA", "MP", "MR", "MS", "Mset"[:2]))
	case 10, 11:
		v := g.value()
		return both(fmt.Sprintf("ms %s %d", key, len(v)), "\r\n"+v+"\r\n", casOf, "I", g.pick("T100", "T0"), "c", g.pick("MS", "MA", "MR"), "q")
	case 12, 13:
		return both("md "+key, "\r\n", "q", "k", opaque, "I", g.pick("T100", "T1000"), casOf)
	case 14:
		// Numbers keep their length: see generator.command.
		x, y := g.flags("num", "q", "k", opaque, "v", "t", "c", "D5", g.pick("MI", "MD", "M+", "M-"), g.pick("T100", "T0"), g.pick("C%C", "C1"))
		set := "ms num 3 F9\r\n" + g.pick("250", "400", "555") + "\r\n"
		return set + "ma num" + x + "\r\n", set + "ma num" + y + "\r\n"
	case 15:
		return both("ma viv", "\r\n", "N100", "J113", "v", "t", "c", "D2", "k", opaque)
	case 16:
		return same("me " + key + "\r\n")
	case 17:
		return same(g.pick("md viv\r\n", "mg "+key+" v v\r\n", "mg "+key+" z\r\n", "mg "+key+" T\r\n", "mg "+key+" Tx\r\n",
			"mg Zm9v b k v\r\n", "mg ??? b v\r\n", "ma "+key+" z\r\n", "mg nope k O9 v\r\n",
			"ms Zm9v 2 b k c\r\nhi\r\n", "md Zm9v b k\r\n", "ms "+key+" 1 T\r\na\r\n", "mg "+strings.Repeat("k", 251)+" v\r\n"))
	case 18:
		return same("ms " + key + " 3\r\nabcdefghsurplus bytes\r\nversion\r\n"[:0] + "gets " + key + "\r\n")
	}
	return same(fmt.Sprintf("set %s 3 0 2\r\n%d\r\n", key, 10+g.r.IntN(90)))
}

var (
	metaKeyCAS = regexp.MustCompile(`(?m)^VALUE ([^ ]+) \d+ \d+ (\d+)\r$`)
	metaCAS    = regexp.MustCompile(`(?m)^(?:HD|VA).* c(\d+).* k([^ \r]+)|^(?:HD|VA).* k([^ \r]+).* c(\d+)`)
)

// learn notes the cas values of a reply.
func (g *metaGenerator) learn(n int, reply string) {
	for _, m := range metaKeyCAS.FindAllStringSubmatch(reply, -1) {
		g.cas[n][m[1]] = m[2]
	}
	for _, m := range metaCAS.FindAllStringSubmatch(reply, -1) {
		if m[1] != "" {
			g.cas[n][m[2]] = m[1]
		} else {
			g.cas[n][m[3]] = m[4]
		}
	}
}
