package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// memcachedFlags are all flags of memcached 1.6.45 with an argument that is good, and what
// becomes of them here: "" accepted with its meaning, "noted" accepted and named in the log
// as of no effect, anything else the text by which a start is refused, which is that of a
// memcached that is built without the feature.
var memcachedFlags = []struct{ short, long, value, outcome string }{
	{"p", "port", "11300", ""},
	{"s", "unix-socket", "/tmp/kv.sock", ""},
	{"U", "udp-port", "11300", ""},
	{"l", "listen", "127.0.0.1", ""},
	{"a", "unix-mask", "770", ""},
	{"A", "enable-shutdown", "", ""},
	{"Z", "enable-ssl", "", ""},
	{"m", "memory-limit", "100", ""},
	{"M", "disable-evictions", "", ""},
	{"c", "conn-limit", "100", ""},
	{"k", "lock-memory", "", ""},
	{"h", "help", "", ""},
	{"i", "license", "", ""},
	{"V", "version", "", ""},
	{"r", "enable-coredumps", "", ""},
	{"v", "verbose", "", ""},
	{"d", "daemon", "", ""},
	{"u", "user", "nobody", ""},
	{"P", "pidfile", "/tmp/kv.pid", ""},
	{"f", "slab-growth-factor", "1.5", ""},
	{"n", "slab-min-size", "64", ""},
	{"t", "threads", "2", ""},
	{"D", "", ":", ""},
	{"L", "enable-largepages", "", "noted"},
	{"R", "max-reqs-per-event", "10", ""},
	{"C", "disable-cas", "", ""},
	{"b", "listen-backlog", "100", ""},
	{"B", "protocol", "ascii", ""},
	{"I", "max-item-size", "2m", ""},
	{"S", "enable-sasl", "", ""},
	{"F", "disable-flush-all", "", ""},
	{"X", "disable-dumping", "", ""},
	{"W", "disable-watch", "", ""},
	{"Y", "auth-file", "/etc/users", ""},
	{"e", "memory-file", "/tmp/items", ""},
	{"N", "napi-ids", "2", "noted"},
	{"o", "extended", "modern", ""},
}

// TestEveryFlag: each flag of memcached's is there under both of its names and does what
// the table says, and each flag with a letter is one of memcached's.
func TestEveryFlag(t *testing.T) {
	known := map[string]bool{}
	for _, f := range memcachedFlags {
		known[f.short] = true
		forms := [][]string{{"-" + f.short}}
		if f.value != "" {
			forms = [][]string{{"-" + f.short, f.value}, {"-" + f.short + f.value}}
		}
		if f.long != "" && f.value != "" {
			forms = append(forms, []string{"--" + f.long, f.value}, []string{"--" + f.long + "=" + f.value})
		} else if f.long != "" {
			forms = append(forms, []string{"--" + f.long})
		}
		for _, args := range forms {
			o, err := parseFlags(args)
			found := ""
			switch {
			case err != nil:
				found = err.Error()
			case slices.ContainsFunc(o.noted, func(n string) bool { return n == "-"+f.short }):
				found = "noted"
			}
			if found != f.outcome {
				t.Errorf("%s: expected %q, found %q", strings.Join(args, " "), f.outcome, found)
			}
		}
	}
	newFlagSet(&options{}, &rawFlags{}).VisitAll(func(f *pflag.Flag) {
		if f.Shorthand != "" && !known[f.Shorthand] {
			t.Errorf("-%s (--%s) is not one of memcached's", f.Shorthand, f.Name)
		}
		if f.Usage == "" {
			t.Errorf("--%s has no help", f.Name)
		}
	})
}
