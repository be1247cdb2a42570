package main

import (
	"errors"
	"strings"
	"testing"
)

// extendedCases are arguments of -o with the refusal that they meet, first line
// only; "" is none. The texts are memcached's.
var extendedCases = []struct{ arg, refusal string }{
	{"", ""},
	{",", `Illegal suboption ""`},
	{"modern,", ""},
	{"modern,,", `Illegal suboption ""`},
	{"foo", `Illegal suboption "foo"`},
	{"foo=1", `Illegal suboption "foo=1"`},
	{"modern,foo", `Illegal suboption "foo"`},
	{"maxconns_fast=what", ""},
	{"no_maxconns_fast", ""},
	{"hashpower", "Missing numeric argument for hashpower"},
	{"hashpower=x", "Initial hashtable multiplier of 0 is too low"},
	{"hashpower=11", "Initial hashtable multiplier of 11 is too low"},
	{"hashpower=33", "Initial hashtable multiplier of 33 is too high"},
	{"hashpower=20,no_hashexpand", ""},
	{"slab_reassign,no_slab_reassign", ""},
	{"slab_automove", ""},
	{"slab_automove=3", "slab_automove must be between 0 and 2"},
	{"slab_automove=-1", "slab_automove must be between 0 and 2"},
	{"no_slab_automove", ""},
	{"slab_automove_ratio", "Missing slab_automove_ratio argument"},
	{"slab_automove_ratio=0", "slab_automove_ratio must be > 0 and < 1"},
	{"slab_automove_ratio=1", ""},
	{"slab_automove_ratio=1.1", "slab_automove_ratio must be > 0 and < 1"},
	{"slab_automove_window", "Missing slab_automove_window argument"},
	{"slab_automove_window=2", "slab_automove_window must be > 2"},
	{"slab_automove_freeratio", "Missing slab_automove_freeratio argument"},
	{"slab_automove_freeratio=0.1", ""},
	{"tail_repair_time", "Missing numeric argument for tail_repair_time"},
	{"tail_repair_time=9", "Cannot set tail_repair_time to less than 10 seconds"},
	{"hash_algorithm", "Missing hash_algorithm argument"},
	{"hash_algorithm=foo", "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"},
	{"hash_algorithm=xxh3", ""},
	{"lru_crawler,no_lru_crawler", ""},
	{"lru_crawler_sleep", "Missing lru_crawler_sleep value"},
	{"lru_crawler_sleep=1000001", "LRU crawler sleep must be between 0 and 1 second"},
	{"lru_crawler_tocrawl", "Missing lru_crawler_tocrawl value"},
	{"lru_crawler_tocrawl=x", "lru_crawler_tocrawl takes a numeric 32bit value"},
	{"lru_maintainer", ""},
	{"no_lru_maintainer", ""},
	{"hot_lru_pct", "Missing hot_lru_pct argument"},
	{"hot_lru_pct=0", "hot_lru_pct must be > 1 and < 80"},
	{"warm_lru_pct=80", "warm_lru_pct must be > 1 and < 80"},
	{"hot_lru_pct=50,warm_lru_pct=40", "hot_lru_pct + warm_lru_pct cannot be more than 80% combined"},
	{"hot_max_factor", "Missing hot_max_factor argument"},
	{"hot_max_factor=0", "hot_max_factor must be > 0"},
	{"warm_max_factor=-1", "warm_max_factor must be > 0"},
	{"temporary_ttl", "Missing temporary_ttl argument"},
	{"temporary_ttl=60", ""},
	{"no_lru_maintainer,temporary_ttl=5", "temporary_ttl requires lru_maintainer to be enabled"},
	{"idle_timeout", "Missing numeric argument for idle_timeout"},
	{"idle_timeout=30", ""},
	{"watcher_logbuf_size", "Missing watcher_logbuf_size argument"},
	{"watcher_logbuf_size=x", "could not parse argument to watcher_logbuf_size"},
	{"worker_logbuf_size", "Missing worker_logbuf_size argument"},
	{"worker_logbuf_size=x", "could not parse argument to worker_logbuf_size"},
	{"read_buf_mem_limit", "Missing read_buf_mem_limit argument"},
	{"read_buf_mem_limit=-1", "could not parse argument to read_buf_mem_limit"},
	{"resp_obj_mem_limit=5", ""},
	{"slab_chunk_max=3", "-I (item_size_max: 1048576) must be evenly divisible by slab_chunk_max (bytes: 3072)"},
	{"slab_chunk_max=512", ""},
	{"slab_chunk_max=16", ""},
	{"no_chunked_items", ""},
	{"slab_sizes=100-200", ""},
	{"slab_sizes=100-102", "slab size 102 must be at least 8 bytes larger than previous class"},
	{"slab_sizes=200-100", "slab size 100 cannot be lower than or equal to a previous class size"},
	{"slab_sizes=x", "slab size 0 is out of valid range"},
	{"track_sizes", ""},
	{"inline_ascii_resp,no_inline_ascii_resp", ""},
	{"modern", ""},
	{"no_modern", ""},
	{"drop_privileges", ""},
	{"no_drop_privileges", ""},
	{"sock_cookie_id=4", ""},
	{"proxy_config=/x", `Illegal suboption "proxy_config=/x"`},
	{"proxy_uring", `Illegal suboption "proxy_uring"`},
	{"ext_path", "missing argument to ext_path, ie: ext_path=/d/file:5G"},
	{"ext_page_size", "Missing ext_page_size argument"},
	{"ext_page_size=x", "could not parse argument to ext_page_size"},
	{"ext_threads=x", "could not parse argument to ext_threads"},
	{"ext_io_depth=x", "could not parse argument to ext_io_depth"},
	{"ext_item_size=512", ""},
	{"ext_item_age=x", "could not parse argument to ext_item_age"},
	{"ext_low_ttl", "Missing ext_low_ttl argument"},
	{"ext_recache_rate=x", "could not parse argument to ext_recache_rate"},
	{"ext_compact_under=x", "could not parse argument to ext_compact_under"},
	{"ext_drop_under", "Missing ext_drop_under argument"},
	{"ext_max_sleep", "Missing ext_max_sleep argument"},
	{"ext_max_frag", "Missing ext_max_frag argument"},
	{"ext_wbuf_size=x", "could not parse argument to ext_wbuf_size"},
	{"ext_drop_unread", ""},
}

func TestExtendedOptions(t *testing.T) {
	named := make(map[string]bool)
	for _, c := range extendedCases {
		_, err := parseFlags([]string{"-o", c.arg})
		got := ""
		if err != nil {
			got, _, _ = strings.Cut(err.Error(), "\n")
		}
		if got != c.refusal {
			t.Errorf("-o %q: expected refusal %q, found %q", c.arg, c.refusal, got)
		}
		for name := range strings.SplitSeq(c.arg, ",") {
			name, _, _ = strings.Cut(name, "=")
			named[name] = true
		}
	}
	for _, row := range extendedOptions() {
		if !named[row.name] && !strings.HasPrefix(row.name, "ssl_") && row.name != "relaxed_privileges" && row.name != "proxy_arg" {
			t.Errorf("-o %s: no case", row.name)
		}
	}
}

// Options that are refused have no effect by way of a half read list, and the
// exit code of a refusal is memcached's: 1 for the list, 64 for what does not fit
// together.
func TestExtendedExitCodes(t *testing.T) {
	for arg, code := range map[string]int{
		"foo": 1, "ext_path=/x:1G": 1, "hashpower=3": 1,
		"slab_sizes=x": 64, "hot_lru_pct=79": 64, "slab_chunk_max=3": 64,
	} {
		_, err := parseFlags([]string{"-o", arg})
		var coded *exitError
		if !errors.As(err, &coded) || coded.code != code {
			t.Errorf("-o %s: expected exit code %d, found %v", arg, code, err)
		}
	}
}

func TestExtendedValues(t *testing.T) {
	o, err := parseFlags([]string{
		"-o", "hashpower=20,hash_algorithm=xxh3,no_maxconns_fast,idle_timeout=7",
		"-o", "slab_chunk_max=64,watcher_logbuf_size=8,slab_sizes=100-200-300,track_sizes,hashpower=21",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !o.server.WaitAtMaxConns || o.server.IdleTimeout != 7 {
		t.Errorf("expected to wait at maxconns and 7 s of idleness, found %+v", o.server)
	}
	if tu := o.tuning; tu.HashPower != 21 || tu.HashAlgorithm != "xxh3" || tu.SlabChunkMax != 64<<10 || tu.WatcherBuffer != 8<<10 || !tu.TrackSizes {
		t.Errorf("found %+v", tu)
	}
	if len(o.classSizes) != 3 || o.classSizes[2] != 300 {
		t.Errorf("slab_sizes: found %v", o.classSizes)
	}
	if want := "hashpower hash_algorithm"; strings.Join(o.noted, " ") != want {
		t.Errorf("noted: expected %q, found %q", want, o.noted)
	}
}
