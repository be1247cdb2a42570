package server

import (
	"maps"
	"slices"
	"strconv"

	"sememcached/engine"
)

// sizesStats is "stats sizes": how many items there are of each size, in steps of
// 32 bytes as memcached rounds them. memcached counts at every store; here the
// items that the client may know of are counted when it asks. It runs on a helper
// goroutine.
func (s *Server) sizesStats(j *statsJob, client *engine.Client) {
	if !s.set.Tuning.TrackSizes {
		j.str("sizes_status", "disabled")
		return
	}
	const step = 32
	counts := make(map[int]uint64)
	list := s.eng.NewDump(&engine.Call{Client: client, Op: engine.OpDump}, nil, nil)
	for more := true; more; {
		more = s.eng.Dump(list, func(it *engine.DumpItem) bool {
			counts[(it.Size+step-1)/step*step]++
			return true
		})
	}
	for _, size := range slices.Sorted(maps.Keys(counts)) {
		j.num(strconv.Itoa(size), counts[size])
	}
}
