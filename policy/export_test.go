package policy

// Bridge that lets policy_test draw its questions from the rules and see what
// type enforcement alone would say.

// RuleForTest is an access vector or type rule by name.
type RuleForTest struct {
	Source, Target, Class string
	Allow                 bool
	Perms                 AV // of an allow rule
}

// RulesForTest lists the keys of all access vector and type rules,
// conditional ones last; the number is that of the unconditional ones.
func (p *Policy) RulesForTest() (rules []RuleForTest, unconditional int) {
	for _, list := range [][]avRule{p.rules, p.condRules} {
		for _, r := range list {
			x := RuleForTest{Source: p.typeByValue[r.source].name, Target: p.typeByValue[r.target].name, Class: p.classByValue[r.class].name}
			if r.spec&^ruleEnabled == ruleAllow {
				x.Allow, x.Perms = true, AV(r.data)
			}
			rules = append(rules, x)
		}
	}
	return rules, len(p.rules)
}

// ConstrainedForTest reports whether constraints of class c look at av.
func (p *Policy) ConstrainedForTest(c Class, av AV) bool {
	for _, k := range p.classByValue[c].constraints {
		if k.perms&av != 0 {
			return true
		}
	}
	return false
}

// TypeEnforcementForTest is what the rules grant before constraints, role
// changes and bounds.
func (p *Policy) TypeEnforcementForTest(s, t Context, c Class) AV {
	return p.typeEnforcement(s.c.typ, t.c.typ, c).allow
}

// KernelSocketForTest reports whether computeSID treats c as a socket.
func (p *Policy) KernelSocketForTest(c Class) bool { return p.classByValue[c].socket }

// BoundsDepthForTest is the number of bounds above the type of c.
func (p *Policy) BoundsDepthForTest(c Context) int {
	n := 0
	for t := p.typeByValue[c.c.typ]; t.bounds != 0; t = p.typeByValue[t.bounds] {
		n++
	}
	return n
}

// WithAllowForTest is the file of p with one more allow rule, written from
// the decoded structures.
func (p *Policy) WithAllowForTest(source, target string, c Class, av AV) []byte {
	t := *p.tables
	t.rules = append(t.rules[:len(t.rules):len(t.rules)], avRule{
		source: uint16(t.typeNames[source]), target: uint16(t.typeNames[target]), class: uint16(c), spec: ruleAllow, data: uint32(av),
	})
	return t.appendBinary(nil)
}

// AsVersion25ForTest is the file of a policy of version 26 as one of version
// 25, in which only processes have role transitions.
func (p *Policy) AsVersion25ForTest() []byte {
	t := *p.tables
	t.version, t.roleTrans = 25, nil
	for _, r := range p.tables.roleTrans {
		if r.class == uint32(p.processClass) {
			t.roleTrans = append(t.roleTrans, r)
		}
	}
	return t.appendBinary(nil)
}
