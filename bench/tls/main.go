// Tls measures what TLS costs and whom it troubles.
//
//	tls [-server ./sememcached] [-results FILE] [-time 1s] [-n 7]
//
// Storm: clients without TLS, while others make nothing but TLS handshakes, as many
// as they get; quiet and stormy windows and a control alternate within one run, and
// what is reported is the median of the ratios of the plain clients' latencies. The
// handshakes are cut short after the server's share of them, so that they cost the
// other side next to nothing. The control is the same storm on a decoy, a server that
// does nothing but answer: what it costs the plain clients is the storm's own work on
// the core that they share, which elsewhere would be another machine's.
//
// Throughput: clients with TLS, of this server, of memcached and of a plain Go
// server with a goroutine for each connection, in turns.
//
// The comparison is of one run, on one machine; the machine may be shared.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"sememcached/bench/load"
	"sememcached/bench/rig"
	"sememcached/internal/testca"
)

func main() {
	var err error
	word := ""
	if len(os.Args) > 1 {
		word = os.Args[1]
	}
	switch word {
	case goServerWord:
		err = serveGo(os.Args[2:])
	case stormWord:
		err = serveStorm(os.Args[2:], os.Stdin, os.Stdout)
	default:
		err = run(os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tls:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	server  string
	n       int
	time    time.Duration
	rate    float64
	stormer int
	only    string
	report  io.Writer
	dir     string
	files   []string // chain, key, authority
	ca      *testca.CA
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("tls", flag.ContinueOnError)
	s := settings{report: out}
	results := f.String("results", "", "write the report to this file too")
	f.StringVar(&s.server, "server", "./sememcached", "our server's binary")
	f.IntVar(&s.n, "n", 7, "repetitions")
	f.DurationVar(&s.time, "time", time.Second, "how long each measurement lasts")
	f.Float64Var(&s.rate, "rate", 20_000, "requests per second of the plain clients in the open loop")
	f.IntVar(&s.stormer, "storm", 64, "connections that make handshakes")
	f.StringVar(&s.only, "only", "", "storm or throughput: that part only")
	if err := f.Parse(args); err != nil {
		return err
	}
	var text bytes.Buffer
	s.report = io.MultiWriter(out, &text)
	var err error
	if s.dir, err = os.MkdirTemp("", "bench-tls"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if s.ca, err = testca.New("bench"); err != nil {
		return err
	}
	chain, key, authority, err := s.ca.WriteServer(s.dir, false)
	if err != nil {
		return err
	}
	s.files = []string{chain, key, authority}
	fmt.Fprintf(s.report, `# TLS

- command: `+"`go run ./bench/tls %s`"+`
- commit: %s, %s
- machine: %d cores, %s, %s, load average at the start %s
- certificates ECDSA P-256; TLS 1.3 with X25519 and AES-128-GCM
`, strings.Join(args, " "), rig.Commit(), time.Now().UTC().Format(time.RFC3339), runtime.NumCPU(), kernel(), runtime.Version(), loadAverage())
	if s.only != "throughput" {
		if err := s.storm(); err != nil {
			return err
		}
	}
	if s.only != "storm" {
		if err := s.throughput(); err != nil {
			return err
		}
	}
	if *results != "" {
		return os.WriteFile(*results, text.Bytes(), 0o644)
	}
	return nil
}

// tlsFlags are those of this server and of memcached.
func (s *settings) tlsFlags() []string {
	return []string{"-Z", "-o", "ssl_chain_cert=" + s.files[0] + ",ssl_key=" + s.files[1]}
}

func kernel() string {
	b, _ := exec.Command("uname", "-sr").Output()
	return strings.TrimSpace(string(b))
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

// keys is how many items the plain clients ask for.
const keys = 100_000

func plainLoad(network, addr string) load.Config {
	return load.Config{Network: network, Addr: addr, Conns: 50, Keys: keys, CPUs: []int{1}, Seed: 1}
}
