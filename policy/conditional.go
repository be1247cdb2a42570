package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Operators of a conditional.
const (
	condBool = iota + 1
	condNot
	condOr
	condAnd
	condXor
	condEq
	condNeq
)

// maxCondDepth is the kernel's COND_EXPR_MAXDEPTH.
const maxCondDepth = 10

// Which branch of a conditional is in force, in Policy.branch.
const (
	branchFalse uint32 = 0
	branchTrue  uint32 = 1
)

// WithBooleans is p with other values for some of its booleans, and is as
// immutable as p. The two share everything but those values, so contexts of
// one are contexts of the other and the cost is that of evaluating the
// conditionals. A name that is not a boolean of the policy is an error.
func (p *Policy) WithBooleans(values map[string]bool) (*Policy, error) {
	q := &Policy{tables: p.tables, bools: slices.Clone(p.bools)}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, ok := p.boolNames[name]
		if !ok {
			return nil, fmt.Errorf("policy: expected the name of a boolean, found %q", name)
		}
		q.bools[v-1] = values[name]
	}
	q.evaluate()
	return q, nil
}

// evaluate sets branch from bools.
func (p *Policy) evaluate() {
	p.branch = make([]uint32, len(p.conds))
	for i := range p.conds {
		if evalCond(p.conds[i].expr, p.bools) {
			p.branch[i] = branchTrue
		}
	}
}

// evalCond runs an expression that validate found sound.
func evalCond(expr []condOp, bools []bool) bool {
	var stack uint32
	for _, e := range expr {
		switch e.op {
		case condBool:
			stack <<= 1
			if bools[e.boolean-1] {
				stack |= 1
			}
			continue
		case condNot:
			stack ^= 1
			continue
		}
		b := stack & 1
		stack >>= 1
		switch e.op {
		case condOr:
			stack |= b
		case condAnd:
			stack &= ^uint32(1) | b
		case condXor, condNeq:
			stack ^= b
		case condEq:
			stack ^= b ^ 1
		}
	}
	return stack&1 != 0
}
