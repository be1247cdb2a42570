package server

import (
	"sememcached/engine"
	"sememcached/protocol"
)

// Op is the row of the engine's command table under which a command is served;
// engine.OpNone for a command that does not dispatch. Statistics have a row for
// each of their kinds; theirs here is that of the general list.
func Op(c protocol.Command) engine.Op { return routes[c].op }
