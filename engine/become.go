package engine

import "sememcached/mac"

// Become implements Interface.
func (e *Secured) Become(cl *Client, p *mac.Peer) {
	sids := e.mon.SIDs()
	if cl.ssid != 0 {
		sids.Release(cl.ssid)
	}
	if cl.create != 0 {
		sids.Release(cl.create)
	}
	*cl = Client{Peer: p}
}
