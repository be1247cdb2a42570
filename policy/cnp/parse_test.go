package cnp_test

import (
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// TestStrict: what a rule might be taken for and is not is refused, with its
// place; mode Cilium loads what upstream's parser loaded, but what it got wrong.
func TestStrict(t *testing.T) {
	for _, x := range []struct {
		name, rule string
		strict     string // of the error; "" loads
		cilium     string
	}{
		{"command", `{command: get}`, "", ""},
		{"group", `{command: readGroup}`, "", ""},
		{"star", `{command: "*"}`, "", ""},
		{"star on keys", `{command: "*", keyPrefix: a}`, "", ""},
		{"unknown command", `{command: gett}`, `rules.yaml:13: expected a command or a group`, `found "gett"`},
		{"case", `{command: GET}`, `found "GET"`, `found "GET"`},
		{"wire name", `{command: mg}`, `found "mg"; write get`, `write get`},
		{"empty rule", `{}`, `rules.yaml:13: a rule without a command allows everything`, ""},
		{"empty command", `{command: ""}`, "an empty command allows everything", ""},
		{"null command", `{command: }`, "an empty command allows everything", ""},
		{"key without command", `{keyExact: a}`, "expected command beside keyExact", "expected command beside keyExact"},
		{"empty key", `{command: set, keyExact: ""}`, "an empty keyExact allows every key", ""},
		{"two keys", `{command: set, keyExact: a, keyPrefix: b}`, "found keyPrefix after keyExact", ""},
		{"unknown field", `{command: set, keySuffix: a}`, `found "keySuffix"`, `found "keySuffix"`},
		{"bad regex", `{command: get, keyRegex: "^(a"}`, "missing closing )", "missing closing )"},
		{"empty regex", `{command: get, keyRegex: ""}`, "anywhere in a key", ""},
		{"unanchored regex", `{command: get, keyRegex: pub}`, "anywhere in a key", ""},
		{"half anchored regex", `{command: get, keyRegex: "^a|b"}`, "anywhere in a key", ""},
		{"keyless with key", `{command: flush_all, keyPrefix: "pub:"}`, "flush_all has no key", "flush_all has no key"},
		{"number", `{command: get, keyExact: 12}`, `expected a string, found "12"`, `found "12"`},
		{"twice", `{command: get, command: set}`, "is there twice", "is there twice"},
	} {
		for mode, want := range map[cnp.Mode]string{cnp.Strict: x.strict, cnp.Cilium: x.cilium} {
			_, err := compile(l7(x.rule), client, cnp.Input{Mode: mode})
			switch {
			case err == nil && want != "":
				t.Errorf("%s, mode %v: loads; want %q", x.name, mode, want)
			case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, mode %v: %v; want %q", x.name, mode, err, want)
			}
		}
	}
}

// edit is a policy with one line changed.
func edit(old, new string) string { return strings.Replace(l7("{command: get}"), old, new, 1) }

// TestPolicyErrors: what is around the rules.
func TestPolicyErrors(t *testing.T) {
	for _, x := range []struct{ name, text, want string }{
		{"kind", edit("kind: CiliumNetworkPolicy", "kind: NetworkPolicy"), `rules.yaml:1: expected kind`},
		{"version", edit("cilium.io/v2", "v1"), "apiVersion"},
		{"no spec", "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n", "expected spec or specs"},
		{"no selector", edit("  endpointSelector: {}\n", ""), "expected an endpointSelector"},
		{"null from", edit("fromEndpoints: [{matchLabels: {app: client}}]", "fromEndpoints:"), "expected a list, found nothing"},
		{"unknown from", edit("fromEndpoints: [{matchLabels: {app: client}}]", "fromGroups: []"), `found "fromGroups"`},
		{"two froms", edit("fromEndpoints:", "fromEntities: [all]\n    fromEndpoints:"), "fromEntities and fromEndpoints in one entry"},
		{"host", edit("fromEndpoints: [{matchLabels: {app: client}}]", "fromEntities: [host]"), "cannot be told apart"},
		{"named port", edit(`port: "11211"`, "port: memcache"), "expected a port from 1"},
		{"no protocol", edit(", protocol: TCP", ""), "protocol: TCP"},
		{"other port", edit(`"11211"`, `"80"`), "expected port 11211 or one"},
		{"other protocol", edit("l7proto: memcache", "l7proto: kafka"), `found "kafka"`},
		{"no protocol name", edit("        l7proto: memcache\n", ""), `found ""`},
		{"http", edit("        l7proto: memcache\n", "        http: []\n"), "rules of http"},
		{"no rules", edit("        l7:\n        - {command: get}\n", "        l7: []\n"), "no rules allow every command"},
		{"deny with rules", edit("ingress:", "ingressDeny:"), "cannot be in ingressDeny"},
		{"alias", edit("{command: get}", "&x {command: get}\n        - *x"), "found an alias"},
		{"broken", "a: [", "rules.yaml"},
		{"nothing", "", "expected policies, found none"},
		{"only egress", edit("ingress:", "egress:"), "expected a policy with an ingress section"},
		{"shadowed", l7("{command: get}") + "  - fromEndpoints: [{}]\n", "rules.yaml:14: without rules about commands this allows every command to app=client, and the rules at rules.yaml:9 mean nothing"},
		{"shadowed port", l7("{command: get}") + "  - toPorts: [{ports: [{port: \"11211\"}]}]\n", "mean nothing"},
		{"expression", edit("{matchLabels: {app: client}}", "{matchExpressions: [{key: app, operator: Is}]}"), "expected operator"},
	} {
		_, err := compile(x.text, client, cnp.Input{})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v; want %q", x.name, err, x.want)
		}
	}
	if _, err := compile(l7("{command: get}"), client, cnp.Input{Endpoint: cnp.Labels{"app": "x"}}); err != nil {
		t.Errorf("{} does not select a server with labels: %v", err)
	}
	other := strings.Replace(l7("{command: get}"), "endpointSelector: {}", "endpointSelector: {matchLabels: {app: y}}", 1)
	if _, err := compile(other, client, cnp.Input{Endpoint: cnp.Labels{"app": "x"}}); err == nil || !strings.Contains(err.Error(), "whose labels are app=x") {
		t.Errorf("a policy for others: %v", err)
	}
	s, err := compile(other, client, cnp.Input{Endpoint: cnp.Labels{"app": "x"}, Mode: cnp.Cilium})
	if err != nil || s.Identity(0, cnp.Listener{}).Lacks(cnp.Set, []byte("a")) != 0 {
		t.Errorf("in mode Cilium a server without policies is open: %v", err)
	}
}

// clients is three identities.
const clients = `
identities:
- labels: {app: a, team: red}
  peers: ["uid:1"]
- labels: {app: b, team: red}
  peers: ["uid:2"]
- labels: {"k8s:app": c, io.kubernetes.pod.namespace: prod}
  peers: ["uid:3"]
`

// TestWhoIsMeant: selectors, entities, networks, denials, ports.
func TestWhoIsMeant(t *testing.T) {
	// Each entry allows a key of its own name.
	entry := func(key, from, port string) string {
		return "  - " + from + "\n    toPorts: [{ports: [{port: \"" + port + "\", protocol: TCP}], rules: {l7proto: memcache, l7: [{command: get, keyExact: " + key + "}]}}]\n"
	}
	text := `
kind: List
apiVersion: v1
items:
- apiVersion: cilium.io/v2
  kind: CiliumClusterwideNetworkPolicy
  metadata: {name: x}
  specs:
  - endpointSelector: {}
    ingress:
` + strings.ReplaceAll(entry("red", "fromEndpoints: [{matchLabels: {team: red}}]", "11211")+
		entry("aorc", "fromEndpoints: [{matchLabels: {any:app: a}}, {matchLabels: {k8s:app: c}}]", "11211")+
		entry("notb", "fromEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [b]}]}]", "11211")+
		entry("noteam", "fromEndpoints: [{matchExpressions: [{key: team, operator: DoesNotExist}]}]", "11211")+
		entry("nobody", "fromEndpoints: []", "11211")+
		entry("both", "fromEndpoints: [{matchLabels: {app: a, team: blue}}]", "11211")+
		entry("all", "fromEntities: [all]", "11211")+
		entry("everyone", "toPorts: []", "11211")[:0]+
		entry("cluster", "fromEntities: [cluster]", "11211")+
		entry("world", "fromEntities: [world]", "11211")+
		entry("net", "fromCIDR: [10.0.0.0/8]", "11211")+
		entry("net2", "fromCIDRSet: [{cidr: 10.1.0.0/16, except: [10.1.1.0/24]}]", "11211")+
		entry("other", "fromEntities: [all]", "11300")+
		"  - {}\n", "  - ", "    - ") + `
- apiVersion: cilium.io/v2
  kind: CiliumNetworkPolicy
  metadata: {name: y, namespace: prod}
  spec:
    endpointSelector: {}
    ingress:
    - fromEndpoints: [{}]
      toPorts: [{ports: [{port: "11211", protocol: TCP}], rules: {l7proto: memcache, l7: [{command: get, keyExact: prod}]}}]
`
	text = strings.ReplaceAll(text, "\n    toPorts", "\n      toPorts")
	s, err := compile(text, clients, cnp.Input{Ports: []uint16{11211, 11300}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if s.Policies() != 2 || s.Rules() != 13 {
		t.Errorf("%d policies with %d rules", s.Policies(), s.Rules())
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0].Error(), "no identity has the labels app=a,team=blue") {
		t.Errorf("warnings: %v", w)
	}
	keys := []string{"red", "aorc", "notb", "noteam", "nobody", "both", "all", "cluster", "world", "net", "net2", "other", "prod"}
	may := func(m *cnp.Matcher) string {
		var out []string
		for _, k := range keys {
			if m.Lacks(cnp.Get, []byte(k)) == 0 {
				out = append(out, k)
			}
		}
		return strings.Join(out, " ")
	}
	main, other := cnp.Listener{Port: 11211}, cnp.Listener{Port: 11300}
	for _, x := range []struct {
		who  string
		m    *cnp.Matcher
		want string
	}{
		{"a", s.Identity(0, main), "red aorc notb all cluster"},
		{"b", s.Identity(1, main), "red all cluster"},
		{"c", s.Identity(2, main), "aorc notb noteam all cluster prod"},
		{"a on the other port", s.Identity(0, other), "other"},
		{"a on the socket", s.Identity(0, cnp.Listener{}), "red aorc notb all cluster other"},
		{"a by UDP", s.Identity(0, cnp.Listener{Port: 11211, UDP: true}), "red aorc notb all cluster"},
		{"stranger", s.Stranger(main, func(int) bool { return false }), "all world"},
		{"in a network", s.Stranger(main, func(i int) bool { return s.CIDRs()[i].Prefix == "10.0.0.0/8" }), "all world net"},
		{"in both", s.Stranger(main, func(int) bool { return true }), "all world net net2"},
		{"forged", s.Forged(), ""},
	} {
		if got := may(x.m); got != x.want {
			t.Errorf("%s may %q, want %q", x.who, got, x.want)
		}
	}
}

// TestDeny: ingressDeny beats everything, and the port and the peer of an entry
// count.
func TestDeny(t *testing.T) {
	deny := func(from string) string {
		return l7("{command: get}") + "  ingressDeny:\n  - " + from + "\n"
	}
	for _, x := range []struct {
		from string
		want bool
	}{
		{"fromEndpoints: [{matchLabels: {app: client}}]", false},
		{"fromEntities: [all]", false},
		{"toPorts: [{ports: [{port: \"11211\"}]}]", false},
		{"toPorts: [{ports: [{port: \"11000\", endPort: 12000, protocol: TCP}]}]", false},
		{"fromEndpoints: [{matchLabels: {app: other}}]", true},
		{"toPorts: [{ports: [{port: \"80\"}]}]", true},
		{"toPorts: [{ports: [{port: \"11211\", protocol: UDP}]}]", true},
		{"fromCIDR: [0.0.0.0/0]", true}, // networks are about strangers
	} {
		s, err := compile(deny(x.from), client, cnp.Input{})
		if err != nil {
			t.Errorf("%s: %v", x.from, err)
			continue
		}
		m := s.Identity(0, cnp.Listener{Port: 11211})
		if got := m.Lacks(cnp.Get, []byte("a")) == 0; got != x.want {
			t.Errorf("%s: allowed %v, want %v", x.from, got, x.want)
		}
		if m.Denied() == x.want {
			t.Errorf("%s: denied %v", x.from, m.Denied())
		}
	}
	s, err := compile(strings.Replace(l7("{command: get}"), "fromEndpoints: [{matchLabels: {app: client}}]", "fromEntities: [world]", 1)+
		"  ingressDeny:\n  - fromCIDR: [10.0.0.0/8]\n", client, cnp.Input{})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []bool{false, true} {
		if got := s.Stranger(cnp.Listener{Port: 11211}, func(int) bool { return in }).Lacks(cnp.Get, []byte("a")) == 0; got == in {
			t.Errorf("in the denied network %v: allowed %v", in, got)
		}
	}
}

// TestKeyless: commands without a key, and what needs no rule.
func TestKeyless(t *testing.T) {
	m := must(t, cnp.Strict, "{command: stats}", `{command: "*", keyPrefix: "a"}`)
	for need, want := range map[cnp.Mask]bool{
		cnp.Stats: true, cnp.FlushAll: false, cnp.Shutdown: false, cnp.Quit: true, cnp.Noop: true, cnp.Version: true, cnp.SASLAuth: true,
	} {
		if got := m.LacksKeyless(need) == 0; got != want {
			t.Errorf("%v: allowed %v", need, got)
		}
	}
	m = must(t, cnp.Cilium, "{command: version}")
	if m.LacksKeyless(cnp.Version) != 0 || m.LacksKeyless(cnp.Quit) == 0 || m.LacksKeyless(cnp.Noop) == 0 {
		t.Error("in mode Cilium quit and noop need a rule")
	}
	var zero cnp.Matcher
	if zero.Lacks(cnp.Get, []byte("a")) == 0 || zero.LacksKeyless(cnp.Stats) == 0 || zero.LacksUnder(cnp.Delete, []byte("a")) == 0 ||
		zero.LacksKeys(cnp.Get, []byte("a"), []cnp.Span{{At: 0, Len: 1}}) == 0 {
		t.Error("the zero Matcher allows something")
	}
}

// TestGroups: the members of the groups, append and prepend of the binary
// protocol among them only where upstream's gap is not copied.
func TestGroups(t *testing.T) {
	key := []byte("a")
	for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
		upstream := mode == cnp.Cilium
		m := must(t, mode, "{command: writeGroup}")
		for need, want := range map[cnp.Mask]bool{
			cnp.Set: true, cnp.CAS: true, cnp.Touch: true, cnp.Delete: true, cnp.Append: true, cnp.AppendBinary: !upstream, cnp.PrependBinary: !upstream,
			cnp.Get: false, cnp.Gat: false, cnp.FlushAll: false,
		} {
			if got := m.Lacks(need, key) == 0; got != want {
				t.Errorf("writeGroup, mode %v: %v allowed %v", mode, need, got)
			}
		}
		m = must(t, mode, "{command: storage}")
		if m.Lacks(cnp.Delete, key) == 0 || m.Lacks(cnp.Touch, key) == 0 || m.Lacks(cnp.Incr|cnp.Add, key) != 0 {
			t.Error("storage")
		}
		m = must(t, mode, "{command: gat}", "{command: append}")
		if got := m.Lacks(cnp.GatKey, key) == 0; got == upstream || m.Lacks(cnp.AppendBinary|cnp.Append|cnp.Gat, key) != 0 {
			t.Errorf("gat, append in mode %v", mode)
		}
	}
	if len(cnp.All.String()) == 0 || strings.Contains(cnp.All.String(), "?") || cnp.Keyed&cnp.Keyless != 0 || cnp.Keyed|cnp.Keyless != cnp.All {
		t.Errorf("the commands are %v", cnp.All)
	}
}

// TestEmptyFile: a file that has been emptied is not taken for one without rules, in
// mode Strict: it may have held what denies.
func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing yet\n"} {
		if _, err := cnp.Parse("deny.yaml", []byte(text), cnp.Strict); err == nil || err.Error() != "deny.yaml:1: expected policies, found none" {
			t.Errorf("%q: got %v", text, err)
		}
		f, err := cnp.Parse("deny.yaml", []byte(text), cnp.Cilium)
		if err != nil || len(f.Warnings) != 1 {
			t.Errorf("%q in mode Cilium: expected a warning, got %v, %v", text, f, err)
		}
	}
	list := "apiVersion: v1\nkind: List\nitems: []\n"
	if _, err := cnp.Parse("list.yaml", []byte(list), cnp.Strict); err != nil {
		t.Errorf("a list that says it is empty: %v", err)
	}
	if ids, err := cnp.ParseIdentities("ids.yaml", []byte("identities: []\n")); err != nil || len(ids) != 0 {
		t.Errorf("identities that say they are none: %v, %v", ids, err)
	}
	// A file that is something else is not shown whole.
	_, err := cnp.Parse("passwd", []byte(strings.Repeat("root:x:0:0 ", 1000)), cnp.Strict)
	if err == nil || len(err.Error()) > 400 {
		t.Errorf("a file that is no YAML mapping: got %v", err)
	}
}

// TestIdentityErrors: the identity file.
func TestIdentityErrors(t *testing.T) {
	for text, want := range map[string]string{
		"identities: {}":                 "expected a list",
		"":                               "expected identities, found none",
		"# nothing yet":                  "expected identities, found none",
		"ids: []":                        `found "ids"`,
		"identities: [{labels: {a: b}}]": "at least one of each",
		"identities: [{labels: {a: b}, peers: [1]}]":                 "expected a string",
		"identities: [{labels: {a: b, k8s:a: c}, peers: ['uid:1']}]": "is there twice",
		"identities: [{labels: {a: b}, peers: ['uid:1'], uid: 3}]":   `found "uid"`,
	} {
		if _, err := cnp.ParseIdentities("ids.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "ids.yaml:1: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzParse: no input makes the readers panic, or gives rules that cannot be asked.
func FuzzParse(f *testing.F) {
	f.Add(l7("{command: get, keyRegex: '^a|b$'}"), clients)
	f.Add("kind: List\nitems: [{}]", "identities: [{}]")
	f.Fuzz(func(t *testing.T, policies, ids string) {
		for _, mode := range []cnp.Mode{cnp.Strict, cnp.Cilium} {
			s, err := compile(policies, ids, cnp.Input{Mode: mode})
			if err != nil {
				continue
			}
			s.Stranger(cnp.Listener{Port: 1}, func(int) bool { return true }).Lacks(cnp.Get, []byte("abc"))
		}
	})
}
