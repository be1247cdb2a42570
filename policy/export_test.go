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

// ContradictionsForTest are files like that of p, each with two things that
// cannot both be, by what the refusal says.
func (p *Policy) ContradictionsForTest() map[string][]byte {
	out := map[string][]byte{}
	with := func(want string, change func(t *tables)) {
		t := *p.tables
		change(&t)
		out[want] = t.appendBinary(nil)
	}
	item := uint16(p.classNames["kv_item"])
	rule := func(spec uint16, data uint32) avRule {
		return avRule{source: 1, target: 2, class: item, spec: spec, data: data}
	}
	always := []condOp{{op: condBool, boolean: 1}}
	with("access vector rules: expected one of kind 0x1", func(t *tables) {
		t.rules = append(t.rules[:1:1], rule(ruleAllow, 1), rule(ruleAllow, 2))
	})
	with("type rules: expected one of kind 0x20", func(t *tables) {
		t.rules = append(t.rules[:1:1], rule(ruleMember, 1), rule(ruleMember, 2))
	})
	with("type rules inside and outside of conditionals", func(t *tables) {
		t.rules = append(t.rules[:1:1], rule(ruleMember, 1))
		t.conds = []cond{{expr: always, mid: 1, end: 1}}
		t.condRules = []avRule{rule(ruleMember, 1)}
	})
	with("conditional type rules: expected one of kind 0x40", func(t *tables) {
		t.conds = []cond{{expr: always, mid: 2, end: 2}}
		t.condRules = []avRule{rule(ruleChange, 1), rule(ruleChange, 2)}
	})
	with("conditional type rules: expected one of kind 0x20", func(t *tables) {
		t.conds = []cond{{expr: always, mid: 1, end: 1}, {expr: always, first: 1, mid: 1, end: 2}}
		t.condRules = []avRule{rule(ruleMember, 1), rule(ruleMember, 2)}
	})
	with("role transitions: expected one", func(t *tables) {
		t.roleTrans = []roleTrans{{2, 1, 2, 1}, {2, 1, 3, 1}}
	})
	with("range transitions: expected one", func(t *tables) {
		r := rangeTrans{1, 1, 1, mlsRange{items: 1, low: level{sens: 1}}}
		t.rangeTrans = []rangeTrans{r, r}
	})
	with("named transitions: expected one entry", func(t *tables) {
		n := nameTrans{name: "x", target: 1, class: 1, newType: 1, sources: bitmap{{0, 1}}}
		t.names = []nameTrans{n, n}
		t.nameGroups = []nameGroup{{0, 1}, {1, 2}}
	})
	with("expected operator 1 to 7 in a conditional, found 8", func(t *tables) {
		t.conds = []cond{{expr: []condOp{{op: 8}}}}
		t.condRules = nil
	})
	with("expected 2 values for operator 4 of a conditional, found 1", func(t *tables) {
		t.conds = []cond{{expr: []condOp{{condBool, 1}, {op: condAnd}}}}
		t.condRules = nil
	})
	with("expected the conditional to leave one value, found 2", func(t *tables) {
		t.conds = []cond{{expr: []condOp{{condBool, 1}, {condBool, 1}}}}
		t.condRules = nil
	})
	with("expected a conditional of depth 10 at most", func(t *tables) {
		t.conds = []cond{{expr: make([]condOp, 21)}}
		for i := range t.conds[0].expr {
			t.conds[0].expr[i] = condOp{condBool, 1}
		}
		t.condRules = nil
	})
	with("expected the value of a type for the result of a type rule", func(t *tables) {
		t.rules = append(t.rules[:1:1], rule(ruleMember, 999))
	})
	with("expected the value of a class for a rule, found 999", func(t *tables) {
		t.rules = []avRule{{1, 1, 999, ruleAllow, 1}}
	})
	with("expected one known kind of rule, found 0x3", func(t *tables) {
		t.rules = []avRule{rule(3, 1)}
	})
	with("expected one known kind of rule, found 0x8001", func(t *tables) {
		t.rules = []avRule{rule(ruleAllow|ruleEnabled, 1)}
	})
	with("expected at least one access vector rule, found none", func(t *tables) { t.rules = nil })
	with("expected a valid context, found one where", func(t *tables) {
		o := t.ocontexts[oconISID][0]
		o.contexts = []context{{user: 1, role: 2, typ: 900, span: o.contexts[0].span}}
		t.ocontexts[oconISID] = []ocontext{o}
	})
	users := func(change func(*user)) func(t *tables) {
		return func(t *tables) {
			t.users = append([]user(nil), t.users...)
			change(&t.users[0])
		}
	}
	with("expected bounds that are defined, found none", users(func(u *user) { u.bounds = 77 }))
	with("expected bounds of depth 3 at most, found a deeper or circular one", users(func(u *user) { u.bounds = u.value }))
	with("roles: expected defined values, found 64", users(func(u *user) { u.roles = u.roles.with(63) }))
	with("expected a defined sensitivity, found 9", users(func(u *user) { u.deflt.sens = 9 }))
	with("expected a value of its own, found 1 twice", func(t *tables) {
		t.users = append([]user(nil), t.users...)
		t.users[0].value, t.users[1].value = 1, 1
	})
	with("expected a value of 1 to 2, found 3", users(func(u *user) { u.value = 3 }))
	with("expected bounds that are a type, found attribute", func(t *tables) {
		t.types = append([]typ(nil), t.types...)
		attr := uint32(0)
		for _, e := range t.types {
			if e.attribute() {
				attr = e.value
			}
		}
		for i := range t.types {
			if t.types[i].name == "a_t" {
				t.types[i].bounds = attr
			}
		}
	})
	constraintOf := func(want string, expr ...consOp) {
		with(want, func(t *tables) {
			t.classes = append([]class(nil), t.classes...)
			t.classes[0].constraints = []constraint{{perms: 1, expr: expr}}
		})
	}
	leaf := consOp{kind: consAttr, attr: attrUser, op: opEq}
	constraintOf("expected the constraint to leave one value, found 2", leaf, leaf)
	constraintOf("expected the constraint to leave one value, found 0")
	constraintOf("expected 2 values for a step of a constraint, found 1", leaf, consOp{kind: consOr})
	constraintOf("expected 1 values for a step of a constraint, found 0", consOp{kind: consNot})
	constraintOf("expected a constraint of depth 5 at most", leaf, leaf, leaf, leaf, leaf, leaf)
	constraintOf("expected an attribute and an operator that fit it", consOp{kind: consAttr, attr: attrType, op: opDom})
	constraintOf("expected an attribute and an operator that fit it in a constraint, found 3 and 1", consOp{kind: consAttr, attr: attrUser | attrRole, op: opEq})
	constraintOf("expected kind of step 1 to 5", consOp{kind: 6})
	constraintOf("expected a third context only in validatetrans", consOp{kind: consNames, attr: attrType | attrXTarget, op: opEq, source: &typeSet{}})
	constraintOf("expected == or != beside names", consOp{kind: consNames, attr: attrType, op: opDom, source: &typeSet{}})
	constraintOf("expected user, role or type beside names", consOp{kind: consNames, attr: attrL1L2, op: opEq, source: &typeSet{}})
	constraintOf("expected one context beside names", consOp{kind: consNames, attr: attrType | attrTarget | attrXTarget, op: opEq, source: &typeSet{}})
	constraintOf("names of a constraint: expected defined values, found 64", consOp{kind: consNames, attr: attrUser, op: opEq, names: bitmap{{0, 1 << 63}}, source: &typeSet{}})
	return out
}
