package server

import (
	"sememcached/policy/cnp"
	"sememcached/protocol"
)

// need is what the rules are asked about a request. The zero need asks nothing.
type need struct {
	mask    cnp.Mask
	keyless bool // the command has no key
	late    bool // memcached's switches come first: admitKeyless asks
	under   bool // the Key is a prefix, and all keys below it are meant
}

// keyedNeeds are the commands that ask for one thing on their keys, whatever
// their arguments.
var keyedNeeds = [256]cnp.Mask{
	protocol.Get: cnp.Get, protocol.Gets: cnp.Get, protocol.Gat: cnp.Gat, protocol.Gats: cnp.Gat,
	protocol.Set: cnp.Set, protocol.Add: cnp.Add, protocol.Replace: cnp.Replace,
	protocol.Append: cnp.Append, protocol.Prepend: cnp.Prepend, protocol.CAS: cnp.CAS,
	protocol.Delete: cnp.Delete, protocol.Incr: cnp.Incr, protocol.Decr: cnp.Decr, protocol.Touch: cnp.Touch,
	protocol.MetaGet: cnp.Get, protocol.MetaDebug: cnp.Debug, protocol.MetaDelete: cnp.Delete, protocol.MetaDeletePrefix: cnp.Delete,
	protocol.MacLabel: cnp.MacLabel, protocol.MacCheck: cnp.MacCheck, protocol.MacExplain: cnp.MacExplain,
	protocol.MacRelabel: cnp.MacRelabel, protocol.Relabel: cnp.MacRelabel,
}

// lateNeeds are the administrative commands: memcached's switches and its
// complaints about arguments come before the rules.
var lateNeeds = [256]cnp.Mask{
	protocol.FlushAll: cnp.FlushAll, protocol.Verbosity: cnp.Verbosity, protocol.Shutdown: cnp.Shutdown, protocol.Stats: cnp.Stats,
	protocol.CacheMemlimit: cnp.CacheMemlimit, protocol.Slabs: cnp.Slabs, protocol.LRU: cnp.LRU, protocol.LRUCrawler: cnp.LRUCrawler,
	protocol.Watch: cnp.Watch, protocol.RefreshCerts: cnp.RefreshCerts, protocol.Extstore: cnp.Extstore,
}

// earlyNeeds are the commands without a key that nothing comes before.
var earlyNeeds = [256]cnp.Mask{
	protocol.Version: cnp.Version, protocol.Quit: cnp.Quit, protocol.MetaNoop: cnp.Noop,
	protocol.SASLList: cnp.SASLList, protocol.SASLAuth: cnp.SASLAuth, protocol.SASLStep: cnp.SASLStep,
	protocol.MacCreate: cnp.MacCreate,
}

// need is every command that the request may turn out to be. A command that is in
// none of the tables may do everything that there is, but for mac whoami, which
// tells a client only who it is.
func (s *Server) need(r *protocol.Request) need {
	c := r.Command
	switch {
	case c == protocol.MetaSet:
		return need{mask: metaSetNeed(r)}
	case c == protocol.MetaArithmetic:
		return need{mask: metaArithmeticNeed(r)}
	case keyedNeeds[c] != 0:
		n := need{mask: keyedNeeds[c], under: c == protocol.MetaDeletePrefix}
		switch {
		case r.IsBinary:
			n.mask = s.binaryNeed(r, n.mask)
		case c == protocol.MetaGet:
			n.mask |= flagNeed(r, 'T', cnp.Gat) | flagNeed(r, 'N', cnp.Add)
		case c == protocol.MetaDelete:
			n.mask |= flagNeed(r, 'I', cnp.Touch) | flagNeed(r, 'T', cnp.Touch) | flagNeed(r, 'x', cnp.Set)
		}
		return n
	case lateNeeds[c] != 0:
		return need{mask: lateNeeds[c], keyless: true, late: true}
	case earlyNeeds[c] != 0:
		return need{mask: earlyNeeds[c], keyless: true}
	case c == protocol.MacWhoami:
		return need{}
	}
	return need{mask: cnp.All, keyless: true}
}

func flagNeed(r *protocol.Request, flag byte, also cnp.Mask) cnp.Mask {
	if r.Meta.Has(flag) {
		return also
	}
	return 0
}

// metaSetNeed is the mode's command; C makes a set or a replace a cas, and N lets
// an append or a prepend add.
func metaSetNeed(r *protocol.Request) cnp.Mask {
	m := cnp.Set
	switch r.Meta.Mode {
	case 'E':
		return cnp.Add
	case 'A':
		return cnp.Append | flagNeed(r, 'N', cnp.Add)
	case 'P':
		return cnp.Prepend | flagNeed(r, 'N', cnp.Add)
	case 'R':
		m = cnp.Replace
	}
	if r.Meta.Has('C') {
		return cnp.CAS
	}
	return m
}

func metaArithmeticNeed(r *protocol.Request) cnp.Mask {
	m := cnp.Incr
	if r.Meta.Mode == 'D' || r.Meta.Mode == '-' {
		m = cnp.Decr
	}
	return m | flagNeed(r, 'N', cnp.Add) | flagNeed(r, 'T', cnp.Touch)
}

// Opcodes that a rule may tell from their quiet forms.
const (
	opcodeAppend  = 0x0e
	opcodePrepend = 0x0f
)

func (s *Server) binaryNeed(r *protocol.Request, m cnp.Mask) cnp.Mask {
	switch r.Command {
	case protocol.Set, protocol.Add, protocol.Replace:
		if r.CAS != 0 && !s.compat {
			return cnp.CAS
		}
	case protocol.Append:
		if r.Binary.Opcode == opcodeAppend {
			return cnp.AppendBinary
		}
	case protocol.Prepend:
		if r.Binary.Opcode == opcodePrepend {
			return cnp.PrependBinary
		}
	case protocol.Gat:
		if r.Binary.WithKey {
			return cnp.GatKey
		}
	case protocol.Incr, protocol.Decr:
		if r.Binary.Create {
			return m | cnp.Add
		}
	}
	return m
}

// Need is what key rules are asked about a request, for those who ask them
// without a server: the commands, and whether they have no key or mean every key
// that begins with the request's.
func Need(r *protocol.Request, mode cnp.Mode) (mask cnp.Mask, keyless, under bool) {
	s := &Server{compat: mode == cnp.Cilium}
	n := s.need(r)
	return n.mask, n.keyless, n.under
}
