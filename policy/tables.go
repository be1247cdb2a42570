package policy

// The sections of a binary policy in decoded form. Every table keeps the order
// of the file and every number of it, so that the file can be written back
// byte for byte; what decisions need in another shape is derived in index.go
// and points here.

// Bits of the config word.
const (
	configMLS           = 1
	configRejectUnknown = 2
	configAllowUnknown  = 4
)

// Bits of a type's properties.
const (
	typePrimary   = 1
	typeAttribute = 2
)

// tables is one policy, decoded and validated. Nothing writes to it after
// Read has returned, so any number of goroutines and Policies share it.
type tables struct {
	version, config uint32
	ocontextKinds   uint32

	policycaps bitmap // by capability number
	permissive bitmap // by type value
	neveraudit bitmap // by type value, version 35

	nprim [symbolTables]uint32 // highest value of each symbol table

	commons []common
	classes []class
	roles   []role
	types   []typ
	users   []user
	bools   []boolean
	levels  []sensitivity
	cats    []category

	rules       []avRule
	xperms      []xperm // of rules and condRules, by data
	conds       []cond
	condRules   []avRule // of all conditionals, cond.trueEnd etc. cut it
	roleTrans   []roleTrans
	roleAllow   []roleAllow
	names       []nameTrans
	nameGroups  []nameGroup // version 33 and up: groups of names
	ocontexts   [maxOcontextKinds][]ocontext
	genfs       []genfs
	rangeTrans  []rangeTrans
	typeAttrMap []bitmap // by type value - 1, as in the file

	symbols
	index
}

// Numbers of the symbol tables, in the order of the file.
const (
	symCommons = iota
	symClasses
	symRoles
	symTypes
	symUsers
	symBools
	symLevels
	symCats
	symbolTables
)

type perm struct {
	name  string
	value uint32 // 1..32
}

type common struct {
	name         string
	value, nprim uint32
	perms        []perm
}

type class struct {
	name, common  string // common is "" if the class inherits none
	value, nprim  uint32
	perms         []perm // its own only
	constraints   []constraint
	validatetrans []constraint

	defaultUser, defaultRole, defaultRange, defaultType uint32

	byBit  *[maxPerms]string // derived: all permissions, inherited ones too; "" is none
	socket bool              // derived: the kernel knows it as a socket
}

type role struct {
	name             string
	value, bounds    uint32
	dominates, types bitmap // by value - 1
}

type typ struct {
	name                      string
	value, properties, bounds uint32
}

type user struct {
	name          string
	value, bounds uint32
	roles         bitmap // by value - 1
	span          mlsRange
	deflt         level
}

type boolean struct {
	name         string
	value, state uint32
}

type sensitivity struct {
	name  string
	alias uint32
	level level // the sensitivity's value and the categories allowed with it
}

type category struct {
	name         string
	value, alias uint32
}

// Kinds of access vector rules. ruleEnabled marks rules of a conditional that
// were in force when the policy was compiled; it is kept, and never believed.
const (
	ruleAllow       = 0x0001
	ruleAuditAllow  = 0x0002
	ruleAuditDeny   = 0x0004
	ruleAV          = ruleAllow | ruleAuditAllow | ruleAuditDeny
	ruleTransition  = 0x0010
	ruleMember      = 0x0020
	ruleChange      = 0x0040
	ruleType        = ruleTransition | ruleMember | ruleChange
	ruleXAllow      = 0x0100
	ruleXAuditAllow = 0x0200
	ruleXDontAudit  = 0x0400
	ruleX           = ruleXAllow | ruleXAuditAllow | ruleXDontAudit
	ruleEnabled     = 0x8000
)

// avRule is one item of the access vector table: 12 bytes, no pointers, since
// real policies hold 100,000 of them.
type avRule struct {
	source, target, class, spec uint16
	data                        uint32 // permissions, a type, or an index into xperms
}

// xperm is the extended permissions of one rule: 256 numbers of kind.
type xperm struct {
	kind, driver uint8
	perms        [8]uint32
}

// cond is one conditional: an expression over booleans and the rules of its
// two branches, which are condRules[first:mid] and condRules[mid:end].
type cond struct {
	state           uint32 // when the policy was compiled
	expr            []condOp
	first, mid, end uint32
}

type condOp struct{ op, boolean uint32 }

type roleTrans struct{ role, typ, newRole, class uint32 }

type roleAllow struct{ role, newRole uint32 }

// nameTrans is a type transition for objects of one name. Before version 33
// each stands alone with one source type; from 33 on, those with the same
// target, class and name follow each other in a nameGroup.
type nameTrans struct {
	name          string
	source        uint32 // before version 33
	target, class uint32
	newType       uint32
	sources       bitmap // from version 33 on, by value - 1
}

// nameGroup is the run names[first:end] of one (target, class, name).
type nameGroup struct{ first, end uint32 }

// Kinds of object contexts, in the order of the file.
const (
	oconISID = iota
	oconFS
	oconPort
	oconNetif
	oconNode
	oconFSUse
	oconNode6
	oconIBPKey
	oconIBEndPort
	maxOcontextKinds
)

// ocontext labels one kernel object outside the file systems. Which fields
// are in use depends on the kind.
type ocontext struct {
	name     string    // fs, netif, fsuse, ibendport
	n        [3]uint32 // isid: sid; port: protocol, low, high; fsuse: behaviour; ibpkey: low, high; ibendport: port
	addr     []byte    // node, node6: address and mask; ibpkey: prefix
	contexts []context // fs and netif have two
}

type genfs struct {
	fstype string
	paths  []genfsPath
}

type genfsPath struct {
	path    string
	class   uint32
	context context
}

type rangeTrans struct {
	source, target, class uint32
	span                  mlsRange
}

// context is a security context in numbers. Without MLS the range means
// nothing, and holds what the file holds.
type context struct {
	user, role, typ uint32
	span            mlsRange
}

// mlsRange is a pair of levels; items says whether the file spells out both.
type mlsRange struct {
	items     uint32
	low, high level
}

type level struct {
	sens uint32
	cats bitmap // by value - 1
}
