package mac

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not []string
	}{
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "a/b.c:\x00\xff"}, nil},
		{"**", []string{"", "abc"}, nil},
		{"?", []string{"a", "\x00", "\xff", "*"}, []string{"", "ab"}},
		{"session:*", []string{"session:", "session:1/x.y"}, []string{"session", "xsession:1", "Session:1"}},
		{"*:s", []string{":s", "a:s", "s:s:s"}, []string{"s:", ":S"}},
		{"a*b*c", []string{"abc", "abbc", "axbxc", "abcbc"}, []string{"ab", "acb", "abca"}},
		{"a?c*", []string{"abc", "a?c", "axcyz"}, []string{"ac", "abd"}},
		{`\*`, []string{"*"}, []string{"a", "", `\*`}},
		{`a\?\\b`, []string{`a?\b`}, []string{`axxb`}},
		{`[ab]{c}`, []string{`[ab]{c}`}, []string{"a", "ac"}},
		{`\a`, []string{"a"}, []string{`\a`}},
		{"*a*", []string{"a", "ba", "ab"}, []string{"", "b"}},
	} {
		g, err := compileGlob(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, s := range c.yes {
			if !match(g, s) || !match(g, []byte(s)) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.not {
			if match(g, s) || match(g, []byte(s)) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
	if _, err := compileGlob(`a\`); err == nil {
		t.Error(`a\ is taken for a pattern`)
	}
}

// A pattern that makes backtracking matchers explode.
func TestGlobIsNotExponential(t *testing.T) {
	g, err := compileGlob(strings.Repeat("a*", 100) + "b")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if match(g, strings.Repeat("a", 250)) {
		t.Error("matches")
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
}

// globRegexp says the same as a pattern, in another language.
func globRegexp(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '\\':
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String())
}

func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{
		{"session:*", "session:1"},
		{"a*b*c", "abbc"},
		{`\*?`, "*x"},
		{"*a*a*a*b", "aaaaaaaaaa"},
		{"", ""},
		{"**?", ""},
		{`a\`, "a"},
		{"*:s0:c?", "x:s0:c1"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		g, err := compileGlob(pattern)
		if err != nil {
			if n := len(pattern) - len(strings.TrimRight(pattern, `\`)); n%2 == 0 {
				t.Fatalf("%q is refused: %v", pattern, err)
			}
			return
		}
		got := match(g, s)
		if got != match(g, []byte(s)) {
			t.Fatalf("%q on %q: text and bytes disagree", pattern, s)
		}
		// Regular expressions match runes: bytes become runes of their own.
		latin := func(s string) string {
			r := make([]rune, len(s))
			for i := range len(s) {
				if r[i] = rune(s[i]); s[i] >= 0x80 {
					r[i] += 0x1000
				}
			}
			return string(r)
		}
		for i := range len(pattern) {
			if pattern[i] >= 0x80 {
				return // QuoteMeta above cuts at bytes
			}
		}
		if want := globRegexp(pattern).MatchString(latin(s)); got != want {
			t.Fatalf("%q on %q: %v, a regular expression says %v", pattern, s, got, want)
		}
	})
}
