package avc

// Table is a worker's own cache of decisions. It belongs to one goroutine.
//
// It is a fixed array of sets of four entries. A look-up compares at most four
// entries, which lie in two cache lines. A full set loses an entry of an older
// generation first, then one in turn.
type Table struct {
	sets  []set // a power of two
	shift uint  // 64 - log2(len(sets))
	turn  uint8
}

const ways = 4

type set [ways]entry

// entry is 32 bytes. seq 0 is empty: generations count from 1.
type entry struct {
	seq        uint64
	ssid, tsid SID
	allowed    Perms
	auditAllow Perms
	auditDeny  Perms
	class      Class
	permissive bool
}

// NewTable makes a table for entries decisions, rounded up to a power of two;
// at least 4.
func NewTable(entries int) *Table {
	n, bits := 1, uint(0)
	for n*ways < entries {
		n *= 2
		bits++
	}
	return &Table{sets: make([]set, n), shift: 64 - bits}
}

// Len is the number of decisions that t can hold.
func (t *Table) Len() int { return len(t.sets) * ways }

func (t *Table) set(ssid, tsid SID, c Class) *set {
	// Fibonacci hashing: SIDs are small and dense, the high bits mix best. A
	// shift by 64 (a single set) is 0 in Go.
	h := (uint64(ssid)<<32 | uint64(tsid)) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h = (h + uint64(c)) * 0xbf58476d1ce4e5b9
	return &t.sets[h>>t.shift]
}

// Lookup finds the decision for a subject, an object's label and a class in
// generation seq. An entry of any other generation is a miss. About SID 0 there
// is nothing to ask: it is found, and denied.
func (t *Table) Lookup(seq uint64, ssid, tsid SID, c Class) (Decision, bool) {
	if ssid == 0 || tsid == 0 {
		return Nobody(), true
	}
	s := t.set(ssid, tsid, c)
	for i := range s {
		if e := &s[i]; e.ssid == ssid && e.tsid == tsid && e.seq == seq && e.class == c && seq != 0 {
			return Decision{
				Allowed: e.allowed, AuditAllow: e.auditAllow, AuditDeny: e.auditDeny,
				Permissive: e.permissive,
			}, true
		}
	}
	return Decision{}, false
}

// Insert keeps d, which was computed in generation seq. A failed decision is
// not kept, nor one about SID 0.
func (t *Table) Insert(seq uint64, ssid, tsid SID, c Class, d Decision) {
	if d.Failed || ssid == 0 || tsid == 0 || seq == 0 {
		return
	}
	s := t.set(ssid, tsid, c)
	victim := -1
	for i := range s {
		e := &s[i]
		if e.ssid == ssid && e.tsid == tsid && e.class == c {
			victim = i
			break
		}
		if victim < 0 && e.seq != seq {
			victim = i
		}
	}
	if victim < 0 {
		victim = int(t.turn % ways)
		t.turn++
	}
	s[victim] = entry{
		seq: seq, ssid: ssid, tsid: tsid, class: c,
		allowed: d.Allowed, auditAllow: d.AuditAllow, auditDeny: d.AuditDeny,
		permissive: d.Permissive,
	}
}
