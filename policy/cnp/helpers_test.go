package cnp_test

import (
	"fmt"
	"strings"
	"testing"

	"sememcached/policy/cnp"
)

// lacksKeys is LacksKeys for keys that stand together.
func lacksKeys(m *cnp.Matcher, need cnp.Mask, keys ...string) cnp.Mask {
	text, spans := cnp.Join(keys...)
	return m.LacksKeys(need, text, spans)
}

// client is the identity file of most tests: one client.
const client = "identities:\n- labels: {app: client}\n  peers: [\"uid:1\"]\n"

// l7 is a policy that gives the client rules, each in YAML flow style.
func l7(rules ...string) string {
	return `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: test}
spec:
  endpointSelector: {}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "11211", protocol: TCP}]
      rules:
        l7proto: memcache
        l7:
        - ` + strings.Join(rules, "\n        - ") + "\n"
}

func compile(policies, identities string, in cnp.Input) (*cnp.Ruleset, error) {
	f, err := cnp.Parse("rules.yaml", []byte(policies), in.Mode)
	if err != nil {
		return nil, err
	}
	if in.Identities, err = cnp.ParseIdentities("ids.yaml", []byte(identities)); err != nil {
		return nil, err
	}
	in.Files = []*cnp.File{f}
	return cnp.Compile(in)
}

// must is the client's matcher under the rules.
func must(t testing.TB, mode cnp.Mode, rules ...string) *cnp.Matcher {
	t.Helper()
	s, err := compile(l7(rules...), client, cnp.Input{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return s.Identity(0, cnp.Listener{})
}

// manyRules is a policy of n rules of each kind.
func manyRules(n int, kind string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(l7("PLACE"), "        - PLACE\n"))
	for i := range n {
		switch kind {
		case "prefix":
			fmt.Fprintf(&b, "        - {command: get, keyPrefix: \"svc%06d:\"}\n", i)
		case "exact":
			fmt.Fprintf(&b, "        - {command: get, keyExact: \"svc%06d:key\"}\n", i)
		case "regex":
			fmt.Fprintf(&b, "        - {command: get, keyRegex: \"^svc%06d:[a-z]+$\"}\n", i)
		case "mixed":
			fmt.Fprintf(&b, "        - {command: get, keyPrefix: \"t%d/%s\"}\n", i, strings.Repeat("x", i%40))
		}
	}
	return b.String()
}
