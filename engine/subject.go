package engine

import "sememcached/avc"

// SID is the client's security context as the last call found it (Known makes
// one that does nothing else), 0 for nobody. It is held by the client.
func (c *Client) SID() avc.SID { return c.ssid }

// Subject is the watcher's security context in the generation in force, held by
// the watcher until the next question; 0 for nobody.
func (x *Watcher) Subject() avc.SID {
	if !x.eng.off {
		x.refresh()
	}
	return x.ssid
}
