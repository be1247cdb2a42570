package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// tune serves slabs, lru, lru_crawler, cache_memlimit and extstore: memcached's
// own switches first, then the arguments, then the permission, then the act.
func (l *loop) tune(c *conn, r *protocol.Request) outcome {
	if r.Command == protocol.LRUCrawler {
		r.Noreply = false // memcached does not look for it there
	}
	a, bad := protocol.ParseAdmin(r)
	if refusal := l.srv.switchedOff(&a); refusal != "" {
		return l.answer(r, refusal)
	}
	if bad != "" {
		return l.answer(r, bad)
	}
	dumps := a.Action == protocol.CrawlerMetadump || a.Action == protocol.CrawlerMgdump
	if dumps {
		c.call.Op = engine.OpDump
		if c.stage == 0 && l.pipelined(c) {
			if a.Action == protocol.CrawlerMetadump {
				return l.answer(r, protocol.ReplyPipelinedDump)
			}
			return l.answer(r, protocol.ReplyPipelinedMgdump)
		}
	}
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	if dumps {
		if c.dump == nil {
			l.startDump(c, &a)
		}
		return l.goOnDump(c)
	}
	return l.answer(r, l.srv.tune(&a))
}

// pipelined says whether replies to earlier commands of c have not left yet.
func (l *loop) pipelined(c *conn) bool { return c.nseg > 0 || len(l.out) > l.mark }

// switchedOff is the reply to what a flag of the command line has turned off.
func (s *Server) switchedOff(a *protocol.Admin) string {
	switch a.Action {
	case protocol.CrawlerMetadump:
		if s.set.NoDump {
			return protocol.ReplyMetadumpOff
		}
	case protocol.CrawlerMgdump:
		if s.set.NoDump {
			return protocol.ReplyMgdumpOff
		}
	case protocol.StatsDetail, protocol.StatsDetailOn, protocol.StatsDetailOff, protocol.StatsDetailDump:
		if s.set.NoDump {
			return protocol.ReplyDetailOff
		}
	case protocol.StatsCachedump:
		if s.set.NoDump {
			return protocol.ReplyCachedumpOff
		}
	}
	return ""
}

// tune does what a says and returns the answer.
func (s *Server) tune(a *protocol.Admin) string {
	switch a.Action {
	case protocol.SetMemlimit:
		if err := s.eng.Storage().SetLimit(int64(a.Number) << 20); err != nil {
			return protocol.ReplyMemlimitFailed
		}
	case protocol.SlabsReassign:
		if !s.set.Tuning.SlabReassign {
			return protocol.ReplyReassignOff
		}
		return s.reassign(a)
	case protocol.CrawlerEnable:
		if !s.crawler.Start() {
			return protocol.ReplyCrawlerNoStart
		}
	case protocol.CrawlerDisable:
		s.crawler.Stop()
	case protocol.CrawlerCrawl:
		if !s.crawler.On() {
			return protocol.ReplyCrawlerOff
		}
		if !s.crawler.Kick() {
			return protocol.ReplyCrawlerBusy
		}
	case protocol.CrawlerSleep:
		s.crawler.SetPause(a.Number)
	}
	s.knobs.set(a)
	return protocol.ReplyOK
}

// reassign is memcached's answer where no class has a page to spare: classes are
// reported and own no pages.
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
