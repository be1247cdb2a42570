package main

import (
	"fmt"
	"slices"
	"strings"

	"sememcached/bench/load"
)

// row is one line of the comparison: a load, and the ratio to memcached that is
// aimed at.
type row struct {
	name   string
	preset string
	unix   bool
	target float64 // of throughput and of CPU per request; 0: none
}

// table is every row, in the order of the report. The targets hold for one server
// thread against memcached 1.6.18 with everything pinned.
var table = []row{
	{"get", "get", false, 1.2},
	{"get-zipf", "get-zipf", false, 1.2},
	{"get-unix", "get", true, 1.3},
	{"get90", "get90", false, 1.2},
	{"get50", "get50", false, 1.1},
	{"set", "set", false, 1.1},
	{"set-evict", "set-evict", false, 0},
	{"set-evict-pipe16", "set-evict-pipe16", false, 0},
	{"memtier", "memtier", false, 1.2},
	{"mget24", "mget24", false, 3.5},
	{"mget100", "mget100", false, 4.2},
	{"pipe16", "pipe16", false, 14},
	{"pipe64", "pipe64", false, 0},
	{"meta", "meta", false, 1.2},
	{"meta-pipe16", "meta-pipe16", false, 0},
	{"binary", "binary", false, 1.2},
	{"binary-pipe16", "binary-pipe16", false, 0},
	{"conns1", "conns1", false, 1.0},
	{"conns200", "conns200", false, 1.2},
	{"conns1000", "conns1000", false, 1.2},
	{"1k-get", "1k-get", false, 1.3},
	{"1k-get90", "1k-get90", false, 1.3},
	{"1k-mget24", "1k-mget24", false, 1.8},
	{"100k-get", "100k-get", false, 1.0},
	{"100k-get90", "100k-get90", false, 1.0},
}

// limited says which presets run with -m 64 and not with as much memory as all items need.
var limited = map[string]int{"set-evict": 64, "set-evict-pipe16": 64}

// shortRows are those of -short.
const shortRows = "get,get90,mget24,pipe16"

// config is the load of a row under the settings.
func (r row) config(s *settings) load.Config {
	p, _ := load.Find(r.preset)
	c := p.Config
	c.Verify, c.Seed, c.Threads = s.verify, 1, s.threads
	c.Conns = max(c.Conns, s.threads)
	if s.keys > 0 {
		c.Keys = min(c.Keys, s.keys)
	}
	if s.pin {
		c.CPUs = []int{1}
	}
	return c
}

func (r row) about() string {
	p, _ := load.Find(r.preset)
	if r.unix {
		return p.About + ", UNIX socket"
	}
	return p.About
}

func selectRows(s *settings) ([]row, error) {
	if s.rows == "" {
		return table, nil
	}
	var out []row
	for _, name := range strings.Split(s.rows, ",") {
		i := slices.IndexFunc(table, func(r row) bool { return r.name == name })
		if i < 0 {
			var known []string
			for _, r := range table {
				known = append(known, r.name)
			}
			return nil, fmt.Errorf("-rows: expected some of %s, found %q", strings.Join(known, ","), name)
		}
		out = append(out, table[i])
	}
	return out, nil
}

// groups puts the rows together that can be measured on the same servers with
// the same items.
func groups(rows []row) [][]row {
	type like struct {
		unix     bool
		limited  int
		size     int
		keys     int
		protocol load.Protocol
	}
	var order []like
	by := map[like][]row{}
	for _, r := range rows {
		p, _ := load.Find(r.preset)
		k := like{r.unix, limited[r.preset], p.ValueSize, p.Keys, p.Protocol}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], r)
	}
	var out [][]row
	for _, k := range order {
		out = append(out, by[k])
	}
	return out
}
