package policy

// constraint takes permissions away: where its expression is false, its
// permissions are denied whatever the rules say. A validatetrans rule has the
// same shape, and its permissions are not used.
type constraint struct {
	perms AV
	expr  []consOp
}

// consOp is one step of an expression in reverse Polish notation.
type consOp struct {
	kind, attr, op uint32
	names          bitmap   // kind names: users, roles or types by value - 1
	source         *typeSet // what the policy's author wrote, for explanations only
}

// typeSet is a set of types and attributes as written in the policy source.
type typeSet struct {
	types, negset bitmap
	flags         uint32
}

// Kinds of steps.
const (
	consNot = iota + 1
	consAnd
	consOr
	consAttr
	consNames
)

// What a step looks at. user, role, type and one of the two targets may be
// combined for consNames; everything else stands alone.
const (
	attrUser    = 1
	attrRole    = 2
	attrType    = 4
	attrTarget  = 8
	attrXTarget = 16
	attrL1L2    = 32
	attrL1H2    = 64
	attrH1L2    = 128
	attrH1H2    = 256
	attrL1H1    = 512
	attrL2H2    = 1024
)

// How a step compares.
const (
	opEq = iota + 1
	opNeq
	opDom
	opDomBy
	opIncomp
)

// maxConsDepth is the kernel's CEXPR_MAXDEPTH.
const maxConsDepth = 5

func (d *decoder) constraints(n int, validatetrans bool) []constraint {
	if n == 0 || d.err != nil {
		return nil
	}
	cs := make([]constraint, n)
	for i := range cs {
		off := d.off
		cs[i].perms = AV(d.u32("permissions of a constraint"))
		cs[i].expr = make([]consOp, d.count(12, "steps of a constraint"))
		depth := 0
		for j := range cs[i].expr {
			depth = d.consOp(&cs[i].expr[j], depth, validatetrans)
		}
		if d.err == nil && depth != 1 {
			d.fail(off, "expected the constraint to leave one value, found %d", depth)
		}
	}
	return cs
}

// consOp reads one step and returns the depth of the stack after it.
func (d *decoder) consOp(o *consOp, depth int, validatetrans bool) int {
	off := d.off
	*o = consOp{kind: d.u32("kind of a step"), attr: d.u32("attribute of a step"), op: d.u32("operator of a step")}
	if d.err != nil {
		return 0
	}
	need := 0
	switch o.kind {
	case consNot:
		need = 1
	case consAnd, consOr:
		need = 2
	case consAttr:
		if !validAttrStep(o.attr, o.op) {
			d.fail(off, "expected an attribute and an operator that fit it in a constraint, found %d and %d", o.attr, o.op)
		}
	case consNames:
		switch o.attr &^ (attrTarget | attrXTarget) {
		case attrUser, attrRole, attrType:
		default:
			d.fail(off+4, "expected user, role or type beside names of a constraint, found %#x", o.attr)
		}
		if o.attr&(attrTarget|attrXTarget) == attrTarget|attrXTarget {
			d.fail(off+4, "expected one context beside names of a constraint, found %#x", o.attr)
		}
		if o.attr&attrXTarget != 0 && !validatetrans {
			d.fail(off+4, "expected a third context only in validatetrans, found one in a constraint")
		}
		if o.op != opEq && o.op != opNeq {
			d.fail(off+8, "expected == or != beside names of a constraint, found %d", o.op)
		}
		o.names = d.bitmap("names of a constraint")
		if d.t.version >= versionConstraintNames {
			o.source = &typeSet{types: d.bitmap("types of a type set"), negset: d.bitmap("types of a type set")}
			o.source.flags = d.u32("flags of a type set")
		}
	default:
		d.fail(off, "expected kind of step %d to %d in a constraint, found %d", consNot, consNames, o.kind)
	}
	switch {
	case depth < need:
		d.fail(off, "expected %d values for a step of a constraint, found %d", need, depth)
	case need == 2:
		depth--
	case need == 0 && depth == maxConsDepth:
		d.fail(off, "expected a constraint of depth %d at most, found a deeper one", maxConsDepth)
	case need == 0:
		depth++
	}
	return depth
}

func validAttrStep(attr, op uint32) bool {
	switch attr {
	case attrUser, attrType:
		return op == opEq || op == opNeq
	case attrRole, attrL1L2, attrL1H2, attrH1L2, attrH1H2, attrL1H1, attrL2H2:
		return op >= opEq && op <= opIncomp
	}
	return false
}

// subject is a context whose type is looked at apart, because bounds ask the
// same question about the parent of the type.
type subject struct {
	*context
	typ uint32
}

// holds evaluates an expression; x is the third context of validatetrans.
// Analogous to constraint_expr_eval of the kernel's services.c. The stack is
// a word: decoding made sure that it is never deeper than five and never
// empty.
func (t *tables) holds(expr []consOp, s, o, x subject) bool {
	var stack uint32
	for i := range expr {
		e := &expr[i]
		var v bool
		switch e.kind {
		case consNot:
			stack ^= 1
			continue
		case consAnd:
			top := stack & 1
			stack >>= 1
			stack &= ^uint32(1) | top
			continue
		case consOr:
			top := stack & 1
			stack >>= 1
			stack |= top
			continue
		case consAttr:
			v = t.step(e, s, o)
		case consNames:
			v = namesStep(e, s, o, x)
		}
		stack <<= 1
		if v {
			stack |= 1
		}
	}
	return stack&1 != 0
}

// step compares an attribute of the two contexts.
func (t *tables) step(e *consOp, s, o subject) bool {
	switch e.attr {
	case attrUser:
		return (s.user == o.user) == (e.op == opEq)
	case attrType:
		return (s.typ == o.typ) == (e.op == opEq)
	case attrRole:
		return t.compareRoles(e.op, s.role, o.role)
	}
	a, b := stepLevels(e.attr, s.context, o.context)
	return compareLevels(e.op, a, b)
}

// stepLevels picks the two levels that an MLS step compares.
func stepLevels(attr uint32, s, o *context) (a, b *level) {
	switch attr {
	case attrL1L2:
		return &s.span.low, &o.span.low
	case attrL1H2:
		return &s.span.low, &o.span.high
	case attrH1L2:
		return &s.span.high, &o.span.low
	case attrH1H2:
		return &s.span.high, &o.span.high
	case attrL1H1:
		return &s.span.low, &s.span.high
	default: // attrL2H2
		return &o.span.low, &o.span.high
	}
}

func (t *tables) compareRoles(op, a, b uint32) bool {
	switch op {
	case opEq:
		return a == b
	case opNeq:
		return a != b
	}
	dom := t.dominates(a).has(b - 1)
	domby := t.dominates(b).has(a - 1)
	switch op {
	case opDom:
		return dom
	case opDomBy:
		return domby
	default: // opIncomp
		return !dom && !domby
	}
}

// namesStep asks whether the user, role or type of one context is in a list.
func namesStep(e *consOp, s, o, x subject) bool {
	c := s
	if e.attr&attrTarget != 0 {
		c = o
	} else if e.attr&attrXTarget != 0 {
		c = x
	}
	v := c.typ
	if e.attr&attrUser != 0 {
		v = c.user
	} else if e.attr&attrRole != 0 {
		v = c.role
	}
	return e.names.has(v-1) == (e.op == opEq)
}
