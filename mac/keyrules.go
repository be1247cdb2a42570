package mac

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"sememcached/policy/cnp"
)

// KeyRulesConfig says which rules about commands and keys there are beside the
// SELinux policy, and for whom. Both must allow.
type KeyRulesConfig struct {
	Files      []string   // Cilium network policies; none: no key rules
	Identities string     // file of who has which labels; "": everybody is a stranger
	Endpoint   cnp.Labels // the server's labels; nil: every policy is for it
	Ports      []uint16   // that the server listens on; none: one that the kernel chooses
	Mode       cnp.Mode
}

// KeyRules is the key rules of one generation, tied to the peers that have
// identities. It never changes and may be used by any number of goroutines.
type KeyRules struct {
	set    *cnp.Ruleset
	lines  []identityLine
	nets   []network
	labels []cnp.Labels // by identity
	about  string
	needs  bool
	nones  *cnp.Matcher
}

// identityLine is one pattern of an identity.
type identityLine struct {
	identity int
	context  bool // of the client's security context, by glob
	clientLine
}

// network is one of fromCIDR.
type network struct {
	in     netip.Prefix
	except []netip.Prefix
}

// LoadKeyRules reads and compiles the files. contexts says whether clients have
// security contexts, which a pattern may be about. The error lists all that is
// wrong in the first file that has something wrong, as FILE:LINE: text.
func LoadKeyRules(cfg *KeyRulesConfig, contexts bool) (*KeyRules, error) {
	in := cnp.Input{Endpoint: cfg.Endpoint, Ports: cfg.Ports, Mode: cfg.Mode}
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
	k := &KeyRules{}
	if cfg.Identities != "" {
		b, err := os.ReadFile(cfg.Identities)
		if err != nil {
			return nil, err
		}
		if in.Identities, err = cnp.ParseIdentities(cfg.Identities, b); err != nil {
			return nil, err
		}
	}
	if err := k.addIdentities(in.Identities, contexts); err != nil {
		return nil, err
	}
	var err error
	if k.set, err = cnp.Compile(in); err != nil {
		return nil, err
	}
	if err := k.addNetworks(); err != nil {
		return nil, err
	}
	k.nones = k.set.Forged()
	k.about = fmt.Sprintf("key rules %s (%s: %d rules of %d policies, %d identities)",
		strings.Join(cfg.Files, ", "), cfg.Mode, k.set.Rules(), k.set.Policies(), len(in.Identities))
	return k, nil
}

func (k *KeyRules) addIdentities(ids []cnp.Identity, contexts bool) error {
	var errs []error
	for i := range ids {
		k.labels = append(k.labels, ids[i].Labels)
		for _, p := range ids[i].Peers {
			l := identityLine{identity: i}
			l.line = p.At.Line
			err := l.parse(p.Text)
			if l.context {
				k.needs = true
				if err == nil && !contexts {
					err = errors.New("clients have no security contexts with --mac=off: expected another kind of peer than context")
				}
			}
			if err != nil {
				errs = append(errs, &cnp.Problem{Pos: p.At, Text: err.Error()})
			}
			k.lines = append(k.lines, l)
		}
	}
	return errors.Join(errs...)
}

// parse reads KIND:PATTERN with the kinds of the contexts file, and context:GLOB.
// A SPIFFE identifier may stand for itself.
func (l *identityLine) parse(s string) error {
	if pattern, ok := strings.CutPrefix(s, "context:"); ok {
		l.context = true
		if pattern == "" {
			return errors.New("expected a pattern after context:, found nothing")
		}
		var err error
		l.glob, err = compileGlob(pattern)
		return err
	}
	if strings.HasPrefix(s, "spiffe://") {
		s = "spiffe:" + s
	}
	if err := l.parsePattern(s); err != nil {
		return fmt.Errorf("%w, or context:GLOB", err)
	}
	return nil
}

func (k *KeyRules) addNetworks() error {
	var errs []error
	for _, c := range k.set.CIDRs() {
		var n network
		var err error
		if n.in, err = parsePrefix(c.Prefix); err == nil {
			for _, x := range c.Except {
				var p netip.Prefix
				if p, err = parsePrefix(x); err != nil {
					break
				}
				if !n.in.Contains(p.Addr()) || p.Bits() < n.in.Bits() {
					err = fmt.Errorf("expected a part of %s in except, found %s", n.in, p)
					break
				}
				n.except = append(n.except, p)
			}
		}
		if err != nil {
			errs = append(errs, &cnp.Problem{Pos: c.At, Text: err.Error()})
		}
		k.nets = append(k.nets, n)
	}
	return errors.Join(errs...)
}

// String says what there is: files, mode, and how many of what.
func (k *KeyRules) String() string { return k.about }

// Set is the compiled rules.
func (k *KeyRules) Set() *cnp.Ruleset { return k.set }

// NeedsContext reports whether Matcher looks at the client's security context.
func (k *KeyRules) NeedsContext() bool { return k != nil && k.needs }

// denied is what decides where rules are missing that must be there.
var denied cnp.Matcher

// Matcher is what the rules say of a client. context is its security context, ""
// for nobody. The first identity in the file that has the client among its peers
// is its own. It is asked once for each connection, subject and generation; it
// takes time in proportion to the number of peers in the file.
func (k *KeyRules) Matcher(p *Peer, context string) *cnp.Matcher {
	if k == nil || p == nil {
		return &denied
	}
	l := cnp.Listener{Port: p.Local.Port(), UDP: p.UDP}
	for i := range k.lines {
		x := &k.lines[i]
		if x.context && context != "" && !p.UDP && match(x.glob, context) || !x.context && x.matches(p) {
			return k.set.Identity(x.identity, l)
		}
	}
	if p.UDP {
		return k.nones // anybody can send from any address
	}
	a := p.Addr.Addr().Unmap().WithZone("")
	return k.set.Stranger(l, func(i int) bool {
		return a.IsValid() && k.nets[i].in.Contains(a) &&
			!slices.ContainsFunc(k.nets[i].except, func(x netip.Prefix) bool { return x.Contains(a) })
	})
}

// warn writes what is suspicious in the rules to the log.
func (m *Monitor) warnKeyRules(k *KeyRules) {
	if k == nil {
		return
	}
	for _, w := range k.set.Warnings() {
		m.log.Warn("key rules: " + w.Error())
	}
}

// loadKeyRules reads the rules anew. Without files there are none.
func (m *Monitor) loadKeyRules() (*KeyRules, error) {
	if len(m.cfg.KeyRules.Files) == 0 {
		return nil, nil
	}
	k, err := LoadKeyRules(&m.cfg.KeyRules, m.Enabled())
	if err != nil {
		return nil, fmt.Errorf("key rules: %w", err)
	}
	return k, nil
}

// HasKeyRules reports whether the server was started with key rules. They do not
// come or go while it runs.
func (m *Monitor) HasKeyRules() bool { return len(m.cfg.KeyRules.Files) > 0 }

// KeyRulesMode is how they are judged.
func (m *Monitor) KeyRulesMode() cnp.Mode { return m.cfg.KeyRules.Mode }

// startOff is the only generation, but for its key rules, of a server without
// access control by labels.
func (m *Monitor) startOff() error {
	k, err := m.loadKeyRules()
	if err != nil {
		return &StartError{Code: ExitConfig, Err: err}
	}
	m.keyRules = k
	m.gen.Store(&Generation{Seq: 1, Enforcing: true, Rules: k})
	m.warnKeyRules(k)
	return nil
}

// reloadOff reads the key rules again where nothing else is to be read.
func (m *Monitor) reloadOff() error {
	if !m.HasKeyRules() {
		return nil
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	k, err := m.loadKeyRules()
	if err != nil {
		m.n.reloadFailures.Add(1)
		return fmt.Errorf("reload: %w; what was in force stays", err)
	}
	m.keyRules = k
	m.gen.Store(&Generation{Seq: m.gen.Load().Seq + 1, Enforcing: true, Rules: k})
	m.n.reloads.Add(1)
	m.warnKeyRules(k)
	return nil
}
