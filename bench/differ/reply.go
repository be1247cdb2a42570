package differ

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// reply is everything that one server answers to a batch.
type reply struct {
	text    string
	packets []packet // nil for text
	size    int
}

func (r *reply) String() string {
	if r.packets != nil {
		return fmt.Sprint(r.packets)
	}
	return short(r.text)
}

// short cuts long values in messages.
func short(s string) string {
	return longRun.ReplaceAllStringFunc(fmt.Sprintf("%q", s), func(m string) string { return fmt.Sprintf("<%c*%d>", m[0], len(m)) })
}

// excerpt is short, and cut if it is still long.
func excerpt(s string) string {
	s = short(s)
	if len(s) > 2500 {
		s = s[:2500] + "..."
	}
	return s
}

var longRun = regexp.MustCompile(`v{40,}|w{40,}|k{40,}|x{40,}`)

// times are the numbers of a reply that are seconds. 1.6.18 shows the exp= of me
// with a wrong sign.
var times = regexp.MustCompile(`(?m)( t| exp=-?)(\d+)`)

// accesses are those since the last access. They are not compared: memcached notes
// an access only now and then, when the item moves in its lists.
var accesses = regexp.MustCompile(`(?m)( l| la=)\d+`)

// uniques are the numbers of a reply that are cas uniques.
var uniques = regexp.MustCompile(`(?m)^(VALUE [^ ]+ \d+ \d+) \d+\r$|( c| cas=)\d+`)

// timesApart is how far times may differ: the clocks count seconds, each its own,
// and memcached's may be late on a busy machine.
const timesApart = 3

// compare says what is not the same, or nothing.
func (r *reply) compare(o *reply) (why string) {
	if r.packets != nil {
		return comparePackets(r.packets, o.packets)
	}
	a, ta := mask(r.text)
	b, tb := mask(o.text)
	if a != b {
		return firstLine(a, b)
	}
	for i := range ta {
		if d := ta[i] - tb[i]; d > timesApart || d < -timesApart {
			return fmt.Sprintf("times %d and %d", ta[i], tb[i])
		}
	}
	return ""
}

// firstLine says where two texts begin to differ.
func firstLine(a, b string) string {
	x, y := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	for i := range max(len(x), len(y)) {
		line := func(all []string) string {
			return short(strings.Join(all[min(max(i-2, 0), len(all)):min(i+3, len(all))], ""))
		}
		if i >= len(x) || i >= len(y) || x[i] != y[i] {
			return fmt.Sprintf("at line %d:\n  ours %s\ntheirs %s", i+1, line(x), line(y))
		}
	}
	return ""
}

// mask hides what differs by its nature and returns the times.
func mask(s string) (string, []int) {
	if strings.Contains(s, "VERSION ") {
		s = strings.ReplaceAll(s, "VERSION 1.6.18", "VERSION 1.6.45")
	}
	var seconds []int
	s = accesses.ReplaceAllString(s, "${1}N")
	s = times.ReplaceAllStringFunc(s, func(m string) string {
		i := strings.IndexAny(m, "0123456789")
		n, _ := strconv.Atoi(m[i:])
		seconds = append(seconds, n)
		return strings.TrimSuffix(m[:i], "-") + "T"
	})
	return uniques.ReplaceAllString(s, "$1$2 CAS"), seconds
}

func comparePackets(a, b []packet) string {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i].String() != strings.ReplaceAll(b[i].String(), `"1.6.18"`, `"1.6.45"`) {
			return fmt.Sprintf("at packet %d:\n  ours %v\ntheirs %v", i+1, a[min(max(i-1, 0), len(a)):min(i+2, len(a))], b[min(max(i-1, 0), len(b)):min(i+2, len(b))])
		}
		if (a[i].cas == 0) != (b[i].cas == 0) {
			return fmt.Sprintf("cas %d and %d in %v", a[i].cas, b[i].cas, a[i])
		}
	}
	return ""
}
