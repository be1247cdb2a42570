package main

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
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
	check    bool // --check-config
	help     bool
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
	verbose          int
	tcpGiven         bool
}

func newFlagSet(o *options, r *rawFlags) *pflag.FlagSet {
	f := pflag.NewFlagSet("sememcached", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	s := &o.server

	f.IntVarP(&s.Port, "port", "p", 11211, "TCP port to listen on; 0 is off, -1 any free port (`num`)")
	f.IntVarP(&s.UDPPort, "udp-port", "U", 0, "UDP port to listen on; 0 is off, -1 any free port (`num`)")
	f.StringVarP(&s.UnixPath, "unix-socket", "s", "", "UNIX socket to listen on, disables network support (`file`)")
	f.StringVarP(&r.mask, "unix-mask", "a", "700", "access mask for UNIX socket, in octal (`mask`)")
	f.BoolVarP(&s.AllowShutdown, "enable-shutdown", "A", false, `enable the ascii "shutdown" command`)
	f.StringArrayVarP(&s.Interfaces, "listen", "l", nil, "interface to listen on, host, host:port or [v6]:port, a list or repeated (`addr`)")
	f.BoolVarP(&o.daemon, "daemon", "d", false, "run as a daemon")
	f.StringVarP(&o.user, "user", "u", "", "assume identity of this user, only when run as root (`user`)")
	f.StringVarP(&r.memory, "memory-limit", "m", "64", "item memory in megabytes (`num`)")
	f.BoolVarP(&s.NoEvictions, "disable-evictions", "M", false, "return error on memory exhausted instead of evicting")
	f.IntVarP(&s.MaxConns, "conn-limit", "c", 1024, "max simultaneous connections (`num`)")
	f.CountVarP(&r.verbose, "verbose", "v", "verbose; -vv also client commands, -vvv internal state")
	f.BoolVarP(&o.help, "help", "h", false, "print this help and exit")
	f.BoolVarP(&o.versionQ, "version", "V", false, "print version and exit")
	f.StringVarP(&o.pidfile, "pidfile", "P", "", "save the process id in this file (`file`)")
	f.Float64VarP(&s.GrowthFactor, "slab-growth-factor", "f", 1.25, "chunk size growth factor, for the classes reported (`factor`)")
	f.IntVarP(&s.ChunkSize, "slab-min-size", "n", 48, "min space used for key+value+flags, for the classes reported (`bytes`)")
	f.IntVarP(&s.Threads, "threads", "t", 4, "number of event loops to use (`num`)")
	f.IntVarP(&s.ReqsPerEvent, "max-reqs-per-event", "R", 20, "requests of one connection before others get their turn (`num`)")
	f.BoolVarP(&s.NoCAS, "disable-cas", "C", false, "disable use of CAS")
	f.IntVarP(&s.Backlog, "listen-backlog", "b", 1024, "set the backlog queue limit (`num`)")
	f.StringVarP(&s.Protocol, "protocol", "B", "auto", "protocol: auto, ascii or binary (`name`)")
	f.StringVarP(&r.maxItem, "max-item-size", "I", "1m", "adjusts max item size, min 1k, max 1024m (`size`)")
	f.BoolVarP(&s.NoFlush, "disable-flush-all", "F", false, "disable flush_all command")
	f.BoolVarP(&s.NoDump, "disable-dumping", "X", false, "disable stats cachedump, stats detail and lru_crawler metadump")
	f.BoolVarP(&s.NoWatch, "disable-watch", "W", false, "disable the watch command")

	addTLSFlag(f, &s.TLS)
	addDataFlags(f, &o.data)
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
	f.IntVar(&o.mac.MaxLabels, "max-labels", 65536, "how many security contexts may be in use (`num`)")
	ruleFlags(f, o, &r.rules)
	f.BoolVar(&o.check, "check-config", false, "say who decides and by what policy, then exit")
	return f
}

// parseFlags reads memcached's command line. The texts of refusals are
// memcached's where it has one: scripts look for them.
func parseFlags(args []string) (*options, error) {
	o, r := &options{tuning: server.DefaultTuning()}, &rawFlags{}
	f := newFlagSet(o, r)
	if err := f.Parse(args); err != nil {
		return nil, exitf(exitFailure, "sememcached: %v\nRun sememcached -h for the flags.", err)
	}
	if o.help || o.versionQ {
		return o, nil
	}
	if f.NArg() > 0 {
		return nil, exitf(exitUsage, "sememcached: expected flags only, found %q\nRun sememcached -h for the flags, sememcached policy -h for the policy tools, sememcached rules -h for key rules.", f.Arg(0))
	}
	r.tcpGiven = f.Changed("port")
	if err := o.finish(r); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *options) finish(r *rawFlags) error {
	s := &o.server
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{s.MaxConns <= 0, "Maximum connections must be greater than 0"},
		{s.Threads <= 0, "Number of threads must be greater than 0"},
		{s.ReqsPerEvent <= 0, "Number of requests per event must be greater than 0"},
		{s.ChunkSize <= 0, "Chunk size must be greater than 0"},
		{!(s.GrowthFactor > 1), "Factor must be greater than 1"},
		{s.Threads > 1024, "Number of threads must be 1024 or less"},
	} {
		if c.bad {
			return exitf(exitFailure, "%s", c.text)
		}
	}
	if s.Port < -1 || s.Port > 65535 {
		return exitf(exitUsage, "ERROR: Invalid port number %d.", s.Port)
	}
	if s.UDPPort < -1 || s.UDPPort > 65535 {
		return exitf(exitUsage, "ERROR: Invalid UDP port number %d.", s.UDPPort)
	}
	if s.UDPPort != 0 && !r.tcpGiven {
		s.Port = s.UDPPort // as memcached has it
	}
	switch s.Protocol {
	case "auto", "ascii", "binary":
	default:
		return exitf(exitUsage, "Invalid value for binding protocol: %s\n -- should be one of auto, binary, or ascii", s.Protocol)
	}
	mask, err := strconv.ParseUint(r.mask, 8, 12)
	if err != nil {
		return exitf(exitUsage, "sememcached: -a %s: expected an octal access mask such as 700", r.mask)
	}
	s.UnixMask = int(mask)
	if err := o.absolute(); err != nil {
		return exitf(exitOSError, "sememcached: %w", err)
	}
	s.Verbosity = r.verbose
	if err := o.sizes(r); err != nil {
		return err
	}
	if err := o.applyExtended(r.extended); err != nil {
		return err
	}
	s.Tuning = &o.tuning
	if err := o.data.finish(); err != nil {
		return err
	}
	return o.access(r)
}

// absolute makes the paths absolute: a daemon leaves the directory it was started
// in, and loads its files again on SIGHUP.
func (o *options) absolute() error {
	for _, p := range []*string{&o.pidfile, &o.server.UnixPath, &o.mac.PolicyFile, &o.mac.ContextsFile, &o.mac.AuditLog} {
		if *p == "" || p == &o.mac.AuditLog && *p == "stderr" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// sizes checks -m and -I.
func (o *options) sizes(r *rawFlags) error {
	mb, err := strconv.ParseInt(r.memory, 10, 64)
	if err != nil || mb < 0 || mb > math.MaxInt64>>20 {
		return exitf(exitUsage, "sememcached: -m %s: expected a number of megabytes", r.memory)
	}
	o.memory = mb << 20
	size, ok := parseSize(r.maxItem)
	switch {
	case !ok:
		return exitf(exitUsage, "sememcached: -I %s: expected a size such as 1m, 512k or 2000000", r.maxItem)
	case size < 1024:
		return exitf(exitUsage, "Item max size cannot be less than 1024 bytes.")
	case size > 1<<30:
		return exitf(exitUsage, "Cannot set item size limit higher than a gigabyte.")
	case size > o.memory/2:
		return exitf(exitUsage, "Cannot set item size limit higher than 1/2 of memory max.")
	}
	o.server.MaxItem = int(size)
	o.server.MaxBytes = uint64(o.memory)
	return nil
}

// parseSize reads a number of bytes with an optional k, m or g.
func parseSize(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	shift := 0
	switch s[len(s)-1] {
	case 'k', 'K':
		shift = 10
	case 'm', 'M':
		shift = 20
	case 'g', 'G':
		shift = 30
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

// access checks the flags of access control.
func (o *options) access(r *rawFlags) error {
	mode, err := mac.ParseMode(r.macMode)
	if err != nil {
		return exitf(exitUsage, "sememcached: --mac=%s: %w", r.macMode, err)
	}
	o.mac.Mode = mode
	switch r.macDeny {
	case "hide":
	case "error":
		o.deny = true
	default:
		return exitf(exitUsage, "sememcached: --mac-deny=%s: expected hide or error", r.macDeny)
	}
	if o.mac.PeerLabels != "" && o.mac.PeerLabels != "kernel" {
		return exitf(exitUsage, "sememcached: --peer-labels=%s: expected kernel", o.mac.PeerLabels)
	}
	if o.mac.MaxLabels <= 0 {
		return exitf(exitUsage, "sememcached: --max-labels=%d: expected a number above 0", o.mac.MaxLabels)
	}
	if o.mac.Booleans, err = parseBooleans(r.booleans); err != nil {
		return err
	}
	return o.rules(&r.rules)
}

// parseBooleans reads name=on|off|1|0|true|false pairs.
func parseBooleans(pairs []string) (map[string]bool, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		name, state, _ := strings.Cut(p, "=")
		switch state {
		case "on", "1", "true":
			m[name] = true
		case "off", "0", "false":
			m[name] = false
		default:
			return nil, exitf(exitUsage, "sememcached: --boolean %s: expected NAME=on or NAME=off", p)
		}
	}
	return m, nil
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
  sememcached policy -h
      ask a policy what it allows, without a server
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
