package main

import (
	"strconv"
	"strings"
	"sync"

	"sememcached/bench/rig"
)

// tail keeps the last lines of the audit log, which say why something was denied.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 40

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")...)
	if n := len(t.lines); n > 2*tailLines {
		t.lines = append(t.lines[:0], t.lines[n-tailLines:]...)
	}
	return len(p), nil
}

// excused says whether a denial that should not be may be one of those that the
// server has counted: on a machine without time to spare, the policy may be loaded
// anew, again and again, before all that a request needs has been decided. Each
// that is counted excuses one.
func (c *client) excused() bool {
	if c.server == nil {
		return false
	}
	stats, err := ask(c.server.Addr, "stats mac")
	if err != nil {
		return false
	}
	n, _ := strconv.ParseInt(stats["gave_up"], 10, 64)
	used := &c.w.gaveUp[0]
	if c.scarce {
		used = &c.w.gaveUp[1]
	}
	if used.Add(1) > n {
		used.Add(-1)
		return false
	}
	c.w.counts.gaveUp.Add(1)
	return true
}

// evidence writes what may explain a failure: the statistics of access control, and
// the last audit lines of the administrator, who may do everything.
func (w *world) evidence() {
	for i, p := range []*rig.InProcess{w.ample, w.scarce} {
		name := []string{"ample", "scarce"}[i]
		stats, err := ask(p.Addr, "stats mac")
		if err != nil {
			w.printf("evidence  %s: %v", name, err)
			continue
		}
		for k, v := range stats {
			if v != "0" && (strings.Contains(k, "fail") || strings.Contains(k, "gave") || strings.Contains(k, "denied_") || strings.Contains(k, "sids")) {
				w.printf("evidence  %s: %s %s", name, k, v)
			}
		}
	}
	w.audit.mu.Lock()
	defer w.audit.mu.Unlock()
	for _, l := range w.audit.lines {
		if strings.Contains(l, "kv_admin_t") {
			w.printf("evidence  %.400s", l)
		}
	}
}
