package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// statsJob is a statistics reply that a helper goroutine computes, so that
// neither the sums over all loops nor a walk over the store stalls a loop.
type statsJob struct {
	text []byte
}

func (j *statsJob) str(name, value string) { j.text = protocol.AppendStat(j.text, name, value) }

func (j *statsJob) num(name string, value uint64) {
	j.text = protocol.AppendStatUint(j.text, name, value)
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
}

// Stages of a stats request after the authorization.
const (
	stageAuthorized = 1 + iota
	stageComputing
)

// stats serves stats [<sub-command>]. The numbers are taken after the client has
// been authorized.
func (l *loop) stats(c *conn, r *protocol.Request) outcome {
	kind, op, bad := l.srv.statsKind(r)
	if bad != "" {
		return l.answer(r, bad)
	}
	c.call.Op = op
	if o, ok := l.authorize(c, r); !ok {
		return o
	}
	if c.stage == stageAuthorized {
		j := new(statsJob)
		c.job, c.stage = j, stageComputing
		// The helper may outlive the connection: it gets a client of its own.
		client := c.client
		fn := func() { l.srv.compute(j, kind, &client) }
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
	if kind == protocol.StatsReset {
		l.out = append(l.out, protocol.ReplyReset...)
	} else {
		l.out = append(l.out, protocol.ReplyEnd...)
	}
	return done
}

// statsKind reads the sub-command. bad is the reply where it is not served.
func (s *Server) statsKind(r *protocol.Request) (kind protocol.Action, op engine.Op, bad string) {
	a, bad := protocol.ParseAdmin(r)
	if bad != "" {
		return 0, 0, bad
	}
	ours := a.Action == protocol.StatsMac || a.Action == protocol.StatsLabels
	op = statsOps[a.Action]
	if op == engine.OpNone || ours && s.limits.NoMac {
		return 0, 0, protocol.ReplyError
	}
	return a.Action, op, ""
}

// compute fills in the reply. It runs on a helper goroutine.
func (s *Server) compute(j *statsJob, kind protocol.Action, client *engine.Client) {
	switch kind {
	case protocol.StatsGeneral:
		s.generalStats(j)
	case protocol.StatsReset:
		s.resetStats()
	case protocol.StatsSettings:
		s.settingsStats(j)
	case protocol.StatsConns:
		s.connStats(j)
	case protocol.StatsItems:
		s.itemsStats(j)
	case protocol.StatsSlabs:
		s.slabsStats(j)
	case protocol.StatsSizes:
		j.str("sizes_status", "disabled")
	case protocol.StatsMac:
		s.eng.StatsMac(j.str)
	case protocol.StatsLabels:
		s.eng.StatsLabels(&engine.Call{Client: client, Op: engine.OpStatsLabels}, j.str)
	}
}
