package cnp_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sememcached/policy"
	"sememcached/policy/cnp"
)

// translate makes a policy of rules and compiles it with secilc.
func translate(t *testing.T, policies, ids string) (*cnp.Translation, *policy.Policy) {
	t.Helper()
	if _, err := exec.LookPath("secilc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("secilc is missing: apt-get install secilc")
		}
		t.Skip("secilc is missing: the translation is not compiled")
	}
	f, err := cnp.Parse("rules.yaml", []byte(policies), cnp.Strict)
	if err != nil {
		t.Fatal(err)
	}
	in := cnp.Input{Files: []*cnp.File{f}}
	if in.Identities, err = cnp.ParseIdentities("ids.yaml", []byte(ids)); err != nil {
		t.Fatal(err)
	}
	tr, err := cnp.Translate(in)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "rules.cil"), filepath.Join(dir, "rules.policy")
	if err := os.WriteFile(src, []byte(tr.CIL), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("secilc", "-M", "true", "-c", "33", "-o", bin, "-f", os.DevNull, src).CombinedOutput(); err != nil {
		t.Fatalf("secilc: %v\n%s\n%s", err, out, tr.CIL)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return tr, p
}

// lineFor is the context that the translated contexts file gives: the first line
// of the keyword that fits.
func lineFor(tr *cnp.Translation, keyword, what string) string {
	for _, line := range strings.Split(tr.Contexts, "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != keyword {
			continue
		}
		pattern := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(f[1]), `\*`, ".*") + "$"
		if regexp.MustCompile(pattern).MatchString(what) {
			return f[2]
		}
	}
	return ""
}

// wants is what each command takes, from the table of commands.
var wants = map[string]string{
	"get": "read", "gat": "read setattr", "set": "create write", "add": "create getattr", "replace": "write", "append": "append", "prepend": "append",
	"cas": "write", "incr": "calculate", "decr": "calculate", "delete": "remove", "touch": "setattr", "me": "getattr",
}

// TestThreeEngines: the compiled rules, the list of them, and their translation,
// compiled by secilc and decided by our policy engine, agree; where SELinux says
// more than the rules, the translation has said so.
func TestThreeEngines(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	asked, differ := 0, 0
	for range 8 {
		var rules [2][]naive
		var text [2][]string
		for who := range rules {
			for range 1 + rnd.IntN(8) {
				r := randomRule(rnd)
				if r.field == "keyRegex" {
					r.key = pick(rnd, []string{"^a$", "^(a|b:)$", "^ab.*", "^(a|bb).*"})
				}
				rules[who] = append(rules[who], r)
				text[who] = append(text[who], r.yaml())
			}
		}
		policies := l7(text[0]...) + strings.Replace(l7(text[1]...)[strings.Index(l7("x"), "  - from"):], "app: client", "app: other", 1)
		ids := client + "- labels: {app: other}\n  peers: [\"cidr:10.0.0.0/8\"]\n"
		tr, p := translate(t, policies, ids)
		class, _ := p.Class("kv_item")
		for who := range rules {
			ctx := lineFor(tr, "client", []string{"uid:1", "cidr:10.0.0.0/8"}[who])
			source, err := p.ParseContext(ctx)
			if err != nil {
				t.Fatalf("%v\n%s", err, tr.Contexts)
			}
			for range 120 {
				verb, key := pick(rnd, commands["*"]), randomKey(rnd)
				if k := pick(rnd, rules[who]); k.field == "keyExact" || k.field == "keyPrefix" {
					key = k.key + pick(rnd, []string{"", "a", "b"})
				}
				target, err := p.ParseContext(lineFor(tr, "kv_item", key))
				if err != nil {
					t.Fatalf("%q: %v\n%s", key, err, tr.Contexts)
				}
				allowed := p.ComputeAV(source, target, class).Allowed
				selinux := true
				for _, perm := range strings.Fields(wants[verb]) {
					bit, _ := p.Perm(class, perm)
					selinux = selinux && allowed&bit != 0
				}
				native := slices.ContainsFunc(rules[who], func(r naive) bool { return r.allows(verb) && r.fits(key) })
				asked++
				if native == selinux {
					continue
				}
				differ++
				typ := strings.Split(ctx, ":")[2]
				said := slices.ContainsFunc(tr.Unsaid, func(u cnp.Problem) bool {
					return strings.HasPrefix(u.Text, typ+" may also ") && strings.HasSuffix(u.Text, "what it may") &&
						strings.Contains(u.Text, strings.Split(target.String(), ":")[2]) && regexp.MustCompile(`[ ,]`+verb+`[ ,]`).MatchString(u.Text)
				})
				if native || !said {
					t.Fatalf("%s %s %q: by the rules %v, by SELinux %v\n%s\n%v", typ, verb, key, native, selinux, policies, tr.Unsaid)
				}
			}
		}
	}
	t.Logf("%d questions, SELinux allows more in %d of them, all of them said", asked, differ)
	if asked != 8*240 || differ == 0 {
		t.Errorf("asked %d questions, %d differ", asked, differ)
	}
}

// TestTranslation: names, comments, the contexts file, readers that stay readers.
func TestTranslation(t *testing.T) {
	tr, _ := translate(t, l7(`{command: get, keyPrefix: "a b*c"}`, `{command: get, keyExact: "#x"}`)+`
  - fromEndpoints: [{matchLabels: {app: writer}}]
    toPorts: [{ports: [{port: "11211", protocol: TCP}], rules: {l7proto: memcache, l7: [{command: writeGroup, keyPrefix: "a"}, {command: get, keyRegex: "^a.c$"}]}}]
`, client+"- labels: {app: writer}\n  peers: [\"spiffe://prod/writer\", \"context:*:w_t:*\"]\n")
	for _, want := range []string{
		"(type kr_app_client_t) ; app=client (ids.yaml:2)",
		"; ---- rules.yaml:13: command get, keyPrefix a b*c",
		"(neverallow kr_app_client_t kr_key (kv_item (" + "create setattr remove relabelfrom relabelto write append calculate)))",
		"(allow kr_from_app_client kr_sel_prefix_a_b_c (kv_item (getattr read)))",
	} {
		if !strings.Contains(tr.CIL, want) {
			t.Errorf("the policy lacks %s:\n%s", want, tr.CIL)
		}
	}
	if strings.Contains(tr.CIL, "(neverallow kr_app_writer_t") {
		t.Error("a writer is kept from writing")
	}
	for _, want := range []string{
		"client uid:1 system_u:system_r:kr_app_client_t:s0\n", "client spiffe:spiffe://prod/writer ", "client * system_u:system_r:kr_stranger_t:s0\n",
		"kv_item a\\ b\\*c* system_u:object_r:kr_prefix_a_b_c_t:s0\n", "kv_item \\#x system_u:object_r:kr_exact_x_t:s0\n", "kv_item * system_u:object_r:kr_other_t:s0\n",
	} {
		if !strings.Contains(tr.Contexts, want) {
			t.Errorf("the contexts file lacks %q:\n%s", want, tr.Contexts)
		}
	}
	var said strings.Builder
	for _, u := range tr.Unsaid {
		fmt.Fprintln(&said, u.Error())
	}
	for _, want := range []string{"keyRegex ^a.c$ is neither", "the context *:w_t:* keep it", "kr_app_client_t may also me"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("not said: %s\n%s", want, said.String())
		}
	}
	// A reader that is let write does not compile.
	dir := t.TempDir()
	src := filepath.Join(dir, "bad.cil")
	bad := tr.CIL + "(allow kr_app_client_t kr_other_t (kv_item (write)))\n"
	if err := os.WriteFile(src, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("secilc", "-M", "true", "-c", "33", "-o", filepath.Join(dir, "x"), "-f", os.DevNull, src).CombinedOutput(); err == nil || !strings.Contains(string(out), "neverallow") {
		t.Errorf("secilc: %v\n%s", err, out)
	}
}
