package server

import "sememcached/protocol"

// tune serves slabs, lru, lru_crawler, cache_memlimit and extstore. They steer
// parts of memcached that this server has not: what memcached accepts is
// accepted, so that tuning scripts run, and changes nothing. The memory limit
// cannot be changed while running and says so. Listings of keys are not served.
func (l *loop) tune(c *conn, r *protocol.Request) outcome {
	if r.Command == protocol.LRUCrawler {
		r.Noreply = false // memcached does not look for it there
	}
	a, bad := protocol.ParseAdmin(r)
	switch {
	case bad != "":
		return l.answer(r, bad)
	case a.Action == protocol.CrawlerMetadump || a.Action == protocol.CrawlerMgdump:
		return l.answer(r, protocol.ReplyError)
	}
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	switch a.Action {
	case protocol.SetMemlimit:
		return l.answer(r, protocol.ReplyMemlimitFailed)
	case protocol.SlabsReassign:
		return l.answer(r, l.srv.reassign(&a))
	case protocol.CrawlerEnable:
		if !l.srv.crawlerOff.CompareAndSwap(true, false) {
			return l.answer(r, protocol.ReplyCrawlerNoStart)
		}
	case protocol.CrawlerDisable:
		l.srv.crawlerOff.Store(true)
	case protocol.CrawlerCrawl:
		if l.srv.crawlerOff.Load() {
			return l.answer(r, protocol.ReplyCrawlerOff)
		}
	}
	return l.answer(r, protocol.ReplyOK)
}

// reassign is memcached's answer where no class has a page to spare.
func (s *Server) reassign(a *protocol.Admin) string {
	last, _, _ := s.eng.Storage().Class(s.set.MaxItem)
	bad := func(class int32) bool { return class < -1 || int(class) > last }
	switch {
	case a.Source == a.Destination:
		return protocol.ReplyReassignSame
	case bad(a.Source), bad(a.Destination):
		return protocol.ReplyReassignBad
	}
	return protocol.ReplyReassignNoSpare
}
