package server

// Settings is how a Server listens and what it allows. The fields carry
// memcached's flags; only the program's main package knows those by name. The
// zero Settings listens nowhere and uses memcached's defaults for the rest.
// Settings are not changed after New.
type Settings struct {
	// Port is the TCP port: 0 is off, -1 an ephemeral port (-p).
	Port int
	// UDPPort is the UDP port (-U): 0 is off, -1 an ephemeral port.
	UDPPort int
	// Interfaces are the addresses to listen on (-l): each element is a list
	// separated by ',' or ';' of host, host:port or [v6]:port, each with optional
	// prefixes: proto[ascii|binary|negotiating]: and, with TLS, notls: (plain text),
	// btls: (client certificates are not asked for) or mtls: (they are required).
	// Empty: all addresses of both families.
	Interfaces []string
	// UnixPath is the path of a UNIX socket (-s); TCP is off when it is set.
	UnixPath string
	// UnixMask is the access mode of UnixPath (-a); 0 means 0700.
	UnixMask int
	// Sockets, if not nil, take the place of all of these; see OpenSockets.
	Sockets *Sockets
	// PortFile, if not empty, gets a line "TCP INET: port" for each listener
	// (memcached's environment variable MEMCACHED_PORT_FILENAME). If it cannot be
	// written, that is a warning.
	PortFile string

	// Protocol is what clients speak (-B): auto, ascii or binary. Empty is auto.
	Protocol string

	MaxConns     int // -c: simultaneous clients; 0 means 1024
	Threads      int // -t: event loops; 0 means 4
	ReqsPerEvent int // -R: a connection with more requests at once waits for the others; 0 means 20
	Backlog      int // -b: listen(2) backlog; 0 means 1024

	// WaitAtMaxConns (-o no_maxconns_fast) leaves clients beyond MaxConns in the
	// backlog until others go. Otherwise they are told so and closed.
	WaitAtMaxConns bool
	// IdleTimeout (-o idle_timeout) is after how many seconds without a command a TCP
	// connection is closed; 0 is never.
	IdleTimeout int
	// Tuning are the other -o options; nil means DefaultTuning.
	Tuning *Tuning

	Verbosity int // the number of -v

	MaxBytes     uint64  // -m in bytes, for statistics and limit_maxbytes; 0 means 64 MiB
	MaxItem      int     // -I: largest item in bytes; 0 means 1 MiB
	ChunkSize    int     // -n; 0 means 48
	GrowthFactor float64 // -f; 0 means 1.25
	NoEvictions  bool    // -M
	NoCAS        bool    // -C

	TLS TLS // -Z and -o ssl_*

	AllowShutdown bool // -A: the shutdown command works
	NoFlush       bool // -F: flush_all is refused
	NoDump        bool // -X: listings of keys are refused
	NoWatch       bool // -W: watch is refused

	AccessLog AccessLog // a line for each request or denial

	// SASL (-S) requires clients to authenticate by SASL PLAIN in the binary protocol.
	SASL bool
	// SASLUsers is the file of their names and passwords (MEMCACHED_SASL_PWDB).
	SASLUsers string
	// AuthFile (-Y) requires clients to authenticate in the text protocol, by a user
	// and a password of this file. SASL and AuthFile need a Protocol of their own,
	// binary and ascii.
	AuthFile string

	// PreferLoops puts all threads of the process that are not loops behind the loops, for
	// as long as the process lives: for one that is a server with TLS and nothing else.
	PreferLoops bool

	// PrefixDelimiter (-D) ends the prefixes that "stats detail" counts by, and turns
	// that on; 0 is ':', and off.
	PrefixDelimiter byte

	// Version is what the version command and the statistics say; empty means
	// DefaultVersion.
	Version string
}

// DefaultVersion is the memcached release whose behaviour is served.
const DefaultVersion = "1.6.45"

// withDefaults is a copy of s with every zero value replaced by its meaning.
func (s *Settings) withDefaults() Settings {
	d := *s
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&d.UnixMask, 0o700)
	def(&d.MaxConns, 1024)
	def(&d.Threads, 4)
	def(&d.ReqsPerEvent, 20)
	def(&d.Backlog, 1024)
	def(&d.MaxItem, 1<<20)
	def(&d.ChunkSize, 48)
	if d.MaxBytes == 0 {
		d.MaxBytes = 64 << 20
	}
	if d.GrowthFactor == 0 {
		d.GrowthFactor = 1.25
	}
	if d.Version == "" {
		d.Version = DefaultVersion
	}
	if d.Tuning == nil {
		t := DefaultTuning()
		d.Tuning = &t
	}
	return d
}
