package policy

import (
	"fmt"
	"strings"
)

// Expressions are stored in reverse Polish notation and shown as policy
// sources write them. term is a part of one: in names, in the values of a
// question, and how loosely it binds.
type term struct {
	names, values string
	binds         int
}

// How loosely operators bind.
const (
	bindsLeaf = iota
	bindsNot
	bindsCompare
	bindsAnd
	bindsOr
)

// in puts a term in parentheses where it stands beside a tighter operator.
func (a term) in(binds int) term {
	if a.binds > binds {
		return term{"(" + a.names + ")", "(" + a.values + ")", bindsLeaf}
	}
	return a
}

func unary(op string, a term) term {
	a = a.in(bindsNot)
	return term{op + a.names, op + a.values, bindsNot}
}

func infixTerm(op string, binds int, a, b term) term {
	a, b = a.in(binds), b.in(binds)
	return term{a.names + " " + op + " " + b.names, a.values + " " + op + " " + b.values, binds}
}

// condInfix writes a conditional: with the names of its booleans, and with
// their values.
func (p *Policy) condInfix(expr []condOp) (names, values string) {
	var stack []term
	for _, e := range expr {
		n := len(stack)
		switch e.op {
		case condBool:
			value := "off"
			if p.bools[e.boolean-1] {
				value = "on"
			}
			name := p.boolByValue[e.boolean-1].name
			stack = append(stack, term{name, name + "=" + value, bindsLeaf})
			continue
		case condNot:
			stack[n-1] = unary("!", stack[n-1])
			continue
		}
		op, binds := "||", bindsOr
		switch e.op {
		case condAnd:
			op, binds = "&&", bindsAnd
		case condXor:
			op, binds = "^", bindsCompare
		case condEq:
			op, binds = "==", bindsCompare
		case condNeq:
			op, binds = "!=", bindsCompare
		}
		// Comparisons do not associate: a nested one gets parentheses.
		a, b := stack[n-2], stack[n-1]
		if binds == bindsCompare {
			a, b = a.in(bindsNot), b.in(bindsNot)
		}
		stack = append(stack[:n-2], infixTerm(op, binds, a, b))
	}
	return stack[0].names, stack[0].values
}

// infix writes a constraint: as in a policy source, and with the values of
// three contexts and the outcome of each comparison.
func (t *tables) infix(expr []consOp, s, o, x subject) (names, values string) {
	var stack []term
	for i := range expr {
		e := &expr[i]
		n := len(stack)
		switch e.kind {
		case consNot:
			stack[n-1] = unary("not ", stack[n-1])
		case consAnd:
			stack = append(stack[:n-2], infixTerm("and", bindsAnd, stack[n-2], stack[n-1]))
		case consOr:
			stack = append(stack[:n-2], infixTerm("or", bindsOr, stack[n-2], stack[n-1]))
		default:
			stack = append(stack, t.leaf(e, s, o, x))
		}
	}
	return stack[0].names, stack[0].values
}

var opNames = map[uint32]string{opEq: "==", opNeq: "!=", opDom: "dom", opDomBy: "domby", opIncomp: "incomp"}

var attrNames = map[uint32][2]string{
	attrUser: {"u1", "u2"}, attrRole: {"r1", "r2"}, attrType: {"t1", "t2"},
	attrL1L2: {"l1", "l2"}, attrL1H2: {"l1", "h2"}, attrH1L2: {"h1", "l2"},
	attrH1H2: {"h1", "h2"}, attrL1H1: {"l1", "h1"}, attrL2H2: {"l2", "h2"},
}

// leaf is one comparison.
func (t *tables) leaf(e *consOp, s, o, x subject) term {
	if e.kind == consNames {
		return t.namesLeaf(e, s, o, x)
	}
	var a, b string
	switch e.attr {
	case attrUser:
		a, b = t.userByValue[s.user].name, t.userByValue[o.user].name
	case attrRole:
		a, b = t.roleByValue[s.role].name, t.roleByValue[o.role].name
	case attrType:
		a, b = t.typeByValue[s.typ].name, t.typeByValue[o.typ].name
	default:
		la, lb := stepLevels(e.attr, s.context, o.context)
		if !t.mls() {
			a, b = "none", "none"
		} else {
			a, b = t.levelString(la), t.levelString(lb)
		}
	}
	n, op := attrNames[e.attr], opNames[e.op]
	return term{n[0] + " " + op + " " + n[1], fmt.Sprintf("%s %s %s [%t]", a, op, b, t.step(e, s, o)), bindsLeaf}
}

func (t *tables) namesLeaf(e *consOp, s, o, x subject) term {
	c, number := s, "1"
	if e.attr&attrTarget != 0 {
		c, number = o, "2"
	} else if e.attr&attrXTarget != 0 {
		c, number = x, "3"
	}
	var letter, value, set string
	switch {
	case e.attr&attrUser != 0:
		letter, value = "u", t.userByValue[c.user].name
		set = setString(e.names, func(v uint32) string { return t.userByValue[v].name })
	case e.attr&attrRole != 0:
		letter, value = "r", t.roleByValue[c.role].name
		set = setString(e.names, func(v uint32) string { return t.roleByValue[v].name })
	default:
		letter, value = "t", t.typeByValue[c.typ].name
		set = t.typeSetString(e)
	}
	op := opNames[e.op]
	return term{letter + number + " " + op + " " + set, fmt.Sprintf("%s %s %s [%t]", value, op, set, namesStep(e, s, o, x)), bindsLeaf}
}

// typeSetString writes a set of types as its author did, with attributes,
// where the policy remembers that.
func (t *tables) typeSetString(e *consOp) string {
	name := func(v uint32) string {
		if d := t.typ(v); d != nil {
			return d.name
		}
		return fmt.Sprint(v)
	}
	if e.source != nil && len(e.source.types) > 0 && len(e.source.negset) == 0 && e.source.flags == 0 {
		return setString(e.source.types, name)
	}
	return setString(e.names, name)
}

// maxSetNames bounds the names that setString writes.
const maxSetNames = 8

// setString writes the names of a set of values, the first few of a large one.
func setString(b bitmap, name func(uint32) string) string {
	var names []string
	for i := range b.all {
		if len(names) == maxSetNames {
			names = append(names, fmt.Sprintf("and %d more", b.len()-maxSetNames))
			break
		}
		names = append(names, name(i+1))
	}
	if len(names) == 1 {
		return names[0]
	}
	return "{ " + strings.Join(names, " ") + " }"
}
