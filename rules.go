package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/mac"
	"sememcached/policy/cnp"
	"sememcached/protocol"
	"sememcached/server"
)

var rulesTool = &tool{
	group: "rules",
	name:  "check",
	synopsis: []string{
		"check -f FILE... [--identities FILE]",
		"check -f FILE... [--identities FILE] --as WHO COMMAND [KEY...]",
	},
	summary: "read key rules, and ask what they allow, without a server",
	about: `Reads Cilium network policies as a server with --key-rules does, and says what is
wrong in them, each with its place. With a command it says what the rules answer to
that request, and which rule decides.

WHO is world (a stranger), labels of an identity (app=a-wing), or a client as it
would come: uid:1001, gid:100, an address, udp:ADDRESS, spiffe://ID, dns:NAME,
cn:NAME, sasl:NAME, context:CONTEXT.

COMMAND is a verb of the text protocol or a name of the rules (get, set, incr,
flush_all, noop, sasl-auth, ...). Several keys are one request. The flags of a meta
command come after its one key, behind --: mg KEY -- T60 N30.
`,
	exit: "0 allowed, or nothing wrong; 1 denied; 2 error",
	examples: []example{
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml", 0, "is anything wrong in them?"},
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml --as app=a-wing set awing-coord", 0, "a fighter says where it is"},
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml --as app=x-wing get awing-coord xwing-coord", 1, "not allowed on both keys"},
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml --as uid:2003 get awing-coord", 0, "the tracker, by its user"},
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml --as name=fleet-tracker mg awing-coord -- v T60", 1, "T would change the time to live"},
		{"sememcached rules check -f fleet.yaml --identities fleet-peers.yaml --as world get awing-coord", 1, "whoever has no identity"},
	},
	setup: func(f *pflag.FlagSet) func(*terminal, []string) error {
		var q rulesQuestion
		k := &q.cfg
		f.StringArrayVarP(&k.Files, "file", "f", nil, "Cilium network policies; repeatable (`file`)")
		f.StringVar(&k.Identities, "identities", "", "who has which labels (`file`)")
		f.StringVar(&q.labels, "endpoint-labels", "", "the server's own labels, K=V,K=V (`labels`)")
		f.StringVar(&q.as, "as", "", "the client (`who`)")
		f.Uint16Var(&q.port, "port", cnp.DefaultPort, "port that the server listens on, and the client uses (`num`)")
		compat := f.String("compat", "", "cilium: judge as Cilium's own parser did (`whose`)")
		return func(t *terminal, args []string) error {
			switch *compat {
			case "":
			case "cilium":
				k.Mode = cnp.Cilium
			default:
				return fmt.Errorf("--compat=%s: expected cilium", *compat)
			}
			if n := f.ArgsLenAtDash(); n >= 0 {
				args, q.flags = args[:n], args[n:]
			}
			return q.run(t, args)
		}
	},
}

// rulesQuestion is a request that rules are asked about.
type rulesQuestion struct {
	cfg        mac.KeyRulesConfig
	as, labels string
	port       uint16
	flags      []string
}

func (q *rulesQuestion) run(t *terminal, args []string) error {
	var err error
	if len(q.cfg.Files) == 0 {
		return errors.New("-f is needed; see --help")
	}
	if q.labels != "" {
		if q.cfg.Endpoint, err = cnp.ParseLabels(q.labels); err != nil {
			return err
		}
	}
	q.cfg.Ports = []uint16{q.port}
	k, err := mac.LoadKeyRules(&q.cfg, true)
	if err != nil {
		return err
	}
	for _, w := range k.Set().Warnings() {
		fmt.Fprintln(t.err, "warning: "+w.Error())
	}
	if len(args) == 0 {
		if q.as != "" {
			return errors.New("expected a command after --as WHO, found none")
		}
		fmt.Fprintln(t.out, k)
		return nil
	}
	if q.as == "" {
		return errors.New("--as is needed: who gives the command?")
	}
	m, err := k.As(q.as, q.port)
	if err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	need, keyless, under, err := q.need(args)
	if err != nil {
		return err
	}
	keys := args[1:]
	if keyless != (len(keys) == 0) {
		return fmt.Errorf("%s: expected %s", args[0], map[bool]string{true: "no key", false: "a key"}[keyless])
	}
	for _, key := range keys {
		if key == "" || len(key) > protocol.KeyMax || strings.ContainsAny(key, " \n") {
			return fmt.Errorf("expected a key of 1 to %d bytes without blanks, found %q", protocol.KeyMax, key)
		}
	}
	return answerRules(t, m, need, keyless, under, keys)
}

// need is what the command asks of the rules.
func (q *rulesQuestion) need(args []string) (need cnp.Mask, keyless, under bool, err error) {
	verb := args[0]
	switch verb {
	case "mg", "ms", "md", "ma", "me", "mdp":
		if len(args) != 2 {
			return 0, false, false, fmt.Errorf("%s: expected one key, found %d", verb, len(args)-1)
		}
		line := verb + " " + args[1]
		if verb == "ms" {
			line += " 0"
		}
		line += " " + strings.Join(q.flags, " ") + "\r\n"
		if verb == "ms" {
			line += "\r\n"
		}
		var r protocol.Request
		if _, out, reply := protocol.Parse([]byte(line), &protocol.Limits{Meta: true}, &r); out != protocol.Ready {
			return 0, false, false, fmt.Errorf("%s: a server answers %q", verb, strings.TrimSpace(string(reply)))
		}
		need, keyless, under = server.Need(&r, q.cfg.Mode)
		return need, keyless, under, nil
	}
	if len(q.flags) > 0 {
		return 0, false, false, fmt.Errorf("%s has no flags: expected nothing behind --", verb)
	}
	need, ok := cnp.CommandNamed(verb)
	if !ok {
		return 0, false, false, fmt.Errorf("expected a command (%s), found %q", strings.Join(cnp.CommandNames(), ", "), verb)
	}
	return need, need&cnp.Keyless != 0, false, nil
}

func answerRules(t *terminal, m *cnp.Matcher, need cnp.Mask, keyless, under bool, keys []string) error {
	var lacks cnp.Mask
	switch {
	case keyless:
		lacks = m.LacksKeyless(need)
	case under:
		lacks = m.LacksUnder(need, []byte(keys[0]))
	default:
		text, spans := cnp.Join(keys...)
		lacks = m.LacksKeys(need, text, spans)
	}
	about := keys
	if keyless {
		about = []string{""}
	}
	for _, key := range about {
		for _, one := range need.Commands() {
			name := strings.TrimSpace(one.String() + " " + key)
			r := m.Why(one, []byte(key))
			switch {
			case r != nil:
				fmt.Fprintf(t.out, "%s: %s allows it (%s)\n", name, r.At, r)
			case m.Open():
				fmt.Fprintf(t.out, "%s: no policy selects the server\n", name)
			case keyless && lacks&one == 0:
				fmt.Fprintf(t.out, "%s: needs no rule\n", name)
			case m.Denied():
				fmt.Fprintf(t.out, "%s: an entry of ingressDeny is for %s\n", name, m.Name)
			default:
				fmt.Fprintf(t.out, "%s: no rule allows it to %s\n", name, m.Name)
			}
		}
	}
	if lacks != 0 {
		fmt.Fprintln(t.out, "DENIED")
		return no()
	}
	fmt.Fprintln(t.out, "ALLOWED")
	return nil
}

// rulesCommand is "sememcached rules ...".
func rulesCommand(args []string, stdout, stderr io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == rulesTool.name:
		return rulesTool.run(args[1:], stdout, stderr)
	case len(args) > 0 && (args[0] == "-h" || args[0] == "--help" || args[0] == "help"):
		_, err := io.WriteString(stdout, rulesTool.help())
		return err
	}
	return exitf(exitNoAnswer, "sememcached rules: expected check, found %q\nRun sememcached rules -h for help.", strings.Join(args, " "))
}
