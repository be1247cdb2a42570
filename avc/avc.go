// Package avc holds the words and the memory of access decisions: security
// identifiers, access vectors, and the caches in front of whoever decides. It
// decides nothing and knows no policy.
//
// # Names
//
// A SID stands for one security context, as in the kernel and in libselinux:
// user:role:type:range, interned as one number for the life of the process.
// Classes and permissions have numbers of our own, dense and fixed, as
// selinux_set_mapping gives them to object managers; the numbers of a policy,
// which move with every policy load, never leave the package that asks it.
//
// # Layers
//
//	worker's Table      no lock, no allocation; one for each event loop
//	Cache               shared and bounded, a brief lock (golang-lru)
//	security server     the kernel or a policy file; see package mac
//
// Every entry carries the sequence number of the generation it was computed in
// and counts only for a reader of exactly that generation, so that a reload
// empties both layers by publishing one number: nothing is flushed, and nothing
// that was asked before a reload and arrives after it is taken for new. (The
// libselinux AVC refuses a late insert by comparing sequence numbers; here the
// look-up compares, which needs no lock.)
//
// An entry is the raw answer of the security server: allowed, auditallow,
// auditdeny and whether the domain is permissive. Enforcing and permissive modes
// are applied after the look-up and never stored, so that every denial is
// audited; libselinux stores "allowed" after the first permissive denial and
// logs only once.
//
// # The life of a SID
//
// A SID is held by reference counts (connections, pending work, lines of the
// contexts file) and by the items that carry it, which are not counted here: the
// store is asked. A number that nobody holds is not given to another context at
// once, because some worker may just have read it from an item or have a cached
// verdict for it. It goes through two stages, each of which ends only when every
// worker has passed to a newer generation:
//
//	used -> marked     no references, no items
//	marked -> doomed   every worker has since passed a new generation, and still
//	                   no references, no items: no cache of a generation in use
//	                   names the SID as a label to create, and no item shows it
//	doomed -> free     every worker has since passed a new generation again: no
//	                   verdict about the SID can be found any more
//
// Intern, the one way to get the number of a context from outside, takes it out
// of the sequence at any stage.
//
// Rule for users: a SID read from an item or from an answer may be used until the
// worker passes to the next generation. To keep it longer, Retain it while
// whatever named it still holds it.
package avc

import "fmt"

// SID is the number of a security context. 0 is nobody and is denied
// everything.
type SID uint32

// Class is one of our object classes. 0 is none and has no permissions.
type Class uint8

// The object classes. Items carry their own label; the server's operations are
// checked against the server's context.
const (
	ClassItem   Class = 1 // kv_item
	ClassServer Class = 2 // kv_server
)

// Perms is a set of permissions of one class. 0 is the empty set.
type Perms uint32

// The permissions of kv_item, those of the selinux_engine plugin of 2010.
const (
	Create      Perms = 1 << iota // a new item gets this label
	Getattr                       // existence, size, flags, expiry, label
	Setattr                       // expiry and metadata
	Remove                        // delete, and flush_all for each label
	RelabelFrom                   // take this label off an item
	RelabelTo                     // put this label on an item
	Read                          // the value
	Write                         // replace the value
	Append                        // extend the value at either end
	Calculate                     // incr and decr
)

// The permissions of kv_server.
const (
	ServerStats    Perms = 1 << iota // statistics and settings
	ServerFlush                      // flush_all at all; then Remove for each label
	ServerConfig                     // tuning, statistics reset, verbosity
	ServerDump                       // listings of keys and connections
	ServerWatch                      // the event stream
	ServerShutdown                   // end the server
)

var classNames = [...]string{ClassItem: "kv_item", ClassServer: "kv_server"}

var permNames = [...][]string{
	ClassItem:   {"create", "getattr", "setattr", "remove", "relabelfrom", "relabelto", "read", "write", "append", "calculate"},
	ClassServer: {"stats", "flush", "config", "dump", "watch", "shutdown"},
}

// Classes lists the classes in the order of their numbers.
func Classes() []Class { return []Class{ClassItem, ClassServer} }

// String is the name of the class in policies.
func (c Class) String() string {
	if c != 0 && int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Names lists the permissions of c by the order of their bits. The slice is
// shared: do not change it.
func (c Class) Names() []string {
	if int(c) < len(permNames) {
		return permNames[c]
	}
	return nil
}

// All is the set of all permissions of c.
func (c Class) All() Perms { return 1<<len(c.Names()) - 1 }

// PermNames names the permissions in p by the order of their bits. Bits that c
// does not define are left out. The slice is the caller's.
func (c Class) PermNames(p Perms) []string {
	var names []string
	for i, n := range c.Names() {
		if p&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// Perm looks up a permission of c by its name in policies.
func (c Class) Perm(name string) (Perms, bool) {
	for i, n := range c.Names() {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Decision is the raw answer to one access question. It is never adjusted for
// permissive mode. The zero value denies.
type Decision struct {
	Allowed    Perms // granted by the policy
	AuditAllow Perms // to be logged when granted
	AuditDeny  Perms // to be logged when denied: all but dontaudit
	Permissive bool  // the source's domain is permissive: log, do not deny
	Failed     bool  // nobody could decide; denies, and is not kept in a Table
}

// Nobody is the decision about SID 0 as source or target: nothing is allowed,
// and every denial is logged.
func Nobody() Decision { return Decision{AuditDeny: ^Perms(0)} }
