package rig

import "sememcached/bench/load"

func (s *Server) load(size, depth, keys int) load.Config {
	return load.Config{ValueSize: size, Depth: depth, MultiGet: keys, Sets: 1, Gets: 4, Conns: 4, Keys: 1000}
}
