package engine

import (
	"io"

	"sememcached/avc"
	"sememcached/mac"
)

// Backup writes a copy of the data file to w: everything that was changed
// before is in it. Commits go on meanwhile. It blocks. Of a file that was closed for good a copy
// can still be had under SyncAlways, since all that was answered is in it.
func (d *Data) Backup(w io.Writer) error {
	if err := d.Barrier(); err != nil && (!d.always || d.Err() == nil) {
		return err
	}
	_, err := d.file.WriteTo(w)
	return err
}

// PeerMay says, and audits, whether whoever is at the other end of p has the
// kv_server permissions of op. It may block and is not for event loops. p.FD must
// stay open meanwhile.
func (e *Secured) PeerMay(p *mac.Peer, op Op) (ok bool) {
	need := Table[op].Server
	if e.off || need == 0 {
		return e.off && need != 0
	}
	e.Guarded(func() {
		g := e.mon.Generation()
		s := e.mon.Subject(g, p)
		defer e.mon.SIDs().Release(s)
		v := e.judge(s, g.Server, avc.ClassServer, need)
		ok = v.Allowed
		if v.Audit != 0 {
			sids := e.mon.SIDs()
			e.mon.Audit(&mac.Record{
				Granted: v.Granted, Permissive: v.Allowed && !v.Granted,
				Class: avc.ClassServer, Perms: v.Audit,
				Scontext: sids.String(s), Tcontext: sids.String(g.Server),
				Peer: p, Command: Table[op].Name,
			})
		}
	})
	return ok
}
