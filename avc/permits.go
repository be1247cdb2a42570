package avc

// Permits reports that Lookup would find a decision that allows all of need and
// wants none of it audited: the common case, answered without a copy of the
// decision. False says nothing; ask Lookup.
func (t *Table) Permits(seq uint64, ssid, tsid SID, c Class, need Perms) bool {
	if ssid == 0 || tsid == 0 {
		return false
	}
	pair, stamp := pairOf(ssid, tsid), stampOf(seq, c)
	s := t.set(pair, c)
	for i := range s {
		if e := &s[i]; e.pair == pair && e.stamp == stamp {
			return need&^e.allowed == 0 && need&e.auditAllow == 0
		}
	}
	return false
}
