package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"sememcached/mac"
	"sememcached/policy/cnp"
)

var fromCNPTool = &tool{
	name:     "from-cnp",
	synopsis: []string{"from-cnp --identities FILE [--endpoint-labels K=V,...] [-o FILE] [-C FILE] FILE..."},
	summary:  "the SELinux policy and the contexts file that say what Cilium network policies say",
	about: `Translates the memcache rules of Cilium network policies. Each client gets a
domain, each key or prefix that a rule names a type, each condition on the key an
attribute, each rule an allow, in the order of the files and with their lines; a
client that only reads gets a neverallow, so that no later rule makes it write.
The result is a whole policy in CIL and a contexts file for it.

What SELinux does not say as the rules do is listed on standard error, with its
place: commands that take the same permissions, regular expressions that are no
prefixes. A server can have both, the rules and the policy: then both must allow.

  sememcached policy from-cnp --identities peers.yaml -o rules.cil -C rules.contexts rules.yaml
  secilc -M true -c 33 -o rules.policy -f /dev/null rules.cil
  sememcached --policy rules.policy --contexts rules.contexts
`,
	exit: "0, or 2 for an error",
	examples: []example{
		{"sememcached policy from-cnp --identities fleet-peers.yaml fleet.yaml", 0, "the policy to standard output"},
		{"sememcached policy from-cnp --identities fleet-peers.yaml -o rules.cil -C rules.contexts fleet.yaml", 0, "both files"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		var cfg mac.KeyRulesConfig
		f.StringVar(&cfg.Identities, "identities", "", "who has which labels (`file`)")
		labels := f.String("endpoint-labels", "", "the server's own labels, K=V,K=V (`labels`)")
		out := f.StringP("output", "o", "", "write the policy there (`file`)")
		contexts := f.StringP("contexts", "C", "", "write the contexts file there (`file`)")
		return func(t *terminal, args []string) error {
			if len(args) == 0 {
				return errors.New("expected files of policies, found none; see --help")
			}
			cfg.Files = args
			var err error
			if *labels != "" {
				if cfg.Endpoint, err = cnp.ParseLabels(*labels); err != nil {
					return err
				}
			}
			tr, err := translate(&cfg)
			if err != nil {
				return err
			}
			for i := range tr.Unsaid {
				fmt.Fprintln(t.err, tr.Unsaid[i].Error())
			}
			if *contexts != "" {
				if err := os.WriteFile(*contexts, []byte(tr.Contexts), 0o644); err != nil {
					return err
				}
			}
			if *out != "" {
				return os.WriteFile(*out, []byte(tr.CIL), 0o644)
			}
			_, err = fmt.Fprint(t.out, tr.CIL)
			return err
		}
	},
}

// translate reads the files twice: once as a server does, for what it would say
// of peers, and once for the translation.
func translate(cfg *mac.KeyRulesConfig) (*cnp.Translation, error) {
	if _, err := mac.LoadKeyRules(cfg, true); err != nil {
		return nil, err
	}
	in := cnp.Input{Endpoint: cfg.Endpoint, Mode: cfg.Mode}
	for _, name := range cfg.Files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := cnp.Parse(name, b, cfg.Mode)
		if err != nil {
			return nil, err
		}
		in.Files = append(in.Files, f)
	}
	if cfg.Identities != "" {
		b, err := os.ReadFile(cfg.Identities)
		if err != nil {
			return nil, err
		}
		if in.Identities, err = cnp.ParseIdentities(cfg.Identities, b); err != nil {
			return nil, err
		}
	}
	return cnp.Translate(in)
}
