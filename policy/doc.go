// Package policy reads binary SELinux policies and decides as the kernel's
// security server does. It knows contexts, classes and permissions; it does
// not know processes, sockets, files, caches or time, and reads nothing but
// the bytes it is given.
//
// A binary policy of version 24 to 35, all numbers little-endian, nothing
// aligned:
//
//	+-------+---+----------+---------+--------+------+-------+
//	| magic | 8 | SE Linux | version | config | nsym | nocon |   config: 1 MLS, 2 reject, 4 allow unknown
//	+-------+---+----------+---------+--------+------+-------+
//	| policy capabilities | permissive types | [35: neveraudit types]
//	| commons | classes | roles | types | users | booleans | sensitivities | categories
//	| access vector rules
//	| conditionals: state, expression, rules if true, rules if false
//	| role transitions | role allows | [25: named transitions; 33: grouped by name]
//	| object contexts of 7 kinds, [31: of 9] | genfs | range transitions
//	| for each type value: its attributes
//	+----------------------------------------------------------------
//
// A symbol table is its highest value, the number of entries and the entries;
// each symbol has a value from 1 on, and all later sections use values. What a
// version added stands beside the constants in decode.go, what an entry holds
// beside the types in tables.go.
//
// The version word changes what follows, so that one reader serves all:
//
//	26 class in role transitions       30 extended permissions
//	27 default_user, _role, _range     31 two kinds of object contexts
//	28 default_type                    32 glblub as default_range
//	29 source names in constraints     34 extended permissions in conditionals
//
// Reading and validating are one step: a policy that was not validated cannot
// be asked. A file is refused if a count exceeds its bytes, if a number names
// nothing, if an expression would underflow, if a context in it does not hold,
// if two rules contradict each other, or if bytes are left over; the kernel
// refuses nearly all of these too.
//
// A decision is the sum of the rules between all attributes of both types,
// less what constraints, role changes and bounds take away. Nothing in it
// grants by default: the zero Decision denies, a Context of another policy is
// denied, and only handle_unknown, written in the policy, allows what the
// policy does not know.
//
// What a decision rests on can be asked, too: Explain lists every reason,
// ExplainCreate every step to a label, Compare the questions that two policies
// answer differently, and AppendBinary writes the bytes that were read.
//
// To read the source, follow Read: reader.go (bytes), decode.go and its
// siblings (sections, into tables.go), symbols.go (names and values),
// validate.go, index.go (rules by key); then ComputeAV in decide.go, with
// constraint.go, mls.go and conditional.go, and ComputeCreate in create.go.
//
// There are no locks. A Policy is immutable; another boolean is another
// Policy, which shares the tables.
package policy
