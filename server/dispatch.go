package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// route is how one command is served.
type route struct {
	// op is the command's row in the engine's table of permissions. A command
	// without one does not dispatch.
	op engine.Op
	do func(l *loop, c *conn, r *protocol.Request) outcome
}

// routes has a row for every command that is served; the others are answered
// ERROR.
var routes = [256]route{
	protocol.Get:           {engine.OpGet, (*loop).get},
	protocol.Gets:          {engine.OpGet, (*loop).get},
	protocol.Gat:           {engine.OpGat, (*loop).get},
	protocol.Gats:          {engine.OpGat, (*loop).get},
	protocol.Set:           {engine.OpSet, (*loop).store},
	protocol.Add:           {engine.OpAdd, (*loop).store},
	protocol.Replace:       {engine.OpReplace, (*loop).store},
	protocol.Append:        {engine.OpAppend, (*loop).store},
	protocol.Prepend:       {engine.OpPrepend, (*loop).store},
	protocol.CAS:           {engine.OpCAS, (*loop).store},
	protocol.Delete:        {engine.OpDelete, (*loop).delete},
	protocol.Incr:          {engine.OpIncr, (*loop).arith},
	protocol.Decr:          {engine.OpDecr, (*loop).arith},
	protocol.Touch:         {engine.OpTouch, (*loop).touch},
	protocol.FlushAll:      {engine.OpFlush, (*loop).flushItems},
	protocol.Verbosity:     {engine.OpConfig, (*loop).verbosity},
	protocol.CacheMemlimit: {engine.OpConfig, (*loop).tune},
	protocol.Slabs:         {engine.OpConfig, (*loop).tune},
	protocol.LRU:           {engine.OpConfig, (*loop).tune},
	protocol.LRUCrawler:    {engine.OpConfig, (*loop).tune},
	protocol.Extstore:      {engine.OpConfig, (*loop).tune},
	protocol.RefreshCerts:  {engine.OpConfig, (*loop).refreshCerts},
	protocol.Version:       {engine.OpFree, (*loop).version},
	protocol.Quit:          {engine.OpFree, (*loop).quit},
	protocol.MetaNoop:      {engine.OpFree, (*loop).metaNoop},
	protocol.Shutdown:      {engine.OpShutdown, (*loop).shutdown},
	protocol.Stats:         {engine.OpStats, (*loop).stats},
	protocol.MacWhoami:     {engine.OpFree, (*loop).macWhoami},
	protocol.MacLabel:      {engine.OpLabel, (*loop).macLabel},
	protocol.MacCheck:      {engine.OpCheck, (*loop).macCheck},
	protocol.MacRelabel:    {engine.OpRelabel, (*loop).macRelabel},
	protocol.Relabel:       {engine.OpRelabel, (*loop).macRelabel},
	protocol.MacCreate:     {engine.OpCreateContext, (*loop).macCreate},
}

// dispatch executes a complete request. On park and block it is executed again
// later: c.resuming is set then, and the call keeps its state.
func (l *loop) dispatch(c *conn, r *protocol.Request) outcome {
	rt := &routes[r.Command]
	if !c.resuming {
		c.lastCmd = l.worker.Now()
		if l.srv.verbose.on() {
			l.srv.verbose.command(c, r)
		}
		c.call.Reset()
	}
	if rt.op == engine.OpNone {
		return l.answer(r, protocol.ReplyError)
	}
	l.bind(c, r)
	return rt.do(l, c, r)
}

// bind gives the call the parts of the request. What it borrows lives as long
// as the input that r was parsed from.
func (l *loop) bind(c *conn, r *protocol.Request) {
	k := &c.call
	k.Op = routes[r.Command].op
	k.Key = r.Key
	k.Exptime = r.Exptime
	switch r.Command {
	case protocol.Get, protocol.Gat:
		k.Form = engine.FormText
		l.bindKey(c, r)
	case protocol.Gets, protocol.Gats:
		k.Form = engine.FormTextCAS
		l.bindKey(c, r)
	case protocol.Set, protocol.Add, protocol.Replace, protocol.Append, protocol.Prepend, protocol.CAS:
		k.Flags, k.CAS, k.Value = r.Flags, r.CAS, r.Data
	case protocol.Incr, protocol.Decr:
		k.Delta = r.Delta
	case protocol.MacRelabel, protocol.Relabel:
		k.Context = r.Context
	case protocol.MacCreate:
		if k.Context = r.Context; k.Context == nil {
			k.Context = ordinaryLabels
		}
	case protocol.MacCheck:
		k.Context = r.Perms
	}
}

// ordinaryLabels is how engine.Interface spells "no creation context".
var ordinaryLabels = []byte("-")

// bindKey moves the call of a get to the key that is to be served next.
func (l *loop) bindKey(c *conn, r *protocol.Request) {
	keys := r.Keys
	for range c.nkeys {
		_, keys = protocol.NextKey(keys)
	}
	c.call.Key, r.Keys = protocol.NextKey(keys)
}

// answer replies with a line, unless the client wants none.
func (l *loop) answer(r *protocol.Request, line string) outcome {
	if !r.Noreply {
		l.out = append(l.out, line...)
	}
	return done
}
