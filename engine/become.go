package engine

import (
	"sememcached/avc"
	"sememcached/mac"
)

// Become implements Interface.
func (e *Secured) Become(cl *Client, p *mac.Peer) {
	sids := e.mon.SIDs()
	if cl.ssid != 0 {
		sids.Release(cl.ssid)
	}
	cl.label(sids, 0)
	*cl = Client{Peer: p}
}

// label makes s, of which it takes over the reference, the client's creation context;
// 0 is none.
func (c *Client) label(sids *avc.SIDs, s avc.SID) {
	sids.Release(c.create)
	sids.Release(c.chose)
	c.create, c.chose = s, 0
	if s != 0 {
		c.chose = c.ssid
		sids.Retain(c.chose)
	}
}
