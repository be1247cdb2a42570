package cnp

import (
	"math/bits"
	"slices"
	"strings"
)

// Mask is a set of commands, one bit for each.
type Mask uint64

// The commands that name keys.
const (
	Get           Mask = 1 << iota // get, gets, mg, GET and its kin
	Gat                            // gat, gats, GAT
	GatKey                         // GATK and GATKQ
	Set                            // set, ms
	Add                            // add, ms ME, whatever creates an item on a miss
	Replace                        // replace, ms MR
	Append                         // append, ms MA, APPENDQ
	AppendBinary                   // APPEND
	Prepend                        // prepend, ms MP, PREPENDQ
	PrependBinary                  // PREPEND
	CAS                            // cas, ms with C, a binary store with a cas
	Incr                           // incr, ma
	Decr                           // decr, ma MD
	Delete                         // delete, md, mdp
	Touch                          // touch, and what changes the time to live of an item otherwise
	Debug                          // me
	MacLabel                       // mac label
	MacCheck                       // mac check
	MacExplain                     // mac explain
	MacRelabel                     // mac relabel, relabel
	rget                           // what the binary protocol names and no server of today serves
	rset
	rsetq
	rappend
	rappendq
	rprepend
	rprependq
	rdelete
	rdeleteq
	rincr
	rincrq
	rdecr
	rdecrq

	// The commands without a key.

	FlushAll
	Stats
	Version
	Quit
	Slabs
	LRU
	LRUCrawler
	Watch
	CacheMemlimit
	Noop // mn and the binary NOOP
	Verbosity
	SASLList
	SASLAuth
	SASLStep
	Shutdown
	RefreshCerts
	Extstore
	MacCreate
	misbehave
	setVBucket
	getVBucket
	delVBucket
	tapConnect
	tapMutation
	tapDelete
	tapFlush
	tapOpaque
	tapVBucketSet
	tapCheckpointStart
	tapCheckpointEnd

	numCommands = iota
)

// All is every command, Keyed those that name keys, Keyless the others.
const (
	All     Mask = 1<<numCommands - 1
	Keyed        = FlushAll - 1
	Keyless      = All &^ Keyed
	// Free is what a client may do without a rule, but in mode Cilium: commands that
	// tell nothing and change nothing but the connection.
	Free = Version | Quit | Noop | SASLList | SASLAuth | SASLStep

	storage    = Add | Set | Replace | Append | Prepend | CAS | Incr | Decr
	writeGroup = storage | Delete | Touch
	// Writes is every command by which an item changes.
	Writes = writeGroup | AppendBinary | PrependBinary | Gat | GatKey | MacRelabel
)

var bitNames = [...]string{
	"get", "gat", "gatk", "set", "add", "replace", "append", "binary append", "prepend", "binary prepend", "cas",
	"incr", "decr", "delete", "touch", "me", "mac-label", "mac-check", "mac-explain", "mac-relabel",
	"rget", "rset", "rsetq", "rappend", "rappendq", "rprepend", "rprependq", "rdelete", "rdeleteq", "rincr", "rincrq", "rdecr", "rdecrq",
	"flush_all", "stats", "version", "quit", "slabs", "lru", "lru_crawler", "watch", "cache_memlimit", "noop", "verbosity",
	"sasl-list-mechs", "sasl-auth", "sasl-step", "shutdown", "refresh_certs", "extstore", "mac-create",
	"misbehave", "set-vbucket", "get-vbucket", "del-vbucket",
	"tap-connect", "tap-mutation", "tap-delete", "tap-flush", "tap-opaque", "tap-vbucket-set", "tap-checkpoint-start", "tap-checkpoint-end",
}

// String lists the commands, separated by commas.
func (m Mask) String() string {
	var b strings.Builder
	for ; m != 0; m &= m - 1 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		if i := bits.TrailingZeros64(uint64(m)); i < len(bitNames) {
			b.WriteString(bitNames[i])
		} else {
			b.WriteByte('?')
		}
	}
	return b.String()
}

// names are the values of command in a rule: proxylib's, those of the commands
// it did not know, readGroup, which was announced and never came, and "*".
var names = func() map[string]Mask {
	m := map[string]Mask{"*": All, "storage": storage, "writeGroup": writeGroup, "readGroup": Get | Debug}
	for i, n := range bitNames {
		if b := Mask(1) << i; b != GatKey && b != AppendBinary && b != PrependBinary {
			m[n] = b
		}
	}
	m["mn"] = Noop
	m["relabel"] = MacRelabel
	return m
}()

// wireNames are words that people may write for a command, and what to write
// instead.
var wireNames = map[string]string{
	"gets": "get", "gats": "gat", "mg": "get (and gat where T, add where N is used)",
	"ms": "set, add, replace, append, prepend or cas, by its mode", "md": "delete (and touch where I or T, set where x is used)",
	"ma": "incr or decr (and add where N, touch where T is used)", "mdp": "delete, with the prefix as keyPrefix",
	"metadump": "lru_crawler", "auth": "nothing: authentication is always allowed",
}

// CommandNames lists what command may be in a rule, in order.
func CommandNames() []string {
	var out []string
	for n := range names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// CommandNamed is the one command of a name in a rule or of a verb of the text
// protocol; it knows no groups.
func CommandNamed(verb string) (Mask, bool) {
	switch verb {
	case "gets":
		verb = "get"
	case "gats":
		verb = "gat"
	}
	m, ok := names[verb]
	return m, ok && m&(m-1) == 0
}

// parseCommand is the set that a name in a rule stands for.
func parseCommand(name string, mode Mode) (Mask, bool) {
	m, ok := names[name]
	if mode == Cilium && (name == "storage" || name == "writeGroup" || name == "gat") {
		return m, ok
	}
	if m&Append != 0 {
		m |= AppendBinary
	}
	if m&Prepend != 0 {
		m |= PrependBinary
	}
	if m&Gat != 0 {
		m |= GatKey
	}
	return m, ok
}
