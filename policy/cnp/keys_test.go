package cnp_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// TestKeysOneByOne: several keys are allowed together if each is alone, whatever they are made of
// and however long they are, and for one command as for several.
func TestKeysOneByOne(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 4))
	asked := map[bool]int{}
	for range 300 {
		rules := make([]naive, 1+rnd.IntN(12))
		text := make([]string, len(rules))
		for i := range rules {
			rules[i] = randomRule(rnd)
			text[i] = rules[i].yaml()
		}
		m := must(t, cnp.Strict, text...)
		for range 60 {
			need := pick(rnd, []cnp.Mask{cnp.Get, cnp.Get, cnp.Get, cnp.Gat, cnp.Set, cnp.Get | cnp.Gat, cnp.Get | cnp.Debug, cnp.All, 0})
			keys := make([]string, 1+rnd.IntN(30))
			want := true
			for i := range keys {
				keys[i] = randomKey(rnd)
				if k := pick(rnd, rules); k.field == "keyPrefix" || k.field == "keyExact" {
					keys[i] = k.key + pick(rnd, []string{"", "", "", "a", " ", " b c", "\x00", "\x00\x01\xff", strings.Repeat("x", 249), strings.Repeat("x", 250)})
				}
				if rnd.IntN(100) == 0 {
					keys[i] = ""
				}
				want = want && m.Lacks(need, []byte(keys[i])) == 0
			}
			got := lacksKeys(m, need, keys...)
			if got == 0 != want || got&^need != 0 {
				t.Fatalf("%#x on %q: lacks %#x, one by one allowed %v\n%s", need, keys, got, want, strings.Join(text, "\n"))
			}
			asked[want]++
		}
	}
	if asked[true] < 500 || asked[false] < 500 {
		t.Errorf("asked %v", asked)
	}
}

// TestKeysLong: a key of 250 bytes may be allowed, one of 251 never is; a rule for every key is
// for no longer ones, and for no empty one, but where it has no condition.
func TestKeysLong(t *testing.T) {
	long := strings.Repeat("k", 250)
	for _, x := range []struct {
		rules string
		key   string
		want  bool
	}{
		{`{command: get, keyPrefix: "k"}`, long, true},
		{`{command: get, keyPrefix: "k"}`, long + "k", false},
		{`{command: get, keyPrefix: "k"}`, "", false},
		{`{command: get, keyExact: "` + long + `"}`, long, true},
		{`{command: get, keyExact: "` + long + `"}`, long[1:], false},
		{`{command: get, keyExact: "` + long + `k"}`, long + "k", false},
		{`{command: get}`, long + "k", true}, // the parser refuses the key
		{`{command: set}`, "k", false},
		{`{command: readGroup, keyPrefix: "kkkkkkkkkk"}`, "kkkkkkkkk", false},
		{`{command: readGroup, keyPrefix: "kkkkkkkkkk"}`, "kkkkkkkkkk", true},
	} {
		m := must(t, cnp.Strict, x.rules)
		for _, others := range []int{0, 1, 40} {
			keys := []string{x.key}
			for i := range others {
				keys = append(keys, fmt.Sprintf("kkkkkkkkkk%d", i))
			}
			want := x.want
			for _, k := range keys[1:] {
				want = want && m.Lacks(cnp.Get, []byte(k)) == 0
			}
			if got := lacksKeys(m, cnp.Get, keys...) == 0; got != want {
				t.Errorf("%.60s with %d others on %d bytes: allowed %v", x.rules, others, len(x.key), got)
			}
			if one := m.Lacks(cnp.Get, []byte(x.key)) == 0; one != x.want {
				t.Errorf("%.60s on %d bytes: allowed %v", x.rules, len(x.key), one)
			}
		}
	}
}
