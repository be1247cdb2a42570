package server

import (
	"strconv"

	"sememcached/engine"
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// statsJob is a statistics reply that a helper goroutine computes, so that
// neither the sums over all loops nor a walk over the store stalls a loop.
type statsJob struct {
	text []byte
	// req is the request where it is a binary one: every statistic is a packet
	// then, with its opcode and opaque.
	req *protocol.Request
}

func (j *statsJob) str(name, value string) {
	if j.req != nil {
		j.text = protocol.AppendBinaryStat(j.text, j.req, name, value)
		return
	}
	j.text = protocol.AppendStat(j.text, name, value)
}

func (j *statsJob) num(name string, value uint64) {
	if j.req != nil {
		j.str(name, strconv.FormatUint(value, 10))
		return
	}
	j.text = protocol.AppendStatUint(j.text, name, value)
}

// end ends the statistics.
func (j *statsJob) end() {
	if j.req != nil {
		j.str("", "")
		return
	}
	j.text = append(j.text, protocol.ReplyEnd...)
}

// flag prints a setting as memcached prints it, yes or no.
func (j *statsJob) flag(name string, on bool) {
	if on {
		j.str(name, "yes")
	} else {
		j.str(name, "no")
	}
}

// statsOps are the rows of the engine's table for the kinds of statistics that
// are served.
var statsOps = map[protocol.Action]engine.Op{
	protocol.StatsGeneral:  engine.OpStats,
	protocol.StatsReset:    engine.OpStatsReset,
	protocol.StatsSettings: engine.OpStats,
	protocol.StatsConns:    engine.OpDump,
	protocol.StatsItems:    engine.OpStats,
	protocol.StatsSlabs:    engine.OpStats,
	protocol.StatsSizes:    engine.OpDump,
	protocol.StatsExtstore: engine.OpStats,
	protocol.StatsMac:      engine.OpStatsMac,
	protocol.StatsLabels:   engine.OpStatsLabels,
	protocol.StatsData:     engine.OpStats,

	protocol.StatsDetailOn:   engine.OpConfig,
	protocol.StatsDetailOff:  engine.OpConfig,
	protocol.StatsDetailDump: engine.OpDump,
	protocol.StatsCachedump:  engine.OpDump,
}

// Stages of a stats request after the authorization.
const (
	stageAuthorized = 1 + iota
	stageComputing
)

// stats serves stats [<sub-command>].
func (l *loop) stats(c *conn, r *protocol.Request) outcome {
	a, bad := protocol.ParseAdmin(r)
	if refusal := l.srv.switchedOff(&a); refusal != "" {
		return l.answer(r, refusal)
	}
	if bad != "" {
		return l.answer(r, bad)
	}
	return l.serveStats(c, r, &a)
}

// serveStats answers a request for statistics. The numbers are taken after the
// client has been authorized.
func (l *loop) serveStats(c *conn, r *protocol.Request, a *protocol.Admin) outcome {
	c.call.Op = statsOps[a.Action]
	if c.call.Op == engine.OpNone || a.Action == protocol.StatsLabels && l.srv.limits.NoMac {
		return l.refuseAdmin(r, protocol.StatusNotFound, protocol.ReplyError)
	}
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	switch a.Action {
	case protocol.StatsDetailOn, protocol.StatsDetailOff:
		l.srv.detail.on.Store(a.Action == protocol.StatsDetailOn)
		l.srv.hub.detail(a.Action == protocol.StatsDetailOn)
		if r.IsBinary {
			l.out = protocol.AppendBinaryStat(l.out, r, "", "")
			return done
		}
		return l.answer(r, protocol.ReplyOK)
	case protocol.StatsCachedump:
		if c.dump == nil {
			l.startDump(c, a)
		}
		return l.goOnDump(c)
	}
	if c.stage == stageAuthorized {
		j := new(statsJob)
		if r.IsBinary {
			req := *r
			j.req = &req
		}
		c.job, c.stage = j, stageComputing
		// The helper may outlive the connection: it gets a client of its own.
		client, kind, keys := c.client, *a, l.listing(c)
		fn := l.srv.helper(func() { l.srv.compute(j, &kind, &client, keys) })
		if st := l.eng.Background(l.worker, &c.call, fn); st != engine.Pending {
			fn()
		} else {
			return park
		}
	} else if st := l.eng.Background(l.worker, &c.call, nil); st == engine.Pending {
		return park
	}
	l.out = append(l.out, c.job.text...)
	c.job = nil
	return done
}

// compute fills in the reply. It runs on a helper goroutine. keys are the key
// rules by which keys are shown.
func (s *Server) compute(j *statsJob, a *protocol.Admin, client *engine.Client, keys *cnp.Matcher) {
	switch a.Action {
	case protocol.StatsGeneral:
		s.generalStats(j)
	case protocol.StatsReset:
		s.resetStats()
		if j.req == nil {
			j.text = append(j.text, protocol.ReplyReset...)
			return
		}
	case protocol.StatsSettings:
		s.settingsStats(j)
	case protocol.StatsConns:
		s.connStats(j)
	case protocol.StatsItems:
		s.itemsStats(j)
	case protocol.StatsSlabs:
		s.slabsStats(j)
	case protocol.StatsSizes:
		s.sizesStats(j, client)
	case protocol.StatsDetailDump:
		text := s.dumpDetail(nil, &engine.Call{Client: client, Op: engine.OpDump}, keys)
		if j.req == nil {
			j.text = append(j.text, text...)
			break
		}
		j.str("detailed", string(text)+protocol.ReplyEnd)
	case protocol.StatsMac:
		s.eng.StatsMac(j.str)
		if s.ruled {
			j.num("key_rule_denials", s.ruleDenials())
		}
	case protocol.StatsLabels:
		s.eng.StatsLabels(&engine.Call{Client: client, Op: engine.OpStatsLabels}, j.str)
	case protocol.StatsData:
		s.eng.StatsData(j.str)
	}
	j.end()
}
