package engine

import (
	"sememcached/avc"
	"sememcached/mac"
	"sememcached/storage"
)

// judge is check for helper goroutines: it may block on the decider, and it
// judges in the generation that is in force when the decision comes.
func (e *Secured) judge(ssid, target avc.SID, class avc.Class, need avc.Perms) mac.Verdict {
	if e.off {
		return mac.Verdict{Allowed: true}
	}
	g, a := e.mon.DecideNow(mac.Question{Kind: mac.AskAccess, Class: class, Source: ssid, Target: target})
	d := a.Decision
	if a.Err != nil {
		d = avc.Decision{Failed: true}
	}
	return g.Judge(d, need)
}

// auditOff reports a verdict on a whole label, given off the loops.
func (e *Secured) auditOff(peer *mac.Peer, ssid, target avc.SID, v mac.Verdict, op Op) {
	if r := e.recordOff(peer, ssid, target, v, op); r != nil {
		e.mon.Audit(r)
	}
}

// recordOff is the record of a verdict on a whole label, given off the loops; nil
// if it calls for none.
func (e *Secured) recordOff(peer *mac.Peer, ssid, target avc.SID, v mac.Verdict, op Op) *mac.Record {
	if v.Audit == 0 {
		return nil
	}
	sids := e.mon.SIDs()
	return &mac.Record{
		Granted: v.Granted, Permissive: v.Allowed && !v.Granted,
		Class: avc.ClassItem, Perms: v.Audit,
		Scontext: sids.String(ssid), Tcontext: sids.String(target),
		Peer: peer, Command: Table[op].Name,
	}
}

// labelsInUse lists the labels that have items.
func (e *Secured) labelsInUse() []avc.SID {
	var ls []avc.SID
	if e.data != nil {
		ls = e.data.unloaded()
	}
	e.store.Labels(func(label uint32, st storage.LabelStats) bool {
		if st.Items > 0 {
			ls = append(ls, avc.SID(label))
		}
		return true
	})
	return ls
}
