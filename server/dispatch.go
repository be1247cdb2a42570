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
	// do serves the command in the text protocol, bin in the binary one; nil where
	// the protocol does not have it.
	do  func(l *loop, c *conn, r *protocol.Request) outcome
	bin func(l *loop, c *conn, r *protocol.Request) outcome
}

// routes has a row for every command that is served; the others are answered
// ERROR.
var routes = [256]route{
	protocol.Get:              {op: engine.OpGet, do: (*loop).get, bin: (*loop).binaryGet},
	protocol.Gets:             {op: engine.OpGet, do: (*loop).get},
	protocol.Gat:              {op: engine.OpGat, do: (*loop).get, bin: (*loop).binaryGet},
	protocol.Gats:             {op: engine.OpGat, do: (*loop).get},
	protocol.Set:              {op: engine.OpSet, do: (*loop).store, bin: (*loop).binaryStore},
	protocol.Add:              {op: engine.OpAdd, do: (*loop).store, bin: (*loop).binaryStore},
	protocol.Replace:          {op: engine.OpReplace, do: (*loop).store, bin: (*loop).binaryStore},
	protocol.Append:           {op: engine.OpAppend, do: (*loop).store, bin: (*loop).binaryStore},
	protocol.Prepend:          {op: engine.OpPrepend, do: (*loop).store, bin: (*loop).binaryStore},
	protocol.CAS:              {op: engine.OpCAS, do: (*loop).store},
	protocol.Delete:           {op: engine.OpDelete, do: (*loop).delete, bin: (*loop).binaryDelete},
	protocol.Incr:             {op: engine.OpIncr, do: (*loop).arith, bin: (*loop).binaryArith},
	protocol.Decr:             {op: engine.OpDecr, do: (*loop).arith, bin: (*loop).binaryArith},
	protocol.Touch:            {op: engine.OpTouch, do: (*loop).touch, bin: (*loop).binaryTouch},
	protocol.FlushAll:         {op: engine.OpFlush, do: (*loop).flushItems, bin: (*loop).binaryFlush},
	protocol.Verbosity:        {op: engine.OpConfig, do: (*loop).verbosity},
	protocol.CacheMemlimit:    {op: engine.OpConfig, do: (*loop).tune},
	protocol.Slabs:            {op: engine.OpConfig, do: (*loop).tune},
	protocol.LRU:              {op: engine.OpConfig, do: (*loop).tune},
	protocol.LRUCrawler:       {op: engine.OpConfig, do: (*loop).tune},
	protocol.Extstore:         {op: engine.OpConfig, do: (*loop).tune},
	protocol.RefreshCerts:     {op: engine.OpConfig, do: (*loop).refreshCerts},
	protocol.SASLList:         {op: engine.OpFree, bin: (*loop).saslList},
	protocol.SASLAuth:         {op: engine.OpFree, bin: (*loop).saslAuth},
	protocol.SASLStep:         {op: engine.OpFree, bin: (*loop).saslStep},
	protocol.Version:          {op: engine.OpFree, do: (*loop).version, bin: (*loop).binaryVersion},
	protocol.Quit:             {op: engine.OpFree, do: (*loop).quit, bin: (*loop).binaryQuit},
	protocol.MetaNoop:         {op: engine.OpFree, do: (*loop).metaNoop, bin: (*loop).binaryNoop},
	protocol.Shutdown:         {op: engine.OpShutdown, do: (*loop).shutdown},
	protocol.Watch:            {op: engine.OpWatch, do: (*loop).watchStreams},
	protocol.Stats:            {op: engine.OpStats, do: (*loop).stats, bin: (*loop).binaryStats},
	protocol.MetaGet:          {op: engine.OpMetaGet, do: (*loop).metaGet},
	protocol.MetaDebug:        {op: engine.OpMetaDebug, do: (*loop).metaGet},
	protocol.MetaSet:          {op: engine.OpSet, do: (*loop).metaSet},
	protocol.MetaDelete:       {op: engine.OpDelete, do: (*loop).metaDelete},
	protocol.MetaArithmetic:   {op: engine.OpIncr, do: (*loop).metaArithmetic},
	protocol.MetaDeletePrefix: {op: engine.OpDeletePrefix, do: (*loop).deletePrefix},
	protocol.MacWhoami:        {op: engine.OpFree, do: (*loop).macWhoami},
	protocol.MacLabel:         {op: engine.OpLabel, do: (*loop).macLabel},
	protocol.MacCheck:         {op: engine.OpCheck, do: (*loop).macCheck},
	protocol.MacExplain:       {op: engine.OpExplain, do: (*loop).macExplain},
	protocol.MacRelabel:       {op: engine.OpRelabel, do: (*loop).macRelabel},
	protocol.Relabel:          {op: engine.OpRelabel, do: (*loop).macRelabel},
	protocol.MacCreate:        {op: engine.OpCreateContext, do: (*loop).macCreate},
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
	if c.udp != nil && notUDP(r) {
		return l.refuseAdmin(r, protocol.StatusUnknown, replyNotUDP)
	}
	serve := rt.do
	if r.IsBinary {
		if serve = rt.bin; serve == nil {
			l.out = protocol.AppendBinaryError(l.out, r, protocol.StatusUnknown)
			return done
		}
	} else if serve == nil {
		return l.answer(r, protocol.ReplyError)
	}
	if l.srv.gated {
		return l.dispatchGated(c, r, serve)
	}
	l.bind(c, r)
	return serve(l, c, r)
}

// dispatchGated is the end of dispatch where key rules are asked or an access log
// is kept.
func (l *loop) dispatchGated(c *conn, r *protocol.Request, serve func(*loop, *conn, *protocol.Request) outcome) outcome {
	if o, ok := l.admit(c, r); !ok {
		return o
	}
	keys := r.Keys // which get takes apart
	l.bind(c, r)
	if !c.resuming {
		c.told = told{status: -1, binary: r.IsBinary}
	}
	l.telling, l.untold = true, len(l.out)
	denials := l.n.ruleDenials
	o := serve(l, c, r)
	r.Keys = keys
	l.tell(c)
	l.telling = false
	if o != park && o != block && denials == l.n.ruleDenials {
		l.logServed(c, r)
	}
	return o
}

// bind gives the call the parts of the request. What it borrows lives as long
// as the input that r was parsed from.
func (l *loop) bind(c *conn, r *protocol.Request) {
	k := &c.call
	k.Op = routes[r.Command].op
	k.Key = r.Key
	k.Exptime = r.Exptime
	k.Hash = l.hashOf(r.Key)
	l.trace(k)
	if r.IsBinary {
		l.bindBinary(k, r)
		return
	}
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
	case protocol.MetaGet, protocol.MetaDebug, protocol.MetaSet, protocol.MetaDelete, protocol.MetaArithmetic:
		l.bindMeta(k, r)
	case protocol.MacRelabel, protocol.Relabel:
		k.Context = r.Context
	case protocol.MacCreate:
		if k.Context = r.Context; k.Context == nil {
			k.Context = ordinaryLabels
		}
	case protocol.MacCheck, protocol.MacExplain:
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
	c.call.Key, r.Keys, c.call.Hash = l.nextKey(keys)
}

// answer replies with a line, unless the client wants none.
func (l *loop) answer(r *protocol.Request, line string) outcome {
	if !r.Noreply {
		l.out = append(l.out, line...)
	}
	return done
}
