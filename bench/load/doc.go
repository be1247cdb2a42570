// Package load is a load generator for servers that speak memcached's text, meta or
// binary protocol, or that of Redis. It is made to be cheaper per request than any server it measures: one
// thread per core, epoll and raw system calls, one send and normally one recv for
// each batch of requests of a connection, nothing allocated while it runs.
//
// # Model
//
// Config.Conns connections are dealt out to Config.Threads threads. In a closed
// loop each connection sends Depth requests at once, waits for all their replies,
// and sends the next Depth. In an open loop (Config.Rate) requests are due at
// fixed times, whether or not earlier ones have been answered; the latency of a
// request counts from the time it was due, so that a server that stalls is
// charged for all the requests that had to wait (no coordinated omission).
//
// # Keys and values
//
// Key i is "key:" and i as 8 hexadecimal digits. Its value is a function of i and
// the size: the same 8 digits, then a part of a fixed pseudo-random block. Hence
// every reply can be checked without a model of what the server holds. Always
// checked: the kind of each reply, the number of the VALUE blocks, their length
// and their header up to the key. Config.Verify adds every byte of keys and
// values.
//
// # Figures
//
// Latency is in nanoseconds, in a log-linear histogram with a relative error of
// at most 1/64. Latency of a closed loop counts from the send of the batch to the
// arrival of each reply, for every request of the batch.
package load

import (
	"errors"
	"fmt"
	"time"
)

// Config describes a load. The zero values of Threads, Conns, Depth, MultiGet,
// Keys and ValueSize stand for 1, 50, 1, 1, 1,000,000 and 32.
type Config struct {
	Network string // "tcp" or "unix"
	Addr    string // as net.Dial takes it
	Source  string // IPv4 address to connect from, for servers that judge clients by it; "": any

	// Sources is from how many addresses the connections come, dealt out in turn: Source and
	// those that follow it. 0: 1.
	Sources int

	Threads int
	CPUs    []int // the core that thread i is pinned to; none: not pinned

	// RealTime runs the threads under real-time scheduling, so that nothing else that is to run on
	// their cores delays them. It needs a privilege: see CanRealTime.
	RealTime bool

	Conns int // connections in all
	Depth int // requests in flight on each

	Protocol   Protocol
	Sets, Gets int     // the mix; 0:0 is gets only
	MultiGet   int     // keys of each get
	Keys       int     // number of keys, up to 2^31
	Zipf       float64 // exponent of a zipf distribution of the keys; 0: uniform
	ValueSize  int     // bytes, from 8

	Rate   float64 // requests per second in all; 0: closed loop
	Verify bool    // compare every byte of keys and values
	Seed   uint64
}

// Protocol is what the generator speaks.
type Protocol uint8

// The protocols: get and set; mg with v, and ms; getk and set; GET and SET.
const (
	Text Protocol = iota
	Meta
	Binary
	Redis
)

func (c Config) withDefaults() Config {
	for _, f := range []struct {
		p *int
		n int
	}{{&c.Threads, 1}, {&c.Conns, 50}, {&c.Depth, 1}, {&c.MultiGet, 1}, {&c.Keys, 1_000_000}, {&c.ValueSize, 32}} {
		if *f.p == 0 {
			*f.p = f.n
		}
	}
	if c.Sets == 0 && c.Gets == 0 {
		c.Gets = 1
	}
	return c
}

func (c *Config) check() error {
	switch {
	case c.Network != "tcp" && c.Network != "unix":
		return fmt.Errorf("load: expected network tcp or unix, found %q", c.Network)
	case c.Threads < 1 || c.Conns < c.Threads:
		return fmt.Errorf("load: expected at least one connection for each thread, found %d for %d", c.Conns, c.Threads)
	case len(c.CPUs) > 0 && len(c.CPUs) < c.Threads:
		return fmt.Errorf("load: expected a core for each of %d threads, found %d", c.Threads, len(c.CPUs))
	case c.Sources < 0 || c.Sources > 1 && c.Source == "":
		return fmt.Errorf("load: expected a source for %d addresses", c.Sources)
	case c.Depth < 1 || c.Depth > 4096:
		return fmt.Errorf("load: expected a depth from 1 to 4096, found %d", c.Depth)
	case c.Sets < 0 || c.Gets < 0:
		return fmt.Errorf("load: expected a mix of at least 0:0, found %d:%d", c.Sets, c.Gets)
	case c.MultiGet < 1 || c.MultiGet > 100:
		return fmt.Errorf("load: expected 1 to 100 keys for each get, found %d", c.MultiGet)
	case c.Protocol > Redis || c.Protocol != Text && c.MultiGet != 1:
		return errors.New("load: expected the text protocol, or one key for each get")
	case c.Keys < 1 || c.Keys > 1<<31:
		return fmt.Errorf("load: expected 1 to %d keys, found %d", 1<<31, c.Keys)
	case c.ValueSize < keyDigits || c.ValueSize > 1<<20:
		return fmt.Errorf("load: expected a value of %d to %d bytes, found %d", keyDigits, 1<<20, c.ValueSize)
	case c.Zipf < 0 || c.Rate < 0:
		return errors.New("load: expected a zipf exponent and a rate of at least 0")
	}
	return nil
}

// Result is what a run has measured, all threads together.
type Result struct {
	Requests uint64 // answered
	Gets     uint64 // of these, gets
	Keys     uint64 // asked for or stored by them
	Hits     uint64
	Misses   uint64
	Errors   uint64 // replies that are neither a value, END nor STORED
	Wrong    uint64 // keys or values that were not those expected
	BytesIn  uint64
	BytesOut uint64
	Example  string // the first reply that counted as an error or as wrong
	Elapsed  time.Duration
	CPU      time.Duration // user and system, of the generator's threads
	Latency  Histogram
}

// Rate is requests per second.
func (r *Result) Rate() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// KeyRate is keys per second.
func (r *Result) KeyRate() float64 { return float64(r.Keys) / r.Elapsed.Seconds() }

// ErrNothing says that no request was answered in the time of a run.
var ErrNothing = errors.New("load: nothing was answered")

// Err is nil when every reply was of a kind that the load expects.
func (r *Result) Err() error {
	switch {
	case r.Wrong > 0:
		return fmt.Errorf("load: %d wrong keys or values; the first: %q", r.Wrong, r.Example)
	case r.Errors > 0:
		return fmt.Errorf("load: %d error replies; the first: %q", r.Errors, r.Example)
	case r.Requests == 0:
		return ErrNothing
	}
	return nil
}

func (r *Result) add(o *Result) {
	r.Requests += o.Requests
	r.Gets += o.Gets
	r.Keys += o.Keys
	r.Hits += o.Hits
	r.Misses += o.Misses
	r.Errors += o.Errors
	r.Wrong += o.Wrong
	r.BytesIn += o.BytesIn
	r.BytesOut += o.BytesOut
	if r.Example == "" {
		r.Example = o.Example
	}
	r.Elapsed = max(r.Elapsed, o.Elapsed)
	r.CPU += o.CPU
	r.Latency.Add(&o.Latency)
}
