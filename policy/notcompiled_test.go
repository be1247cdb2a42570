package policy_test

import (
	"strings"
	"testing"

	"sememcached/policy"
)

// TestNotCompiled: other forms of a policy are known by their beginnings.
func TestNotCompiled(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"(class kv_item (read))\n", "it is text"},
		{"BZh91AY&SY\x00", "it is compressed"},
		{"\x8f\xff\x7c\xf9", "it is a policy module"},
		{"\x00\x01", ""},
		{"", ""},
	} {
		got := policy.NotCompiled([]byte(c.text))
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q: expected %q, found %q", c.text, c.want, got)
		}
	}
	if got := policy.NotCompiled(policy.Default()); got != "" {
		t.Errorf("the built-in policy: %q", got)
	}
}
