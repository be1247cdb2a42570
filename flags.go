package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/mac"
	"sememcached/server"
)

//go:embed VERSION
var versionFile string

// version is this program's own version; server.DefaultVersion is the memcached
// release whose behaviour it has.
func version() string { return strings.TrimSpace(versionFile) }

// options are the flags, parsed and checked.
type options struct {
	server   server.Settings
	mac      mac.Config
	memory   int64 // -m in bytes
	deny     bool  // --mac-deny=error
	user     string
	pidfile  string
	daemon   bool
	lock     bool // -k
	cores    bool // -r
	check    bool // --check-config
	help     bool
	licence  bool // -i
	versionQ bool

	data dataFlags

	tuning        server.Tuning // of -o
	chunkMaxGiven bool          // slab_chunk_max was among them
	slabSizes     string        // slab_sizes as it was given
	classSizes    []int         // slab_sizes in bytes, ascending
	noted         []string      // names of -o that have no effect here
	warnings      []string      // memcached's own, said at start
}

// rawFlags are the flags whose text needs a second look.
type rawFlags struct {
	rules            rawRules
	memory           string
	maxItem          string
	mask             string
	macMode, macDeny string
	booleans         []string
	extended         []string
	delimiter        string
	largePages       bool
	verbose          int
	tcpGiven         bool
	protocolGiven    bool
	delimiterGiven   bool
	napiGiven        bool
	given            func(flag string) bool
	value            func(flag string) string // as it was given
}

func newFlagSet(o *options, r *rawFlags) *pflag.FlagSet {
	f := pflag.NewFlagSet("sememcached", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	s := &o.server

	intVarP(f, &s.Port, "port", "p", 11211, "TCP port to listen on; 0 is off, -1 any free port (`num`)")
	intVarP(f, &s.UDPPort, "udp-port", "U", 0, "UDP port to listen on; 0 is off, -1 any free port (`num`)")
	f.StringVarP(&s.UnixPath, "unix-socket", "s", "", "UNIX socket to listen on, disables network support (`file`)")
	f.StringVarP(&r.mask, "unix-mask", "a", "700", "access mask for UNIX socket, in octal (`mask`)")
	f.BoolVarP(&s.AllowShutdown, "enable-shutdown", "A", false, `enable the ascii "shutdown" command`)
	f.StringArrayVarP(&s.Interfaces, "listen", "l", nil, "interface to listen on, host, host:port or [v6]:port, a list or repeated (`addr`)")
	f.BoolVarP(&o.daemon, "daemon", "d", false, "run as a daemon")
	f.BoolVarP(&o.cores, "enable-coredumps", "r", false, "maximize core file limit")
	f.StringVarP(&o.user, "user", "u", "", "assume identity of this user, only when run as root (`user`)")
	f.StringVarP(&r.memory, "memory-limit", "m", "64", "item memory in megabytes (`num`)")
	f.BoolVarP(&s.NoEvictions, "disable-evictions", "M", false, "return error on memory exhausted instead of evicting")
	intVarP(f, &s.MaxConns, "conn-limit", "c", 1024, "max simultaneous connections (`num`)")
	f.BoolVarP(&o.lock, "lock-memory", "k", false, "lock down all paged memory")
	f.CountVarP(&r.verbose, "verbose", "v", "verbose; -vv also client commands, -vvv internal state")
	f.BoolVarP(&o.help, "help", "h", false, "print this help and exit")
	f.BoolVarP(&o.licence, "license", "i", false, "print the licence and exit")
	f.BoolVarP(&o.versionQ, "version", "V", false, "print version and exit")
	f.StringVarP(&o.pidfile, "pidfile", "P", "", "save the process id in this file (`file`)")
	f.Float64VarP(&s.GrowthFactor, "slab-growth-factor", "f", 1.25, "chunk size growth factor, for the classes reported (`factor`)")
	intVarP(f, &s.ChunkSize, "slab-min-size", "n", 48, "min space used for key+value+flags, for the classes reported (`bytes`)")
	f.BoolVarP(&r.largePages, "enable-largepages", "L", false, "try to use large memory pages; accepted: they are used where the kernel gives them")
	f.StringVarP(&r.delimiter, "prefix-delimiter", "D", "", "delimiter of key prefixes for stats detail, which it turns on; without it ':' (`char`)")
	intVarP(f, &s.Threads, "threads", "t", 4, "number of event loops to use (`num`)")
	intVarP(f, &s.ReqsPerEvent, "max-reqs-per-event", "R", 20, "requests of one connection before others get their turn (`num`)")
	f.BoolVarP(&s.NoCAS, "disable-cas", "C", false, "disable use of CAS")
	intVarP(f, &s.Backlog, "listen-backlog", "b", 1024, "set the backlog queue limit (`num`)")
	f.StringVarP(&s.Protocol, "protocol", "B", "auto", "protocol: auto, ascii or binary (`name`)")
	f.StringVarP(&r.maxItem, "max-item-size", "I", "1m", "adjusts max item size, min 1k, max 1024m (`size`)")
	f.BoolVarP(&s.NoFlush, "disable-flush-all", "F", false, "disable flush_all command")
	f.BoolVarP(&s.NoDump, "disable-dumping", "X", false, "disable stats cachedump, stats detail and lru_crawler metadump")
	f.BoolVarP(&s.NoWatch, "disable-watch", "W", false, "disable the watch command")

	addTLSFlag(f, &s.TLS)
	addDataFlags(f, &o.data)
	f.BoolVarP(&s.SASL, "enable-sasl", "S", false, "turn on SASL authentication; binary protocol only, users in the file MEMCACHED_SASL_PWDB")
	f.StringVarP(&s.AuthFile, "auth-file", "Y", "", "ASCII authentication by a file of user:password or user:hash lines (`file`)")
	intVarP(f, &o.tuning.NAPIIDs, "napi-ids", "N", 0, "number of NAPI ids; accepted, of no effect here (`num`)")
	f.StringArrayVarP(&r.extended, "extended", "o", nil, "comma separated list of extended options, see below; repeatable (`list`)")

	f.StringVar(&r.macMode, "mac", "auto", "who decides: auto, kernel, policy or off (`mode`)")
	f.StringVar(&o.mac.PolicyFile, "policy", "", "binary SELinux policy to decide by; none: the built-in one (`file`)")
	f.StringArrayVar(&r.booleans, "boolean", nil, "switch a boolean of the policy, NAME=on|off; repeatable (`name=state`)")
	f.BoolVar(&o.mac.Permissive, "permissive", false, "log denials and allow (policy decider)")
	f.StringVar(&o.mac.ContextsFile, "contexts", "", "file that maps clients and keys to security contexts (`file`)")
	f.StringVar(&o.mac.PeerLabels, "peer-labels", "", "kernel: take SO_PEERSEC labels also beside a policy file (`source`)")
	f.StringVar(&r.macDeny, "mac-deny", "hide", "what a denial looks like: hide (as absent) or error (`how`)")
	f.StringVar(&o.mac.AuditLog, "audit-log", "", "where denials are logged: stderr or a file (`where`)")
	f.StringVar(&o.mac.ServerContext, "server-context", "", "the server's own security context (`context`)")
	intVarP(f, &o.mac.MaxLabels, "max-labels", "", 65536, "how many security contexts may be in use (`num`)")
	ruleFlags(f, o, &r.rules)
	f.BoolVar(&o.check, "check-config", false, "say who decides and by what policy, then exit")
	abbreviate(f)
	return f
}

// abbreviate lets the start of a long name stand for it where it is unambiguous,
// as getopt_long(3) does.
func abbreviate(f *pflag.FlagSet) {
	var names []string
	f.VisitAll(func(fl *pflag.Flag) { names = append(names, fl.Name) })
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if slices.Contains(names, name) {
			return pflag.NormalizedName(name)
		}
		full := name
		for _, n := range names {
			if strings.HasPrefix(n, name) {
				if full != name {
					return pflag.NormalizedName(name)
				}
				full = n
			}
		}
		return pflag.NormalizedName(full)
	})
}

// parseFlags reads memcached's command line. The texts of refusals are
// memcached's where it has one: scripts look for them.
func parseFlags(args []string) (*options, error) {
	o, r := &options{tuning: server.DefaultTuning()}, &rawFlags{}
	f := newFlagSet(o, r)
	if err := f.Parse(args); err != nil {
		return nil, exitf(exitFailure, "sememcached: %s\nRun sememcached -h for the flags.", flagFault(err))
	}
	if o.help || o.versionQ || o.licence {
		return o, nil
	}
	if f.NArg() > 0 {
		return nil, exitf(exitUsage, "sememcached: expected flags only, found %q\nRun sememcached -h for the flags, sememcached policy -h for the policy tools, sememcached rules -h for key rules, sememcached data -h for data files, sememcached demo -h for a demonstration.", f.Arg(0))
	}
	r.tcpGiven, r.protocolGiven = f.Changed("port"), f.Changed("protocol")
	r.delimiterGiven, r.napiGiven = f.Changed("prefix-delimiter"), f.Changed("napi-ids")
	r.given, r.value = f.Changed, func(name string) string { return f.Lookup(name).Value.String() }
	if err := o.finish(r); err != nil {
		return nil, err
	}
	return o, nil
}

// flagFault says what is wrong with a flag. The flag package tells of a value
// what the function said that failed to read it; people need what was expected.
func flagFault(err error) string {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err.Error()
	}
	expected := map[string]string{
		"int": "a whole number", "float64": "a number", "bool": "no value, true or false",
		"duration": "a time such as 100ms or 2s", "count": "no value",
	}[bad.GetFlag().Value.Type()]
	if expected == "" {
		return err.Error()
	}
	name := "--" + bad.GetFlag().Name
	if short := bad.GetFlag().Shorthand; short != "" {
		name = "-" + short + ", " + name
	}
	return fmt.Sprintf("%s: expected %s, found %q", name, expected, bad.GetValue())
}

// printHelp writes -h. Its first line and its long names are what scripts look
// at to learn what a memcached can do.
func printHelp(w io.Writer) error {
	f := newFlagSet(&options{}, &rawFlags{})
	_, err := fmt.Fprintf(w, `%s
%s
Extended options (-o NAME[=VALUE],...), as memcached has them:
%s
Access control (none of memcached's): every command on every item is decided by
an SELinux policy. Without any of these flags the built-in policy lets every
client do what it could do with memcached.

Examples:
  sememcached -u nobody -m 1024 -p 11211
      a memcached of 1 GB; whoever connects is an ordinary client
  sememcached -u nobody -s /run/kv.sock -a 777 --contexts tenants.contexts
      tenants by user id; a line of the file: client uid:1001 system_u:system_r:kv_client_t:s0:c1
  sememcached -u nobody --policy site.policy --boolean kv_open=on --audit-log /var/log/kv.audit
      decide by a policy file, denials to a file that audit2allow reads
  sememcached -u nobody --key-rules fleet.yaml --identities fleet-peers.yaml --access-log /var/log/kv.access
      a Cilium network policy decides which client may use which command on which keys
  sememcached --check-config --mac kernel
      say who would decide and by what policy
  sememcached -u kv -m 1024 --data /var/lib/sememcached/items --sync always
      items outlive the process: whatever was answered is on the disk
  sememcached data -h
      look into a data file, back it up, restore it
  sememcached policy -h
      ask a policy what it allows, without a server
  sememcached rules -h
      what is wrong in key rules, and what they allow
  sememcached demo
      what clients of a shared cache can do to each other, and what ends it
`, versionLine(), flagUsages(f), extendedUsages())
	return err
}

// placeholder is what a usage text says in parentheses at its end to name the
// flag's argument; pflag leaves it there.
var placeholder = regexp.MustCompile(` \([a-z=]+\)($|\n| \(default)`)

// flagUsages lists the flags.
func flagUsages(f *pflag.FlagSet) string {
	return placeholder.ReplaceAllString(f.FlagUsages(), "$1")
}

func versionLine() string {
	return fmt.Sprintf("memcached %s (sememcached %s)", server.DefaultVersion, version())
}

//go:embed LICENSE
var licence string
