package cnp_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// naive is one rule as a person reads it.
type naive struct {
	command, field, key string
}

func (r *naive) yaml() string {
	if r.field == "" {
		return fmt.Sprintf("{command: %q}", r.command)
	}
	return fmt.Sprintf("{command: %q, %s: %q}", r.command, r.field, r.key)
}

func (r *naive) fits(key string) bool {
	switch r.field {
	case "keyExact":
		return key == r.key
	case "keyPrefix":
		return strings.HasPrefix(key, r.key)
	case "keyRegex":
		return regexp.MustCompile(r.key).MatchString(key)
	}
	return true
}

// commands says what the names of the reference stand for, once more.
var commands = map[string][]string{
	"get": {"get"}, "set": {"set"}, "add": {"add"}, "delete": {"delete"}, "incr": {"incr"}, "touch": {"touch"}, "cas": {"cas"},
	"append": {"append"}, "gat": {"gat"}, "me": {"me"},
	"storage":    {"add", "set", "replace", "append", "prepend", "cas", "incr", "decr"},
	"writeGroup": {"add", "set", "replace", "append", "prepend", "cas", "incr", "decr", "delete", "touch"},
	"readGroup":  {"get", "me"},
	"*":          {"get", "gat", "set", "add", "replace", "append", "prepend", "cas", "incr", "decr", "delete", "touch", "me"},
}

var bits = map[string]cnp.Mask{
	"get": cnp.Get, "gat": cnp.Gat, "set": cnp.Set, "add": cnp.Add, "replace": cnp.Replace, "append": cnp.Append, "prepend": cnp.Prepend,
	"cas": cnp.CAS, "incr": cnp.Incr, "decr": cnp.Decr, "delete": cnp.Delete, "touch": cnp.Touch, "me": cnp.Debug,
}

func (r *naive) allows(command string) bool {
	for _, c := range commands[r.command] {
		if c == command {
			return true
		}
	}
	return false
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

// randomKey is short and over few letters, so that keys share prefixes; some are
// longer than the part of a path that is compared at once.
func randomKey(rnd *rand.Rand) string {
	n := 1 + rnd.IntN(5)
	if rnd.IntN(4) == 0 {
		n = 12 + rnd.IntN(12)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = "aab:"[rnd.IntN(4)]
	}
	return string(b)
}

func randomRule(rnd *rand.Rand) naive {
	names := []string{"get", "set", "add", "delete", "incr", "touch", "cas", "append", "gat", "me", "storage", "writeGroup", "readGroup", "*"}
	r := naive{command: pick(rnd, names)}
	switch rnd.IntN(8) {
	case 0:
	case 1, 2:
		r.field, r.key = "keyExact", randomKey(rnd)
	case 3, 4, 5:
		r.field, r.key = "keyPrefix", randomKey(rnd)
	default:
		k := randomKey(rnd)
		r.field = "keyRegex"
		r.key = pick(rnd, []string{
			"^" + k + "$", "^" + k + ".*", "^(" + k + "|b)$", "^(a|" + k + "):.*", "^" + k + "[ab]+$", "^[ab]:.*$", "^.*" + k + "$", "^" + k + "?b",
			"^(?:a|b)" + k + "(?s:.*)$", "^" + k[:1] + ".*b.*", "(?i)^A" + k + ".*",
		})
	}
	return r
}

// TestOracle compares the compiled rules with the list of them.
func TestOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	verbs := commands["*"]
	asked := 0
	for range 400 {
		n := 1 + rnd.IntN(12)
		if rnd.IntN(10) == 0 {
			n = 200
		}
		rules := make([]naive, n)
		text := make([]string, n)
		for i := range rules {
			rules[i] = randomRule(rnd)
			text[i] = rules[i].yaml()
		}
		mode := cnp.Strict
		if rnd.IntN(2) == 0 {
			mode = cnp.Cilium
		}
		s, err := compile(l7(text...), client, cnp.Input{Mode: mode})
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(text, "\n"))
		}
		m := s.Identity(0, cnp.Listener{})
		any := func(verb, key string) bool {
			for i := range rules {
				if rules[i].allows(verb) && rules[i].fits(key) {
					return true
				}
			}
			return false
		}
		for range 60 {
			verb := pick(rnd, verbs)
			key := randomKey(rnd)
			if k := pick(rnd, rules).key; k != "" && rnd.IntN(2) == 0 {
				key = strings.Map(func(r rune) rune {
					if strings.ContainsRune("ab:", r) {
						return r
					}
					return -1
				}, k) + pick(rnd, []string{"", "a", ":b", "\n"})
				if key == "" {
					key = "a"
				}
			}
			want := any(verb, key)
			if got := m.Lacks(bits[verb], []byte(key)) == 0; got != want {
				t.Fatalf("%s %q: allowed %v, by the list %v\n%s", verb, key, got, want, strings.Join(text, "\n"))
			}
			if r := m.Why(bits[verb], []byte(key)); (r != nil) != want {
				t.Fatalf("%s %q: decided by %v, by the list %v\n%s", verb, key, r, want, strings.Join(text, "\n"))
			}
			// Several keys.
			keys := []string{strings.ReplaceAll(key, "\n", ""), randomKey(rnd), randomKey(rnd)}[:1+rnd.IntN(3)]
			want = true
			for _, k := range keys {
				want = want && any(verb, k)
			}
			if mode == cnp.Cilium {
				want = false
				for i := range rules {
					all := rules[i].allows(verb)
					for _, k := range keys {
						all = all && rules[i].fits(k)
					}
					want = want || all
				}
			}
			if got := lacksKeys(m, bits[verb], keys...) == 0; got != want {
				t.Fatalf("%s %q in mode %v: allowed %v, by the list %v\n%s", verb, keys, mode, got, want, strings.Join(text, "\n"))
			}
			// Prefixes: what is allowed under one is allowed on each key below.
			if m.LacksUnder(bits[verb], []byte(key)) == 0 {
				for _, tail := range []string{"", "a", "b:b", "\n", "zzz"} {
					if !any(verb, key+tail) {
						t.Fatalf("%s under %q is allowed, but not on %q\n%s", verb, key, key+tail, strings.Join(text, "\n"))
					}
				}
			}
			asked++
		}
	}
	if asked < 20000 {
		t.Fatalf("asked %d questions only", asked)
	}
}
