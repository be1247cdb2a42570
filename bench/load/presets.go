package load

// Preset is a load that has a name. Its Config lacks the address.
type Preset struct {
	Name  string
	About string
	Config
}

// Presets are the loads that the benchmarks run, by name. memtier is the default
// mix of memtier_benchmark: one set for ten gets, values of 32 bytes, 4 threads
// with 50 connections each (here: 200 connections of one thread).
var Presets = []Preset{
	{"get", "get, depth 1, 50 connections", Config{}},
	{"get-zipf", "get, depth 1, zipf 0.99", Config{Zipf: 0.99}},
	{"get90", "get:set 9:1, depth 1", Config{Sets: 1, Gets: 9}},
	{"get50", "get:set 1:1, depth 1", Config{Sets: 1, Gets: 1}},
	{"set", "set, depth 1", Config{Sets: 1}},
	{"set-evict", "set, depth 1, six times as many keys as fit in 64 MB", Config{Sets: 1, Keys: 4_000_000}},
	{"set-evict-pipe16", "the same, pipelined, depth 16", Config{Sets: 1, Keys: 4_000_000, Depth: 16}},
	{"memtier", "set:get 1:10, 200 connections", Config{Sets: 1, Gets: 10, Conns: 200}},
	{"mget24", "multi-get of 24 keys", Config{MultiGet: 24}},
	{"mget100", "multi-get of 100 keys", Config{MultiGet: 100}},
	{"pipe16", "get:set 9:1, pipelined, depth 16", Config{Sets: 1, Gets: 9, Depth: 16}},
	{"pipe64", "get, pipelined, depth 64", Config{Depth: 64}},
	{"meta", "mg with v, depth 1", Config{Protocol: Meta}},
	{"meta-pipe16", "mg:ms 9:1, pipelined, depth 16", Config{Protocol: Meta, Sets: 1, Gets: 9, Depth: 16}},
	{"binary", "binary getk, depth 1", Config{Protocol: Binary}},
	{"binary-pipe16", "binary getk:set 9:1, pipelined, depth 16", Config{Protocol: Binary, Sets: 1, Gets: 9, Depth: 16}},
	{"conns1", "get, depth 1, 1 connection", Config{Conns: 1}},
	{"conns200", "get, depth 1, 200 connections", Config{Conns: 200}},
	{"conns1000", "get, depth 1, 1,000 connections", Config{Conns: 1000}},
	{"1k-get", "get, 1 KiB values", Config{ValueSize: 1 << 10, Keys: 200_000}},
	{"1k-get90", "get:set 9:1, 1 KiB values", Config{ValueSize: 1 << 10, Keys: 200_000, Sets: 1, Gets: 9}},
	{"1k-mget24", "multi-get of 24 keys, 1 KiB values", Config{ValueSize: 1 << 10, Keys: 200_000, MultiGet: 24}},
	{"100k-get", "get, 100 KiB values", Config{ValueSize: 100 << 10, Keys: 2_000}},
	{"100k-get90", "get:set 9:1, 100 KiB values", Config{ValueSize: 100 << 10, Keys: 2_000, Sets: 1, Gets: 9}},
}

// Find returns the preset of that name, with all defaults filled in.
func Find(name string) (Preset, bool) {
	for _, p := range Presets {
		if p.Name == name {
			p.Config = p.withDefaults()
			return p, true
		}
	}
	return Preset{}, false
}
