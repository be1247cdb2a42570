package avc

// Table is a worker's own cache of decisions. It belongs to one goroutine.
//
// It is an array of sets of four entries. A look-up compares at most four
// entries, which lie in two cache lines. A full set loses an entry of an older
// generation first, then one in turn; when that happens often, the table doubles.
type Table struct {
	sets  []set // a power of two
	shift uint  // 64 - log2(len(sets))
	turn  uint8
	lost  int // entries of the newest generation that fell out at this size
	most  int // sets
}

const ways = 4

type set [ways]entry

// entry is 32 bytes, and a look-up compares two words of it. Generations count
// from 1, so an empty entry is never found.
type entry struct {
	pair       uint64 // ssid << 32 | tsid
	stamp      uint64 // seq << 8 | class
	allowed    Perms
	auditAllow Perms
	auditDeny  Perms
	permissive bool
}

func pairOf(ssid, tsid SID) uint64 { return uint64(ssid)<<32 | uint64(tsid) }

func stampOf(seq uint64, c Class) uint64 { return seq<<8 | uint64(c) }

// NewTable makes a table for entries decisions that may grow to most, both rounded
// up to a power of two; at least 4.
func NewTable(entries, most int) *Table {
	t := &Table{most: 1 << setBits(most)}
	t.resize(setBits(entries))
	return t
}

// setBits is the logarithm of the number of sets that hold so many entries.
func setBits(entries int) (bits uint) {
	for ways<<bits < entries {
		bits++
	}
	return bits
}

func (t *Table) resize(bits uint) {
	t.sets, t.shift = make([]set, 1<<bits), 64-bits
}

// grow doubles the table and keeps the decisions of generation seq.
func (t *Table) grow(seq uint64) {
	old := t.sets
	t.resize(64 - t.shift + 1)
	t.lost = 0
	for i := range old {
		for _, e := range old[i] {
			if e.stamp>>8 == seq && e.pair != 0 {
				t.place(seq, e)
			}
		}
	}
}

// Len is the number of decisions that t can hold.
func (t *Table) Len() int { return len(t.sets) * ways }

func (t *Table) set(pair uint64, c Class) *set {
	// Fibonacci hashing: SIDs are small and dense, the high bits of the product
	// mix best. A shift by 64 (a single set) is 0 in Go.
	return &t.sets[(pair^uint64(c)<<24)*0x9e3779b97f4a7c15>>t.shift]
}

// Lookup finds the decision for a subject, an object's label and a class in
// generation seq. An entry of any other generation is a miss. About SID 0 there
// is nothing to ask: it is found, and denied.
func (t *Table) Lookup(seq uint64, ssid, tsid SID, c Class) (Decision, bool) {
	if ssid == 0 || tsid == 0 {
		return Nobody(), true
	}
	pair, stamp := pairOf(ssid, tsid), stampOf(seq, c)
	s := t.set(pair, c)
	for i := range s {
		if e := &s[i]; e.pair == pair && e.stamp == stamp {
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
	t.place(seq, entry{
		pair: pairOf(ssid, tsid), stamp: stampOf(seq, c),
		allowed: d.Allowed, auditAllow: d.AuditAllow, auditDeny: d.AuditDeny,
		permissive: d.Permissive,
	})
	// An eighth of the table has fallen out, of questions that are asked again.
	if t.lost > len(t.sets)*ways/8 && len(t.sets) < t.most {
		t.grow(seq)
	}
}

// place puts n, of generation seq, into its set.
func (t *Table) place(seq uint64, n entry) {
	c := Class(n.stamp)
	s := t.set(n.pair, c)
	victim := -1
	for i := range s {
		e := &s[i]
		if e.pair == n.pair && Class(e.stamp) == c {
			victim = i
			break
		}
		if victim < 0 && e.stamp>>8 != seq {
			victim = i
		}
	}
	if victim < 0 {
		victim = int(t.turn % ways)
		t.turn++
		t.lost++
	}
	s[victim] = n
}
