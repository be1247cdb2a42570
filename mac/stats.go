package mac

import (
	"strconv"
	"strings"
	"sync/atomic"
)

// counters count from the start; a reload does not reset them.
type counters struct {
	queries        atomic.Uint64 // asked of the security server
	shared         atomic.Uint64 // waited for a question of somebody else
	inFlight       atomic.Int64
	failures       atomic.Uint64 // nobody could decide
	stale          atomic.Uint64 // the kernel's state moved under a question
	peerFailures   atomic.Uint64 // a client's label could not be had
	reloads        atomic.Uint64
	reloadFailures atomic.Uint64
	freed          atomic.Uint64 // SIDs
}

// Stats reports what `stats mac` shows of the monitor, in a fixed order. fn gets
// names without blanks.
func (m *Monitor) Stats(fn func(name, value string)) {
	num := func(name string, n uint64) { fn(name, strconv.FormatUint(n, 10)) }
	flag := func(name string, b bool) {
		if b {
			fn(name, "1")
		} else {
			fn(name, "0")
		}
	}
	fn("mac_decider", strings.ReplaceAll(m.decider.String(), " ", "-"))
	if !m.Enabled() {
		return
	}
	g := m.gen.Load()
	fn("mac_policy", g.about)
	flag("mac_enforcing", g.Enforcing)
	flag("mac_usable", g.Usable)
	num("mac_generation", g.Seq)
	num("mac_contexts_lines", uint64(len(g.bound.clients)+len(g.bound.items)))
	fn("mac_server_context", m.sids.String(g.Server))
	fn("mac_unlabeled_context", m.sids.String(g.Unlabeled))
	num("mac_sids", uint64(m.sids.Len()))
	num("mac_sids_max", uint64(m.sids.Max()))
	num("mac_sids_freed", m.n.freed.Load())
	al, ah := m.access.Counts()
	ll, lh := m.labels.Counts()
	num("mac_shared_lookups", al+ll)
	num("mac_shared_hits", ah+lh)
	num("mac_shared_misses", al+ll-ah-lh)
	num("mac_shared_entries", uint64(m.access.Len()+m.labels.Len()))
	num("mac_queries", m.n.queries.Load())
	num("mac_queries_joined", m.n.shared.Load())
	num("mac_queries_running", uint64(max(m.n.inFlight.Load(), 0)))
	num("mac_queries_failed", m.n.failures.Load())
	num("mac_queries_stale", m.n.stale.Load())
	num("mac_peer_label_failures", m.n.peerFailures.Load())
	num("mac_reloads", m.n.reloads.Load())
	num("mac_reload_failures", m.n.reloadFailures.Load())
	m.audit.stats(num)
}
